"""Measures of a composed part beside the given one: rhythm, key and chords."""

import numpy as np

from lakhnes_lib.companions import agreement
from lakhnes_lib.companions.paired_parts import BAR

PAIRS = 100_000  # of bars that are compared


def onset_rows(part: np.ndarray, bars: int) -> np.ndarray:
    """At which positions a note of a part begins: bool (bars, 32). Later bars are left out."""
    rows = np.zeros(bars * BAR, bool)
    rows[part[part[:, 0] < bars * BAR, 0]] = True
    return rows.reshape(bars, BAR)


def in_chord(given: np.ndarray, composed: np.ndarray, bars: int, shift: int = 0) -> np.ndarray:
    """Of each composed note, whether a given note of its pitch class begins in the same bar: bool.

    shift: compare with the bar so many later, counted round, to learn what chance gives.
    """
    heard = np.zeros((bars, 12), bool)
    heard[given[:, 0] // BAR % bars, given[:, 2] % 12] = True
    return heard[(composed[:, 0] // BAR + shift) % bars, composed[:, 2] % 12]


def key_of(part: np.ndarray) -> np.ndarray:
    """What ``agreement.keys`` says of a score, of a part: float64 (24,)."""
    sounding = np.bincount(part[:, 2] % 12, part[:, 1], 12)
    if not np.ptp(sounding):
        return np.full(24, np.nan)
    return np.corrcoef(sounding, agreement.PROFILES)[0, 1:]


def ranks(given: np.ndarray, composed: np.ndarray) -> np.ndarray:
    """The rank, from 0, that the best key of each given piece has in each composed one.

    given, composed: floats (pieces, 24). Returns int64 (given, composed).
    """
    ranking = np.argsort(-composed, 1)
    return np.argmax(ranking[None] == given.argmax(1)[:, None, None], 2)


def rhythm(real: np.ndarray, made: np.ndarray, random) -> dict:
    """Levenshtein distances of random pairs of bars: of those composed, and of the mock bars."""
    mock = random.random(made.shape) < made.mean()
    chosen = real[random.integers(len(real), size=PAIRS)]
    values = {"positions": made.mean(0), "notes_a_bar": made.sum(1).mean()}
    for name, rows in (("distance", made), ("distance_of_mock", mock)):
        others = rows[random.integers(len(rows), size=PAIRS)]
        values[name] = agreement.edit_distance(chosen, others).mean()
    return values


def tonality(given, made) -> dict:
    """For k = 1 to 24: share of pieces whose given key is among the composed part's best k."""
    keys = [np.array([key_of(part) for part in each]) for each in (given, made)]
    known = ~(np.isnan(keys[0]).any(1) | np.isnan(keys[1]).any(1))
    rank = ranks(keys[0][known], keys[1][known])
    own = np.eye(len(rank), dtype=bool)
    curve = lambda values: [float((values < k).mean()) for k in range(1, 25)]  # noqa: E731
    if not len(rank):
        return {"pieces": 0}
    values = {"pieces": len(rank), "top_k": curve(rank[own])}
    return values | ({"top_k_shuffled": curve(rank[~own])} if len(rank) > 1 else {})


def chords(given, made, bars: int) -> dict:
    """Share of composed notes of whose pitch class a given note begins in the same bar, and in the
    other bars of the piece."""
    same, other = [], []
    for a, b in zip(given, made, strict=True):
        same += in_chord(a, b, bars).tolist()
        for shift in range(1, bars):
            other += in_chord(a, b, bars, shift).tolist()
    mean = lambda values: float(np.mean(values)) if values else None  # noqa: E731
    return {"same_bar": mean(same), "other_bars": mean(other)}
