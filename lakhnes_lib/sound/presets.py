"""Duty and volume chosen for a whole song: a Score becomes another with other controls.

Paper: §3.2 (events drop timbre and velocity). Notebook: 01_nes_ensemble.
Differences from the paper: its audio has full volume and duty 0. That is the default here too;
these are choices for songs that come from events, or for hearing a song in another way.
"""

from dataclasses import replace

import numpy as np

from lakhnes_lib.errors import BadAudio
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import CONTROL, TIMBRE_CHANGE, VELOCITY_CHANGE, Score

DECAY_TICKS = 4 * nes.TICKS_PER_SECOND // 240
"""Ticks a level of "decay": the chip's envelope, clocked at 240 Hz, with a period of 4."""


def dress(
    score: Score, duty: int | tuple[int, int] | None = None, volume: int | str | None = None
) -> Score:
    """The score with other timbre or dynamics; None leaves the score's own.

    duty: 0-3 for both pulses, or a pair for P1 and P2. volume: 1-15 for every pulse and noise note,
    or "decay", where each note fades from its velocity. Raises BadAudio on any other value.
    """
    if duty is not None:
        score = _with_duty(score, duty)
    if volume == "decay":
        return _with_decay(score)
    return score if volume is None else _with_volume(score, volume)


def _with_duty(score, duty):
    duties = tuple(duty) if isinstance(duty, tuple | list) else (duty, duty)
    if len(duties) != 2 or any(isinstance(d, bool) or d not in range(4) for d in duties):
        raise BadAudio(f"duty {duty!r} is not a number 0-3 or a pair of them")
    controls = score.controls
    pulses = (controls["kind"] == TIMBRE_CHANGE) & np.isin(controls["voice"], (nes.P1, nes.P2))
    chosen = np.array([(voice, 0, TIMBRE_CHANGE, d) for voice, d in enumerate(duties)], CONTROL)
    controls = np.concatenate([chosen, controls[~pulses]])
    return Score.build(score.notes, score.length, controls, score.name)


def _with_volume(score, volume):
    if isinstance(volume, bool) or volume not in range(1, 16):
        raise BadAudio(f'volume {volume!r} is not a number 1-15 or "decay"')
    notes = score.notes.copy()
    notes["velocity"][notes["voice"] != nes.TR] = volume
    return replace(score, notes=notes, controls=_without_velocities(score))


def _with_decay(score):
    notes = score.notes[score.notes["voice"] != nes.TR]
    levels = (notes["end"] - notes["start"] - 1) // DECAY_TICKS  # that a note can lose
    levels = np.minimum(levels, notes["velocity"]).astype(np.int64)
    note = np.repeat(np.arange(len(notes)), levels)
    lost = np.arange(len(note)) - np.repeat(np.cumsum(levels) - levels, levels) + 1
    fade = np.empty(len(note), CONTROL)
    fade["voice"], fade["kind"] = notes["voice"][note], VELOCITY_CHANGE
    fade["tick"] = notes["start"][note] + lost * DECAY_TICKS
    fade["value"] = notes["velocity"][note] - lost
    controls = np.concatenate([_without_velocities(score), fade])
    return Score.build(score.notes, score.length, controls, score.name)


def _without_velocities(score):
    return score.controls[score.controls["kind"] != VELOCITY_CHANGE]
