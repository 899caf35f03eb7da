"""Writes small files of facts on NES-MDB, Lakh and the models into ``assets/aggregates``.

python tools/aggregates/write_aggregates.py [NAME …] [--only FACT …]

Without names all six are written: nesmdb, lakh, models, curves, songs, paper. They hold counts,
quantiles and perplexities, and no music. With --only, just these facts of nesmdb, lakh or models
are measured, and the rest of that file stays as it is. Reads NES-MDB (`lakhnes data fetch
nesmdb-midi`), the corpus that `lakhnes map` packed as data/packed/lakh5, the files below
data/lmd_full_5, assets/pretrained, results, and the logs below runs/findings. One thread;
about a quarter of an hour on an idle core, of which the models take most.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path

from lakhnes_lib import profiles
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.files import write_file

sys.path.append(str(Path(__file__).resolve().parents[1]))
import lakh_facts
import model_scores
import nesmdb_facts
import paper_facts
import song_facts
import training_curves
from machine import circumstances
from one_line_errors import one_line_errors

FOLDER = profiles.root() / "assets" / "aggregates"
DIGITS = 6
"""Significant digits of a number that is no whole number."""


def nesmdb():
    return prepare("nesmdb-midi")


def lakh():
    return prepare(profiles.root() / "data" / "packed" / "lakh5")


FILES = {
    # name: (what it holds, where the data come from, function of it)
    "nesmdb": ("Facts on the songs of NES-MDB.", nesmdb, nesmdb_facts.all_facts),
    "lakh": (
        "Facts on folder 5 of the Lakh MIDI Dataset, mapped to the NES, beside those on NES-MDB.",
        lakh,
        lambda corpus: lakh_facts.all_facts(corpus, nesmdb()),
    ),
    "models": (
        "How well models foresee real songs of NES-MDB.",
        nesmdb,
        model_scores.all_facts,
    ),
    "curves": (
        "Curves of training on NES-MDB.",
        nesmdb,
        lambda corpus: training_curves.all_facts(),
    ),
    "songs": (
        "Ten songs in numbers, and musical metrics of real songs.",
        nesmdb,
        song_facts.all_facts,
    ),
    "paper": (
        "What the paper and its authors published as numbers.",
        lambda: None,
        lambda corpus: paper_facts.all_facts(),
    ),
}

ALONE = {
    # name: function of the corpus and names of facts
    "nesmdb": nesmdb_facts.alone,
    "lakh": lakh_facts.alone,
    "models": model_scores.alone,
}


def head(name: str, corpus) -> dict:
    """What every file says first."""
    about = {"name": name, "description": FILES[name][0]}
    about["command"] = f"python tools/aggregates/write_aggregates.py {name}"
    about["data_fingerprint"] = corpus and corpus.fingerprint
    about["songs"] = corpus and {title: len(split) for title, split in corpus.splits.items()}
    return about | circumstances(("numpy", "torch"))


def plain(value):
    """Plain Python values of NumPy's, other numbers rounded to ``DIGITS``. Raises TypeError."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        value = float(f"{value:.{DIGITS}g}")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise TypeError(f"a {type(value).__name__} is no plain value")


def as_text(content: dict) -> str:
    """JSON with one name a line, and each list of numbers or texts in one line."""
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    simple = r'(?:-?[\d.eE+-]+|null|true|false|"(?:[^"\\]|\\.)*")'
    rows = re.compile(rf"\[\s*({simple}(?:,\s*{simple})*)\s*\]")
    spaces = re.compile(r",\n\s*")
    return rows.sub(lambda row: "[" + spaces.sub(", ", row[1]) + "]", text) + "\n"


def write(name: str) -> Path:
    """Measures and writes one file whole, and returns its path."""
    _, data, measure = FILES[name]
    corpus = data()
    facts, more = measure(corpus)
    path = FOLDER / f"{name}.json"
    write_file(path, as_text(plain(head(name, corpus) | more | {"facts": facts})))
    return path


def write_only(name: str, facts: list[str]) -> Path:
    """Measures these facts of one file anew, keeps the rest of it, and returns its path.

    When and on what they were measured stands in the file's head, under ``measured_alone``.
    Raises DataNotFound if the file is of other data, or if there is no such fact.
    """
    path, corpus = FOLDER / f"{name}.json", FILES[name][1]()
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["data_fingerprint"] != corpus.fingerprint:
        raise DataNotFound(f"{path} is of other data than those at hand; write it whole")
    try:
        measured = ALONE[name](corpus, facts)
    except KeyError as error:
        raise DataNotFound(f"{name} has no fact {error} that is measured alone") from None
    about = circumstances(("numpy", "torch"))
    known = content.pop("facts") | measured
    content["measured_alone"] = content.get("measured_alone", {}) | dict.fromkeys(facts, about)
    write_file(path, as_text(plain(content | {"facts": known})))
    return path


@one_line_errors
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FILES))
    text = f"of one file ({', '.join(ALONE)}) measure just these facts, and keep the rest"
    parser.add_argument("--only", nargs="+", metavar="FACT", help=text)
    arguments = parser.parse_args()
    chosen = arguments.names or list(FILES)
    if unknown := set(chosen) - set(FILES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(FILES)}")
    if arguments.only and (len(chosen) != 1 or chosen[0] not in ALONE):
        parser.error(f"--only goes with one of {', '.join(ALONE)}")
    FOLDER.mkdir(exist_ok=True)
    for name in chosen:
        begin = time.perf_counter()
        path = write_only(name, arguments.only) if arguments.only else write(name)
        seconds = time.perf_counter() - begin
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB, {seconds:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
