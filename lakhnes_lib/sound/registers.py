"""A Score as writes to the chip's registers, the stream that a VGM file holds.

Paper: §3 (NES-MDB was made from such streams). Notebook: 01_nes_ensemble.
Differences from the paper: this is the way back, from notes to registers. Length counters are halted, volumes constant,
sweeps off (with the negate bit, or low notes would be muted), the linear counter stays full; voices are opened and
closed through register 0x15. A pulse's sequence restarts after silence and where the timer's high bits change.
"""

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import TIMBRE_CHANGE, Score
from lakhnes_lib.sound import chip
from lakhnes_lib.sound.timeline import in_force, velocities

WRITE = np.dtype([("tick", "i8"), ("rank", "u1"), ("register", "u1"), ("value", "u1")])
"""One write; those of a tick go by rank, then register. Registers count from 0x4000."""

ENABLE, FRAME = 0x15, 0x17
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
    (FRAME, 0xC0),  # ... which this write's clock performs at once
    (ENABLE, 0x00),
)


def writes(score: Score) -> np.ndarray:
    """The register stream of a score: ``WRITE`` records in the order they are made."""
    found = [_records(0, 0, register, [value]) for register, value in _RESET]
    for rank, record in enumerate(found):
        record["rank"] = rank
    for number in range(len(nes.VOICES)):
        notes = score.voice(number)
        if len(notes):
            found += _voice(number, notes, score.controls[score.controls["voice"] == number])
    found.append(_gates(score.notes))
    found = np.concatenate(found)
    return found[np.lexsort((found["register"], found["rank"], found["tick"]))]


def _records(tick, rank, register, value) -> np.ndarray:
    records = np.zeros(len(value), WRITE)
    records["tick"], records["rank"], records["register"], records["value"] = (
        tick,
        rank,
        register,
        value,
    )
    return records


def _gates(notes) -> np.ndarray:
    """Writes of the enable register: one at each tick where a voice begins or ceases to sound."""
    tick = np.concatenate([notes["start"], notes["end"]])
    bit = np.left_shift(1, notes["voice"].astype(np.int64))
    ticks, place = np.unique(tick, return_inverse=True)
    # A note that ends where the next of its voice starts adds and takes the same bit.
    mask = np.cumsum(np.bincount(place, np.concatenate([bit, -bit]), len(ticks))).astype(np.int64)
    changed = np.diff(mask, prepend=0) != 0
    return _records(ticks[changed], len(_RESET), ENABLE, mask[changed])


def _changes(tick, value, before):
    """Only the entries that change the value."""
    changed = np.diff(value, prepend=before) != 0
    return tick[changed], value[changed]


def _voice(number, notes, controls):
    base, rank = 4 * number, len(_RESET) + 1
    timbre = controls[controls["kind"] == TIMBRE_CHANGE]
    if number != nes.TR:
        when, velocity = velocities(notes, controls)
        ticks = np.unique(np.concatenate([when, timbre["tick"]]))
        value = in_force(when, velocity, ticks, 0) | HALT | CONSTANT_VOLUME
        if number != nes.NO:
            value |= in_force(timbre["tick"], timbre["value"], ticks, 0) << 6
        ticks, value = _changes(ticks, value, HALT | CONSTANT_VOLUME)
        yield _records(ticks, rank, base, value)
    fresh = np.append(True, notes["start"][1:] != notes["end"][:-1])
    if number == nes.NO:
        ticks = np.unique(np.concatenate([notes["start"], timbre["tick"]]))
        value = in_force(notes["start"], 16 - notes["pitch"], ticks, 0)
        value |= in_force(timbre["tick"], timbre["value"], ticks, 0) << 7
        ticks, value = _changes(ticks, value, 0)
        yield _records(ticks, rank, base + 2, value)
        yield _records(notes["start"][fresh], rank, base + 3, np.zeros(fresh.sum(), np.uint8))
        return
    value = chip.timer(number, notes["pitch"])
    ticks, low = _changes(notes["start"], value & 0xFF, -1)
    yield _records(ticks, rank, base + 2, low)
    high = fresh | (np.diff(value >> 8, prepend=-1) != 0)
    yield _records(notes["start"][high], rank, base + 3, (value >> 8)[high])
