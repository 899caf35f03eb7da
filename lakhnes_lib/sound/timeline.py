"""What the chip is told to do, and when: a Score cut into segments in which no register changes.

Paper: §3.1. Notebook: 01_nes_ensemble.
Differences from the paper: velocity and timbre are heard; a song without them has full volume and
duty 0.

Each voice of the chip goes through a fixed sequence of levels (8 steps for a pulse, 32 for the
triangle, 32,767 or 93 for the noise). Within a segment a step takes a fixed number of CPU cycles,
so the step that a voice is at follows from the cycle alone.
"""

from dataclasses import dataclass, fields

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import chip

NEVER = np.int64(1) << 60
"""Cycles a step of a voice that stands still."""


@dataclass(frozen=True)
class Voice:
    """One voice in every segment, int64 arrays (segments,).

    level: 0-15, its volume (0 where it is silent; for the triangle 1 where it runs).
    timbre: duty 0-3, or noise mode 0-1.
    step_cycles: CPU cycles that a step of its sequence takes.
    origin: the cycle at which the step number ``first_step`` began.
    """

    level: np.ndarray
    timbre: np.ndarray
    step_cycles: np.ndarray
    origin: np.ndarray
    first_step: np.ndarray

    def step_at(self, segment, cycle) -> np.ndarray:
        """Number of the step that the voice is at on some cycles; segment: that of each cycle."""
        since = cycle - self.origin[segment]
        return self.first_step[segment] + since // self.step_cycles[segment]

    def in_segments(self, segments: np.ndarray) -> "Voice":
        """The same voice in these segments only."""
        return Voice(*(getattr(self, field.name)[segments] for field in fields(self)))


@dataclass(frozen=True)
class Timeline:
    """Segments: borders int64 (segments + 1,) in CPU cycles, rising; voices: four Voice."""

    borders: np.ndarray
    voices: tuple[Voice, ...]


def cycle_of(ticks) -> np.ndarray:
    """CPU cycle nearest to a tick, int64."""
    doubled = np.asarray(ticks, np.int64) * (2 * chip.CLOCK) + nes.TICKS_PER_SECOND
    return doubled // (2 * nes.TICKS_PER_SECOND)


def build(score: Score, seed: int | None = None) -> Timeline:
    """The timeline of a score.

    A pulse's sequence restarts after silence and where the timer's high bits change, as the write
    to its last register makes it; otherwise its phase goes on. The triangle and the noise never
    restart: they stand still in silence. Without a seed all begin as after a reset: pulses restart
    at step 0, the triangle begins at its lowest level and the noise register at 1. A seed draws
    these phases instead.
    """
    notes, controls = score.notes, score.controls
    moments = [notes["start"], notes["end"], controls["tick"], [0, score.length]]
    ticks = np.unique(np.concatenate(moments))
    random = None if seed is None else np.random.default_rng(seed)
    voices = []
    for number in range(len(nes.VOICES)):
        own = controls[controls["voice"] == number]
        voices.append(_voice(number, score.voice(number), own, ticks[:-1], random))
    return Timeline(cycle_of(ticks), tuple(voices))


def in_force(when: np.ndarray, value: np.ndarray, ticks: np.ndarray, before: int) -> np.ndarray:
    """The last value set at or before each of some ticks, int64; ``before`` where none has been."""
    latest = np.searchsorted(when, ticks, "right")  # 0: none
    return np.append(before, value).astype(np.int64)[latest]


def velocities(notes: np.ndarray, controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ticks at which a voice's velocity is set, and its values, in order.

    At one tick a note comes before a control.
    """
    controls = controls[controls["kind"] == VELOCITY_CHANGE]
    when = np.concatenate([notes["start"], controls["tick"]])
    order = np.argsort(when, kind="stable")
    return when[order], np.concatenate([notes["velocity"], controls["value"]])[order]


def _voice(number, notes, controls, ticks, random) -> Voice:
    """A voice in the segments that begin at these ticks."""
    first_step, phases = 16 if number == nes.TR else 0, np.zeros(len(notes))
    if random is not None:
        first_step = int(random.integers(32 if number == nes.TR else 32_767))
        phases = random.random(len(notes))
    timbres = controls[controls["kind"] == TIMBRE_CHANGE]
    timbre = in_force(timbres["tick"], timbres["value"], ticks, 0)
    if not len(notes):
        zero = np.zeros(len(ticks), np.int64)
        return Voice(zero, timbre, zero + NEVER, cycle_of(ticks), zero + first_step)
    step_cycles, origin, first, last = _steps(number, notes, first_step, phases)
    note = np.searchsorted(notes["start"], ticks, "right") - 1  # -1 before the first note
    sounds = (note >= 0) & (ticks < notes["end"][note])
    velocity = in_force(*velocities(notes, controls), ticks, 0)
    silent_at = np.where(note < 0, first_step, last[note])  # the step where the voice stands still
    return Voice(
        level=np.where(sounds, velocity, 0),
        timbre=timbre,
        step_cycles=np.where(sounds, step_cycles[note], NEVER),
        origin=np.where(sounds, origin[note], cycle_of(ticks)),
        first_step=np.where(sounds, first[note], silent_at),
    )


def _steps(number, notes, first_step, phases) -> tuple[np.ndarray, ...]:
    """For each note: cycles a step, origin, the step at the origin, and the one after its end.

    int64 (notes,) each. phases: 0-1, where each note of a pulse would restart.
    """
    start, end = cycle_of(notes["start"]), cycle_of(notes["end"])
    if number == nes.NO:
        step_cycles = chip.noise_period(notes["pitch"])
    else:
        timer = chip.timer(number, notes["pitch"])
        step_cycles = (timer + 1) * (1 if number == nes.TR else 2)
    if number in (nes.TR, nes.NO):
        last = first_step + np.cumsum((end - start) // step_cycles)
        return step_cycles, start, np.append(first_step, last[:-1]), last
    period = 8 * step_cycles
    # The phase at each note's start if it always ran on from note to note, in periods; from that
    # the phase at the last restart is taken away.
    running = np.append(0.0, np.cumsum((end - start) / period)[:-1])
    high_bits = timer >> 8
    restarts = np.append(True, (start[1:] != end[:-1]) | (high_bits[1:] != high_bits[:-1]))
    restart = np.maximum.accumulate(np.where(restarts, np.arange(len(notes)), 0))
    phase = (running - running[restart] + phases[restart]) % 1.0
    origin = start - np.rint(phase * period).astype(np.int64)
    return step_cycles, origin, np.zeros_like(start), np.zeros_like(start)
