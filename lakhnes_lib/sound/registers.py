"""A Score as writes to the chip's registers, the stream that a VGM file holds.

Paper: §3 (NES-MDB was made from such streams). Notebook: 01_nes_ensemble.
Differences from the paper: this is the way back, from notes to registers. Length counters are
halted, volumes constant, sweeps off (with the negate bit, or low notes would be muted), the linear
counter stays full; voices are opened and closed through register 0x15. A pulse's sequence restarts
after silence and where the timer's high bits change.
"""

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import TIMBRE_CHANGE, Score
from lakhnes_lib.sound import chip
from lakhnes_lib.sound.counters import ENABLE, FRAME_COUNTER
from lakhnes_lib.sound.timeline import in_force, velocities

WRITE = np.dtype([("tick", "i8"), ("rank", "u1"), ("register", "u1"), ("value", "u1")])
"""One write; those of a tick go by rank, then register. Registers count from 0x4000."""

HALT, CONSTANT_VOLUME, SWEEP_OFF = 0x20, 0x10, 0x08
_RESET = (
    (0x00, HALT | CONSTANT_VOLUME),
    (0x01, SWEEP_OFF),
    (0x04, HALT | CONSTANT_VOLUME),
    (0x05, SWEEP_OFF),
    (0x08, 0xFF),  # linear counter: control bit and 127
    (0x0B, 0x00),  # asks for its reload, ...
    (0x0C, HALT | CONSTANT_VOLUME),
    (0x0E, 0x00),
    (FRAME_COUNTER, 0xC0),  # ... which this write's clock performs at once
    (ENABLE, 0x00),
)
"""Registers and values of the first tick, before any note; the rank of each is its index."""


LOOP = 254
"""Rank of the first write of a repetition; that of its other writes is one more."""


def writes(score: Score, loop: int | None = None) -> np.ndarray:
    """The register stream of a score: ``WRITE`` records in the order they are made.

    loop: a tick. From there the stream can be repeated after its end: all registers are written
    again after the writes of that tick, which changes nothing the first time. A pulse that sounds
    there restarts its sequence.
    """
    parts = [_records(0, rank, *reset) for rank, reset in enumerate(_RESET)]
    parts.append(_enable_writes(score.notes))
    for number in range(len(nes.VOICES)):
        notes = score.voice(number)
        if len(notes):
            parts += _voice_writes(number, notes, score.controls[score.controls["voice"] == number])
    stream = np.concatenate(parts)
    stream = stream[np.lexsort((stream["register"], stream["rank"], stream["tick"]))]
    if loop is None:
        return stream
    place = np.searchsorted(stream["tick"], loop, "right")
    return np.insert(stream, place, _in_force(stream[:place], loop))


def _in_force(stream, tick) -> np.ndarray:
    """Writes of what the registers hold, the enable register first.

    The last register of a silent voice is left out: its next note writes it.
    """
    register, last = np.unique(stream["register"][::-1], return_index=True)
    value = stream["value"][::-1][last]
    sounds = value[register == ENABLE] >> register // 4 & 1 > 0
    own = (register < 0x10) & (sounds | (register % 4 < 3))
    state = _records(tick, LOOP + own, register, value)
    return np.concatenate([state[register == ENABLE], state[own]])


def _records(tick, rank, register, value) -> np.ndarray:
    records = np.empty(np.size(value), WRITE)
    records["tick"], records["rank"] = tick, rank
    records["register"], records["value"] = register, value
    return records


def _enable_writes(notes) -> np.ndarray:
    """Writes of the enable register: one at each tick where a voice begins or ceases to sound."""
    bit = np.left_shift(1, notes["voice"].astype(np.int64))
    ticks, index = np.unique(np.concatenate([notes["start"], notes["end"]]), return_inverse=True)
    # A note that ends where the next of its voice starts adds and takes the same bit.
    change = np.bincount(index, np.concatenate([bit, -bit]), len(ticks))
    value = np.cumsum(change).astype(np.int64)
    return _changes(ticks, len(_RESET), ENABLE, value, before=0)


def _changes(tick, rank, register, value, before) -> np.ndarray:
    """Records of only those values that differ from the one before them."""
    changed = np.diff(value, prepend=before) != 0
    return _records(tick[changed], rank, register, value[changed])


def _voice_writes(number, notes, controls) -> list[np.ndarray]:
    """Writes of a voice's own four registers, which come after the enable register's."""
    rank, register, parts = len(_RESET) + 1, 4 * number, []
    start, timbre = notes["start"], controls[controls["kind"] == TIMBRE_CHANGE]
    if number != nes.TR:
        when, velocity = velocities(notes, controls)
        ticks = np.unique(np.concatenate([when, timbre["tick"]]))
        value = in_force(when, velocity, ticks, 0) | HALT | CONSTANT_VOLUME
        if number != nes.NO:
            value |= in_force(timbre["tick"], timbre["value"], ticks, 0) << 6
        parts.append(_changes(ticks, rank, register, value, before=HALT | CONSTANT_VOLUME))
    after_silence = np.append(True, start[1:] != notes["end"][:-1])
    if number == nes.NO:
        ticks = np.unique(np.concatenate([start, timbre["tick"]]))
        value = in_force(start, 16 - notes["pitch"], ticks, 0)
        value |= in_force(timbre["tick"], timbre["value"], ticks, 0) << 7
        parts.append(_changes(ticks, rank, register + 2, value, before=0))
        high, written = np.zeros(len(notes), np.uint8), after_silence
    else:
        timer = chip.timer(number, notes["pitch"])
        high = timer >> 8
        written = after_silence | (np.diff(high, prepend=-1) != 0)
        parts.append(_changes(start, rank, register + 2, timer & 0xFF, before=-1))
    parts.append(_records(start[written], rank, register + 3, high[written]))
    return parts
