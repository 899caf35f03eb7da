"""A Score as writes to the chip's registers, the stream that a VGM file holds.

Paper: §3 (NES-MDB was made from such streams). Notebook: 01_nes_ensemble.
Differences from the paper: this is the way back, from notes to registers. Length counters are
halted, volumes constant, sweeps off (with the negate bit, or low notes would be muted), the linear
counter stays full; voices are opened and closed through register 0x15. A pulse's sequence restarts
after silence and where the timer's high bits change.
"""

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound import chip
from lakhnes_lib.sound.counters import ENABLE, FRAME_COUNTER
from lakhnes_lib.sound.timeline import changes, in_force, state

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
"""Registers and values of the first tick, before any note."""


def writes(score: Score, loop: int | None = None) -> tuple[np.ndarray, int | None]:
    """The register stream of a score, int64 (writes, 3): tick, register (from 0x4000) and value.

    loop: a tick. From there the stream can be repeated after its end: the registers that notes
    change are written again after the writes of that tick, which changes nothing the first time
    but that a pulse that sounds there restarts its sequence. Returns the stream and the number of
    the first of these writes, None without a loop.
    """
    ticks = np.unique(np.append(changes(score), -1))  # at -1 stands what the reset has left
    held = {ENABLE: np.zeros(len(ticks), np.int64)}
    for number in range(len(nes.VOICES)):
        if len(score.voice(number)):
            sounds, own = _held(score, number, ticks)
            held[ENABLE] |= sounds << number
            held |= own
    register, table = np.array(list(held)), np.stack(list(held.values()))  # (registers, ticks)
    moment, index = np.nonzero(np.diff(table, prepend=table[:, :1]).T)
    changed = np.stack([ticks[moment], register[index], table[index, moment] & 0xFF], axis=1)
    stream = np.concatenate([[(0, *pair) for pair in _RESET], changed])
    if loop is None:
        return stream, None
    again = table[:, np.searchsorted(ticks, loop, "right") - 1]
    again = np.stack([np.full(len(again), loop), register, again & 0xFF], axis=1)[again >= 0]
    first = int(np.searchsorted(stream[:, 0], loop, "right"))
    return np.insert(stream, first, again, axis=0), first


def _held(score: Score, number: int, ticks: np.ndarray) -> tuple[np.ndarray, dict]:
    """Whether a voice sounds from each tick on, and what its own registers hold: -1 before anything
    is written.

    The last register is written anew after silence, too. So it counts, above its eight bits, how
    often the voice has begun.
    """
    notes, (_, sounds, velocity, timbre) = score.voice(number), state(score, number, ticks)
    register, start, held = 4 * number, notes["start"], {}
    volume = velocity | HALT | CONSTANT_VOLUME
    if number == nes.NO:
        held[register] = volume
        low = in_force(start, 16 - notes["pitch"], ticks, 0) | timbre << 7
        high = np.zeros(len(ticks), np.int64)
    else:
        if number != nes.TR:
            held[register] = volume | timbre << 6
        timer = chip.timer(number, notes["pitch"])
        low, high = (in_force(start, bits, ticks, -1) for bits in (timer & 0xFF, timer >> 8))
    begins = np.diff(sounds, prepend=False) & sounds
    return sounds, held | {register + 2: low, register + 3: high + (np.cumsum(begins) << 8)}
