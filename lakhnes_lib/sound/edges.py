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


def level_changes(song: Timeline, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """The changes of the mixer's output, which begins at 0, in the cycles [begin, end).

    Cycles (int64) and by how much (float64), in no order.
    """
    end = min(end, song.borders[-1])
    cycles, changes = [np.zeros(0, np.int64)], [np.zeros(0)]
    for group, mixer in enumerate(chip.MIXERS if begin < end else ()):
        # From one cycle earlier on, whose output is what the first change starts from.
        voices = (2 * group, 2 * group + 1)
        one, two = (voice_levels(song, number, max(begin - 1, 0), end) for number in voices)
        cycle = np.concatenate([one[0], two[0]])
        order = np.argsort(cycle, kind="stable")
        # Of each voice the number of the level in force; both have one from the first cycle on.
        is_two = order >= len(one[0])
        first, second = np.cumsum(~is_two) - 1, np.maximum(np.cumsum(is_two) - 1, 0)
        mixed = mixer[one[1][first], two[1][second]]
        inside = cycle[order] >= begin
        cycles.append(cycle[order][inside])
        changes.append(np.diff(mixed, prepend=0.0)[inside])
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
