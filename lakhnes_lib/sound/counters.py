"""The chip's registers and the counters behind them: envelopes, lengths, sweeps.

Paper: §3 (NES-MDB was made by emulating them). Notebook: 01_nes_ensemble.
Differences from the paper: none; facts are those of the NESdev wiki, pages "APU ...".
"""

from collections.abc import Iterable
from functools import lru_cache

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
PULSES, WITH_ENVELOPE = (nes.P1, nes.P2), (nes.P1, nes.P2, nes.NO)
HALT = (0x20, 0x20, 0x80, 0x20)
"""The bit of each voice's first register that stops its length counter."""


@lru_cache(1 << 13)
def _pitch(voice: int, timer: int, clock: int) -> int:
    """Nearest MIDI pitch of a melodic voice's timer; 0 where the voice has no such note."""
    hertz = clock / (chip.cycles_per_period(voice) * (timer + 1))
    pitch = int(np.rint(69 + 12 * np.log2(hertz / 440)))
    return pitch if nes.LOWEST_PITCH[voice] <= pitch <= nes.HIGHEST_PITCH[voice] else 0


class Counters:
    """The registers and counters of the four voices; every quantity is a plain int.

    The frame counter calls ``quarter_frame`` 240 times a second and ``half_frame`` 120 times.
    """

    def __init__(self, clock: int = chip.CLOCK):
        self.clock = clock
        self.control, self.timer = [0] * 4, [0] * 4  # a voice's first register; its period
        self.length, self.enabled = [0] * 4, 0
        # The envelope of a pulse or the noise: whether it starts anew, its level, its divider.
        self.start, self.decay, self.divider = [False] * 4, [0] * 4, [0] * 4
        self.sweep, self.sweep_reload, self.sweep_divider = [0, 0], [False, False], [0, 0]
        self.linear, self.linear_reload = 0, False  # the triangle's second length counter
        self.five_steps = False

    def write(self, register: int, value: int) -> Iterable[int]:
        """Performs a write to 0x4000 + register; returns the voices that it may have changed."""
        if register > 0x0F:
            if register == ENABLE:
                self.enabled = value
                self.length = [n * (value >> voice & 1) for voice, n in enumerate(self.length)]
            elif register == FRAME_COUNTER:
                self.five_steps = value > 0x7F
            return range(4)
        voice, which = divmod(register, 4)
        if which == 0:
            self.control[voice] = value
        elif which == 1 and voice in PULSES:
            self.sweep[voice], self.sweep_reload[voice] = value, True
        elif which == 2:
            self.timer[voice] = value if voice == nes.NO else self.timer[voice] & 0x700 | value
        elif which == 3:
            if voice != nes.NO:
                self.timer[voice] = self.timer[voice] & 0xFF | (value & 7) << 8
            if self.enabled >> voice & 1:
                self.length[voice] = LENGTHS[value >> 3]
            self.start[voice] = True
            if voice == nes.TR:
                self.linear_reload = True
        return (voice,)

    def quarter_frame(self):
        """Clocks the envelopes and the linear counter."""
        for voice in WITH_ENVELOPE:
            period = self.control[voice] & 15
            if self.start[voice]:
                self.start[voice], self.decay[voice], self.divider[voice] = False, 15, period
            elif self.divider[voice]:
                self.divider[voice] -= 1
            else:
                self.divider[voice] = period
                if self.decay[voice]:
                    self.decay[voice] -= 1
                elif self.control[voice] & HALT[voice]:  # the bit also lets the envelope loop
                    self.decay[voice] = 15
        if self.linear_reload:
            self.linear = self.control[nes.TR] & 0x7F
        elif self.linear:
            self.linear -= 1
        if not self.control[nes.TR] & HALT[nes.TR]:
            self.linear_reload = False

    def half_frame(self):
        """Clocks the length counters and the sweeps."""
        for voice, halt in enumerate(HALT):
            if self.length[voice] and not self.control[voice] & halt:
                self.length[voice] -= 1
        for voice in PULSES:
            due = not self.sweep_divider[voice]
            if due and self.sweeps(voice) and not self.muted(voice):
                self.timer[voice] = self.sweep_target(voice)
            if due or self.sweep_reload[voice]:
                self.sweep_divider[voice] = self.sweep[voice] >> 4 & 7
                self.sweep_reload[voice] = False
            else:
                self.sweep_divider[voice] -= 1

    def sweeps(self, voice: int) -> bool:
        """Whether a pulse's sweep is enabled and changes its timer."""
        return bool(self.sweep[voice] & 0x80 and self.sweep[voice] & 7)

    def sweep_target(self, voice: int) -> int:
        """Timer that the sweep unit would set; pulse 1 subtracts one more than pulse 2."""
        sweep, timer = self.sweep[voice], self.timer[voice]
        change = timer >> (sweep & 7)
        return max(timer - change - (voice == nes.P1), 0) if sweep & 8 else timer + change

    def muted(self, voice: int) -> bool:
        """Whether a pulse is silent because of its timer."""
        return self.timer[voice] < chip.SHORTEST_PULSE_TIMER or self.sweep_target(voice) > 0x7FF

    def state(self, voice: int) -> tuple[int, int, int]:
        """Pitch (0: silent), level and timbre of a voice at this moment."""
        control, timer = self.control[voice], self.timer[voice]
        if voice == nes.TR:
            level, timbre = 1, 0
            silent = not self.linear
        else:
            level = control & 15 if control & 0x10 else self.decay[voice]
            timbre = timer >> 7 & 1 if voice == nes.NO else control >> 6
            silent = voice in PULSES and self.muted(voice)
        if not self.length[voice] or not level or silent:
            return 0, 0, timbre
        pitch = 16 - (timer & 15) if voice == nes.NO else _pitch(voice, timer, self.clock)
        return pitch, level if pitch else 0, timbre

    def idle(self) -> bool:
        """Whether the frame counter has nothing to change until the next write."""
        halted = all(self.control[v] & HALT[v] for v in WITH_ENVELOPE if self.length[v])
        constant = all(self.control[v] & 0x10 for v in WITH_ENVELOPE)
        sweeping = any(map(self.sweeps, PULSES)) or any(self.sweep_reload + self.sweep_divider)
        control = self.control[nes.TR]
        linear_stays = self.linear == control & 0x7F or not self.linear_reload
        return halted and constant and not sweeping and bool(control & 0x80) and linear_stays
