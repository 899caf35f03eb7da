"""Writes to the chip's registers to a Score: what the chip would have sounded, read off as notes.

Paper: §3 (NES-MDB was made so). Notebook: 01_nes_ensemble.
Emulated are envelopes, length counters, the triangle's linear counter, sweeps and the frame counter
(``counters.py``), all as seen at 44,100 ticks a second. A note is a stretch in which a voice sounds
at one semitone (one period index on the noise).
Differences from NES-MDB's own conversion: frame counter steps fall on their CPU cycles.
"""

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import CONTROL, NOTE, TIMBRE_CHANGE, VELOCITY_CHANGE, Score, records
from lakhnes_lib.sound import chip, counters
from lakhnes_lib.sound.counters import CONSTANT_VOLUME, FRAME_COUNTER, QUARTER_FRAME, Events

NTSC_STEPS = (7457, 14913, 22371, 29829), (7457, 14913, 22371, 37281)
PAL_STEPS = (8313, 16627, 24939, 33253), (8313, 16627, 24939, 41565)
"""CPU cycles at which the frame counter clocks in its four-step and its five-step mode. The next
frame begins one cycle after the last; every second clock is a half frame."""


def run(writes, length: int, clock: int = chip.CLOCK, name: str = "") -> Score:
    """The score that a register stream sounds.

    writes: (tick, register, value) each, in order; length: ticks; clock: the CPU's cycles a second
    (NTSC or PAL). Writes of one tick count together. The timbre in force at a note goes with it as
    controls, also between notes.
    """
    events = _with_clocks(np.array(writes, np.int64).reshape(-1, 3), length, clock)
    ends_tick = np.diff(events.tick, append=length + 1) > 0
    tick = np.append(-1, events.tick[ends_tick])  # the chip begins silent
    parts = []
    for voice in range(len(nes.VOICES)):
        states = [np.append(0, values[ends_tick]) for values in _states(events, voice, clock)]
        parts.append(_notes(voice, tick, *states, length))
    notes, controls = map(np.concatenate, zip(*parts, strict=True))
    return Score.build(notes, length, controls, name)


def _with_clocks(writes: np.ndarray, length: int, clock: int) -> Events:
    """The writes, int64 (writes, 3), with the clocks of the frame counter among them.

    A write to the frame counter begins a frame, and clocks at once if the frame has five steps. A
    clock belongs to the first tick at or after its CPU cycle, before the writes of that tick.
    """
    four, five = NTSC_STEPS if clock > 1_700_000 else PAL_STEPS
    last = length * clock // nes.TICKS_PER_SECOND
    frames = np.arange(last // four[-1] + 1)[:, None]
    four = np.ravel(frames * (four[-1] + 1) + four)
    five = np.append(0, frames * (five[-1] + 1) + five)[: len(four)]
    # Each stretch from one write of the frame counter to the next takes as many as fall into it.
    reset = np.append(-1, np.flatnonzero(writes[:, 1] == FRAME_COUNTER))
    mode = np.append(0, writes[reset[1:], 2] >> 7)
    begin = np.append(0, writes[reset[1:], 0] * clock // nes.TICKS_PER_SECOND)
    room = np.diff(begin, append=last)
    count = np.where(mode, *(np.searchsorted(steps, room, "right") for steps in (five, four)))
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    reset, mode, begin = (np.repeat(values, count) for values in (reset, mode, begin))
    cycle = begin + np.where(mode, five[number], four[number])
    tick = -(-cycle * nes.TICKS_PER_SECOND // clock)
    kind = QUARTER_FRAME + (number + mode) % 2
    index = np.maximum(np.searchsorted(writes[:, 0], tick), reset + 1)
    clocks = np.stack([tick, kind, np.zeros_like(tick)], axis=1)
    return Events(*np.insert(writes, index, clocks, axis=0).T.copy())


def _states(events: Events, voice: int, clock: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pitch (0: silent), level and timbre of a voice after each event."""
    control = events.written(4 * voice)
    sounds = counters.length(events, voice) > 0
    if voice == nes.TR:
        level, timbre = np.ones_like(control), np.zeros_like(control)
        sounds &= counters.linear(events) > 0
    else:
        level, timbre = control & 15, control >> 6
        enveloped = control & CONSTANT_VOLUME == 0
        if (sounds & enveloped).any():  # otherwise nobody hears the envelope
            level = np.where(enveloped, counters.decay(events, voice), level)
    if voice == nes.NO:
        period = events.written(4 * voice + 2)
        pitch, timbre = 16 - (period & 15), period >> 7
    else:
        pitch = _pitches(voice, clock)[counters.timer(events, voice)]
    sounds &= (pitch > 0) & (level > 0)
    return pitch * sounds, level * sounds, timbre


def _pitches(voice: int, clock: int) -> np.ndarray:
    """Nearest MIDI pitch of a melodic voice by timer, int64 (2049,), with 0 for timer -1.

    0 where the voice has no such note.
    """
    hertz = clock / (chip.cycles_per_period(voice) * np.arange(1.0, 2049.0))
    pitch = np.rint(69 + 12 * np.log2(hertz / 440)).astype(np.int64)
    known = (nes.LOWEST_PITCH[voice] <= pitch) & (pitch <= nes.HIGHEST_PITCH[voice])
    return np.append(pitch * known, 0)


def _notes(voice, tick, pitch, level, timbre, length) -> tuple[np.ndarray, np.ndarray]:
    """Notes and controls of a voice whose state is this from each tick on."""
    changed = np.diff(timbre, prepend=0) != 0  # also what is set on the last tick
    timbres = records(CONTROL, voice, tick[changed], TIMBRE_CHANGE, timbre[changed])
    tick, pitch, level = (column[tick < length] for column in (tick, pitch, level))
    sounds = pitch > 0
    begins = sounds & (np.diff(pitch, prepend=0) != 0)
    end = np.append(tick[1:], length)[sounds & (np.diff(pitch, append=0) != 0)]
    notes = records(NOTE, voice, tick[begins], end, pitch[begins], level[begins])
    changed = sounds & ~begins & (np.diff(level, prepend=0) != 0)
    velocities = records(CONTROL, voice, tick[changed], VELOCITY_CHANGE, level[changed])
    controls = np.concatenate([velocities, timbres])
    return notes, controls if len(notes) else controls[:0]
