"""Facts on NES-MDB, on mapped Lakh and on models, which come with the repository.

Paper: §3, 4.2, 6 and 7. Notebook: all of them; what a run computed from a few songs stands beside
these. ``tools/aggregates/write_aggregates.py`` measures and writes them.
Differences from the paper: it published none of them but what ``paper`` holds.
"""

import json

import numpy as np

from lakhnes_lib import profiles
from lakhnes_lib.errors import DataNotFound


def load(name: str) -> dict:
    """The content of ``assets/aggregates/NAME.json``; README.md beside it lists names and facts.

    Lists of numbers become NumPy arrays, int64, or float64 where one is no whole number or is
    missing. Under ``facts`` each has a ``description``, and a unit where it needs one. Raises
    DataNotFound for an unknown name.

    >>> pitches = load("nesmdb")["facts"]["pitches"]
    >>> pitches["lowest"]["TR"] + int(pitches["splits"]["all"]["TR"].argmax())  # MIDI pitch
    48
    """
    folder = profiles.root() / "assets" / "aggregates"
    known = sorted(path.stem for path in folder.glob("*.json"))
    if name not in known:
        raise DataNotFound(f"{name}: there are no such facts in {folder}, only {', '.join(known)}")
    return json.loads((folder / f"{name}.json").read_text("utf-8"), object_hook=_with_arrays)


def _with_arrays(table: dict) -> dict:
    """The same table with arrays for lists of numbers; None among them becomes not-a-number."""
    for key, value in table.items():
        if isinstance(value, list) and {type(each) for each in value} <= {int, float, type(None)}:
            table[key] = np.array(value, float if None in value else None)
    return table
