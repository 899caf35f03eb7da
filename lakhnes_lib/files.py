"""Writing files so that nothing half-written is ever left behind."""

import errno
import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

from lakhnes_lib.errors import LakhnesError, OutOfSpace


def write_file(path, content: str | bytes) -> None:
    """Writes a whole file, text as UTF-8, by way of ``replacing``, and raises as it does."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_synced(path, content: bytes) -> None:
    """Writes a file in place and waits until it is on the disk, so that a power cut cannot empty it any more."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def locked(folder, taken: str | None = None):
    """Holds a lock on the folder itself (nothing to leave behind), after another process that has it.

    taken: what is the matter then, instead of waiting: raises LakhnesError with these words.
    Windows has no such lock, some network file systems neither: two processes at once are not guarded there.
    """
    handle = None
    try:
        try:
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if taken else 0))
        except BlockingIOError as error:
            raise LakhnesError(f"{folder}: {taken}") from error
        except (ImportError, OSError):
            pass
        yield
    finally:
        if handle is not None:
            os.close(handle)


def check_place(path, names=()) -> None:
    """Raises LakhnesError unless a folder may be written at ``path`` without a loss.

    There may be nothing, an empty folder, or one that holds nothing but files of these names, an earlier product.
    """
    path = Path(path)
    if path.is_dir():
        if path.samefile(os.curdir):
            raise LakhnesError(
                f"{path}: is the folder you are in, which cannot be replaced; name another one"
            )
        foreign = (
            entry.name
            for entry in sorted(path.iterdir())
            if entry.is_dir() or entry.name not in names
        )
        if name := next(foreign, None):
            raise LakhnesError(
                f"{path}: holds {name}, which would be lost; name a new or an empty folder"
            )
    elif path.exists():
        raise LakhnesError(f"{path}: is a file, and a folder is to be written; name another place")


@contextmanager
def replacing(path, folder: bool = False, names=()):
    """A fresh temporary place beside ``path`` that takes its place when the block ends well; links are followed.

    path: file (or, with ``folder``, folder) to write; its parents are made.
    names: files that an old folder may hold and lose, as ``check_place`` has it; looked at when the block is done.
    Yields the temporary Path, which keeps the ending of ``path``. On any error or Ctrl-C it is removed.
    Raises OutOfSpace when the disk is full, LakhnesError when the place cannot be written.
    """
    place = Path(os.path.realpath(path))
    temporary = place.parent / f".{place.stem}-{uuid.uuid4().hex[:8]}{place.suffix}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            temporary.mkdir()
        yield temporary
        if folder and place.exists():
            check_place(path, names)
            old = temporary.with_name(temporary.name + "-old")
            os.replace(place, old)
            os.replace(temporary, place)
            shutil.rmtree(old)
        else:
            os.replace(temporary, place)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(f"{path}: the disk is full; nothing of it was kept") from error
        if error.errno in (
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.ENOTDIR,
            errno.EISDIR,
            errno.EEXIST,
        ):
            raise LakhnesError(f"{path}: cannot be written ({error.strerror})") from error
        raise
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
