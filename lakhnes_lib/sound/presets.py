"""Timbre and dynamics for songs that carry none, as Score -> Score.

Paper: §3.2 (events drop both). Notebook: 01_nes_ensemble.
Differences from the paper: its audio has full volume and duty 0; that is the default here too, and these are choices.
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

    duty: 0-3 for both pulses, or one for P1 and one for P2. volume: 1-15 for every pulse and noise note, or "decay".
    Raises BadAudio on any other value.
    """
    if duty is not None:
        score = _with_duty(score, duty)
    if volume is not None:
        score = _with_volume(score, volume)
    return score


def _with_duty(score, duty):
    duties = tuple(duty) if isinstance(duty, tuple | list) else (duty, duty)
    if len(duties) != 2 or any(isinstance(d, bool) or d not in range(4) for d in duties):
        raise BadAudio(f"duty {duty!r} is not a number 0-3 or a pair of them")
    controls = score.controls
    pulses = (controls["kind"] == TIMBRE_CHANGE) & np.isin(controls["voice"], (nes.P1, nes.P2))
    chosen = np.array([(voice, 0, TIMBRE_CHANGE, d) for voice, d in enumerate(duties)], CONTROL)
    return Score.build(
        score.notes, score.length, np.concatenate([chosen, controls[~pulses]]), score.name
    )


def _with_volume(score, volume):
    controls = score.controls[score.controls["kind"] != VELOCITY_CHANGE]
    notes = score.notes.copy()
    loud = notes["voice"] != nes.TR
    if volume == "decay":
        fading = notes[loud]
        levels = np.minimum(
            (fading["end"] - fading["start"] - 1) // DECAY_TICKS, fading["velocity"]
        ).astype(np.int64)
        note = np.repeat(np.arange(len(fading)), levels)
        fallen = np.arange(len(note)) - np.repeat(np.cumsum(levels) - levels, levels) + 1
        fade = np.zeros(len(note), CONTROL)
        fade["voice"] = fading["voice"][note]
        fade["tick"] = fading["start"][note] + fallen * DECAY_TICKS
        fade["kind"] = VELOCITY_CHANGE
        fade["value"] = fading["velocity"][note] - fallen
        return Score.build(notes, score.length, np.concatenate([controls, fade]), score.name)
    if isinstance(volume, bool) or volume not in range(1, 16):
        raise BadAudio(f'volume {volume!r} is not a number 1-15 or "decay"')
    notes["velocity"][loud] = volume
    return replace(score, notes=notes, controls=controls)
