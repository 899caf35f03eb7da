"""What every benchmark does alike: its command line, data or a sentence that says how to get it,
numbers to a file."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.listening import results


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


def command() -> str:
    """The command line that runs now, with the options really given, as one types it in the
    repository's root."""
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def keep(
    name: str,
    values: dict,
    write: bool,
    *,
    shown: dict | None = None,
    corpus=None,
    packages=("numpy",),
):
    """Prints the numbers as JSON, or of them only ``shown``; with ``write`` results/NAME.json holds
    all of them.

    corpus: what they were measured on; packages: as in ``results.write``. Returns the file's path,
    None if not written.
    """
    print(
        json.dumps(
            values if shown is None else shown, indent=1, default=lambda value: value.tolist()
        ),
        flush=True,
    )
    if not write:
        return None
    fingerprint = None if corpus is None else corpus.fingerprint
    path = results.write(
        name, values, command=command(), data_fingerprint=fingerprint, packages=packages
    )
    print(path, flush=True)
    return path
