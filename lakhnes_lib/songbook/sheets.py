"""A lead sheet: one voice of melody, the chords under it, and the bars that they stand in.

Paper: none. Notebook: 01_nes_ensemble. The songbook's tunes are read as lead sheets (``tunes.py``)
and arranged for four voices (``arrangement.py``).

Time is counted in units of 1/480 of a quarter note in the first tempo. In a passage of another
tempo notes have more or fewer units, so that a unit is always the same time.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

EIGHTH = 240
"""Units of an eighth note in the first tempo."""
FRAMES_PER_SECOND = 60
"""Pictures a second, which a game's sound engine keeps time by."""
LOWEST_BASS = 36

TABLES = yaml.safe_load(Path(__file__).with_name("tables.yaml").read_text(encoding="utf-8"))
"""Styles, drums and kinds of chord; ``tables.yaml`` says what they mean."""
NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
"""Pitch classes of the letters."""
ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
PREFERENCE = {0: 0.25, 3: 0.15, 4: 0.15}
"""What the first, fourth and fifth degrees of a key count more when chords are derived, as a share
of the bar."""
_KINDS = "|".join(map(re.escape, sorted(TABLES["chords"], key=len, reverse=True)))
SYMBOL = re.compile(
    rf"([A-G])([#b♯♭]?)({_KINDS})(?:maj|min|dim|aug|sus|add|[mM°+-]|[#b]?\d)*(?:\(.*)?"
    r"(?:/([A-Ga-g])([#b]?)\+?)?"
)
"""A chord symbol: root, kind, what else it says, and bass."""


class Chord(NamedTuple):
    """bass: pitch class 0-11; tones: pitch classes of the chord, ascending."""

    bass: int
    tones: tuple[int, ...]

    def up(self, semitones: int) -> "Chord":
        """The chord transposed."""
        tones = sorted((tone + semitones) % 12 for tone in self.tones)
        return Chord((self.bass + semitones) % 12, tuple(tones))

    def octave_below(self, top: int) -> list[int]:
        """The chord's tones as pitches, ascending, the highest at or below ``top``."""
        return sorted(top - (top - tone) % 12 for tone in self.tones)

    def bass_pitch(self) -> int:
        """The bass from 36 to 47: low, but not so low that the console's output filter takes it."""
        return LOWEST_BASS + self.bass


def chord_named(symbol: str) -> Chord | None:
    """The chord of a symbol such as "Am", "F#m7", "Bbmaj7", "Dsus4" or "C/E"; None for other text.

    Of a kind that ``tables.yaml`` lacks, the longest beginning that it has counts.

    >>> chord_named("Am/C")
    Chord(bass=0, tones=(0, 4, 9))
    """
    match = SYMBOL.fullmatch(symbol.strip())
    if not match:
        return None
    letter, accidental, kind, bass, bass_accidental = match.groups()
    root = NATURALS[letter] + ACCIDENTALS[accidental]
    under = NATURALS[bass.upper()] + ACCIDENTALS[bass_accidental] if bass else root
    return Chord(under - root, TABLES["chords"][kind]).up(root)


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
    """A part of a bar, counted from 0, with its chord; new: the chord begins here.

    number: of the bar; the first that has a chord is 0, those before it are negative.
    """

    number: int
    bar: Bar
    index: int
    start: int
    end: int
    chord: Chord | None
    new: bool


class LeadSheet(NamedTuple):
    """One voice of melody with chords, repeats written out.

    melody: int64 (notes, 3), rows start, end, pitch; start and end in units, sorted, not
        overlapping.
    chords: the start of each chord, in units, and the chord, sorted; before the first is none.
    bars: without a gap.
    quarters_per_minute: the first tempo.
    """

    melody: np.ndarray
    chords: Sequence[tuple[int, Chord]]
    bars: Sequence[Bar]
    quarters_per_minute: float

    def up(self, semitones: int) -> "LeadSheet":
        """The lead sheet transposed."""
        chords = [(start, chord.up(semitones)) for start, chord in self.chords]
        return self._replace(melody=self.melody + (0, 0, semitones), chords=chords)

    @property
    def frame(self) -> float:
        """Units in a frame of 1/60 s."""
        return self.quarters_per_minute * 2 * EIGHTH / (60 * FRAMES_PER_SECOND)

    def chord(self, at: int) -> Chord | None:
        """The chord that sounds at a time."""
        number = bisect_right(self.chords, at, key=lambda row: row[0])
        return self.chords[number - 1][1] if number else None

    def sounding(self, bar: Bar) -> np.ndarray:
        """The notes of the melody that sound in a bar."""
        first = np.searchsorted(self.melody[:, 1], bar.start, side="right")
        return self.melody[first : np.searchsorted(self.melody[:, 0], bar.end)]

    def steps(self, parts: int = 1) -> Iterator[Step]:
        """The eighth notes of all bars; parts: steps of an eighth note, 2 for sixteenths."""
        before, last = sum(bar.end <= self.chords[0][0] for bar in self.bars), None
        for number, bar in enumerate(self.bars, start=-before):
            length = bar.eighth / parts
            for index in range(bar.count * parts):
                start, end = (round(bar.first + n * length) for n in (index, index + 1))
                if bar.start <= start < bar.end:
                    chord = self.chord(start)
                    yield Step(number, bar, index, start, min(end, bar.end), chord, chord != last)
                    last = chord

    def fitting_chords(self, tonic: str, alters: dict[str, int]) -> list[tuple[int, Chord]]:
        """In each bar the triad of the key that fits the melody best: its start and chord.

        Folk tunes are often written without chord symbols. tonic, alters: the key, as in
        ``abc_fields.Signature``. A pickup has no chord. A note on a beat counts twice.
        """
        first = list(NATURALS).index(tonic)
        scale = [pitch + alters[letter] for letter, pitch in NATURALS.items()]
        triads = {}
        for degree in range(7):
            root, third, fifth = (scale[(first + degree + up) % 7] for up in (0, 2, 4))
            if (fifth - root) % 12 == 7:  # not the diminished triad
                chord = Chord(0, (0, third - root, 7)).up(root)
                triads[chord] = PREFERENCE.get(degree, 0)
        rows = []
        for bar in self.bars[self.bars[0].first < self.bars[0].start and len(self.bars) > 1 :]:
            starts, ends, pitches = self.sounding(bar).T
            lengths = np.minimum(ends, bar.end) - np.maximum(starts, bar.start)
            weights = lengths * (1 + ((starts - bar.first) % round(bar.beat * bar.eighth) == 0))
            share = np.bincount(pitches % 12, weights, 12) / max(weights.sum(), 1)
            best = max(triads, key=lambda chord: triads[chord] + share[list(chord.tones)].sum())
            rows.append((bar.start, best))
        return rows
