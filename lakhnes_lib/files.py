"""Reads files of limited size, writes files and folders whole or not at all, locks a folder, and
holds Ctrl-C back while something must not be left half done.

Paper: none. Notebook: none. What is written goes to a temporary file or folder beside its path, and
is moved there when it is complete; so at any time the path holds the old or the new content.
"""

import errno
import os
import shutil
import signal
import sys
import threading
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

from lakhnes_lib.errors import LakhnesError, OutOfSpace

MOST_BYTES = 16_000_000
"""Of a file that is read as one song, text or table: the largest song of NES-MDB has 90,000."""
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR}


def read_bytes(path, kind: type[LakhnesError] = LakhnesError) -> bytes:
    """The content of a file.

    Raises an error of this ``kind``, which names the file, if it cannot be read, has more than
    ``MOST_BYTES``, or is a pipe or a device, which may never answer or never end.

    Example: ``data = files.read_bytes("song.mid", BadMidi)``
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise kind(f"{path}: cannot be read (it is a folder, a pipe or a device, not a file)")
        if path.stat().st_size > MOST_BYTES:
            raise kind(f"{path}: has over {MOST_BYTES // 1_000_000} MB, the most that is read")
        return path.read_bytes()
    except OSError as error:
        raise kind(f"{path}: cannot be read ({error.strerror})") from None


def tune_of(path) -> tuple[Path, str]:
    """The file and the tune that a path such as ``book.abc#2`` names; "" if it names no tune.

    >>> tune_of("book.abc#The Kesh Jig")
    (PosixPath('book.abc'), 'The Kesh Jig')
    """
    path = Path(path)
    file, mark, tune = path.name.partition("#")
    if not mark or not file.lower().endswith(".abc") or path.exists():
        return path, ""
    return path.with_name(file), tune


def check_output(out, source) -> None:
    """Raises LakhnesError if a file that is to be written is the one that is read."""
    if os.path.realpath(out) == os.path.realpath(source):
        raise LakhnesError(f"{out}: is the file that is read; name another one to write")


def write_file(path, content: str | bytes) -> None:
    """Writes a whole file, text as UTF-8, through ``replacing``, and raises as it does.

    What UTF-8 does not have, as the name of a file in another encoding may, becomes a ``?``.
    """
    with replacing(path) as temporary:
        data = content.encode("utf-8", "replace") if isinstance(content, str) else content
        temporary.write_bytes(data)


def write_synced(path, content: bytes) -> None:
    """Writes a file and waits until it is on the disk, so that a power cut cannot empty it."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def explained(error: OSError, path) -> Exception:
    """What to raise instead of the system's error while ``path`` is written: OutOfSpace if the disk
    is full, LakhnesError if it cannot be written, the error itself for any other reason."""
    # NumPy does not say why it could not write all of an array.
    if error.errno in {errno.ENOSPC, errno.EDQUOT} or " requested and " in str(error):
        return OutOfSpace(f"{path}: the disk is full; nothing of it was saved")
    if error.errno == errno.EEXIST:
        return LakhnesError(f"{error.filename}: is a file, and a folder is to be written")
    if error.errno in _NOT_WRITABLE:
        return LakhnesError(f"{path}: cannot be written ({error.strerror})")
    return error


@contextmanager
def locked(folder, refusal: str | None = None):
    """Holds a lock on an existing folder while the block runs; no file is made for it.

    If another process holds the lock, this one waits for it, or, with a ``refusal``, raises
    LakhnesError with these words. Windows and some network file systems have no such lock; there
    the block runs without one.
    """
    descriptor = None
    try:
        try:
            import fcntl

            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError:
            raise LakhnesError(f"{folder}: {refusal}") from None
        except (ImportError, OSError):
            pass
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def check_target(path, names=()) -> None:
    """Raises LakhnesError unless a folder can be written at ``path`` without losing anything.

    The path may be free, an empty folder, or a folder that holds only files with these ``names``,
    which an earlier run has written.
    """
    path = Path(path)
    if path.is_dir():
        if path.samefile(os.curdir):
            rule = "is the folder you are in, which cannot be replaced; name another one"
            raise LakhnesError(f"{path}: {rule}")
        for entry in sorted(path.iterdir()):
            if entry.is_dir() or entry.name not in names:
                rule = f"holds {entry.name}, which would be lost; name a new or an empty folder"
                raise LakhnesError(f"{path}: {rule}")
    elif path.exists():
        raise LakhnesError(f"{path}: is a file, and a folder is to be written; name another path")


@contextmanager
def replacing(path, folder: bool = False, names=()):
    """Yields a temporary Path beside ``path``, and moves it to ``path`` when the block ends well.

    path: the file, or with ``folder`` the folder, to write. Missing parents are made; a link is
        followed. The temporary path has the same ending.
    names: files that an older folder may hold and lose, as in ``check_target``, which is asked
        when the block has ended.
    After any error or Ctrl-C the temporary file or folder is removed and the old one is unchanged.
    Raises OutOfSpace when the disk is full, LakhnesError when the path cannot be written.
    """
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".{target.stem}-{uuid.uuid4().hex[:8]}{target.suffix}"
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise LakhnesError(f"{path}: is a pipe or a device, not a file that can be replaced")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            temporary.mkdir()
        yield temporary
        if folder and target.exists():
            check_target(path, names)
            old = temporary.with_name(temporary.name + "-old")
            os.replace(target, old)
            os.replace(temporary, target)
            shutil.rmtree(old)
        else:
            os.replace(temporary, target)
    except OSError as error:
        raise explained(error, path) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # a file, or nothing any more
            temporary.unlink()


@contextmanager
def interrupts(when: str):
    """Holds Ctrl-C back while the block runs, and raises KeyboardInterrupt when it has ended well.

    The first Ctrl-C only prints that the work stops ``when``, and fills the list that is yielded,
    so that the block can end early. A second Ctrl-C stops at once. Where Ctrl-C is not this
    program's own, as outside the main thread, nothing is changed.

    Example: ``with files.interrupts("when the pieces are saved"): save(pieces)``
    """
    interrupted = []

    def note(number, frame):
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(number)
        with suppress(RuntimeError):  # something else is being printed
            print(f"\nstopping {when}; Ctrl-C again stops at once", file=sys.stderr)

    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted:
        raise KeyboardInterrupt


def is_newer(path: Path, than: Path) -> bool:
    """Whether a file is there and has been written later than another one, or that one is not."""
    if not path.exists():
        return False
    return not than.exists() or path.stat().st_mtime > than.stat().st_mtime
