"""Every change of the chip's output between two cycles, exact and without a loop over notes.

Paper: §3. Notebook: 01_nes_ensemble.
In a segment of the timeline each voice is a function of the cycle alone, so the cycles on which it
changes, its edges, are evenly spaced (for the noise: positions in the register's sequence). The two
pulses share one non-linear mixer, triangle and noise another, so the size of a change depends on
the level of the other voice on that very cycle. All cycles are integers, so the changes of a song
add up to its last level exactly.
"""

from functools import lru_cache

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.sound import chip, timeline


class LevelChanges:
    """Goes along a timeline and tells every change of the mixer's output.

    level: what pulses and triangle with noise add to the output at the cycle reached so far.
    """

    def __init__(self, song: timeline.Timeline):
        self._song = song
        # Before the beginning nothing sounds, but the triangle holds a level.
        step = song.voices[nes.TR].step_at(0, song.borders[0])
        self.level = [0.0, float(chip.triangle_noise_mixer()[chip.TRIANGLE[step & 31], 0])]

    def between(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Cycles (int64) and changes of the output (float64) in [begin, end), in no order.

        Each call begins where the one before ended.
        """
        borders = self._song.borders
        first = max(np.searchsorted(borders, begin, "right") - 1, 0)
        last = min(np.searchsorted(borders, end, "left"), len(borders) - 1)
        if first >= last:
            return np.zeros(0, np.int64), np.zeros(0)
        start = np.maximum(borders[first:last], begin)
        stop = np.minimum(borders[first + 1 : last + 1], end)
        part = Segments(self._song, np.arange(first, last), start, stop)
        every = np.arange(last - first)
        changes = []
        groups = (
            (part.pulse_level, part.pulse_edges()),
            (part.triangle_noise_level, [part.triangle_edges(), *part.noise_edges()]),
        )
        for group, (level_at, edges) in enumerate(groups):
            at_start, at_stop = level_at(every, start), level_at(every, stop - 1)
            before = np.append(self.level[group], at_stop[:-1])
            changes += [(start, at_start - before), *edges]
            self.level[group] = at_stop[-1]
        cycles, sizes = zip(*changes, strict=True)
        return np.concatenate(cycles), np.concatenate(sizes)


class Segments:
    """Segments of a timeline, or their parts from ``start`` to before ``stop``.

    The methods that take ``segment`` and ``cycle`` want arrays of one shape: cycles, and the number
    of the segment that each is in. Methods that give edges give pairs of arrays: cycles inside the
    segments, and by how much the mixer's output changes on each.
    """

    def __init__(self, song, numbers, start, stop):
        self.start, self.stop = start, stop
        p1, p2, self.triangle, self.noise = (voice.in_segments(numbers) for voice in song.voices)
        self.pulses = (_Pulse(p1), _Pulse(p2))

    def pulse_level(self, segment, cycle):
        """Mixed level of both pulses."""
        p1, p2 = self.pulses
        return chip.pulse_mixer()[p1.level_at(segment, cycle) + p2.level_at(segment, cycle)]

    def triangle_at(self, segment, cycle):
        """Level 0-15 of the triangle."""
        return chip.TRIANGLE[self.triangle.step_at(segment, cycle) & 31]

    def noise_at(self, segment, cycle):
        """Level 0-15 of the noise."""
        shift, loop = self.noise.step_at(segment, cycle), self.noise.timbre[segment]
        long, short = chip.noise_sequence(0), chip.noise_sequence(1)
        gate = np.where(loop, short[shift % len(short)], long[shift % len(long)])
        return gate * self.noise.level[segment]

    def triangle_noise_level(self, segment, cycle):
        """Mixed level of triangle and noise."""
        triangle, noise = self.triangle_at(segment, cycle), self.noise_at(segment, cycle)
        return chip.triangle_noise_mixer()[triangle, noise]

    def pulse_edges(self):
        """Edges of both pulses. If both change on one cycle, P2 does first, then P1."""
        mixer, edges = chip.pulse_mixer(), []
        p1, p2 = self.pulses
        # The other pulse's level counts on the same cycle for P1, and one cycle earlier for P2.
        for pulse, other, earlier in ((p1, p2, 0), (p2, p1, 1)):
            for rises, offset in ((1, pulse.rise), (0, pulse.fall)):
                first = pulse.origin + offset
                segment, cycle, _ = _ladder(first, pulse.period, self.start, self.stop)
                beside = other.level_at(segment, cycle - earlier)
                volume, high = pulse.volume[segment], rises ^ pulse.inverted[segment]
                before, after = beside + volume * (1 - high), beside + volume * high
                edges.append((cycle, mixer[after] - mixer[before]))
        return edges

    def triangle_edges(self):
        """Edges of the triangle. If the noise changes on the same cycle, it does so after it."""
        mixer, voice = chip.triangle_noise_mixer(), self.triangle
        segment, cycle, number = _ladder(voice.origin, voice.step_cycles, self.start, self.stop)
        step = (voice.first_step[segment] + number) & 31
        noise = self.noise_at(segment, cycle - 1)
        after, before = chip.TRIANGLE[step], chip.TRIANGLE[step - 1]
        return cycle, mixer[after, noise] - mixer[before, noise]

    def noise_edges(self):
        """Edges of the noise, by its two modes."""
        mixer, voice, edges = chip.triangle_noise_mixer(), self.noise, []
        every = np.arange(len(self.start))
        first, last = voice.step_at(every, self.start), voice.step_at(every, self.stop - 1)
        for loop in (0, 1):
            sounding = np.flatnonzero((voice.level > 0) & (voice.timbre == loop))
            index, shift, opens = _gate_changes(loop, first[sounding], last[sounding])
            segment = sounding[index]
            since = shift - voice.first_step[segment]
            cycle = voice.origin[segment] + since * voice.step_cycles[segment]
            triangle = self.triangle_at(segment, cycle)
            size = mixer[triangle, voice.level[segment]] - mixer[triangle, 0]
            edges.append((cycle, np.where(opens, size, -size)))
        return edges


# A duty's sequence is high from step 1 on for some steps; duty 3 is the other way round.
_INVERTED = chip.DUTY[:, 0] == 1
_HIGH_STEPS = (chip.DUTY != chip.DUTY[:, :1]).sum(1)


class _Pulse:
    """A pulse in segments: high from ``rise`` to ``fall`` cycles after a period's beginning.

    Or low, where ``inverted``. A silent pulse has no edges, for its period never ends.
    """

    def __init__(self, voice: timeline.Voice):
        sounds = voice.level > 0
        self.volume, self.inverted = voice.level, _INVERTED[voice.timbre]
        self.origin = np.where(sounds, voice.origin, -1)
        self.period = np.where(sounds, 8 * voice.step_cycles, timeline.NEVER)
        self.rise = np.where(sounds, voice.step_cycles, 0)
        self.fall = np.where(sounds, (1 + _HIGH_STEPS[voice.timbre]) * voice.step_cycles, 0)

    def level_at(self, segment, cycle):
        """Level 0-15."""
        since, period = cycle - self.origin[segment], self.period[segment]
        rises = (since - self.rise[segment]) // period
        falls = (since - self.fall[segment]) // period
        return (rises - falls ^ self.inverted[segment]) * self.volume[segment]


def _ladder(origin, period, start, stop):
    """The cycles origin + n * period between start and stop, both excluded, of each segment.

    Returns segment, cycle and n of each, int64 (edges,).
    """
    first = (start - origin) // period + 1
    last = (stop - 1 - origin) // period
    segment, index = _enumerate(last - first + 1)
    number = first[segment] + index
    return segment, origin[segment] + number * period[segment], number


def _enumerate(counts):
    """For so many things in each segment: the segment of each, and its number within it."""
    segment = np.repeat(np.arange(len(counts)), counts)
    return segment, np.arange(len(segment)) - np.repeat(np.cumsum(counts) - counts, counts)


@lru_cache
def _gate(loop):
    """The noise gate's sequence, the shifts at which it changes, and the changes up to each."""
    gate = chip.noise_sequence(loop)
    changes = gate != np.roll(gate, 1)
    return gate, np.flatnonzero(changes), np.cumsum(changes)


def _gate_changes(loop, first, last):
    """Shifts in (first, last] at which the noise gate changes, for each pair of the two.

    Returns, for each change, the pair's number, the shift, and whether the gate opens.
    """
    gate, shifts, count_until = _gate(loop)

    def count(shift):
        return shift // len(gate) * len(shifts) + count_until[shift % len(gate)]

    pair, index = _enumerate(count(last) - count(first))
    turn, change = np.divmod(count(first)[pair] + index, len(shifts))
    return pair, turn * len(gate) + shifts[change], gate[shifts[change]] > 0


def levels_between(song: timeline.Timeline, begin: int, end: int) -> np.ndarray:
    """The four voices' levels on every cycle in [begin, end): uint8 (4, cycles)."""
    cycle = np.arange(begin, end)
    segment = np.searchsorted(song.borders, cycle, "right") - 1
    numbers = np.arange(len(song.borders) - 1)
    whole = Segments(song, numbers, song.borders[:-1], song.borders[1:])
    levels = [pulse.level_at(segment, cycle) for pulse in whole.pulses]
    levels += [whole.triangle_at(segment, cycle), whole.noise_at(segment, cycle)]
    return np.stack(levels).astype(np.uint8)
