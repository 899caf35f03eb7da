"""Does it copy? The longest run of notes that a piece shares with the training songs, transposition taken out.

Paper: not looked at. Notebook: 09_composing.
A voice is read as the steps in semitones from each note to the next; a note repeated at its pitch counts once, rhythm
and speed count for nothing, so a copy is found in any key, at any speed, and in any melodic voice. What is found is an
upper bound: scales, trills and arpeggios are everybody's. So a run is also counted in *figures*, the different groups
of four steps in it: an arpeggio that goes round a hundred times has three or four. What songs of other composers share
with the training songs is the measure to compare with.
"""

from dataclasses import dataclass

import numpy as np

from lakhnes_lib.data.corpus import Split
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score

LONGEST = 256
"""Steps beyond which a run is not followed."""
FIGURE = 4
"""Steps of a figure."""

_ZERO, _BORDER, _END = (
    128,
    0,
    255,
)  # no step; between two voices of the index; after a voice of a piece


@dataclass(frozen=True)
class Run:
    """What a piece shares with one training song.

    notes, figures: its length in notes (repeated ones once), and how many different figures of four steps it has;
    voice, seconds: the piece's voice, and from when to when it plays the run; song: number of the training song;
    song_voice, song_seconds: the same there.
    """

    notes: int
    figures: int
    voice: int
    seconds: tuple[float, float]
    song: int
    song_voice: int
    song_seconds: tuple[float, float]


def _lines(
    notes: np.ndarray, song: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Melodic notes, voice by voice, each after its step: notes, songs, steps uint8 (0 before a voice's first), order.

    A note at the pitch of the one before it is left out.
    """
    melodic = np.flatnonzero(notes["voice"] != nes.NO)
    line = song[melodic] * len(nes.VOICES) + notes["voice"][melodic]
    order = melodic[np.argsort(line, kind="stable")]
    notes, song, line = notes[order], song[order], np.sort(line, kind="stable")
    steps = (
        np.append(np.zeros(min(len(notes), 1), np.int64), np.diff(notes["pitch"].astype(np.int64)))
        + _ZERO
    )
    steps[np.append(True, np.diff(line) != 0)[: len(line)]] = _BORDER
    kept = steps != _ZERO
    return notes[kept], song[kept], steps[kept].astype(np.uint8)


class CopyIndex:
    """The training songs' steps with their suffix array: built in seconds, asked in milliseconds."""

    def __init__(self, split: Split):
        song = np.repeat(np.arange(len(split)), np.diff(split.offsets))
        self.notes, self.songs, self.steps = _lines(np.asarray(split.notes), song)
        self.suffixes = _suffix_array(self.steps)
        self._padded = np.append(self.steps, np.full(LONGEST, _BORDER, np.uint8))

    def longest(self, score: Score, *, by: str = "notes") -> Run | None:
        """The longest shared run, counted in ``notes`` or in ``figures``; None if not one step is shared."""
        notes, _, steps = _lines(score.notes, np.zeros(len(score.notes), np.int64))
        starts = np.flatnonzero(steps != _BORDER)
        if not len(starts) or not len(self.steps):
            return None
        lengths, places = self._matches(steps, starts)
        # Of runs that end together only the one that begins first can be the longest.
        first = np.append(True, np.diff(starts + lengths) > 0) & (lengths > 0)
        runs = [
            Run(
                int(length) + 1,
                _figures(steps[start : start + length]),
                int(notes["voice"][start]),
                _span(notes[start - 1], notes[start + length - 1]),
                int(self.songs[place]),
                int(self.notes["voice"][place]),
                _span(self.notes[place - 1], self.notes[place + length - 1]),
            )
            for start, length, place in zip(
                starts[first], lengths[first], places[first], strict=True
            )
        ]
        return max(runs, key=lambda run: (getattr(run, by), run.notes), default=None)

    def _matches(self, steps: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For the steps from each start on: how many some training voice has in a row, and where."""
        asked = np.where(steps == _BORDER, _END, steps).astype(np.uint8)
        asked = np.append(asked, np.full(LONGEST, _END, np.uint8))[
            starts[:, None] + np.arange(LONGEST)
        ]
        low, high = np.zeros(len(starts), np.int64), np.full(len(starts), len(self.suffixes))
        while (low < high).any():  # binary search for where each would stand among the suffixes
            middle = (low + high) // 2
            shared, place = self._shared(asked, np.minimum(middle, len(self.suffixes) - 1))
            last = np.minimum(shared, LONGEST - 1)
            less = self._padded[place + last] < asked[np.arange(len(asked)), last]
            open_ = low < high
            low, high = (
                np.where(open_ & less, middle + 1, low),
                np.where(open_ & ~less, middle, high),
            )
        found = [
            self._shared(asked, np.clip(low + side, 0, len(self.suffixes) - 1)) for side in (-1, 0)
        ]
        (before, place_before), (after, place_after) = found
        return np.maximum(before, after), np.where(before > after, place_before, place_after)

    def _shared(self, asked: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many first steps each row shares with the suffix of that rank, and where that one begins."""
        place = self.suffixes[ranks]
        same = self._padded[place[:, None] + np.arange(LONGEST)] == asked
        return np.where(same.all(1), LONGEST, same.argmin(1)), place


def _suffix_array(steps: np.ndarray) -> np.ndarray:
    """Beginnings of all suffixes, sorted by their first 256 steps; by prefix doubling."""
    count, size = len(steps), 8
    ahead = np.append(steps, np.zeros(size, np.uint8))
    key = (
        np.lib.stride_tricks.sliding_window_view(ahead, size)[:count]
        .copy()
        .view(">u8")
        .ravel()
        .astype(np.uint64)
    )
    while True:
        order = np.argsort(key)
        if size >= LONGEST:
            return order
        rank = np.zeros(count + size, np.int64)  # 0 after the end
        rank[order] = np.append(1, 1 + np.cumsum(key[order[1:]] != key[order[:-1]]))[:count]
        key = rank[:count] * (count + 1) + rank[size:]
        size *= 2


def _figures(steps: np.ndarray) -> int:
    """How many different groups of four steps there are in a row."""
    if len(steps) < FIGURE:
        return 0
    return len(np.unique(np.lib.stride_tricks.sliding_window_view(steps, FIGURE), axis=0))


def _span(first: np.void, last: np.void) -> tuple[float, float]:
    return float(first["start"] / nes.TICKS_PER_SECOND), float(last["end"] / nes.TICKS_PER_SECOND)
