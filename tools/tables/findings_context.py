"""What a reader has to know beside the paper's six findings: how small our models are, how often
they read their songs, what the rows after Lakh read more, and what Table 2's small rows say."""

from itertools import pairwise

import numpy as np
import torch
from findings_table import FINDINGS, LAKH, LSTM, NGRAM, UNITS, XL, by_name, planned_p

from lakhnes_lib import profiles
from lakhnes_lib.listening import aggregates, reproduction
from lakhnes_lib.models import checkpoints

PAPER_WEIGHTS = 41_274_487
"""Of the paper's Transformer-XL: what a model of its sizes has here."""


def parameters(row: str) -> int:
    """Weights of a row of profile laptop."""
    with torch.device("meta"):
        return checkpoints.build(**profiles.load("laptop").models[row]).parameter_count()


def small_models() -> dict | None:
    """How small the findings' models are beside their songs; None before the rows were run.

    weights: by row; passes: how often the Transformer-XL read its songs; ours, paper: weights of
    the Transformer-XL for each event of the training songs; unit: events of a unit of Lakh; times:
    events that the row after most of Lakh read in all, beside the row without.
    """
    events = {name: np.mean([run["events"] for run in own]) for name, own in by_name().items()}
    most = f"lakh_{UNITS[-1]}"
    if not {NGRAM, XL, LAKH[-1], most} <= events.keys():
        return None
    of_train = aggregates.load("nesmdb")["facts"]["kinds"]["splits"]["train"]["framed"]
    weights = {row: parameters(row) for row in (LSTM, XL)}
    return {
        "weights": weights,
        "passes": events[XL] / events[NGRAM],
        "ours": weights[XL] / events[NGRAM],
        "paper": PAPER_WEIGHTS / of_train,
        "unit": events[most] / UNITS[-1],
        "times": 1 + events[most] / events[LAKH[-1]],
    }


def left_open() -> list[int]:
    """Numbers of the findings that the seeds planned left open: p above 0.05."""
    return [
        number
        for number, finding in enumerate(FINDINGS, 1)
        if (p := planned_p(finding)) is not None and p > 0.05
    ]


def about_seeds() -> str:
    """Why rows have more seeds than were planned, in sentences."""
    said, numbers = "Three seeds were planned", " and ".join(map(str, left_open()))
    if not numbers:
        return f"{said}."
    which = f"finding {numbers}" if numbers.isdigit() else f"findings {numbers}"
    return (
        f"{said}; with them p was above 0.05 in {which}, so more were added, to other rows as "
        "well. A test looks surer than it is if seeds are added until it succeeds, so p with the "
        "first three stands beside it."
    )


def on_all_songs() -> dict:
    """What Table 2's small rows say, one run each: whether each augmented row is worse than the
    plain one; whether Lakh helped, but more of it less; and the Transformer-XL's exact perplexities
    on test by units of Lakh, 0 first, which are smaller ones there: unit, in events."""
    models = reproduction.measured()

    def test(row: str) -> float | None:
        return models.get(f"laptop/{row}", {}).get("test", {}).get("exact")

    pairs = [(test(row), test(f"{row}_augmented")) for row in ("lstm", "transformer_xl")]
    rows = {0: "augmented"} | {units: f"lakh_{units}" for units in UNITS}
    by_units = {units: test(f"transformer_xl_{row}") for units, row in rows.items()}
    by_units = {units: value for units, value in by_units.items() if value is not None}
    after = [value for units, value in by_units.items() if units]
    of_lakh = profiles.load("laptop").training["lakh_1"]
    return {
        "unit": of_lakh.steps * of_lakh.batch * of_lakh.segment,
        "augmentation_harms": all(a and b and a < b for a, b in pairs),
        "by_units": by_units,
        "more_helps_less": len(by_units) > len(after) > 1
        and all(a < b for a, b in pairwise([*after, by_units[0]])),
    }
