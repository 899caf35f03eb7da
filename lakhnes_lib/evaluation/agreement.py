"""Do composed voices fit the given ones? Two measures, each against voices that belong to other pieces.

Paper: none. Notebook: 09_composing. After M. Murhu, *Generating Complementary Instrument Tracks with a Transformer
Model* (master's thesis, 2024), §4.3: whether both are in one key, and how far apart their rhythms are.
Differences from the thesis: its rhythms are bars of 32 positions; NES music has no bars, so here a rhythm is two
seconds in 32 cells, its bar at 120 beats a minute. It compares with keys and rhythms drawn at random; here the others
are the composed voices of all other pieces, which are as good, but were composed around something else.
"""

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score

_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
PROFILES = np.array(
    [np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)]
)
"""float64 (24, 12): how each pitch class fits C major to B major, then C to B minor (Krumhansl and Kessler 1982)."""
CELLS, CELL_TICKS = 32, nes.TICKS_PER_SECOND // 16


def keys(score: Score) -> np.ndarray:
    """Correlation of the time that each pitch class sounds in P1, P2 and TR with each key's profile: float64 (24,)
    (Krumhansl and Schmuckler's algorithm); nan where nothing, or all twelve alike, sound."""
    notes = score.notes[score.notes["voice"] != nes.NO]
    sounds = np.bincount(notes["pitch"] % 12, notes["end"] - notes["start"], 12)
    if not np.ptp(sounds):
        return np.full(24, np.nan)
    return np.corrcoef(sounds, PROFILES)[0, 1:]


def onsets(score: Score) -> np.ndarray:
    """In which sixteenths of a second a note begins, two seconds a row: bool (rows, 32); the unfinished end is cut."""
    cells = np.zeros(score.length // (CELLS * CELL_TICKS) * CELLS, bool)
    begun = score.notes["start"] // CELL_TICKS
    cells[begun[begun < len(cells)]] = True
    return cells.reshape(-1, CELLS)


def edit_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Levenshtein distances of many pairs of rows: (pairs, n) and (pairs, m) to int64 (pairs,)."""
    row = np.tile(
        np.arange(b.shape[1] + 1), (len(a), 1)
    )  # distances of a's first i symbols to b's first j
    for i in range(a.shape[1]):
        diagonal, row[:, 0] = row.copy(), i + 1
        row[:, 1:] = np.minimum(diagonal[:, 1:] + 1, diagonal[:, :-1] + (a[:, i : i + 1] != b))
        row = np.minimum.accumulate(row - np.arange(row.shape[1]), 1) + np.arange(
            row.shape[1]
        )  # inserted symbols
    return row[:, -1]


def agreement(given: list[Score], composed: list[Score]) -> dict:
    """How pairs (given voices, voices composed around them) agree, and how shuffled pairs do, as plain numbers.

    key: share of pairs whose composed voices have the given ones' key first among their keys, and among their first
    three; key_shuffled: the same over all pairs of one piece's given and another's composed voices. rhythm,
    rhythm_shuffled: mean edit distance of the onsets in the same two seconds (of 32 cells). pairs, bars: how many.
    Pieces without a key or shorter than two seconds do not count; None where none is left.
    """
    first = np.array([keys(score) for score in given])
    rank = np.argsort(-np.array([keys(score) for score in composed]), 1)
    known = ~(np.isnan(first).any(1) | np.isnan([keys(score) for score in composed]).any(1))
    best, rank = first[known].argmax(1), rank[known]
    place = np.argmax(
        rank[None] == best[:, None, None], 2
    )  # (given, composed): where the one's key stands in the other
    own = np.eye(len(place), dtype=bool)
    found = {"pairs": int(known.sum())}
    for name, chosen in (("", own), ("_shuffled", ~own)):
        for most in (1, 3):
            found[f"key_{most}{name}"] = (
                float((place[chosen] < most).mean()) if chosen.any() else None
            )
    patterns = [(onsets(a), onsets(b)) for a, b in zip(given, composed, strict=True)]
    distances = {"": [], "_shuffled": []}
    for i, (a, _) in enumerate(patterns):
        for j, (_, b) in enumerate(patterns):
            bars = min(len(a), len(b))
            distances["" if i == j else "_shuffled"] += edit_distance(a[:bars], b[:bars]).tolist()
    found["bars"] = len(distances[""])
    return found | {
        f"rhythm{name}": float(np.mean(all_)) if all_ else None for name, all_ in distances.items()
    }
