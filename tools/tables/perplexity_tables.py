"""Rows of perplexities: Table 2 with the paper's numbers beside ours, and what the modern decoder's
changes gain."""

from math import log

import song_by_song
import trainings
from filling import value

from lakhnes_lib import profiles
from lakhnes_lib.listening import reproduction

NONE = "–"
"""Stands for what was not measured, or what there is not."""
AND_LAKH = " + Lakh"
"""Stands behind minutes in which those of the pre-training on Lakh are not counted."""
VALID = 8
"""The column of ``table_2`` with the perplexity on valid."""
LEFT_OUT = {
    "all": "nothing",
    "rotary": "rotary positions",
    "qk_norm": "normalised queries and keys",
    "squared_relu": "squared ReLU (SwiGLU instead)",
    "previous": "embeddings of the three events before",
    "late_keys": "late keys",
    "tied": "one table for inputs and outputs",
    "muon": "Muon (AdamW instead)",
}
"""Every variant of benchmarks/modern_decoder_changes.py, with what it lacks."""


def table_2() -> list[tuple[str, ...]]:
    """The cells of every row of Table 2."""
    return [compared(row) for row in reproduction.table_2()]


def compared(row: reproduction.Row) -> tuple[str, ...]:
    """The cells of a row of Table 2."""
    test, valid = row.ours.get("test", {}), row.ours.get("valid", {})
    alone = song_by_song.measured().get(row.name, {})
    digits = 3 if row.paper is None or row.paper < 10 else 2  # as the paper gives them
    difference = NONE
    if row.paper and "paper" in test:
        difference = f"{test['paper'] / row.paper - 1:+.1%}".replace("-0.0%", "0.0%")
    count = row.ours.get("parameters", 0)
    parameters = f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"
    heard, minutes = NONE, NONE
    if "minutes" in row.ours:
        more = AND_LAKH if trainings.lakh_is_left_out(row.name, row.ours) else ""
        heard = events(row.name, row.ours)
        minutes = trainings.minutes(row.name, row.ours) + more
    return (
        row.title,
        row.size,
        parameters if "parameters" in row.ours else NONE,
        _number(row.paper, digits),
        _number(test.get("exact")),
        _number(test.get("paper")),
        difference,
        _number(alone.get("perplexity")),
        _number(valid.get("exact")),
        heard,
        minutes,
    )


def events(name: str, entry: dict) -> str:
    """The events that a model has learned from, those of Lakh apart. Of pre-training that its own
    entry does not count they are as its profile plans them."""
    lakh = trainings.of_lakh(name, entry)
    own = f"{(trainings.learned(name, entry) - lakh) / 1e6:.1f} M"
    if trainings.lakh_is_left_out(name, entry):
        profile, _, row = name.partition("/")
        settings = profiles.load(profile).training.get(f"lakh_{row.rpartition('_')[2]}")
        if settings is None:
            return own + AND_LAKH
        lakh = trainings.planned(settings)
    return f"{own} + {lakh / 1e6:.1f} M of Lakh" if lakh else own


def left_out() -> dict | None:
    """The modern decoder with one change left out at a time, after the longest training for which
    all variants were measured: the steps, and the cells of each row; None if there is no such
    training."""
    measured = value("modern_decoder.left_out") or {}
    complete = [int(steps) for steps, each in measured.items() if LEFT_OUT.keys() <= each.keys()]
    if not complete:
        return None
    variants = measured[str(max(complete))]
    rows = []
    for name, title in LEFT_OUT.items():
        perplexity = variants[name]["valid_perplexity"]
        worse = f"{log(perplexity / variants['all']['valid_perplexity']):+.3f}"
        rows.append((title, _number(perplexity), NONE if name == "all" else worse))
    return {"steps": max(complete), "rows": rows}


def _number(value: float | None, digits: int = 3) -> str:
    return NONE if value is None else f"{value:.{digits}f}"
