"""Writes to the chip's registers to a Score: what the chip would have sounded, read off as notes.

Paper: §3 (NES-MDB was made so). Notebook: 01_nes_ensemble.
Emulated are envelopes, length counters, the triangle's linear counter, sweeps and the frame counter
(``counters.py``), all as seen at 44,100 ticks a second. A note is a stretch in which a voice sounds
at one semitone (one period index on the noise).
Differences from NES-MDB's own conversion: frame counter steps fall on their CPU cycles.
"""

from collections.abc import Iterable

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import CONTROL, NOTE, TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import chip
from lakhnes_lib.sound.counters import FRAME_COUNTER, Counters

NTSC_FRAME, PAL_FRAME = (7457, 14913, 22371, 29829, 37281), (8313, 16627, 24939, 33253, 41565)
"""CPU cycles of the frame counter's steps; the last one only exists in its five-step mode."""


def run(
    writes: Iterable[tuple[int, int, int]], length: int, clock: int = chip.CLOCK, name: str = ""
) -> Score:
    """The score that a register stream sounds.

    writes: (tick, register, value) in order; length: ticks; clock: the CPU's cycles a second (NTSC
    or PAL). Writes of one tick count together. The timbre in force at a note goes with it as
    controls, also between notes.
    """
    recorder = _Recorder(clock)
    for tick, register, value in writes:
        recorder.advance(tick)
        recorder.write(register, value)
    recorder.advance(length)
    recorder.note_changes()
    return _score(recorder.history, length, name)


class _Recorder:
    """Lets the chip run from write to write, and keeps every change of a voice's state.

    history: for each voice a list of (tick, pitch, level, timbre), one for each tick on which one
    of the three has changed; it begins with a silent state before the first tick.
    """

    def __init__(self, clock: int):
        self.history = [[(-1, 0, 0, 0)] for _ in nes.VOICES]
        self._counters, self._clock = Counters(clock), clock
        self._frame = NTSC_FRAME if clock > 1_700_000 else PAL_FRAME
        self._now = 0
        self._touched = set()  # the voices whose state may have changed on this tick
        self._frame_begin, self._step = 0, 0  # the frame counter: a CPU cycle, and its next step
        self._due = self._tick_of_step()

    def _tick_of_step(self) -> int:
        """First tick at or after the CPU cycle of the frame counter's next step."""
        cycle = self._frame_begin + self._frame[self._step]
        return -(-cycle * nes.TICKS_PER_SECOND // self._clock)

    def advance(self, tick: int) -> None:
        """Performs the frame counter's steps up to and on this tick."""
        idle = self._due <= tick and self._counters.idle()
        while self._due <= tick:
            self._move_to(self._due)
            self._frame_step(idle)
        self._move_to(tick)

    def _move_to(self, tick: int) -> None:
        if tick > self._now:
            self.note_changes()
            self._now = tick

    def _frame_step(self, idle: bool) -> None:
        steps = 5 if self._counters.five_steps else 4
        nothing_happens = steps == 5 and self._step == 3
        if not idle and not nothing_happens:
            self._counters.quarter_frame()
            if self._step in (1, steps - 1):
                self._counters.half_frame()
            self._touched.update(range(4))
        self._step += 1
        if self._step >= steps:
            self._frame_begin += self._frame[steps - 1] + 1
            self._step = 0
        self._due = self._tick_of_step()

    def write(self, register: int, value: int) -> None:
        """Performs a write; one to the frame counter's register begins a frame."""
        self._touched.update(self._counters.write(register, value))
        if register == FRAME_COUNTER:
            if self._counters.five_steps:
                self._counters.quarter_frame()
                self._counters.half_frame()
            self._frame_begin = self._now * self._clock // nes.TICKS_PER_SECOND
            self._step = 0
            self._due = self._tick_of_step()

    def note_changes(self) -> None:
        """Keeps the state of the voices that have changed on the tick that ends here."""
        for voice in self._touched:
            state = self._counters.state(voice)
            if state != self.history[voice][-1][1:]:
                self.history[voice].append((self._now, *state))
        self._touched.clear()


def _score(history, length, name) -> Score:
    notes, controls = [np.zeros(0, NOTE)], [np.zeros(0, CONTROL)]
    for voice, states in enumerate(history):
        states = np.array(states, np.int64)
        tick, pitch, level, timbre = states[states[:, 0] < length].T
        begins = (pitch > 0) & (np.diff(pitch, prepend=0) != 0)
        ends = (pitch > 0) & (np.diff(pitch, append=0) != 0)
        if not begins.any():
            continue
        part = np.empty(np.count_nonzero(begins), NOTE)
        part["voice"], part["pitch"], part["velocity"] = voice, pitch[begins], level[begins]
        part["start"], part["end"] = tick[begins], np.append(tick[1:], length)[ends]
        notes.append(part)
        changed = (pitch > 0) & ~begins & (np.diff(level, prepend=0) != 0)
        controls.append(_controls(voice, VELOCITY_CHANGE, tick[changed], level[changed]))
        tick, timbre = states[:, 0], states[:, 3]  # also what is set on the last tick
        changed = np.diff(timbre, prepend=0) != 0
        controls.append(_controls(voice, TIMBRE_CHANGE, tick[changed], timbre[changed]))
    controls = np.concatenate(controls)
    controls = controls[np.lexsort((controls["kind"], controls["voice"], controls["tick"]))]
    return Score.build(np.concatenate(notes), length, controls, name)


def _controls(voice, kind, tick, value) -> np.ndarray:
    controls = np.empty(len(tick), CONTROL)
    controls["voice"], controls["kind"] = voice, kind
    controls["tick"], controls["value"] = tick, value
    return controls
