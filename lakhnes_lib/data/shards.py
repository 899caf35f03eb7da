"""Shards: what some files of a mapping run gave, saved as soon as they are mapped.

Paper: none. Notebook: none. ``lakh_mapping.py`` saves each shard as it is finished, so that a run
that was interrupted goes on after it. A shard is a packed split with its number for a name. What
else is known of its files is in ``NUMBER.json``, which is written last: with it the shard is whole.
"""

import json
from pathlib import Path

from lakhnes_lib.data.lakh import LakhSplit
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.files import check_target, replacing

_FILES = ("[0-9]*.npy", "[0-9]*.json", ".[0-9]*-????????.json")
"""What the folder may hold; with a dot before it, what a killed run had begun to write."""


def check_folder(folder: Path) -> None:
    """Raises LakhnesError if the folder of shards holds anything else."""
    check_target(folder, {path.name for form in _FILES for path in folder.glob(form)})


def save(folder: Path, number: int, songs: LakhSplit, details: dict) -> None:
    """Writes one shard: its songs, and plain values, among them the ``origin`` of its run."""
    songs.name = f"{number:06}"
    with replacing(folder / f"{songs.name}.json") as temporary:
        songs.save(folder)
        described = {"splits": {songs.name: songs.described()}}
        temporary.write_text(json.dumps(details | described), encoding="utf-8")


def load(folder: Path, number: int, origin: str) -> tuple[LakhSplit, dict] | None:
    """One shard, in memory, or None if it is not there or is not as it was written.

    Raises LakhnesError if it is of another origin.
    """
    name = f"{number:06}"
    try:
        details = json.loads((folder / f"{name}.json").read_bytes())
        songs = LakhSplit.opened(folder, name, details, mmap_mode=None)
    except Exception:  # NumPy raises whatever it meets in a damaged file
        return None
    if details["origin"] != origin:
        reason = "was begun from other files or with other options; use the same, or remove it"
        raise LakhnesError(f"{folder}: {reason}")
    return songs, details
