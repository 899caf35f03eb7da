"""Do composed voices fit the given ones? Two measures: the key and the rhythm.

Paper: none. Notebook: 09_composing. After M. Murhu, *Generating Complementary Instrument Tracks
with a Transformer Model* (master's thesis, 2024), §4.3: whether both are in the same key, and how
far apart their rhythms are.
Differences from the thesis: its rhythms are bars of 32 positions. NES music has no bars, so here a
rhythm is two seconds in 32 cells, which is the thesis's bar at 120 beats a minute. The thesis
compares with keys and rhythms drawn at random; here the comparison is with the composed voices of
all other pieces, which are as good, but were composed around other given voices.
"""

import numpy as np
from scipy import linalg

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score

_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
PROFILES = np.concatenate([linalg.circulant(profile).T for profile in (_MAJOR, _MINOR)])
"""float64 (24, 12): how well each pitch class fits the keys C major to B major, then C minor to B
minor (Krumhansl and Kessler 1982)."""
BAR, CELL_TICKS = 32, nes.TICKS_PER_SECOND // 16
"""Cells of a rhythm, which are the positions of the thesis's bar; and what stands for one of them
in NES music: a sixteenth of a second, as at 120 beats a minute."""


def keys(score: Score) -> np.ndarray:
    """How well each of the 24 keys fits the notes of P1, P2 and TR: float64 (24,).

    The keys stand in the order of ``PROFILES``. Each number is the correlation of the key's profile
    with the time that each pitch class sounds (the algorithm of Krumhansl and Schmuckler). All are
    NaN where nothing sounds, or all twelve pitch classes sound equally long.
    """
    notes = score.notes[score.notes["voice"] != nes.NO]
    duration = np.bincount(notes["pitch"] % 12, notes["end"] - notes["start"], 12)
    if not np.ptp(duration):
        return np.full(24, np.nan)
    return np.corrcoef(duration, PROFILES)[0, 1:]


def onsets(score: Score) -> np.ndarray:
    """In which sixteenths of a second a note begins: bool (rows, 32), two seconds a row.

    An unfinished last row is left out.
    """
    cells = np.zeros(score.length // (BAR * CELL_TICKS) * BAR, bool)
    begins = score.notes["start"] // CELL_TICKS
    cells[begins[begins < len(cells)]] = True
    return cells.reshape(-1, BAR)


def edit_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Levenshtein distances of many pairs of rows: (pairs, n) and (pairs, m) to int64 (pairs,)."""
    columns = np.arange(b.shape[1] + 1)
    # For i = 0, 1, ... a row holds the distances of a's first i symbols to b's first j, for all j.
    row = np.tile(columns, (len(a), 1))
    for i in range(a.shape[1]):
        deleted = row + 1
        substituted = row[:, :-1] + (a[:, i : i + 1] != b)
        row = deleted
        row[:, 1:] = np.minimum(deleted[:, 1:], substituted)
        row = np.minimum.accumulate(row - columns, 1) + columns  # symbols of b inserted
    return row[:, -1]


def agreement(given: list[Score], composed: list[Score]) -> dict:
    """How well pairs of given voices, and the voices composed around them, agree; as plain numbers.

    - key_1, key_3: share of the pairs in which the best key of the given voices is the best, or
      among the best three, of the composed voices;
    - rhythm: mean edit distance of the onsets in the same two seconds, of 32 cells;
    - pairs, bars: how many pieces and how many rhythms were compared;
    - the names with ``_shuffled``: the same over all pairs of one piece's given voices and another
      piece's composed ones.

    Pieces that have no key, or are shorter than two seconds, do not count. A number is None where
    no piece is left.
    """
    facts = [[(keys(score), onsets(score)) for score in each] for each in (given, composed)]
    known = [np.isfinite(a[0] + b[0]).all() for a, b in zip(*facts, strict=True)]
    ranks, distances = {"": [], "_shuffled": []}, {"": [], "_shuffled": []}
    for i, (fits_given, a) in enumerate(facts[0]):
        for j, (fits_composed, b) in enumerate(facts[1]):
            ending, bars = "" if i == j else "_shuffled", min(len(a), len(b))
            distances[ending] += edit_distance(a[:bars], b[:bars]).tolist()
            if known[i] and known[j]:  # how many keys fit the composed voices better
                ranks[ending].append(sum(fits_composed > fits_composed[fits_given.argmax()]))
    values = {"pairs": len(ranks[""]), "bars": len(distances[""])}
    for ending, chosen in ranks.items():
        for most in (1, 3):
            values[f"key_{most}{ending}"] = _mean(np.array(chosen) < most)
        values[f"rhythm{ending}"] = _mean(distances[ending])
    return values


def _mean(values) -> float | None:
    return float(np.mean(values)) if len(values) else None
