"""Archives: read and unpacked without trusting them, and inventories of what a folder holds.

Paper: none. Notebook: none. ``tarfile`` reads an archive, and its data filter refuses devices and
what leads out of the folder. This module adds what the filter leaves out: bytes and members are
limited, a damaged header is not taken for the archive's end, and a compressed file is read to its
end, so that its checksum is compared.
"""

import errno
import hashlib
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from lakhnes_lib.data.registry import DataSet
from lakhnes_lib.errors import BadArchive

RECEIPT = "receipt.json"
"""This file is written beside a data set's files, and does not belong to them."""
ENDINGS = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error)
_CHUNK = 1 << 18
_LARGEST_HEADER = 1 << 20


def take_inventory(folder, content: str | None = None) -> dict:
    """What a folder holds of a data set: the number of ``files``, and their ``fingerprint``.

    The fingerprint is the sha256 over one line ``<sha256>  <name>`` for each file, sorted by name.
    To read all files takes a second for 5,000 songs. Hidden files and the receipt are left out.
    content: a pattern of the files' names relative to the folder; None takes all.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in Path(folder).rglob("*")}
    names = [name for name in sorted(paths) if _belongs(name, content) and name != RECEIPT]
    lines = [f"{sha256(paths[name])}  {name}\n" for name in names if paths[name].is_file()]
    fingerprint = hashlib.sha256("".join(lines).encode()).hexdigest()
    return {"files": len(lines), "fingerprint": fingerprint}


def sha256(path) -> str:
    """The sha256 of one file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_archive(path) -> bool:
    """Whether a file is a tar or zip archive: by its ending, which tells it of a damaged one too,
    or by its content."""
    is_named_so = Path(path).name.lower().endswith((*ENDINGS, ".zip"))
    is_file = Path(path).is_file()  # a pipe may never answer
    return is_file and (is_named_so or tarfile.is_tarfile(path) or zipfile.is_zipfile(path))


def unpack(archive, folder, data_set: DataSet, progress: bool = False) -> dict:
    """Unpacks a data set's files from a tar archive into an empty folder; returns its inventory.

    The archive may be plain or compressed by gzip, xz or bzip2, and may have any folders around
    the data set's own. The data set's limits hold for all members, wanted or not.
    Raises BadArchive, which names the archive, if it is damaged or cut off, too large, holds links
    or names that lead out of the folder, or devices, holds a file whose bytes do not have the md5
    that is its name (where names are md5), or holds none of the files.
    """
    archive, folder, members = Path(archive), Path(folder), 0
    bar = tqdm(desc="unpacking", total=data_set.files, unit="file", disable=not progress)
    with _damage_reported(archive), bar:
        for tar, member in _tar_members(archive, data_set.most_bytes):
            members += 1
            if members > data_set.most_members:
                raise BadArchive(f"holds more than {data_set.most_members:,} members")
            tarfile.data_filter(member, folder)  # raises for links, devices and paths outside
            name = _name_in_folder(member.name, data_set.content) if member.isreg() else ""
            if name:
                _extract(tar, member, folder, name, data_set.md5_names)
                bar.update()
        inventory = take_inventory(folder, data_set.content)
        if not inventory["files"]:
            raise BadArchive("holds none of the files it should")
    return inventory


def contents(archive, most_bytes: int, most_each: int) -> Iterator[tuple[str, bytes | None]]:
    """Name and first ``most_each`` bytes of each file in a tar or zip archive, in its order.

    Nothing is unpacked; links and devices are passed over. The bytes are None for a file that is
    encrypted or packed by a method that Python lacks (Deflate64). Raises BadArchive, when the
    reading gets there, where the archive is damaged or cut off, or has unpacked to more than
    ``most_bytes``.
    """
    archive = Path(archive)
    with _damage_reported(archive):
        if not zipfile.is_zipfile(archive):
            for tar, member in _tar_members(archive, most_bytes):
                if member.isreg():
                    yield member.name, tar.extractfile(member).read(most_each)
            return
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                if entry.flag_bits & 1 or entry.compress_type not in _METHODS:  # 1: encrypted
                    yield entry.filename, None
                elif not entry.is_dir():
                    with packed.open(entry) as file:
                        yield entry.filename, file.read(most_each)


class _Member(tarfile.TarInfo):
    """A member whose header is refused where ``tarfile`` would read on: a damaged one, which it
    takes for the archive's end, and one that would fill the memory."""

    @classmethod
    def frombuf(cls, *given):
        return cls._checked(super().frombuf, *given)

    @classmethod
    def _frombuf(cls, *given, **options):  # what newer Pythons read a header by, in its stead
        return cls._checked(super()._frombuf, *given, **options)

    @staticmethod
    def _checked(read, buffer, *given, **options):
        try:
            member = read(buffer, *given, **options)
        except tarfile.HeaderError:
            if buffer.strip(b"\0"):
                raise BadArchive("is damaged or cut off (a header is damaged)") from None
            raise
        if member.size > _LARGEST_HEADER and not member.isreg():
            raise BadArchive(f"has a header of {member.size:,} bytes")
        return member


def _tar_members(archive: Path, most_bytes: int) -> Iterator[tuple[tarfile.TarFile, _Member]]:
    """The open archive and each of its members; a member's content is read before the next one."""
    with tarfile.open(archive, tarinfo=_Member) as tar:
        while (member := tar.next()) is not None:
            if member.offset_data + member.size > most_bytes:
                raise BadArchive(f"unpacks to more than {most_bytes:,} bytes")
            tar.members.clear()  # tarfile would keep a large archive's members in memory
            yield tar, member
        while tar.fileobj.read(_CHUNK):  # to the end of a compressed file: its checksum is there
            if tar.fileobj.tell() > most_bytes:
                raise BadArchive(f"unpacks to more than {most_bytes:,} bytes")


def _belongs(name: str, content: str | None) -> bool:
    """Whether a file of this name, relative to the data set's folder, is one of its files."""
    is_hidden = any(part.startswith(".") for part in name.split("/"))
    return not is_hidden and (content is None or re.fullmatch(content, name) is not None)


def _name_in_folder(name: str, content: str | None) -> str:
    """A member's name relative to the data set's folder, or "" if the data set has no such file.

    The archive may have more folders around it. Without a pattern only the first one is taken off.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    firsts = range(len(parts)) if content else [min(1, len(parts) - 1)]
    names = ["/".join(parts[first:]) for first in firsts]
    return next((name for name in names if _belongs(name, content)), "")


def _extract(tar, member: tarfile.TarInfo, folder: Path, name: str, md5_names: bool) -> None:
    tar.extract(member.replace(name=name, deep=False), folder, set_attrs=False, filter="data")
    if md5_names:
        md5 = hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()
        if md5 != Path(name).stem:
            raise BadArchive(f"holds {member.name!r}, whose bytes do not have this md5")


@contextmanager
def _damage_reported(archive: Path):
    """Names the archive in every message; what the libraries say of damage becomes BadArchive."""
    try:
        yield
    except BadArchive as error:
        raise BadArchive(f"{archive.name}: {error}") from None
    except tarfile.FilterError as error:
        raise BadArchive(f"{archive.name}: may not be unpacked, since {error}") from None
    except (*_DAMAGE, lzma.LZMAError, OSError) as error:
        # An error of gzip and bz2 has no number; that of zip's wrong positions is EINVAL.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = " ".join(str(error).split())[:120]
        raise BadArchive(f"{archive.name}: is damaged or cut off ({reason})") from None
