"""What every benchmark does alike: its command line, data or a sentence that says how to get it,
numbers to a file."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.files import write_file
from lakhnes_lib.listening import results

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
from machine import circumstances


def arguments(name: str, text: str) -> argparse.ArgumentParser:
    """A parser that knows ``--write``; text: the benchmark's docstring, whose first line ``--help``
    shows."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument(
        "--write", action="store_true", help=f"keep the numbers in results/{name}.json"
    )
    return parser


def at_hand(work, *parameters):
    """What ``work(*parameters)`` returns; the program ends with a sentence if that needs data which
    is not here."""
    try:
        return work(*parameters)
    except DataNotFound as error:
        raise SystemExit(str(error)) from None


def corpus_at_hand(name="nesmdb-midi"):
    """The corpus ``name`` (as of ``prepare``), or the end of the program, as above."""
    return at_hand(prepare, name)


def earlier(name: str, fingerprint: str) -> dict:
    """The values of a result that was measured before on the same data, or none."""
    try:
        result = results.read(name)
    except DataNotFound:
        return {}
    return result["values"] if result["data_fingerprint"] == fingerprint else {}


def valid_curve(folder) -> list[list]:
    """The steps after which a run was measured on valid, and its loss there, in nats an event."""
    lines = (Path(folder) / "log.jsonl").read_text(encoding="utf-8").splitlines()
    rows = map(json.loads, lines)
    return [[row["step"], row["valid_loss"]] for row in rows if "valid_loss" in row]


def command() -> str:
    """The command line that runs now, with the options really given, as one types it in the
    repository's root."""
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def write(
    name: str,
    values: dict,
    *,
    command: str,
    data_fingerprint=None,
    packages=("numpy",),
    folder=None,
) -> Path:
    """Writes one result as ``results.read`` reads it, whole or not at all, and returns its path.

    values: numbers, texts, lists and tables by name (NumPy's are turned into Python's); command:
    what was run, from the repository's root; packages: whose versions the numbers may depend on.
    Raises LakhnesError for values that JSON does not hold (not-a-number and infinity among them),
    OutOfSpace.
    """
    path = results.path_of(name, folder)
    head = {"name": name, "command": command, "data_fingerprint": data_fingerprint}
    result = head | circumstances(packages) | {"values": values}
    try:
        text = json.dumps(result, indent=1, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise LakhnesError(f"{path}: the values cannot be written as JSON ({error})") from None
    write_file(path, text + "\n")
    return path


def _plain(value):
    """Python's own kind of a NumPy value."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is no plain value")


def keep(
    name: str,
    values: dict,
    wanted: bool,
    *,
    shown: dict | None = None,
    corpus=None,
    packages=("numpy",),
):
    """Prints the numbers as JSON, or of them only ``shown``; if ``wanted`` results/NAME.json holds
    all of them.

    corpus: what they were measured on; packages: as in ``write``. Returns the file's path,
    None if not written.
    """
    print(json.dumps(values if shown is None else shown, indent=1, default=_plain), flush=True)
    if not wanted:
        return None
    fingerprint = None if corpus is None else corpus.fingerprint
    path = write(name, values, command=command(), data_fingerprint=fingerprint, packages=packages)
    print(path, flush=True)
    return path
