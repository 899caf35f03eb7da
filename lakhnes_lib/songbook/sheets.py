"""A lead sheet: one voice of melody, and the chords under it.

Paper: none. Notebook: 01_nes_ensemble. The songbook's tunes are read as lead sheets (``tunes.py``)
and arranged for four voices (``arrangement.py``).

Time is counted in units of 1/480 of a quarter note.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

EIGHTH = 240
"""Units of an eighth note."""
FRAMES_PER_SECOND = 60
"""Pictures a second, which a game's sound engine keeps time by."""
LOWEST_BASS = 36


@dataclass(frozen=True)
class Chord:
    """bass: pitch class 0-11; tones: pitch classes of the chord, ascending."""

    bass: int
    tones: tuple[int, ...]

    def up(self, semitones: int) -> "Chord":
        """The chord transposed."""
        tones = sorted((tone + semitones) % 12 for tone in self.tones)
        return Chord((self.bass + semitones) % 12, tuple(tones))

    def below(self, pitch: int) -> int:
        """The highest pitch of the chord's tones at or below this one."""
        return max(pitch - (pitch - tone) % 12 for tone in self.tones)

    def octave_below(self, top: int) -> list[int]:
        """The chord's tones as pitches, ascending, the highest at or below ``top``."""
        return sorted(top - (top - tone) % 12 for tone in self.tones)

    def bass_pitch(self) -> int:
        """The bass from 36 to 47: low, but not so low that the console's output filter takes it."""
        return LOWEST_BASS + (self.bass - LOWEST_BASS) % 12


@dataclass(frozen=True, eq=False)
class LeadSheet:
    """One voice of melody with chords, repeats written out.

    melody: int64 (notes, 3), rows start, end, pitch; start and end in units, sorted, not
        overlapping.
    chords: one Chord or None (no chord yet) for each eighth note of the piece.
    bar, beat: length in eighth notes (beat 3 in 6/8, otherwise 2); the piece is a whole number of
        bars long.
    quarters_per_minute: tempo.
    """

    melody: np.ndarray
    chords: tuple[Chord | None, ...]
    bar: int
    beat: int
    quarters_per_minute: float

    def up(self, semitones: int) -> "LeadSheet":
        """The lead sheet transposed."""
        chords = tuple(chord and chord.up(semitones) for chord in self.chords)
        return replace(self, melody=self.melody + (0, 0, semitones), chords=chords)

    @property
    def frame(self) -> float:
        """Units in a frame of 1/60 s."""
        return self.quarters_per_minute * 2 * EIGHTH / (60 * FRAMES_PER_SECOND)

    def bars(self) -> Iterator[tuple[int, int]]:
        """Number and first eighth of every bar; before the first chord numbers are negative."""
        first_chord = next((i for i, chord in enumerate(self.chords) if chord is not None), 0)
        for first in range(0, len(self.chords), self.bar):
            yield first // self.bar - first_chord // self.bar, first

    def new_chord(self, eighth: int) -> bool:
        """Whether another chord begins at this eighth note."""
        return eighth > 0 and self.chords[eighth] != self.chords[eighth - 1]
