"""The counters behind the chip's registers: lengths, the linear counter, envelopes and sweeps.

Paper: §3 (NES-MDB was made by emulating them). Notebook: 01_nes_ensemble.
Differences from the paper: none; facts are those of the NESdev wiki, pages "APU ...".

Everything that happens to the chip is one row of ``Events``: a write to a register, or a clock of
the frame counter. A counter is an array with its value after each event. Lengths and the linear
counter only count down from where they were last set, so that they are sums; envelopes and sweeps
depend on their own past, and go from event to event.
"""

from typing import NamedTuple

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.sound import chip

LENGTHS = (
    *(10, 254, 20, 2, 40, 4, 80, 6, 160, 8, 60, 10, 14, 12, 26, 14),
    *(12, 16, 24, 18, 48, 20, 96, 22, 192, 24, 72, 26, 16, 28, 32, 30),
)
"""Half frames that the length counter is loaded with, by the upper five bits of a voice's fourth
register."""
FRAME_COUNTER, ENABLE = 0x17, 0x15
"""Registers, as offsets from 0x4000, of no single voice."""
QUARTER_FRAME, HALF_FRAME = 0x80, 0x81
"""In place of a register: a clock of the frame counter. A half frame is a quarter frame, too."""
HALT, CONSTANT_VOLUME = (0x20, 0x20, 0x80, 0x20), 0x10
"""Bits of a voice's first register: its length counter stands still; its envelope is not heard."""


class Events(NamedTuple):
    """What happens to the chip, in order: int arrays (events,).

    tick: when. register: an offset from 0x4000, or a clock. value: what is written (0 for a clock).
    """

    tick: np.ndarray
    register: np.ndarray
    value: np.ndarray

    def written(self, register: int) -> np.ndarray:
        """What a register holds after each event; 0 before it is written."""
        at = self.register == register
        return after(at, self.value[at])


def after(at: np.ndarray, values) -> np.ndarray:
    """What is in force after each event: the last of the values set so far, or 0.

    at: the events that set one, bool (events,); values: what they set, in order.
    """
    return np.append(0, np.asarray(values, np.int64))[np.cumsum(at)]


def _count_down(loads, amount, falls) -> np.ndarray:
    """A counter that some events load with an amount and others take 1 from, never below 0."""
    fallen = np.cumsum(falls)
    return np.maximum(after(loads, (amount + fallen)[loads]) - fallen, 0)


def length(events: Events, voice: int) -> np.ndarray:
    """Half frames for which the voice still sounds, after each event; 0: it is silent."""
    enabled = events.written(ENABLE) >> voice & 1
    loads = (events.register == 4 * voice + 3) | (events.register == ENABLE) & (enabled == 0)
    amount = np.take(LENGTHS, events.value >> 3) * enabled
    halted = events.written(4 * voice) & HALT[voice]
    return _count_down(loads, amount, (events.register == HALF_FRAME) & (halted == 0))


def linear(events: Events) -> np.ndarray:
    """Quarter frames for which the triangle's second counter lets it sound, after each event."""
    control = events.written(4 * nes.TR)
    clock = events.register >= QUARTER_FRAME
    asks = events.register == 4 * nes.TR + 3
    settles = clock & (control & HALT[nes.TR] == 0)  # a clock after which no reload is asked for
    asked = after(asks | settles, asks[asks | settles])
    loads = clock & (np.append(0, asked[:-1]) > 0)
    return _count_down(loads, control & 0x7F, clock & ~loads)


def decay(events: Events, voice: int) -> np.ndarray:
    """Level of the envelope of a pulse or the noise, 0-15, after each event."""
    control = events.written(4 * voice)
    clock = events.register >= QUARTER_FRAME
    at = clock | (events.register == 4 * voice + 3)
    begins, level, divider, levels = False, 0, 0, []
    for is_clock, value in zip(clock[at].tolist(), control[at].tolist(), strict=True):
        if not is_clock:
            begins = True
        elif begins:
            begins, level, divider = False, 15, value & 15
        elif divider:
            divider -= 1
        else:
            divider = value & 15
            if level:
                level -= 1
            elif value & HALT[voice]:  # the bit also lets the envelope begin again
                level = 15
        levels.append(level)
    return after(at, levels)


def timer(events: Events, voice: int) -> np.ndarray:
    """Timer of a melodic voice after each event; -1 where a pulse is silent because of it."""
    which = events.register - 4 * voice
    is_pulse = voice != nes.TR
    sweeps = is_pulse and (events.value[which == 1] & 0x80).any()
    at = (which > 0) & (which < 4) | sweeps & (events.register == HALF_FRAME)
    period, sweep, divider, reload = 0, 0, 0, False
    timers, sounding = [], -1
    for kind, value in zip(which[at].tolist(), events.value[at].tolist(), strict=True):
        if kind == 1:
            sweep, reload = value, True
        elif kind == 2:
            period = period & 0x700 | value
        elif kind == 3:
            period = period & 0xFF | (value & 7) << 8
        else:
            due = divider == 0
            if due and sweep & 0x80 and sweep & 7 and sounding >= 0:
                period = _sweep_target(period, sweep, voice)
            if due or reload:
                divider, reload = sweep >> 4 & 7, False
            else:
                divider -= 1
        too_short = period < chip.SHORTEST_PULSE_TIMER
        muted = is_pulse and (too_short or _sweep_target(period, sweep, voice) > 0x7FF)
        sounding = -1 if muted else period  # the next event of the sweep asks for it
        timers.append(sounding)
    return after(at, timers)


def _sweep_target(period: int, sweep: int, voice: int) -> int:
    """Timer that the sweep unit would set; pulse 1 subtracts one more than pulse 2."""
    change = period >> (sweep & 7)
    return max(period - change - (voice == nes.P1), 0) if sweep & 8 else period + change
