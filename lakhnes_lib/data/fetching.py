"""Brings a data set of the registry onto this machine: verified, resumable, atomically in place.

Paper: §3.1, §4.2, §6 (what was published). Notebook: none by itself; ``lakhnes data fetch NAME`` does the same.
Differences from the paper: none in content. ``fetch`` hands out a folder only after its files have been compared with
the published hash, each time it is called.
"""

import errno
import json
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

from lakhnes_lib import profiles
from lakhnes_lib.data import archives
from lakhnes_lib.data.archives import ENDINGS, RECEIPT, Inventory
from lakhnes_lib.data.registry import REGISTRY, DataSet, find
from lakhnes_lib.errors import BadArchive, DataNotFound, LakhnesError, OutOfSpace
from lakhnes_lib.files import locked, replacing

__all__ = ["REGISTRY", "DataSet", "fetch", "find", "folder", "home"]

HOME_VARIABLE, MIRROR_VARIABLE = "LAKHNES_HOME", "LAKHNES_MIRROR"
_HELP = 'TROUBLESHOOTING.md, "Data"'


def home() -> Path:
    """Where data sets lie: LAKHNES_HOME, else ``data/`` of the checkout, else ``~/.cache/lakhnes``."""
    if chosen := os.environ.get(HOME_VARIABLE):
        return Path(chosen).expanduser()
    if (profiles.root() / "profiles").is_dir():
        return profiles.root() / "data"
    return Path.home() / ".cache" / "lakhnes"


def folder(name: str, in_home=None) -> Path:
    """Where the data set ``name`` lies once fetched (it need not be there); ``in_home``: instead of ``home()``."""
    return (home() if in_home is None else Path(in_home)) / find(name).folder


def fetch(name: str, *, mirror=None, home=None, progress: bool = True, verify: bool = True) -> Path:
    """The folder of the data set ``name``, brought here if it is not here yet.

    mirror: a folder that holds an archive of the same content, asked instead of the official address; the environment
    variable LAKHNES_MIRROR names one that is asked first.  home: instead of ``home()``.
    verify: when the folder is here already, read all of it and compare fingerprints; False compares number and size.
    A lost connection or Ctrl-C leaves ``.NAME.part`` beside the folder's place, from which the next call goes on;
    nothing else ever stays of a fetch that failed.
    Raises DataNotFound (unknown name, no network, not there any more), BadArchive (not what was published; damaged;
    hostile; changed since), OutOfSpace, LakhnesError (folder not writable).
    """
    entry, place = find(name), folder(name, home)
    if place.exists():
        _check_here(entry, place, verify)
        return place
    with _one_at_a_time(place.parent):
        if place.exists():  # another process has brought it meanwhile
            _check_here(entry, place, verify)
            return place
        for stale in place.parent.glob(f".{place.name}-????????"):  # of a process that was killed
            shutil.rmtree(stale, ignore_errors=True)
        archive = _in_mirror(entry, mirror)
        try:
            if archive is not None:
                _install(entry, archive, place, f"mirror: {archive.name}", progress)
            else:
                _from_official(entry, place, progress)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OutOfSpace(
                    f"{place}: the disk is full; nothing of {name} was kept"
                ) from error
            raise LakhnesError(f"{error.filename or place}: {error.strerror or error}") from error
    return place


def _from_official(entry: DataSet, place: Path, progress: bool) -> None:
    from lakhnes_lib.data.download import (  # here, so that data at hand is read without requests
        Interrupted,
        download,
    )

    if entry.url is None:
        raise DataNotFound(
            f"{entry.name}: has no official archive of its own; point --mirror or {MIRROR_VARIABLE} "
            f"to a folder that holds {entry.archive} ({entry.page})"
        )
    part = place.parent / f".{entry.name}.part"
    try:
        resumed = part.exists()
        if not (resumed and entry.sha256 == archives.sha256(part)):
            download(
                entry.url, part, what=entry.name, most_bytes=entry.most_bytes, progress=progress
            )
        try:
            _install(entry, part, place, entry.url, progress)
        except BadArchive:
            if not resumed:
                raise
            part.unlink()  # the end may not belong to the beginning that was here: once more, from the start
            download(
                entry.url, part, what=entry.name, most_bytes=entry.most_bytes, progress=progress
            )
            _install(entry, part, place, entry.url, progress)
    except KeyboardInterrupt:
        raise
    except Interrupted as error:
        raise DataNotFound(_with_way_out(entry, error)) from error
    except (DataNotFound, BadArchive) as error:
        part.unlink(missing_ok=True)
        raise type(error)(_with_way_out(entry, error)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.unlink()


def _with_way_out(entry: DataSet, error: LakhnesError) -> str:
    return f"{error}; the archive can also be had from {entry.page} by hand and given with --mirror ({_HELP})"


def _install(entry: DataSet, archive: Path, place: Path, source: str, progress: bool) -> None:
    """Unpacks ``archive`` beside ``place``, compares it with the registry, writes the receipt and moves it in."""
    known_content = entry.fingerprint is not None or entry.md5_names
    if entry.sha256 is not None and (source == entry.url or not known_content):
        found = archives.sha256(archive)
        if found != entry.sha256:
            raise BadArchive(
                f"{entry.name}: {source} is not the published file (sha256 {found}, not {entry.sha256})"
            )
    with replacing(place, folder=True) as temporary:
        inventory = archives.unpack(
            archive,
            temporary,
            content=entry.content,
            md5_names=entry.md5_names,
            most_bytes=entry.most_bytes,
            most_members=entry.most_members,
            files=entry.files,
            progress=progress,
        )
        _compare(entry, inventory, entry.fingerprint, entry.files, source)
        receipt = {"data_set": entry.name, "source": source} | vars(inventory)
        (temporary / RECEIPT).write_text(json.dumps(receipt, indent=1) + "\n", encoding="utf-8")


def _compare(
    entry: DataSet, found: Inventory, fingerprint: str | None, files: int | None, where: str
) -> None:
    if files is not None and found.files != files:
        raise BadArchive(f"{entry.name}: {where} holds {found.files:,} files of it, not {files:,}")
    if fingerprint is not None and found.fingerprint != fingerprint:
        raise BadArchive(
            f"{entry.name}: {where} holds other bytes than were published (fingerprint {found.fingerprint})"
        )


def _check_here(entry: DataSet, place: Path, verify: bool) -> None:
    """Compares the folder with its receipt and the registry.

    A folder unpacked by hand, so without a receipt, will do if the registry knows its fingerprint.
    """
    try:
        receipt = json.loads((place / RECEIPT).read_text(encoding="utf-8"))
        recorded = Inventory(
            int(receipt["files"]), int(receipt["bytes"]), str(receipt["fingerprint"])
        )
    except FileNotFoundError:
        recorded = None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadArchive(
            f"{place / RECEIPT}: is not a receipt any more; remove {place} and fetch {entry.name} again"
        ) from error
    expected = entry.fingerprint or (recorded.fingerprint if recorded else None)
    if expected is None:
        raise BadArchive(
            f"{place}: has no {RECEIPT} to verify it by; remove it and fetch {entry.name} again"
        )
    try:
        if verify or recorded is None:
            _compare(
                entry, archives.fingerprint(place, entry.content), expected, entry.files, str(place)
            )
            return
        sizes = [path.stat().st_size for path in archives.content_of(place, entry.content)]
        if (len(sizes), sum(sizes)) != (recorded.files, recorded.bytes):
            raise BadArchive(
                f"{entry.name}: {place} holds other files than were fetched ({len(sizes):,}, {sum(sizes):,} bytes)"
            )
    except BadArchive as error:
        raise BadArchive(
            f"{error}; remove that folder and fetch {entry.name} again ({_HELP})"
        ) from error
    except OSError as error:
        raise LakhnesError(f"{error.filename}: cannot be read ({error.strerror})") from error


def _in_mirror(entry: DataSet, mirror) -> Path | None:
    """The mirror's archive for ``entry``: by name, with any compression, else by the published sha256."""
    chosen = mirror if mirror is not None else os.environ.get(MIRROR_VARIABLE)
    if not chosen:
        return None
    mirror_folder = Path(chosen).expanduser()
    if not mirror_folder.is_dir():
        raise DataNotFound(f"{mirror_folder}: the mirror is not a folder")
    stem = entry.archive.removesuffix(ENDINGS[0])
    for ending in ENDINGS:
        if (archive := mirror_folder / f"{stem}{ending}").is_file():
            return archive
    if entry.sha256 is not None:
        for archive in sorted(mirror_folder.iterdir()):
            if (
                archive.name.endswith(ENDINGS)
                and archive.is_file()
                and archives.sha256(archive) == entry.sha256
            ):
                return archive
    if mirror is not None or entry.url is None:
        raise DataNotFound(
            f"{mirror_folder}: holds no {stem}.tar.gz (or .tar.xz, .tar.bz2, .tgz, .tar) for {entry.name}"
        )
    return None


@contextmanager
def _one_at_a_time(parent: Path):
    """Makes the folder and locks it, so that two fetches never write the same part."""
    new = [place for place in (parent, *parent.parents) if not place.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LakhnesError(f"{parent}: cannot be made ({error.strerror})") from error
    try:
        with locked(parent):
            yield
    finally:
        with suppress(OSError):
            for place in new:
                place.rmdir()  # only if it is empty, that is, after a failure
