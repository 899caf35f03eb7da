"""Duty and volume chosen for a whole song: a Score becomes another with other controls.

Paper: §3.2 (events drop timbre and velocity). Notebook: 01_nes_ensemble.
Differences from the paper: its audio has full volume and duty 0. That is the default here too;
these are choices for songs that come from events, or for hearing a song in another way.
"""

import numpy as np

from lakhnes_lib.errors import BadAudio
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import CONTROL, TIMBRE_CHANGE, VELOCITY_CHANGE, Score, records

DECAY_TICKS = 4 * nes.TICKS_PER_SECOND // 240
"""Ticks a level of "decay": the chip's envelope, clocked at 240 Hz, with a period of 4."""


def dress(
    score: Score, duty: int | tuple[int, int] | None = None, volume: int | str | None = None
) -> Score:
    """The score with other timbre or dynamics; None leaves the score's own.

    duty: 0-3 for both pulses, or a pair for P1 and P2. volume: 1-15 for every pulse and noise note,
    or "decay", where each note fades from its velocity. Raises BadAudio on any other value.
    """
    notes, controls = score.notes, score.controls
    if duty is not None:
        duties = tuple(duty) if isinstance(duty, tuple | list) else (duty, duty)
        if len(duties) != 2 or any(isinstance(d, bool) or d not in range(4) for d in duties):
            raise BadAudio(f"duty {duty!r} is not a number 0-3 or a pair of them")
        is_own = (controls["kind"] == TIMBRE_CHANGE) & (controls["voice"] <= nes.P2)
        chosen = np.array([(voice, 0, TIMBRE_CHANGE, d) for voice, d in enumerate(duties)], CONTROL)
        controls = np.concatenate([chosen, controls[~is_own]])
    if volume is not None:
        controls = controls[controls["kind"] != VELOCITY_CHANGE]
        has_volume = notes["voice"] != nes.TR
        if volume == "decay":
            controls = np.concatenate([controls, fades(notes[has_volume], DECAY_TICKS)])
        elif isinstance(volume, bool) or volume not in range(1, 16):
            raise BadAudio(f'volume {volume!r} is not a number 1-15 or "decay"')
        else:
            notes = notes.copy()
            notes["velocity"][has_volume] = volume
    return Score.build(notes, score.length, controls, score.name)


def fades(notes: np.ndarray, ticks: int, levels: int = 1, lowest: int = 0) -> np.ndarray:
    """``CONTROL`` records: each note loses so many levels every so many ticks while it lasts, and
    does not fall below the lowest."""
    room = np.maximum(notes["velocity"].astype(np.int64) - lowest, 0)
    times = np.minimum((notes["end"] - notes["start"] - 1) // ticks, room // levels)
    note = notes[np.repeat(np.arange(len(notes)), times)]
    number = np.arange(len(note)) - np.repeat(np.cumsum(times) - times, times) + 1
    tick, value = note["start"] + number * ticks, note["velocity"] - number * levels
    return records(CONTROL, note["voice"], tick, VELOCITY_CHANGE, value)
