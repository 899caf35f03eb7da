"""What the chip is told to do, and when: a Score cut into segments in which no register changes.

Paper: §3.1. Notebook: 01_nes_ensemble.
Differences from the paper: velocity and timbre are heard; a song without them has full volume and duty 0.
"""

from dataclasses import dataclass

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import chip

NEVER = np.int64(1) << 60
"""Cycles between the steps of a voice that stands still."""


@dataclass(frozen=True)
class Voice:
    """One voice in every segment, int64 arrays (segments,).

    level: 0-15, its volume (0 where it is silent; for the triangle 1 where it runs).
    timbre: duty 0-3, or noise mode 0-1.
    step: CPU cycles between two steps of its sequence. origin: cycle at which step number ``first`` began.
    """

    level: np.ndarray
    timbre: np.ndarray
    step: np.ndarray
    origin: np.ndarray
    first: np.ndarray

    def place(self, at, cycle) -> np.ndarray:
        """Number of the step that it is at in segments ``at`` on cycles ``cycle``."""
        return self.first[at] + (cycle - self.origin[at]) // self.step[at]

    def at(self, places: np.ndarray) -> "Voice":
        """The same voice in chosen segments."""
        return Voice(*(getattr(self, name)[places] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Timeline:
    """Segments: borders int64 (segments + 1,) in CPU cycles, rising; voices: four Voice."""

    borders: np.ndarray
    voices: tuple


def cycle_of(ticks) -> np.ndarray:
    """CPU cycle nearest to a tick, int64."""
    return (np.asarray(ticks, np.int64) * (2 * chip.CLOCK) + nes.TICKS_PER_SECOND) // (
        2 * nes.TICKS_PER_SECOND
    )


def build(score: Score, seed: int | None = None) -> Timeline:
    """The timeline of a score.

    A pulse restarts its sequence after silence and where the timer's high bits change, as the register
    stream of ``vgm.write`` makes it do; otherwise its phase runs on. The triangle holds its step in silence.
    seed: None starts every restarted pulse at step 0, the triangle at its lowest level and the noise register at 1,
    all as after a reset; a number draws these places instead.
    """
    notes, controls = score.notes, score.controls
    ticks = np.unique(
        np.concatenate([notes["start"], notes["end"], controls["tick"], [0, score.length]])
    )
    borders = cycle_of(ticks)
    random = None if seed is None else np.random.default_rng(seed)
    voices = tuple(
        _voice(
            number,
            score.voice(number),
            controls[controls["voice"] == number],
            ticks[:-1],
            borders[:-1],
            random,
        )
        for number in range(len(nes.VOICES))
    )
    return Timeline(borders, voices)


def in_force(when: np.ndarray, value: np.ndarray, ticks: np.ndarray, before: int) -> np.ndarray:
    """The last value set at or before each tick."""
    if not len(when):
        return np.full(len(ticks), before, np.int64)
    place = np.searchsorted(when, ticks, "right") - 1
    return np.where(place < 0, before, value[np.maximum(place, 0)]).astype(np.int64)


def velocities(notes: np.ndarray, controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ticks at which a voice's velocity is set, and its values, in order; at one tick a note comes before a control."""
    controls = controls[controls["kind"] == VELOCITY_CHANGE]
    when = np.concatenate([notes["start"], controls["tick"]])
    order = np.argsort(when, kind="stable")
    return when[order], np.concatenate([notes["velocity"], controls["value"]])[order]


def _voice(number, notes, controls, ticks, starts, random) -> Voice:
    timbre = controls[controls["kind"] == TIMBRE_CHANGE]
    timbre = in_force(timbre["tick"], timbre["value"], ticks, 0)
    first_step, draws = _places(number, len(notes), random)
    if not len(notes):
        still = np.zeros(len(ticks), np.int64)
        return Voice(still, timbre, still + NEVER, starts, still + first_step)
    note = np.searchsorted(notes["start"], ticks, "right") - 1
    sounds = (note >= 0) & (ticks < notes["end"][note])
    level = np.where(sounds, in_force(*velocities(notes, controls), ticks, 0), 0)
    step, origin, first, after = _steps(number, notes, first_step, draws)
    held = np.where(note < 0, first_step, after[note])
    return Voice(
        level=level,
        timbre=timbre,
        step=np.where(sounds, step[note], NEVER),
        origin=np.where(sounds, origin[note], starts),
        first=np.where(sounds, first[note], held),
    )


def _places(number, count, random):
    """The sequence's step at the beginning, and the phase (0-1) at which each note of a pulse would restart."""
    if random is None:
        return (16 if number == nes.TR else 0), np.zeros(count)
    return int(random.integers(32 if number == nes.TR else 32_767)), random.random(count)


def _steps(number, notes, first_step, draws):
    """Each note's cycles a step, origin and first step, and the step after its end; int64 (notes,)."""
    start, end = cycle_of(notes["start"]), cycle_of(notes["end"])
    if number == nes.NO:
        step = chip.noise_period(notes["pitch"])
    else:
        value = chip.timer(number, notes["pitch"])
        step = (value + 1) * (chip.cycles_per_period(number) // (32 if number == nes.TR else 8))
    if number in (nes.TR, nes.NO):
        after = first_step + np.cumsum((end - start) // step)
        return step, start, np.append(first_step, after[:-1]), after
    # Periods since the beginning, as if the phase always ran on; a restart takes it from there.
    run = np.cumsum((end - start) / (8 * step))
    before = np.append(0.0, run[:-1])
    restart = np.append(True, (start[1:] != end[:-1]) | (value[1:] >> 8 != value[:-1] >> 8))
    base = np.maximum.accumulate(np.where(restart, np.arange(len(notes)), 0))
    phase = (before - before[base] + draws[base]) % 1.0
    origin = start - np.rint(phase * 8 * step).astype(np.int64)
    return step, origin, np.zeros(len(notes), np.int64), np.zeros(len(notes), np.int64)
