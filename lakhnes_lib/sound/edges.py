"""Every change of the chip's output between two cycles, exact and without a loop over notes.

Paper: §3. Notebook: 01_nes_ensemble.
In a segment of the timeline each voice goes through its sequence at an even pace, so the cycles of
its steps follow from whole numbers. The two pulses share one non-linear mixer, triangle and noise
another, so the steps of two voices are put in order before they are mixed. All cycles are integers,
so the changes of a song add up to its last level exactly.
"""

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.sound import chip
from lakhnes_lib.sound.timeline import Timeline


class LevelChanges:
    """Goes along a timeline and tells every change of the mixer's output, which begins at 0."""

    def __init__(self, song: Timeline):
        self._song, self._mixed = song, [0.0, 0.0]

    def between(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Cycles (int64) and changes of the output (float64) in [begin, end), in no order.

        Each call begins where the one before ended.
        """
        end = min(end, self._song.borders[-1])
        cycles, changes = [np.zeros(0, np.int64)], [np.zeros(0)]
        mixers = (chip.pulse_mixer(), chip.triangle_noise_mixer())
        for group, mixer in enumerate(mixers if begin < end else ()):
            voices = (2 * group, 2 * group + 1)
            one, two = (voice_levels(self._song, number, begin, end) for number in voices)
            cycle = np.concatenate([one[0], two[0]])
            order = np.argsort(cycle, kind="stable")
            # Of each voice the number of the level in force; both have one from the first cycle on.
            is_two = order >= len(one[0])
            first, second = np.cumsum(~is_two) - 1, np.maximum(np.cumsum(is_two) - 1, 0)
            mixed = mixer[one[1][first], two[1][second]]
            cycles.append(cycle[order])
            changes.append(np.diff(mixed, prepend=self._mixed[group]))
            self._mixed[group] = mixed[-1]
        return np.concatenate(cycles), np.concatenate(changes)


def voice_levels(
    song: Timeline, number: int, begin: int, end: int
) -> tuple[np.ndarray, np.ndarray]:
    """The cycles in [begin, end) from which on a voice has another level, and that level (0-15).

    int64 (changes,) each, in order; the first cycle is ``begin``.
    """
    borders = song.borders
    first, last = np.searchsorted(borders, begin, "right") - 1, np.searchsorted(borders, end)
    start = np.maximum(borders[first:last], begin)
    stop = np.minimum(borders[first + 1 : last + 1], end)
    volume, timbre, step_cycles, origin, first_step = song.voices[number, :, first:last]
    # In each segment the steps since its origin are counted, from the one that it begins in.
    begun = (start - origin) // step_cycles
    counts = (stop - 1 - origin) // step_cycles - begun + 1
    segment = np.repeat(np.arange(len(counts)), counts)
    count = np.arange(len(segment)) + (begun + counts - np.cumsum(counts))[segment]
    cycle = np.maximum(origin[segment] + count * step_cycles[segment], start[segment])
    step = first_step[segment] + count
    if number == nes.TR:
        level = chip.TRIANGLE[step & 31]
    elif number == nes.NO:
        long, loop = chip.noise_sequence(0), chip.noise_sequence(1)
        gate = np.where(timbre[segment], loop[step % len(loop)], long[step % len(long)])
        level = gate * volume[segment]
    else:
        level = chip.DUTY[timbre[segment], step & 7] * volume[segment]
    changes = np.flatnonzero(np.diff(level, prepend=-1))
    return cycle[changes], level[changes]
