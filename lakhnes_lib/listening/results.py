"""Measured numbers as data: one JSON file a benchmark, with what is needed to measure them again.

Paper: §6 (its numbers are what these stand beside). Notebook: 07_quantitative_analysis; benchmarks
write them, the README's tables are made from them.
Differences from the paper: it published no such files.

A file holds: name; command, which measures it again; data_fingerprint of the corpus (or null);
versions of Python and of packages; hardware (cpu, cores that the process may use); commit that was
measured (with a plus if files had changed since; null if not known); date (ISO 8601, UTC); values,
the numbers themselves.
"""

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from lakhnes_lib import profiles
from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.files import write_file

FIELDS = {
    "name": str,
    "command": str,
    "data_fingerprint": str | None,
    "versions": dict,
    "hardware": dict,
    "commit": str | None,
    "date": str,
    "values": dict,
}
"""What every result holds, and of which type."""


def path_of(name: str, folder=None) -> Path:
    """The path of a result's file: in ``folder``, or in the repository's ``results``. Raises
    LakhnesError for a bad name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise LakhnesError(f"{name!r}: a result's name is lower-case letters, digits, - and _")
    return (profiles.root() / "results" if folder is None else Path(folder)) / f"{name}.json"


def write(
    name: str,
    values: dict,
    *,
    command: str,
    data_fingerprint=None,
    packages=("numpy",),
    folder=None,
) -> Path:
    """Writes one result, whole or not at all, and returns its path.

    values: numbers, texts, lists and tables by name (NumPy's are turned into Python's); command:
    what was run, from the repository's root; packages: whose versions the numbers may depend on.
    Raises LakhnesError for values that JSON does not hold (not-a-number and infinity among them),
    OutOfSpace.
    """
    path = path_of(name, folder)
    head = {"name": name, "command": command, "data_fingerprint": data_fingerprint}
    result = head | circumstances(packages) | {"values": values}
    try:
        text = json.dumps(result, indent=1, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise LakhnesError(f"{path}: the values cannot be written as JSON ({error})") from None
    write_file(path, text + "\n")
    return path


def read(name: str, folder=None) -> dict:
    """One result, checked. Raises DataNotFound if there is none, LakhnesError if it is not as
    ``write`` writes it."""
    path = path_of(name, folder)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        # Python reads two things that are not JSON: not-a-number and infinity.
        json.dumps(result, allow_nan=False)
    except FileNotFoundError:
        raise DataNotFound(f"{path}: there is no such result; `make bench` measures it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise LakhnesError(f"{path}: is not a result ({error})") from None
    if not isinstance(result, dict) or result.get("name", name) != name:
        raise LakhnesError(f"{path}: is not a result called {name!r}")
    for field, kind in FIELDS.items():
        if field not in result:
            raise LakhnesError(f"{path}: lacks the field {field!r}")
        if not isinstance(result[field], kind):
            raise LakhnesError(f"{path}: its field {field!r} is {type(result[field]).__name__}")
    return result


def circumstances(packages=("numpy",)) -> dict:
    """What numbers measured now may depend on: versions of Python and of these packages, hardware,
    commit, date."""
    versions = {package: metadata.version(package) for package in packages}
    return {
        "versions": {"python": platform.python_version()} | versions,
        "hardware": hardware(),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def hardware() -> dict:
    """cpu: the processor's name; cores: how many of its cores this process may use; gpu: its name,
    if there is one."""
    import torch  # here, since reading results does without it

    known = {"cpu": processor(), "cores": usable_cores()}
    return known | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    named = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine()


def usable_cores() -> int | None:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def commit() -> str | None:
    """The commit of the repository, with a plus if tracked files differ from it; None outside of
    git."""
    command = ["git", "-C", str(profiles.root()), "describe", "--always", "--abbrev=12"]
    command += ["--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _plain(value):
    """Python's own kind of a NumPy value."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is no plain value")
