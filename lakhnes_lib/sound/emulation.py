"""Writes to the chip's registers -> Score: what the chip would have sounded, read off as notes.

Paper: §3 (NES-MDB was made so). Notebook: 01_nes_ensemble.
Emulated: envelopes, length counters, the triangle's linear counter, sweeps and the frame counter, all as seen at
44,100 ticks a second. A note is a stretch in which a voice sounds at one semitone (one period index on the noise).
Differences from NES-MDB's own conversion: frame counter steps fall on their CPU cycles.
"""

from collections.abc import Iterable

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import CONTROL, NOTE, TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import chip

LENGTHS = (
    *(10, 254, 20, 2, 40, 4, 80, 6, 160, 8, 60, 10, 14, 12, 26, 14),
    *(12, 16, 24, 18, 48, 20, 96, 22, 192, 24, 72, 26, 16, 28, 32, 30),
)
"""Half frames that the length counter is loaded with, by the upper five bits of a voice's fourth register."""

NTSC_FRAME, PAL_FRAME = (7457, 14913, 22371, 29829, 37281), (8313, 16627, 24939, 33253, 41565)
"""CPU cycles of the frame counter's steps; the last one only exists in its five-step mode."""


class Chip:
    """The registers and counters behind them; every quantity is a plain int."""

    def __init__(self, clock: int = chip.CLOCK):
        self.clock = clock
        self.control, self.timer = [0] * 4, [0] * 4
        self.length, self.enabled = [0] * 4, 0
        self.start, self.decay, self.divider = [False] * 4, [0] * 4, [0] * 4
        self.sweep, self.sweep_reload, self.sweep_divider = [0, 0], [False, False], [0, 0]
        self.linear, self.linear_reload = 0, False
        self.five_steps = False
        self._pitches = {nes.P1: {}, nes.TR: {}}

    def write(self, register: int, value: int) -> Iterable[int]:
        """Performs a write to 0x4000 + register; returns the voices that it may have touched."""
        if register == 0x15:
            self.enabled = value
            for voice in range(4):
                if not value >> voice & 1:
                    self.length[voice] = 0
            return range(4)
        if register == 0x17:
            self.five_steps = value > 0x7F
        if register > 0x0F:
            return range(4)
        voice, which = divmod(register, 4)
        if which == 0:
            self.control[voice] = value
        elif which == 1:
            if voice < nes.TR:
                self.sweep[voice], self.sweep_reload[voice] = value, True
        elif which == 2:
            self.timer[voice] = value if voice == nes.NO else self.timer[voice] & 0x700 | value
        else:
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
        for voice in (nes.P1, nes.P2, nes.NO):
            period = self.control[voice] & 15
            if self.start[voice]:
                self.start[voice], self.decay[voice], self.divider[voice] = False, 15, period
            elif self.divider[voice]:
                self.divider[voice] -= 1
            else:
                self.divider[voice] = period
                if self.decay[voice]:
                    self.decay[voice] -= 1
                elif self.control[voice] & 0x20:
                    self.decay[voice] = 15
        if self.linear_reload:
            self.linear = self.control[nes.TR] & 0x7F
        elif self.linear:
            self.linear -= 1
        if not self.control[nes.TR] & 0x80:
            self.linear_reload = False

    def half_frame(self):
        """Clocks the length counters and the sweeps."""
        for voice, halt in enumerate((0x20, 0x20, 0x80, 0x20)):
            if self.length[voice] and not self.control[voice] & halt:
                self.length[voice] -= 1
        for voice in (nes.P1, nes.P2):
            sweep = self.sweep[voice]
            if (
                not self.sweep_divider[voice]
                and sweep & 0x80
                and sweep & 7
                and not self.muted(voice)
            ):
                self.timer[voice] = self.sweep_target(voice)
            if self.sweep_reload[voice] or not self.sweep_divider[voice]:
                self.sweep_divider[voice], self.sweep_reload[voice] = sweep >> 4 & 7, False
            else:
                self.sweep_divider[voice] -= 1

    def sweep_target(self, voice: int) -> int:
        """Timer that the sweep unit would set; pulse 1 subtracts one more than pulse 2."""
        sweep, timer = self.sweep[voice], self.timer[voice]
        change = timer >> (sweep & 7)
        return max(timer - change - (voice == nes.P1), 0) if sweep & 8 else timer + change

    def muted(self, voice: int) -> bool:
        """Whether a pulse is silent for its timer's sake."""
        return self.timer[voice] < chip.SHORTEST_PULSE_TIMER or self.sweep_target(voice) > 0x7FF

    def state(self, voice: int) -> tuple[int, int, int]:
        """Pitch (0: silent), level and timbre of a voice at this moment."""
        control = self.control[voice]
        timbre = (
            0
            if voice == nes.TR
            else self.timer[voice] >> 7 & 1
            if voice == nes.NO
            else control >> 6
        )
        level = 1 if voice == nes.TR else control & 15 if control & 16 else self.decay[voice]
        if not self.length[voice] or not level:
            return 0, 0, timbre
        if voice == nes.NO:
            return 16 - (self.timer[voice] & 15), level, timbre
        silent = not self.linear if voice == nes.TR else self.muted(voice)
        pitch = 0 if silent else self._pitch(voice)
        return pitch, level if pitch else 0, timbre

    def _pitch(self, voice: int) -> int:
        """Nearest MIDI pitch of the voice's timer; 0 where the voice has no such note."""
        known = self._pitches[nes.TR if voice == nes.TR else nes.P1]
        timer = self.timer[voice]
        if timer not in known:
            hertz = self.clock / (chip.cycles_per_period(voice) * (timer + 1))
            pitch = int(np.rint(69 + 12 * np.log2(hertz / 440)))
            known[timer] = (
                pitch if nes.LOWEST_PITCH[voice] <= pitch <= nes.HIGHEST_PITCH[voice] else 0
            )
        return known[timer]

    def idle(self) -> bool:
        """Whether the frame counter has nothing to change until the next write."""
        control = self.control
        if any(
            self.length[voice] and not control[voice] & 0x20 for voice in (nes.P1, nes.P2, nes.NO)
        ):
            return False
        if any(not control[voice] & 0x10 for voice in (nes.P1, nes.P2, nes.NO)):
            return False
        if (
            any(sweep & 0x80 and sweep & 7 for sweep in self.sweep)
            or any(self.sweep_reload)
            or any(self.sweep_divider)
        ):
            return False
        return bool(control[nes.TR] & 0x80) and (
            self.linear == control[nes.TR] & 0x7F or not self.linear_reload
        )


def run(
    writes: Iterable[tuple[int, int, int]], length: int, clock: int = chip.CLOCK, name: str = ""
) -> Score:
    """The score that a register stream sounds.

    writes: (tick, register, value) in order; length: ticks; clock: the CPU's cycles a second (NTSC or PAL).
    Writes of one tick count together. The timbre in force at a note goes with it as controls, also between notes.
    """
    device, history = Chip(clock), [[(0, 0, 0, 0)] for _ in range(4)]
    frame = NTSC_FRAME if clock > 1_700_000 else PAL_FRAME
    base, step, now = 0, 0, 0
    due = _tick(frame[0], clock)
    idle, touched = False, set()

    def note_changes():
        for voice in touched:
            state = (now, *device.state(voice))
            last = history[voice][-1]
            if state[1:] != last[1:]:
                if last[0] == now:
                    history[voice].pop()
                if not history[voice] or state[1:] != history[voice][-1][1:]:
                    history[voice].append(state)
        touched.clear()

    def frames_until(tick):
        nonlocal base, step, due, now
        while due <= tick:
            if due > now:
                note_changes()
                now = due
            steps = 5 if device.five_steps else 4
            if not idle and not (device.five_steps and step == 3):
                device.quarter_frame()
                if step in (1, steps - 1):
                    device.half_frame()
                touched.update(range(4))
            step += 1
            if step >= steps:
                base, step = base + frame[steps - 1] + 1, 0
            due = _tick(base + frame[step], clock)

    for tick, register, value in writes:
        if due <= tick:
            idle = device.idle()
            frames_until(tick)
        if tick > now:
            note_changes()
            now = tick
        touched.update(device.write(register, value))
        if register == 0x17:
            if device.five_steps:
                device.quarter_frame()
                device.half_frame()
            base, step = tick * clock // nes.TICKS_PER_SECOND, 0
            due = _tick(base + frame[0], clock)
    idle = device.idle()
    frames_until(length)
    note_changes()
    return _score(history, length, name)


def _tick(cycle: int, clock: int) -> int:
    """First tick at or after a CPU cycle."""
    return -(-cycle * nes.TICKS_PER_SECOND // clock)


def _score(history, length, name) -> Score:
    notes, controls = [np.zeros(0, NOTE)], [np.zeros(0, CONTROL)]
    for voice, states in enumerate(history):
        states = np.array(states, np.int64)
        tick, pitch, level, timbre = states[states[:, 0] < length].T
        begins = (pitch > 0) & (np.diff(pitch, prepend=0) != 0)
        if not begins.any():
            continue
        leaves = (pitch > 0) & (np.diff(pitch, append=0) != 0)
        part = np.zeros(begins.sum(), NOTE)
        part["voice"], part["start"], part["end"] = (
            voice,
            tick[begins],
            np.append(tick[1:], length)[leaves],
        )
        part["pitch"], part["velocity"] = pitch[begins], level[begins]
        notes.append(part)
        louder = (pitch > 0) & ~begins & (np.diff(level, prepend=0) != 0)
        controls.append(_controls(voice, VELOCITY_CHANGE, tick[louder], level[louder]))
        changed = np.diff(states[:, 3], prepend=0) != 0
        controls.append(_controls(voice, TIMBRE_CHANGE, states[changed, 0], states[changed, 3]))
    controls = np.concatenate(controls)
    controls = controls[np.lexsort((controls["kind"], controls["voice"], controls["tick"]))]
    return Score.build(np.concatenate(notes), length, controls, name)


def _controls(voice, kind, tick, value) -> np.ndarray:
    controls = np.zeros(len(tick), CONTROL)
    controls["voice"], controls["kind"], controls["tick"], controls["value"] = (
        voice,
        kind,
        tick,
        value,
    )
    return controls
