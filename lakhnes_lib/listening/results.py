"""Measured numbers as data: one JSON file a benchmark, with what is needed to measure them again.

Paper: §6 (its numbers are what these stand beside). Notebook: 07_quantitative_analysis. Benchmarks
write the files (``benchmarks/_shared.py``); the README's tables are made from them.
Differences from the paper: it published no such files.
"""

import json
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lakhnes_lib import profiles
from lakhnes_lib.errors import DataNotFound, LakhnesError, first_problem


class Result(BaseModel):
    """What a file holds. command: measures it again; data_fingerprint: the corpus's, or null;
    versions: of Python and of packages; hardware: processor, cores that could be used, GPU; commit:
    what was measured, with a plus if files had changed since, null if not known; date: ISO 8601,
    UTC; values: the numbers themselves."""

    model_config = ConfigDict(strict=True)

    name: str
    command: str
    data_fingerprint: str | None
    versions: dict
    hardware: dict
    commit: str | None
    date: str
    values: dict


def path_of(name: str, folder=None) -> Path:
    """The path of a result's file: in ``folder``, or in the repository's ``results``. Raises
    LakhnesError for a bad name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise LakhnesError(f"{name!r}: a result's name is lower-case letters, digits, - and _")
    return (profiles.root() / "results" if folder is None else Path(folder)) / f"{name}.json"


def read(name: str, folder=None) -> dict:
    """One result as a dictionary with the keys of ``Result``. Raises DataNotFound if there is none,
    LakhnesError if its file holds anything else."""
    path = path_of(name, folder)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        # Python reads two things that are not JSON: not-a-number and infinity.
        json.dumps(result, allow_nan=False)
        Result.model_validate(result)
    except FileNotFoundError:
        raise DataNotFound(f"{path}: there is no such result; `make bench` measures it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise LakhnesError(f"{path}: is not a result ({first_problem(error)})") from None
    if result["name"] != name:
        raise LakhnesError(f"{path}: is not a result called {name!r}")
    return result
