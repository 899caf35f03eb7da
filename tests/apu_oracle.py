"""The sound chip cycle by cycle, slow and obvious: the known answers for ``sound/emulation.py``.

Written from the public description of the chip (NESdev wiki, pages "APU Frame Counter", "APU Length
Counter", "APU Envelope", "APU Sweep", "APU Triangle", "APU Noise"), one small object for each unit
as those pages draw them, and without a look at the library's way. Nothing is skipped: every CPU
cycle is counted, and every unit is clocked when the frame counter says so.

A register log counts ticks of 1/44,100 s, about 40 CPU cycles. So much is convention:

- a write of tick t is made on the last CPU cycle that has begun by then, after a clock of the frame
  counter on that same cycle;
- writes of one tick are made one after the other on that cycle, and the voice's state on the tick
  is the one after them;
- the chip acts on a write to 0x4017 three or four cycles later. A log cannot tell the cycle of a
  write so closely, so by default the logged tick is that on which the chip acts. With ``delay`` the
  frame begins as much later; the clock that a five-step frame begins with stays where it is, since
  a processor makes its next write no sooner than four cycles later.
"""

import math
import random

import numpy as np

LENGTHS = {
    # The upper five bits of the fourth register: linear lengths at odd numbers, notes of a bar of
    # 4/4 at 80 and 60 beats (and their dotted and triplet kinds) at even numbers.
    **dict(zip(range(0x01, 0x20, 2), [254, *range(2, 31, 2)], strict=True)),
    **dict(zip(range(0x00, 0x10, 2), [10, 20, 40, 80, 160, 60, 14, 26], strict=True)),
    **dict(zip(range(0x10, 0x20, 2), [12, 24, 48, 96, 192, 72, 16, 32], strict=True)),
}
NTSC = {False: (7457, 14913, 22371, 29829), True: (7457, 14913, 22371, 37281)}
PAL = {False: (8313, 16627, 24939, 33253), True: (8313, 16627, 24939, 41565)}
"""CPU cycles of the clocks in a frame of four (False) and of five steps (True); the fourth step of
five clocks nothing. The second and the last clock are half frames, too."""


class Length:
    def __init__(self):
        self.enabled = self.halted = False
        self.count = 0

    def enable(self, on):
        self.enabled = on
        if not on:
            self.count = 0

    def load(self, index):
        if self.enabled:
            self.count = LENGTHS[index]

    def half_frame(self):
        if self.count > 0 and not self.halted:
            self.count -= 1


class Envelope:
    def __init__(self):
        self.start = self.loops = self.constant = False
        self.volume = self.divider = self.decay = 0

    def control(self, value):
        self.loops, self.constant, self.volume = bool(value & 32), bool(value & 16), value & 15

    def quarter_frame(self):
        if self.start:
            self.start = False
            self.decay = 15
            self.divider = self.volume
        elif self.divider == 0:
            self.divider = self.volume
            if self.decay > 0:
                self.decay -= 1
            elif self.loops:
                self.decay = 15
        else:
            self.divider -= 1

    def output(self):
        return self.volume if self.constant else self.decay


class Pulse:
    def __init__(self, ones_complement):
        self.length, self.envelope = Length(), Envelope()
        self.period = self.duty = 0
        self.enabled = self.negate = self.reload = False
        self.sweep_period = self.shift = self.divider = 0
        self.ones_complement = ones_complement

    def write(self, which, value):
        if which == 0:
            self.duty = value >> 6
            self.length.halted = bool(value & 32)
            self.envelope.control(value)
        elif which == 1:
            self.enabled, self.negate = bool(value & 128), bool(value & 8)
            self.sweep_period, self.shift = (value >> 4) & 7, value & 7
            self.reload = True
        elif which == 2:
            self.period = (self.period // 256) * 256 + value
        else:
            self.period = (value % 8) * 256 + self.period % 256
            self.length.load(value >> 3)
            self.envelope.start = True

    def target(self):
        change = self.period >> self.shift
        if self.negate:
            change = -change - 1 if self.ones_complement else -change
        return max(0, self.period + change)

    def muted(self):
        return self.period < 8 or self.target() > 0x7FF

    def quarter_frame(self):
        self.envelope.quarter_frame()

    def half_frame(self):
        self.length.half_frame()
        if self.divider == 0 and self.enabled and self.shift > 0 and not self.muted():
            self.period = self.target()
        if self.divider == 0 or self.reload:
            self.divider = self.sweep_period
            self.reload = False
        else:
            self.divider -= 1

    def level(self):
        return 0 if self.muted() or self.length.count == 0 else self.envelope.output()

    def timbre(self):
        return self.duty

    def pitch(self, clock):
        return midi_pitch(clock / (16 * (self.period + 1)), 33)


class Triangle:
    def __init__(self):
        self.length = Length()
        self.period = self.linear = self.linear_load = 0
        self.control = self.reload = False

    def write(self, which, value):
        if which == 0:
            self.control = self.length.halted = bool(value & 128)
            self.linear_load = value & 127
        elif which == 2:
            self.period = (self.period // 256) * 256 + value
        elif which == 3:
            self.period = (value % 8) * 256 + self.period % 256
            self.length.load(value >> 3)
            self.reload = True

    def quarter_frame(self):
        if self.reload:
            self.linear = self.linear_load
        elif self.linear > 0:
            self.linear -= 1
        if not self.control:
            self.reload = False

    def half_frame(self):
        self.length.half_frame()

    def level(self):
        return int(self.linear > 0 and self.length.count > 0)

    def timbre(self):
        return 0

    def pitch(self, clock):
        return midi_pitch(clock / (32 * (self.period + 1)), 21)


class Noise:
    def __init__(self):
        self.length, self.envelope = Length(), Envelope()
        self.mode = self.index = 0

    def write(self, which, value):
        if which == 0:
            self.length.halted = bool(value & 32)
            self.envelope.control(value)
        elif which == 2:
            self.mode, self.index = value >> 7, value & 15
        elif which == 3:
            self.length.load(value >> 3)
            self.envelope.start = True

    def quarter_frame(self):
        self.envelope.quarter_frame()

    def half_frame(self):
        self.length.half_frame()

    def level(self):
        return 0 if self.length.count == 0 else self.envelope.output()

    def timbre(self):
        return self.mode

    def pitch(self, clock):
        return 16 - self.index


def midi_pitch(hertz, lowest):
    """The nearest semitone, or 0 outside of the voice's range up to 108."""
    pitch = round(69 + 12 * math.log2(hertz / 440))
    return pitch if lowest <= pitch <= 108 else 0


def states(writes, length, clock=1_789_773, delay=False):
    """(pitch, level, timbre) of the four voices on each tick, int (length, 4, 3).

    writes: (tick, register, value). delay: whether a write to 0x4017 begins the frame three cycles
    later (four on an odd cycle) instead of at once. A voice that is silent, or plays at none of
    its semitones, has pitch and level 0.
    """
    voices = [Pulse(True), Pulse(False), Triangle(), Noise()]
    frames = NTSC if clock > 1_700_000 else PAL
    # The frame counter: its mode, the cycle of the frame, the number of its next clock.
    five, since, step = False, 0, 0
    table = np.zeros((length, 4, 3), int)
    row = np.zeros((4, 3), int)
    queue, changed = list(writes)[::-1], True

    def clock_units(and_half):
        for voice in voices:
            voice.quarter_frame()
            if and_half:
                voice.half_frame()

    for tick in range(length):
        ends = tick * clock // 44_100
        cycle = (tick - 1) * clock // 44_100 if tick else 0
        due = frames[five][step]
        while cycle < ends:
            cycle += 1
            since += 1
            if since == due:
                clock_units(and_half=step in (1, 3))
                changed = True
                if step == 3:
                    since, step = -1, 0  # the next cycle is the frame's first
                else:
                    step += 1
                due = frames[five][step]
        while queue and queue[-1][0] == tick:
            _, register, value = queue.pop()
            changed = True
            if register == 0x15:
                for bit, voice in enumerate(voices):
                    voice.length.enable(bool(value & (1 << bit)))
            elif register == 0x17:
                five, step = value >= 128, 0
                since = -(3 + cycle % 2) if delay else 0
                if five:
                    clock_units(and_half=True)
            else:
                voices[register // 4].write(register % 4, value)
        if changed:
            for number, voice in enumerate(voices):
                pitch, level = voice.pitch(clock), voice.level()
                row[number] = (pitch, level, voice.timbre()) if pitch and level else (0, 0, 0)
                row[number, 2] = voice.timbre()
            changed = False
        table[tick] = row
    return table


def stream(seed):
    """A random register stream: writes (tick, register, value), its ticks, and the CPU's clock.

    All that the chip's counters do occurs: envelopes, looped and not; sweeps up and down; halted
    and running length counters; both frame modes; bursts of writes and long pauses. A stream is
    made of parts. In a quiet one volumes are constant, lengths halted and sweeps off, as in most
    music; what goes on unheard there is heard in the next.
    """
    draw = random.Random(seed)
    length = draw.randrange(6_000, 24_000)
    often = [0x15] * draw.randrange(3) + [0x17] * draw.randrange(3)
    registers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 14, 15, 3, 7, 11, 15, 8, 0, 4, 12, *often]
    writes, now = [(0, 0x15, 15), (0, 0x17, draw.choice([0x00, 0x40, 0x80, 0xC0]))], 0
    mean, quiet = draw.choice([60, 200, 900]), draw.random() < 0.5
    while now < length:
        register, value = draw.choice(registers), draw.randrange(256)
        if draw.random() < 0.03:
            quiet = not quiet
            if quiet:
                writes += [(now, register, 0x30) for register in (0, 4, 12)]
                writes += [(now, 1, 8), (now, 5, 8), (now, 8, draw.randrange(128) | 0x80)]
        if register in (0, 4, 12) and quiet:
            value |= 0x30
        elif register in (1, 5):
            value = 8 if quiet else draw.choice([0x00, 0x08, value, value | 0x80])
        elif register == 8 and quiet:
            value |= 0x80
        elif register in (3, 7, 11):
            value = value & 0xF8 | draw.choice([0, 0, 1, 1, 2, 7])
        elif register == 0x15:
            value |= draw.choice([0, 5, 15])
        writes.append((now, register, value))
        if draw.random() < 0.7:
            now += 1 + int(draw.expovariate(1 / mean))
    return writes, length, draw.choice([1_789_773, 1_789_773, 1_789_772, 1_662_607])
