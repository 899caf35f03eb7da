"""Measured numbers as data: one JSON file a benchmark, with what is needed to measure them again.

Paper: §6 (its numbers are what these stand beside). Notebook: 07_quantitative_analysis. Benchmarks
write the files (``benchmarks/_shared.py``); the README's tables are made from them.
Differences from the paper: it published no such files.
"""

import json
from pathlib import Path

from lakhnes_lib import profiles
from lakhnes_lib.errors import DataNotFound, LakhnesError

FIELDS = "name command data_fingerprint versions hardware commit date values".split()
"""What a file holds. command: measures it again; data_fingerprint: the corpus's, or null; versions:
of Python and of packages; hardware: processor, cores that could be used, GPU; commit: what was
measured, with a plus if files had changed since, null if not known; date: ISO 8601, UTC; values:
the numbers themselves."""


def path_of(name: str, folder=None) -> Path:
    """The path of a result's file: in ``folder``, or in the repository's ``results``."""
    return (profiles.root() / "results" if folder is None else Path(folder)) / f"{name}.json"


def read(name: str, folder=None) -> dict:
    """One result as a dictionary with the keys ``FIELDS``. Raises DataNotFound if there is none,
    LakhnesError if its file holds anything else."""
    path = path_of(name, folder)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if missing := [field for field in FIELDS if field not in result]:
            raise ValueError(f"{missing[0]} is missing")
    except FileNotFoundError:
        raise DataNotFound(f"{path}: there is no such result; `make bench` measures it") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise LakhnesError(f"{path}: is not a result ({error})") from None
    return result
