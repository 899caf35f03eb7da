"""The glossary: one sentence a word, in order; each word is used in the notebook that it names."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
ROW = re.compile(r"\| ([^|]+) \| ([^|]+) \| \[(\d\d)\]\(\.\./notebooks/([^)]+)\) \|")
ROWS = [line for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
ENTRIES = [ROW.fullmatch(line) for line in ROWS[2:]]


def prose_of(path: Path) -> str:
    """The text cells of a notebook as one line in lower case, without marks of emphasis."""
    cells = nbformat.read(path, as_version=4).cells
    text = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return " ".join(re.sub(r"[*_`]", "", text).lower().split())


PROSE = {path.name: prose_of(path) for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_every_row_has_a_word_a_sentence_and_a_notebook():
    assert len(ENTRIES) > 100 and None not in ENTRIES
    for word, sentence, number, notebook in (entry.groups() for entry in ENTRIES):
        assert sentence.endswith(".") and not re.search(r"[.!?] ", sentence), word
        assert notebook.startswith(number), word


def test_words_are_in_order_and_none_comes_twice():
    words = [entry[1].lower() for entry in ENTRIES]
    assert words == sorted(set(words))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry[1])
def test_the_notebook_exists_and_uses_the_word(entry):
    word, _, _, notebook = entry.groups()
    assert notebook in PROSE
    assert re.search(rf"\b{re.escape(word.lower())}", PROSE[notebook])


def test_every_notebook_has_words_in_it():
    assert {entry[4] for entry in ENTRIES} >= {name for name in PROSE if name < "10"}
