"""Brings a data set of the registry onto this machine: verified, resumable, complete or not at all.

Paper: §3.1, §4.2, §6 (what was published). Notebook: none by itself; ``lakhnes data fetch NAME``
does the same. Differences from the paper: none in content. ``fetch`` gives a folder only after its
files have been compared with the published hash, each time it is called.
"""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from lakhnes_lib import profiles
from lakhnes_lib.data import archives
from lakhnes_lib.data.archives import ENDINGS, RECEIPT
from lakhnes_lib.data.registry import DataSet, find
from lakhnes_lib.errors import BadArchive, DataNotFound, LakhnesError
from lakhnes_lib.files import explained, locked, replacing

HOME_VARIABLE, MIRROR_VARIABLE = "LAKHNES_HOME", "LAKHNES_MIRROR"
_HELP = 'TROUBLESHOOTING.md, "Data"'


def home() -> Path:
    """The folder of all data sets: LAKHNES_HOME, else ``data/`` of the checkout, else
    ``~/.cache/lakhnes``."""
    if chosen := os.environ.get(HOME_VARIABLE):
        return Path(chosen).expanduser()
    checkout = profiles.workspace(otherwise=None)
    return checkout / "data" if checkout else Path.home() / ".cache" / "lakhnes"


def folder(name: str, in_home=None) -> Path:
    """The folder of the data set ``name``, fetched or not; ``in_home``: instead of ``home()``."""
    return (home() if in_home is None else Path(in_home)) / find(name).folder


def fetch(name: str, *, mirror=None, home=None, progress: bool = True) -> Path:
    """The folder of the data set ``name``, brought here if it is not here yet.

    A folder that is here is verified. Otherwise the archive comes from a mirror, and if that lacks
    it, from the official address.
    mirror: a folder that holds an archive of the same content, asked instead of the official
        address. The environment variable LAKHNES_MIRROR names one that is asked first.
    home: instead of ``home()``.
    A lost connection or Ctrl-C leaves ``.NAME.part`` beside the folder, from which the next call
    goes on. Nothing else stays of a fetch that failed.
    Raises DataNotFound (unknown name, no network, not there any more), BadArchive (not what was
    published; damaged; hostile; changed since), OutOfSpace, LakhnesError (folder not writable).

    Example: ``fetch("nesmdb-midi") / "train"`` holds 4,502 MIDI files.
    """
    data_set, target = find(name), folder(name, home)
    if not target.exists():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with locked(target.parent):
                if not target.exists():  # another process may have brought it meanwhile
                    _bring(data_set, target, mirror, progress)
                    return target
        except OSError as error:
            raise explained(error, target) from None
    _verify(data_set, target)
    return target


def _bring(data_set: DataSet, target: Path, mirror, progress: bool) -> None:
    for stale in target.parent.glob(f".{target.name}-????????"):  # of a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    archive = _find_in_mirror(data_set, mirror)
    if archive is not None:
        _install(data_set, archive, target, f"mirror: {archive.name}", progress)
    elif data_set.url is not None:
        _bring_from_official(data_set, target, progress)
    else:
        rule = "has no official archive of its own"
        how = f"point --mirror or {MIRROR_VARIABLE} to a folder that holds {target.name}.tar.gz"
        raise DataNotFound(f"{data_set.name}: {rule}; {how} ({data_set.page})")


def _find_in_mirror(data_set: DataSet, mirror) -> Path | None:
    """The mirror's archive, found by its name with any compression, else by its sha256.

    None if there is no mirror, or if it lacks the archive and the official address may be asked.
    """
    chosen = mirror if mirror is not None else os.environ.get(MIRROR_VARIABLE)
    if not chosen:
        return None
    mirror_folder = Path(chosen).expanduser()
    if not mirror_folder.is_dir():
        raise DataNotFound(f"{mirror_folder}: the mirror is not a folder")
    names = [f"{Path(data_set.folder).name}{ending}" for ending in ENDINGS]
    for name in names:
        if (mirror_folder / name).is_file():
            return mirror_folder / name
    for path in sorted(mirror_folder.iterdir()) if data_set.sha256 else ():
        is_archive = path.name.endswith(ENDINGS) and path.is_file()
        if is_archive and archives.sha256(path) == data_set.sha256:
            return path
    if mirror is not None or data_set.url is None:
        raise DataNotFound(f"{mirror_folder}: holds no {' or '.join(names)} for {data_set.name}")
    return None


def _bring_from_official(data_set: DataSet, target: Path, progress: bool) -> None:
    part = target.parent / f".{data_set.name}.part"
    if part.exists():  # an interrupted fetch has left it
        with suppress(BadArchive):  # it may have begun with another file
            return _download_and_install(data_set, part, target, progress)
    _download_and_install(data_set, part, target, progress)


def _download_and_install(data_set: DataSet, part: Path, target: Path, progress: bool) -> None:
    """Goes on with the download in ``part`` and unpacks it; ``part`` stays only for the next call
    to go on from: after a lost connection or Ctrl-C."""
    from lakhnes_lib.data.download import Interrupted, download  # data at hand needs no requests

    try:
        if not (part.exists() and archives.sha256(part) == data_set.sha256):
            what, most_bytes = data_set.name, data_set.most_bytes
            download(data_set.url, part, what=what, most_bytes=most_bytes, progress=progress)
        _install(data_set, part, target, data_set.url, progress)
    except (OSError, LakhnesError) as error:
        if not isinstance(error, Interrupted):
            part.unlink(missing_ok=True)
        if isinstance(error, DataNotFound | BadArchive):
            how = f"had from {data_set.page} by hand and given with --mirror ({_HELP})"
            raise type(error)(f"{error}; the archive can also be {how}") from None
        raise
    part.unlink()


def _install(data_set: DataSet, archive: Path, target: Path, source: str, progress: bool) -> None:
    """Unpacks an archive beside ``target``, compares it with the registry, and moves it there.

    source: where the archive comes from, for messages and the receipt.
    """
    is_known_by_content = data_set.fingerprint is not None or data_set.md5_names
    must_be_official = source == data_set.url or not is_known_by_content
    if data_set.sha256 is not None and must_be_official:
        sha256 = archives.sha256(archive)
        if sha256 != data_set.sha256:
            rule = f"is not the published file (sha256 {sha256}, not {data_set.sha256})"
            raise BadArchive(f"{data_set.name}: {source} {rule}")
    with replacing(target, folder=True) as temporary:
        inventory = archives.unpack(archive, temporary, data_set, progress)
        _compare(data_set, inventory, data_set.fingerprint, source)
        receipt = {"data_set": data_set.name, "source": source} | inventory
        (temporary / RECEIPT).write_text(json.dumps(receipt, indent=1) + "\n", encoding="utf-8")


def _compare(data_set: DataSet, inventory: dict, fingerprint: str | None, source) -> None:
    """Raises BadArchive unless an inventory has this fingerprint; None stands for any."""
    if fingerprint not in (None, inventory["fingerprint"]):
        size = f"{inventory['files']:,} files, fingerprint {inventory['fingerprint']}"
        rule = "holds other bytes than were published"
        raise BadArchive(f"{data_set.name}: {source} {rule} ({size})")


def _verify(data_set: DataSet, target: Path) -> None:
    """Compares a data set's folder with the registry or, if that has no fingerprint, its receipt.

    A folder unpacked by hand has no receipt, and will do if the registry knows its fingerprint.
    """
    expected = data_set.fingerprint or _fingerprint_in(target / RECEIPT)
    try:
        if expected is None:
            raise BadArchive(f"{target}: has no {RECEIPT} to verify it by")
        _compare(data_set, archives.take_inventory(target, data_set.content), expected, target)
    except BadArchive as error:
        advice = f"remove that folder and fetch {data_set.name} again ({_HELP})"
        raise BadArchive(f"{error}; {advice}") from None
    except OSError as error:
        raise LakhnesError(f"{error.filename}: cannot be read ({error.strerror})") from None


def _fingerprint_in(path: Path) -> str | None:
    """What ``_install`` has written down; None if there is no receipt, or not one any more."""
    try:
        return str(json.loads(path.read_bytes())["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
