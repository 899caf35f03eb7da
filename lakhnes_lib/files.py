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


@contextmanager
def replacing(path, folder: bool = False):
    """A fresh temporary place beside ``path`` that takes its place when the block ends well.

    path: file (or, with ``folder``, folder) to write; its parents are made.
    Yields the temporary Path, which keeps the ending of ``path``. On any error or Ctrl-C it is removed.
    Raises OutOfSpace when the disk is full, LakhnesError when the place cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            temporary.mkdir()
        yield temporary
        if folder and path.exists():
            old = temporary.with_name(temporary.name + "-old")
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(f"{path}: the disk is full; nothing of it was kept") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
            raise LakhnesError(f"{path}: cannot be written ({error.strerror})") from error
        raise
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
