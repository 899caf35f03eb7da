"""What a reader has to know beside the paper's six findings: how small our models are, how often
they read their songs, what the rows after Lakh read more, and what Table 2's small rows say."""

from itertools import pairwise

import numpy as np
import torch
import trainings
from findings_table import (
    FINDINGS,
    LAKH,
    LONGER,
    LSTM,
    NGRAM,
    PLANNED_SEEDS,
    UNITS,
    XL,
    XL_AUGMENTED,
    by_name,
    p_with,
    said_p,
)
from scaling import PAPER_EVENTS

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
    the Transformer-XL for each event of the training songs; unit, paper_unit: events of a unit of
    Lakh; times, times_one: events that the row after most of Lakh read in all, beside the row
    without and beside that after one unit; best_at_the_end: whether each run of the Transformer-XL
    was best on valid at its last step; control: whether the row without Lakh was trained for
    longer as well.
    """
    named = by_name()
    events = {name: np.mean([run["events"] for run in own]) for name, own in named.items()}
    least, *_, most = (f"lakh_{units}" for units in UNITS)
    if not {NGRAM, XL, LAKH[0], LAKH[-1], least, most} <= events.keys():
        return None
    of_train = aggregates.load("nesmdb")["facts"]["kinds"]["splits"]["train"]["framed"]
    weights = {row: parameters(row) for row in (LSTM, XL)}
    return {
        "weights": weights,
        "passes": events[XL] / events[NGRAM],
        "ours": weights[XL] / events[NGRAM],
        "paper": PAPER_WEIGHTS / of_train,
        "unit": events[most] / UNITS[-1],
        "paper_unit": PAPER_EVENTS / UNITS[-1],
        "times": 1 + events[most] / events[LAKH[-1]],
        "times_one": (events[LAKH[-1]] + events[most]) / (events[LAKH[0]] + events[least]),
        "best_at_the_end": all(
            run["best_step"] == run["curve"][-1][0]
            for name in (XL, XL_AUGMENTED, *LAKH)
            for run in named.get(name, [])
        ),
        "control": LONGER in named,
    }


def left_open() -> list[int]:
    """Numbers of the findings that the seeds planned left open: p above 0.05."""
    planned = [p_with(finding, PLANNED_SEEDS) for finding in FINDINGS]
    return [number for number, p in enumerate(planned, 1) if p is not None and p > 0.05]


def about_seeds() -> str:
    """Why rows have more seeds than were planned, and what p is by seeds, in sentences."""
    if not (numbers := left_open()):
        return "Three seeds were planned."
    by_count = {PLANNED_SEEDS: _open_p(PLANNED_SEEDS)}
    while None not in (more := _open_p(max(by_count) + 1)):
        by_count[max(by_count) + 1] = more
    columns = zip(numbers, zip(*by_count.values(), strict=True), strict=True)
    each = [f"{_listed([f'{p:.2g}' for p in ps])} in finding {number}" for number, ps in columns]
    text = f"Three seeds were planned. With them p was above 0.05 in {_numbers(numbers)}"
    if len(by_count) > 1:
        text += ", so more were run, of every row"
    text += f": with {_listed([str(count) for count in by_count])} seeds p is {_listed(each)}."
    if len(by_count) > 1:
        text += (
            " A test looks surer than it is if seeds are added until it succeeds, so take "
            f"{_numbers(numbers)} as likely, not as shown."
        )
    return f"{text} {_together()}"


def _open_p(count: int) -> list[float | None]:
    """p of each finding that the planned seeds left open, with the first seeds."""
    return [p_with(FINDINGS[number - 1], count) for number in left_open()]


def _together() -> str:
    """What p is at most if all findings are asked at once, by Holm's method: a sentence."""
    each = sorted(p for finding in FINDINGS if (p := p_with(finding)) is not None)
    most = max(p * (len(each) - rank) for rank, p in enumerate(each))
    return f"Corrected for {len(each)} tests at once (Holm's method), {said_p(most)} at most."


def _numbers(numbers: list[int]) -> str:
    return (
        f"finding{'s' if len(numbers) > 1 else ''} {_listed([str(number) for number in numbers])}"
    )


def _listed(words: list[str]) -> str:
    """Words as a list in a sentence."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def on_all_songs() -> dict:
    """What Table 2's small rows say, one run each: whether each augmented row is worse than the
    plain one; whether Lakh helped, but more of it less; and the Transformer-XL's exact perplexities
    on test by units of Lakh, 0 first, which are smaller ones there: unit, in events; plain: that
    without augmentation and Lakh."""
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
        "plain": models.get("laptop/transformer_xl", {}).get("test", {}).get("exact"),
        "unit": trainings.planned(of_lakh),
        "augmentation_harms": all(a and b and a < b for a, b in pairs),
        "by_units": by_units,
        "more_helps_less": len(by_units) > len(after) > 1
        and all(a < b for a, b in pairwise([*after, by_units[0]])),
    }
