"""What the chip is told to do, and when: a Score cut into segments in which no register changes.

Paper: §3.1. Notebook: 01_nes_ensemble.
Differences from the paper: velocity and timbre are heard; a song without them has full volume and
duty 0.

Each voice of the chip goes through a fixed sequence of levels (8 steps for a pulse, 32 for the
triangle, 32,767 or 93 for the noise). Within a segment a step takes a fixed number of CPU cycles,
so the step that a voice is at follows from the cycle alone.
"""

from typing import NamedTuple

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import chip

NEVER = np.int64(1) << 60
"""Cycles a step of a voice that stands still."""


class Timeline(NamedTuple):
    """Segments of time, and what each voice does in them.

    borders: int64 (segments + 1,) in CPU cycles, rising. voices: int64 (4, 5, segments), where the
    five rows of a voice are: its volume 0-15 (0 where it is silent; for the triangle 1 where it
    runs); its duty 0-3 or noise mode 0-1; the CPU cycles that a step of its sequence takes, NEVER
    where it stands still; an origin, which is a cycle, 0 where it stands still; and the number of
    the step that began at the origin.
    """

    borders: np.ndarray
    voices: np.ndarray


def cycle_of(ticks) -> np.ndarray:
    """CPU cycle nearest to a tick, int64."""
    doubled = np.asarray(ticks, np.int64) * (2 * chip.CLOCK) + nes.TICKS_PER_SECOND
    return doubled // (2 * nes.TICKS_PER_SECOND)


def build(score: Score, seed: int | None = None) -> Timeline:
    """The timeline of a score.

    A pulse's sequence restarts after silence and where the timer's high bits change, as the write
    to its last register makes it; otherwise its phase goes on. The triangle and the noise never
    restart: they stand still in silence. The triangle begins at its lowest level. Without a seed
    all begin as after a reset: pulses restart at step 0 and the noise register at 1. A seed draws
    these phases instead.
    """
    random = None if seed is None else np.random.default_rng(seed)
    ticks = np.unique(np.concatenate([changes(score), [0, score.length]]))
    voices = [_voice(score, number, ticks[:-1], random) for number in range(len(nes.VOICES))]
    return Timeline(cycle_of(ticks), np.stack(voices))


def changes(score: Score) -> np.ndarray:
    """The ticks at which anything in a score changes, in no order."""
    return np.concatenate([score.notes["start"], score.notes["end"], score.controls["tick"]])


def state(score: Score, number: int, ticks: np.ndarray) -> tuple[np.ndarray, ...]:
    """A voice from each of these ticks on, four arrays (ticks,).

    The number of the note that began last, int64, -1 before the first; whether it still sounds,
    bool; the velocity and the timbre set last, also in silence, int64, 0 before any.
    """
    notes, (velocities, timbres) = score.voice(number), settings(score, number)
    note = np.searchsorted(notes["start"], ticks, "right") - 1
    sounds = ticks < np.append(notes["end"], -1)[note]  # -1 is the end of what no note is
    return note, sounds, in_force(*velocities, ticks, 0), in_force(*timbres, ticks, 0)


def in_force(when: np.ndarray, value: np.ndarray, ticks: np.ndarray, before: int) -> np.ndarray:
    """The last value set at or before each of some ticks, int64; ``before`` where none has been."""
    latest = np.searchsorted(when, ticks, "right")  # 0: none
    return np.append(before, value).astype(np.int64)[latest]


def settings(score: Score, number: int) -> tuple[tuple[np.ndarray, ...], ...]:
    """The ticks at which a voice's velocity is set, and its values, in order; and the same of its
    timbre.

    At one tick a note comes before a control.
    """
    notes, controls = score.voice(number), score.controls[score.controls["voice"] == number]
    timbres = controls[controls["kind"] == TIMBRE_CHANGE]
    controls = controls[controls["kind"] == VELOCITY_CHANGE]
    when = np.concatenate([notes["start"], controls["tick"]])
    order = np.argsort(when, kind="stable")
    velocities = when[order], np.concatenate([notes["velocity"], controls["value"]])[order]
    return velocities, (timbres["tick"], timbres["value"])


def _voice(score: Score, number: int, ticks: np.ndarray, random) -> np.ndarray:
    """A voice in the segments that begin at these ticks, as in ``Timeline``."""
    note, sounds, velocity, timbre = state(score, number, ticks)
    step_cycles, origin, steps = _steps(number, score.voice(number), random)
    step_cycles = np.where(sounds, np.append(step_cycles, 0)[note], NEVER)
    first_step = steps[np.where(sounds, note, note + 1)]
    origin = np.append(origin, 0)[note] * sounds
    return np.stack([velocity * sounds, timbre, step_cycles, origin, first_step])


def _steps(number: int, notes: np.ndarray, random) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each note, cycles a step and origin, int64 (notes,); and the steps at which the voice is
    at the origin of each note and at the end, int64 (notes + 1,)."""
    start, end = cycle_of(notes["start"]), cycle_of(notes["end"])
    if number == nes.NO:
        step_cycles = chip.noise_period(notes["pitch"])
    else:
        timer = chip.timer(number, notes["pitch"])
        step_cycles = (timer + 1) * (1 if number == nes.TR else 2)
    if number in (nes.TR, nes.NO):
        first_step = 16 if number == nes.TR else 0 if random is None else random.integers(32_767)
        return step_cycles, start, np.cumsum(np.append(first_step, (end - start) // step_cycles))
    period = 8 * step_cycles
    # The phase at each note's start if it always ran on from note to note, in periods; from that
    # the phase at the last restart is taken away.
    running = np.append(0.0, np.cumsum((end - start) / period)[:-1])
    restarts = (start != np.append(-1, end[:-1])) | (np.diff(timer >> 8, prepend=-1) != 0)
    restart = np.maximum.accumulate(np.where(restarts, np.arange(len(notes)), 0))
    phases = np.zeros(len(notes)) if random is None else random.random(len(notes))
    phase = (running - running[restart] + phases[restart]) % 1.0
    origin = start - np.rint(phase * period).astype(np.int64)
    return step_cycles, origin, np.zeros(len(notes) + 1, np.int64)
