"""Every change of the chip's output between two cycles, exact and without a loop over notes.

Paper: §3. Notebook: 01_nes_ensemble.
In a segment of the timeline each voice is a function of the cycle alone, so the cycles on which it changes are
arithmetic progressions (places in the register's sequence, for the noise). The two pulses share one non-linear mixer,
triangle and noise another: the size of a change depends on where the other voice stands on that very cycle. All
cycles are integers, so the changes of a song add up to its last level exactly.
"""

from functools import lru_cache

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.sound import chip, timeline


class Walk:
    """Walks along a timeline and tells every change of the mixer's two levels."""

    def __init__(self, song: timeline.Timeline):
        self._song = song
        first = Segments(song, np.zeros(1, np.int64), song.borders[:1], song.borders[:1] + 1)
        start = song.borders[:1]
        # Before the beginning nothing sounds but the triangle's held level.
        held = chip.TRIANGLE[first.triangle.place(slice(None), start) & 31]
        self.level = [0.0, float(chip.triangle_noise_mixer()[held[0], 0])]

    def changes(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Cycles (int64) and changes of the output (float64) in [begin, end), in no order."""
        borders = self._song.borders
        first = max(np.searchsorted(borders, begin, "right") - 1, 0)
        last = min(np.searchsorted(borders, end, "left"), len(borders) - 1)
        if first >= last:
            return np.zeros(0, np.int64), np.zeros(0)
        places = np.arange(first, last)
        start = np.maximum(borders[first:last], begin)
        stop = np.minimum(borders[first + 1 : last + 1], end)
        part = Segments(self._song, places, start, stop)
        found = []
        for group, (level_at, edges) in enumerate(
            [
                (part.pulse_level, part.pulse_edges),
                (part.triangle_noise_level, part.triangle_noise_edges),
            ]
        ):
            every = slice(None)
            at_start, at_stop = level_at(every, start), level_at(every, stop - 1)
            found.append((start, at_start - np.append(self.level[group], at_stop[:-1])))
            self.level[group] = at_stop[-1]
            found += edges()
        return np.concatenate([c for c, _ in found]), np.concatenate([d for _, d in found])


class Segments:
    """Segments (or their parts) ``[start, stop)`` of a timeline, and the exact level of every voice on any cycle."""

    def __init__(self, song, places, start, stop):
        self.start, self.stop = start, stop
        self.pulses = [_Pulse(song.voices[number].at(places)) for number in (nes.P1, nes.P2)]
        self.triangle = song.voices[nes.TR].at(places)
        self.noise = song.voices[nes.NO].at(places)

    def pulse_level(self, at, cycle):
        """Mixed level of both pulses in segments ``at`` on cycles ``cycle``."""
        return chip.pulse_mixer()[self.pulses[0].level(at, cycle) + self.pulses[1].level(at, cycle)]

    def pulse_edges(self):
        """Cycles and changes of the pulse group inside the segments. On a shared cycle P2 moves first, then P1."""
        mixer, found = chip.pulse_mixer(), []
        for number, early in ((0, 0), (1, 1)):
            pulse, other = self.pulses[number], self.pulses[1 - number]
            for rising, offset in ((1, pulse.rise), (0, pulse.fall)):
                segment, cycle, _ = _ladder(
                    pulse.origin + offset, pulse.period, self.start, self.stop
                )
                beside = other.level(segment, cycle - early)
                up, volume = rising ^ pulse.inverted[segment], pulse.volume[segment]
                found.append(
                    (cycle, mixer[beside + volume * up] - mixer[beside + volume * (1 - up)])
                )
        return found

    def noise_level(self, at, cycle):
        shift, loop = self.noise.place(at, cycle), self.noise.timbre[at]
        gates = [chip.noise_sequence(mode) for mode in (0, 1)]
        return (
            np.where(loop, gates[1][shift % len(gates[1])], gates[0][shift % len(gates[0])])
            * self.noise.level[at]
        )

    def triangle_noise_level(self, at, cycle):
        """Mixed level of triangle and noise in segments ``at`` on cycles ``cycle``."""
        triangle = chip.TRIANGLE[self.triangle.place(at, cycle) & 31]
        return chip.triangle_noise_mixer()[triangle, self.noise_level(at, cycle)]

    def triangle_noise_edges(self):
        """Cycles and changes of triangle and noise inside the segments. On a shared cycle the triangle moves first."""
        mixer = chip.triangle_noise_mixer()
        segment, cycle, number = _ladder(
            self.triangle.origin, self.triangle.step, self.start, self.stop
        )
        step = (self.triangle.first[segment] + number) & 31
        noise = self.noise_level(segment, cycle - 1)
        found = [(cycle, mixer[chip.TRIANGLE[step], noise] - mixer[chip.TRIANGLE[step - 1], noise])]
        every = slice(None)
        shifts = self.noise.place(every, self.start), self.noise.place(every, self.stop - 1)
        for loop in (0, 1):
            sounding = np.flatnonzero((self.noise.level > 0) & (self.noise.timbre == loop))
            if not len(sounding):
                continue
            segment, shift, opens = _toggles(loop, shifts[0][sounding], shifts[1][sounding])
            segment = sounding[segment]
            voice = self.noise
            cycle = (voice.origin - voice.first * voice.step)[segment] + shift * voice.step[segment]
            triangle = chip.TRIANGLE[self.triangle.place(segment, cycle) & 31]
            size = mixer[triangle, voice.level[segment]] - mixer[triangle, 0]
            found.append((cycle, np.where(opens, size, -size)))
        return found


class _Pulse:
    """A pulse voice in segments: it is high from ``rise`` to ``fall`` cycles after each period's beginning."""

    def __init__(self, voice: timeline.Voice):
        self.volume, self.origin = voice.level, voice.origin
        self.period = 8 * voice.step
        self.inverted = voice.timbre == 3
        self.rise = np.where(voice.level > 0, voice.step, 0)
        self.fall = np.where(voice.level > 0, voice.step * np.array([2, 3, 5, 3])[voice.timbre], 0)
        # A silent voice has no edges: its next one never comes.
        self.period = np.where(voice.level > 0, self.period, timeline.NEVER)
        self.origin = np.where(voice.level > 0, self.origin, -1)

    def level(self, at, cycle):
        since = cycle - self.origin[at]
        period = self.period[at]
        high = (since - self.rise[at]) // period - (since - self.fall[at]) // period
        return (high ^ self.inverted[at]) * self.volume[at]


def _ladder(origin, period, start, stop):
    """The cycles origin + n * period inside (start, stop) for each segment: segment, cycle, n; int64 (edges,)."""
    first = (start - origin) // period + 1
    count = (stop - 1 - origin) // period + 1 - first
    segment, rank = _ranks(count)
    number = first[segment] + rank
    return segment, origin[segment] + number * period[segment], number


def _ranks(count):
    """Segment number and rank within it for ``count`` things in each segment."""
    segment = np.repeat(np.arange(len(count)), count)
    return segment, np.arange(len(segment)) - np.repeat(np.cumsum(count) - count, count)


@lru_cache
def _gate(loop):
    """The noise gate's sequence, the places at which it changes, and the number of changes up to each place."""
    gate = chip.noise_sequence(loop)
    changes = gate != np.roll(gate, 1)
    return gate, np.flatnonzero(changes), np.cumsum(changes)


def _toggles(loop, first, last):
    """Shifts in (first, last] at which the noise gate changes, for each segment: segment, shift, whether it opens."""
    gate, changed, until = _gate(loop)

    def before(shift):
        return shift // len(gate) * len(changed) + until[shift % len(gate)]

    count = before(last) - before(first)
    segment, rank = _ranks(count)
    turn, place = np.divmod(before(first)[segment] + rank, len(changed))
    return segment, turn * len(gate) + changed[place], gate[changed[place]] > 0


def levels_between(song: timeline.Timeline, begin: int, end: int) -> np.ndarray:
    """The four voices' levels on every cycle in [begin, end): uint8 (4, cycles)."""
    cycle = np.arange(begin, end)
    at = np.searchsorted(song.borders, cycle, "right") - 1
    every = Segments(song, np.arange(len(song.borders) - 1), song.borders[:-1], song.borders[1:])
    pulses = [pulse.level(at, cycle) for pulse in every.pulses]
    triangle = chip.TRIANGLE[every.triangle.place(at, cycle) & 31]
    return np.stack([*pulses, triangle, every.noise_level(at, cycle)]).astype(np.uint8)
