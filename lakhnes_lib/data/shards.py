"""Shards: what some files of a mapping run gave, and the folder in which finished ones are saved.

Paper: none. Notebook: none. ``lakh_mapping.py`` saves each shard as it is finished, so that a run
that was interrupted goes on after it.
"""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from zipfile import is_zipfile

import numpy as np

from lakhnes_lib.data.lakh import LakhSplit
from lakhnes_lib.errors import BadCorpus, LakhnesError
from lakhnes_lib.files import check_target, replacing, write_file

COUNTS = np.dtype([("examples", "i8"), ("events", "i8"), ("ticks", "i8"), ("voices", "i8", 4)])
"""Of a song's published examples: how many, their events and their length together, and in how many
each voice sounds."""
_FILES = ("run.json", "[0-9]*.npz", ".run-????????.json", ".[0-9]*-????????.npz")
"""What the folder may hold; with a dot before it, what a killed run had begun to write."""


@dataclass(frozen=True)
class Shard:
    """What some files gave. songs: those accepted. counts: ``COUNTS`` (songs,). files: the name of
    each song's file. rejected: file -> reason."""

    songs: LakhSplit
    counts: np.ndarray
    files: list[str]
    rejected: dict[str, str] = field(default_factory=dict)


def begin(folder: Path, origin: dict) -> set[int]:
    """Makes the folder for a run from this origin (plain values), or goes on with an earlier one.

    Returns the numbers of the shards that are done. Raises LakhnesError if the folder holds
    anything else, or shards of another origin.
    """
    check_target(folder, {path.name for form in _FILES for path in folder.glob(form)})
    record = folder / "run.json"
    fingerprint = sha256(json.dumps(origin).encode()).hexdigest()
    done = {int(path.stem) for path in folder.glob("[0-9]*.npz") if is_zipfile(path)}
    if done and not (record.exists() and json.loads(record.read_bytes()) == fingerprint):
        raise LakhnesError(
            f"{folder}: was begun from other files or with other options; "
            "use the same, or remove it"
        )
    write_file(record, json.dumps(fingerprint))
    return done


def save(folder: Path, number: int, shard: Shard) -> None:
    """Writes one shard, whole or not at all."""
    arrays = {part: getattr(shard.songs, part) for part in LakhSplit.PARTS}
    texts = {"names": shard.songs.names, "files": shard.files, "rejected": shard.rejected}
    arrays["texts"] = np.frombuffer(json.dumps(texts).encode(), np.uint8)
    with replacing(folder / f"{number:06}.npz") as temporary:
        np.savez(temporary, counts=shard.counts, **arrays)


def load_all(folder: Path) -> list[Shard]:
    """All shards of a folder, by number. Raises BadCorpus, which names a damaged one."""
    return [_load(path) for path in sorted(folder.glob("[0-9]*.npz"))]


def _load(path: Path) -> Shard:
    try:
        with np.load(path, allow_pickle=False) as saved:
            texts = json.loads(saved["texts"].tobytes())
            songs = LakhSplit("", texts["names"], *(saved[part] for part in LakhSplit.PARTS))
            return Shard(songs, saved["counts"], texts["files"], texts["rejected"])
    except Exception as error:  # NumPy raises whatever it meets in a damaged file
        raise BadCorpus(f"{path}: is damaged ({error}); remove it and begin again") from None
