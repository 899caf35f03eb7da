"""Does a model copy? The longest run of notes that a piece shares with the training songs.

Paper: not looked at. Used by ``metrics_of_sets.py``.

A voice is read as the steps in semitones from each note to the next. A note that repeats the pitch
before it is skipped, and rhythm and speed are ignored, so a copy is found in any key, at any speed,
and in any melodic voice. The result is an upper bound, since scales, trills and arpeggios are
common to all music. Therefore a run is also counted in *figures*, the different groups of four
steps in it: an arpeggio that goes round a hundred times has three or four of them. The runs that
songs of other composers share with the training songs are the measure to compare with.
"""

from bisect import bisect_left
from dataclasses import dataclass
from os.path import commonprefix

import numpy as np

from lakhnes_lib.data.corpus import Split
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score

LONGEST = 256
"""Steps after which a run is not followed any further."""
FIGURE = 4
"""Steps of a figure."""

_BORDER = 0  # stands before the first note of a voice, where there is no step
_SAME_PITCH = 128  # added to a step, so that steps of -127 to 127 are bytes above 0


@dataclass(frozen=True)
class SharedRun:
    """What a piece shares with one training song.

    notes: the run's length in notes, repeated ones counted once; figures: how many different
    figures it has; voice, seconds: the piece's voice, and from when to when it plays the run; song:
    index of the training song; song_voice, song_seconds: the same there.
    """

    notes: int
    figures: int
    voice: int
    seconds: tuple[float, float]
    song: int
    song_voice: int
    song_seconds: tuple[float, float]


def melodic_steps(notes: np.ndarray, song: np.ndarray) -> tuple[np.ndarray, np.ndarray, bytes]:
    """The melodic notes of songs, voice by voice, without repeated pitches, and their steps.

    notes: (notes,) as in a Score; song: int64 (notes,), the song of each. Returns notes, songs and
    steps, one byte a note: the step to it in semitones plus 128, or 0 for a voice's first note.
    """
    melodic = notes["voice"] != nes.NO
    notes, song = notes[melodic], song[melodic]
    voice = song * len(nes.VOICES) + notes["voice"]
    order = np.argsort(voice, kind="stable")
    notes, song, voice = notes[order], song[order], voice[order]
    steps = np.diff(notes["pitch"].astype(np.int64), prepend=0) + _SAME_PITCH
    steps[np.diff(voice, prepend=-1) != 0] = _BORDER
    moving = steps != _SAME_PITCH
    return notes[moving], song[moving], steps[moving].astype(np.uint8).tobytes()


class CopyIndex:
    """The steps of all training songs, with their suffix array for binary search."""

    def __init__(self, split: Split):
        song = np.repeat(np.arange(len(split)), np.diff(split.offsets))
        self.notes, self.songs, self.steps = melodic_steps(np.asarray(split.notes), song)
        self.suffixes = suffix_array(np.frombuffer(self.steps, np.uint8))

    def longest(self, score: Score, *, by: str = "notes") -> SharedRun | None:
        """The longest shared run, by ``notes`` or by ``figures``; None if no step is shared."""
        notes, _, steps = melodic_steps(score.notes, np.zeros(len(score.notes), np.int64))
        runs = []
        for start in range(len(steps)):
            length, index = self._find(steps[start : start + LONGEST].split(b"\0")[0])
            if length:
                runs.append(
                    SharedRun(
                        length + 1,
                        count_figures(steps[start : start + length]),
                        int(notes["voice"][start]),
                        _seconds(notes[start - 1], notes[start + length - 1]),
                        int(self.songs[index]),
                        int(self.notes["voice"][index]),
                        _seconds(self.notes[index - 1], self.notes[index + length - 1]),
                    )
                )
        return max(runs, key=lambda run: (getattr(run, by), run.notes), default=None)

    def _find(self, run: bytes) -> tuple[int, int]:
        """How many of the run's first steps a training voice has in a row, and where they begin."""
        rank = bisect_left(self.suffixes, run, key=self._suffix)
        matches = [
            (len(commonprefix([run, self._suffix(index)])), int(index))
            for index in self.suffixes[max(rank - 1, 0) : rank + 1]
        ]
        return max(matches, default=(0, 0))

    def _suffix(self, index: int) -> bytes:
        return self.steps[index : index + LONGEST]


def suffix_array(steps: np.ndarray) -> np.ndarray:
    """Indices of all suffixes, sorted by their first 256 steps, by prefix doubling: int64 (steps,);
    steps: uint8."""
    count, size = len(steps), 8
    padded = np.append(steps, np.zeros(size, np.uint8))
    key = np.lib.stride_tricks.sliding_window_view(padded, size)[:count].copy().view(">u8").ravel()
    while True:
        order = np.argsort(key)
        if size >= LONGEST:
            return order
        rank = np.zeros(count + size, np.int64)  # 0 after the end
        rank[order] = np.append(1, 1 + np.cumsum(np.diff(key[order]) != 0))[:count]
        key = rank[:count] * (count + 1) + rank[size:]
        size *= 2


def sizes(runs: list[SharedRun | None], by: str) -> list[int]:
    """The ``notes`` or ``figures`` of each run, 0 where no step is shared."""
    return [getattr(run, by) if run else 0 for run in runs]


def count_figures(steps: bytes) -> int:
    """How many different groups of four steps there are in a row of steps."""
    return len({steps[start : start + FIGURE] for start in range(len(steps) - FIGURE + 1)})


def _seconds(first: np.void, last: np.void) -> tuple[float, float]:
    return float(first["start"] / nes.TICKS_PER_SECOND), float(last["end"] / nes.TICKS_PER_SECOND)
