"""Archives: unpacked without trusting them, and told apart by what they hold.

Paper: none. Notebook: none. Only plain files with harmless names are written, by this module and not by ``tarfile``:
no links, devices, owners or permissions. What an archive may unpack to is limited before it is read.
"""

import bz2
import gzip
import hashlib
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from lakhnes_lib.errors import BadArchive

RECEIPT = "receipt.json"
"""Written beside the content, and no part of it."""
ENDINGS = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar")
CHUNK = 1 << 18
_LARGEST_HEADER = 1 << 20


@dataclass(frozen=True)
class Inventory:
    """Number of files, bytes in all, fingerprint: sha256 over the lines ``<sha256>  <name>\\n``, sorted by name."""

    files: int
    bytes: int
    fingerprint: str


def _inventory(rows: list[tuple[str, str, int]]) -> Inventory:
    lines = "".join(f"{digest}  {name}\n" for name, digest, _ in sorted(rows))
    return Inventory(
        len(rows), sum(size for *_, size in rows), hashlib.sha256(lines.encode()).hexdigest()
    )


def content_of(folder, content: str | None) -> list[Path]:
    """The files below ``folder`` that match the pattern ``content`` (None: all), less hidden files and the receipt."""
    named = ((path, path.relative_to(folder).as_posix()) for path in Path(folder).rglob("*"))
    return [
        path
        for path, name in named
        if _wanted(name, content) and name != RECEIPT and path.is_file()
    ]


def fingerprint(folder, content: str | None = None) -> Inventory:
    """What ``folder`` holds, by reading all of it (about a second for 5,000 songs)."""
    folder, rows = Path(folder), []
    for path in content_of(folder, content):
        data = path.read_bytes()
        rows.append(
            (path.relative_to(folder).as_posix(), hashlib.sha256(data).hexdigest(), len(data))
        )
    return _inventory(rows)


def is_archive(path) -> bool:
    """Whether a file is a tar or zip archive by its name, which a damaged one keeps, or by its first bytes."""
    named = Path(path).name.lower().endswith((*ENDINGS, ".zip"))
    return named or tarfile.is_tarfile(path) or zipfile.is_zipfile(path)


def sha256(path) -> str:
    """Of one file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wanted(name: str, content: str | None) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return (
        bool(name) and not hidden and (content is None or re.fullmatch(content, name) is not None)
    )


def _relative(name: str, content: str | None) -> str:
    """Name below the data set's folder, whatever folders the archive has around it; "" if it does not belong to it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if content is None:
        starts = [1] if len(parts) > 1 else [0]
    else:
        starts = range(len(parts))
    names = ("/".join(parts[start:]) for start in starts)
    return next((name for name in names if _wanted(name, content)), "")


class _Bounded:
    """Forward-only reader that ends at a limit, so that no archive grows without end, in memory or on disk."""

    def __init__(self, file, most_bytes: int):
        self.file, self.most_bytes, self.place, self.last = file, most_bytes, 0, b""

    def read(self, size: int) -> bytes:
        if size > _LARGEST_HEADER:
            raise BadArchive(f"has a header of {size:,} bytes")
        data = self.last = self.file.read(size)
        self.place += len(data)
        if self.place > self.most_bytes:
            raise BadArchive(f"unpacks to more than {self.most_bytes:,} bytes")
        return data

    def tell(self) -> int:
        return self.place

    def seek(self, place: int) -> None:
        while self.place < place:
            if not self.read(min(CHUNK, place - self.place)):
                raise EOFError("ends early")


def _open(path: Path):
    with open(path, "rb") as file:
        start = file.read(6)
    for magic, opener in (
        (b"\x1f\x8b", gzip.open),
        (b"\xfd7zXZ\x00", lzma.open),
        (b"BZh", bz2.open),
    ):
        if start.startswith(magic):
            return opener(path, "rb")
    return open(path, "rb")


def _leads_out(name: str) -> bool:
    return (
        name.startswith("/")
        or "\\" in name
        or "\0" in name
        or ":" in name
        or ".." in name.split("/")
    )


def _check(member: tarfile.TarInfo) -> None:
    name = member.name
    if _leads_out(name):
        raise BadArchive(
            f"holds the name {name!r}, which leads out of its folder or is not portable"
        )
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise BadArchive(f"holds {name!r}, which is a link or a device, not a plain file")


def _write(source, target: Path, md5_name: bool, member: str) -> tuple[str, int]:
    """One member to a new file; returns sha256 and size."""
    digest, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(target, "xb") as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)
                digest.update(chunk)
                if md5_name:
                    md5.update(chunk)
                size += len(chunk)
    except FileExistsError:
        raise BadArchive(f"holds {member!r} twice") from None
    if md5_name and md5.hexdigest() != target.stem:
        raise BadArchive(
            f"holds {member!r}, whose bytes are not those that its name (its md5) says"
        )
    return digest.hexdigest(), size


def unpack(
    archive,
    folder,
    *,
    content: str | None = None,
    md5_names: bool = False,
    most_bytes: int,
    most_members: int,
    files: int | None = None,
    progress: bool = False,
) -> Inventory:
    """The data set's files out of a tar archive (plain, gzip, xz or bzip2) into the existing, empty ``folder``.

    content: pattern of the wanted files' relative names; None takes all, less the archive's first folder.
    most_bytes, most_members: limits over everything in the archive, wanted or not.  files: their number, for the bar.
    Raises BadArchive, naming the archive and the member, when it is damaged, cut off, too large, or holds links,
    devices, names that lead elsewhere, or a file that is not what its name says. OSError of the disk passes through.
    """
    archive, folder, rows, members = Path(archive), Path(folder), [], 0
    bar = tqdm(total=files, unit="file", desc="unpacking", disable=not progress, leave=False)
    with _damage_told(archive), bar:
        for member, source in _tar_members(archive, most_bytes):
            members += 1
            if members > most_members:
                raise BadArchive(f"holds more than {most_members:,} members")
            _check(member)
            name = _relative(member.name, content) if member.isreg() else ""
            if name:
                rows.append((name, *_write(source, folder / name, md5_names, member.name)))
                bar.update()
    if not rows:
        raise BadArchive(f"{archive.name}: holds none of the files it should")
    return _inventory(rows)


def _tar_members(archive: Path, most_bytes: int) -> Iterator[tuple[tarfile.TarInfo, object]]:
    """Each member and, of plain files, what its content can be read from until the next is asked for."""
    with _open(archive) as plain:
        stream = _Bounded(plain, most_bytes)
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # or a large archive's members would all be kept in memory
                yield member, tar.extractfile(member) if member.isreg() else None
            if stream.last.strip(b"\0"):  # tarfile takes a block that is no header for the end
                raise EOFError("a header is damaged")
            while stream.read(CHUNK):  # to the end, where the compressed file's checksum stands
                pass


@contextmanager
def _damage_told(archive: Path):
    try:
        yield
    except BadArchive as error:
        raise BadArchive(f"{archive.name}: {error}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise BadArchive(f"{archive.name}: is damaged or cut off ({error})") from error
    except OSError as error:
        if (
            error.errno is None
        ):  # gzip and bz2 report damage this way; the disk's errors have a number
            raise BadArchive(f"{archive.name}: is damaged or cut off ({error})") from error
        raise


def contents(archive, most_bytes: int, most_each: int) -> Iterator[tuple[str, bytes | None]]:
    """Name and first ``most_each`` bytes of each plain file in a tar or zip archive, in its order; nothing is unpacked.

    None stands for the bytes of a file whose name leads elsewhere, or that is encrypted. Links and devices are passed
    over. Raises BadArchive, when it gets there, where the archive is damaged, cut off, or unpacks to more than
    ``most_bytes``.
    """
    archive = Path(archive)
    with _damage_told(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                for entry in (entry for entry in packed.infolist() if not entry.is_dir()):
                    if entry.flag_bits & 1 or _leads_out(entry.filename):
                        yield entry.filename, None
                        continue
                    with packed.open(entry) as source:
                        yield entry.filename, source.read(most_each)
            return
        for member, source in _tar_members(archive, most_bytes):
            if source is not None:
                yield member.name, None if _leads_out(member.name) else source.read(most_each)
