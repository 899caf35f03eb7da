"""A lead sheet: one voice of melody, the chords under it, and the bars that they stand in.

Paper: none. Notebook: 01_nes_ensemble. The songbook's tunes are read as lead sheets (``tunes.py``)
and arranged for four voices (``arrangement.py``).

Time is counted in units of 1/480 of a quarter note in the first tempo. In a passage of another
tempo notes have more or fewer units, so that a unit is always the same time.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

EIGHTH = 240
"""Units of an eighth note in the first tempo."""
FRAMES_PER_SECOND = 60
"""Pictures a second, which a game's sound engine keeps time by."""
LOWEST_BASS = 36

NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
"""Pitch classes of the letters."""
ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
SYMBOL = re.compile(
    r"([A-G])([#b♯♭]?)((?:maj|min|dim|aug|sus|add|[mM°+-]|[#b]?\d)*)(?:\(.*)?"
    r"(?:/([A-Ga-g])([#b]?)\+?)?"
)
"""A chord symbol: root, kind and bass."""


@dataclass(frozen=True)
class Chord:
    """bass: pitch class 0-11; tones: pitch classes of the chord, ascending."""

    bass: int
    tones: tuple[int, ...]

    @classmethod
    def of(cls, root: int, steps, bass: int | None = None) -> "Chord":
        """The chord of these steps in semitones over a root."""
        tones = sorted({(root + step) % 12 for step in steps})
        return cls((root if bass is None else bass) % 12, tuple(tones))

    def up(self, semitones: int) -> "Chord":
        """The chord transposed."""
        return self.of(semitones, self.tones, self.bass + semitones)

    def below(self, pitch: int) -> int:
        """The highest pitch of the chord's tones at or below this one."""
        return max(pitch - (pitch - tone) % 12 for tone in self.tones)

    def octave_below(self, top: int) -> list[int]:
        """The chord's tones as pitches, ascending, the highest at or below ``top``."""
        return sorted(top - (top - tone) % 12 for tone in self.tones)

    def bass_pitch(self) -> int:
        """The bass from 36 to 47: low, but not so low that the console's output filter takes it."""
        return LOWEST_BASS + (self.bass - LOWEST_BASS) % 12


def chord_named(symbol: str) -> Chord | None:
    """The chord of a symbol such as "Am", "F#m7", "Bbmaj7", "Dsus4" or "C/E"; None for other text.

    >>> chord_named("Am/C")
    Chord(bass=0, tones=(0, 4, 9))
    """
    match = SYMBOL.fullmatch(symbol.strip())
    if not match:
        return None
    letter, accidental, kind, bass, bass_accidental = match.groups()
    root = NATURALS[letter] + ACCIDENTALS[accidental]
    diminished = kind.startswith(("dim", "°"))
    minor = diminished or re.match("m(?!aj)|-", kind)
    steps = [0, 3 if minor else 4, 6 if diminished or "b5" in kind else 7]
    if "sus" in kind:
        steps[1] = 2 if "2" in kind else 5
    if re.search(r"aug|\+|#5", kind):
        steps[2] = 8
    if re.search("7|9|11|13", kind) and "add" not in kind:
        steps.append(11 if re.search("maj|M", kind) else 9 if diminished else 10)
    if "6" in kind:
        steps.append(9)
    under = NATURALS[bass.upper()] + ACCIDENTALS[bass_accidental] if bass else None
    return Chord.of(root, steps, under)


class Bar(NamedTuple):
    """A bar of a lead sheet, times in units.

    first: where the bar would begin if it were a full one; start, end: where it does. eighth: the
    length of an eighth note (a sixteenth in 9/16). count, beat: eighth notes of a full bar and of a
    beat (3 in 6/8, otherwise 2).
    """

    first: int
    start: int
    end: int
    eighth: float
    count: int
    beat: int


class Step(NamedTuple):
    """An eighth note of a bar, counted from 0, with its chord; new: the chord begins here."""

    index: int
    start: int
    end: int
    chord: Chord | None
    new: bool


def sounding(melody: np.ndarray, bar: Bar) -> np.ndarray:
    """The notes of a melody, rows as in ``LeadSheet``, that sound in a bar."""
    first = np.searchsorted(melody[:, 1], bar.start, side="right")
    return melody[first : np.searchsorted(melody[:, 0], bar.end)]


@dataclass(frozen=True, eq=False)
class LeadSheet:
    """One voice of melody with chords, repeats written out.

    melody: int64 (notes, 3), rows start, end, pitch; start and end in units, sorted, not
        overlapping.
    chords: the start of each chord, in units, and the chord, sorted; before the first is none.
    bars: without a gap.
    quarters_per_minute: the first tempo.
    """

    melody: np.ndarray
    chords: tuple[tuple[int, Chord], ...]
    bars: tuple[Bar, ...]
    quarters_per_minute: float

    def up(self, semitones: int) -> "LeadSheet":
        """The lead sheet transposed."""
        chords = tuple((start, chord.up(semitones)) for start, chord in self.chords)
        return replace(self, melody=self.melody + (0, 0, semitones), chords=chords)

    @property
    def frame(self) -> float:
        """Units in a frame of 1/60 s."""
        return self.quarters_per_minute * 2 * EIGHTH / (60 * FRAMES_PER_SECOND)

    def chord(self, at: int) -> Chord | None:
        """The chord that sounds at a time."""
        number = bisect_right(self.chords, at, key=lambda row: row[0])
        return self.chords[number - 1][1] if number else None

    def numbered_bars(self) -> Iterator[tuple[int, Bar]]:
        """Number and bar; the first that has a chord is 0, those before it are negative."""
        before = sum(bar.end <= self.chords[0][0] for bar in self.bars)
        yield from enumerate(self.bars, start=-before)

    def steps(self, bar: Bar) -> Iterator[Step]:
        """The eighth notes of a bar."""
        times = [round(bar.first + index * bar.eighth) for index in range(bar.count + 1)]
        for index, (start, end) in enumerate(zip(times, times[1:], strict=False)):
            if bar.start <= start < bar.end:
                chord, before = self.chord(start), self.chord(round(start - bar.eighth))
                yield Step(index, start, min(end, bar.end), chord, start > 0 and chord != before)
