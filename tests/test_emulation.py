"""The chip's counters: envelopes, lengths, sweeps and frames, against a second, slow emulation."""

import numpy as np
import pytest

from lakhnes_lib.music.nes import P1, P2, TR
from lakhnes_lib.music.score import TIMBRE_CHANGE
from lakhnes_lib.sound import chip, emulation


def slow_states(writes, length):
    """(pitch, level, timbre) of each voice on every tick: everything looked at anew each CPU-frame
    step and tick.
    """
    lengths = [10, 254, 20, 2, 40, 4, 80, 6, 160, 8, 60, 10, 14, 12, 26, 14]
    lengths += [12, 16, 24, 18, 48, 20, 96, 22, 192, 24, 72, 26, 16, 28, 32, 30]
    regs, on = [0] * 24, 0
    timers, counts = [0, 0, 0], [0, 0, 0, 0]
    envelope = {v: dict(start=False, level=0, left=0) for v in (0, 1, 3)}
    sweep = {v: dict(left=0, reload=False) for v in (0, 1)}
    linear, reload = 0, False
    frame_began, done = 0, 0
    table = np.full((length, 4, 3), 0)

    def target(v):
        amount = timers[v] >> (regs[4 * v + 1] & 7)
        if regs[4 * v + 1] & 8:
            return timers[v] - amount - (1 if v == 0 else 0)
        return timers[v] + amount

    def silenced(v):
        return timers[v] < 8 or target(v) > 2047

    def quarter():
        nonlocal linear, reload
        for v, e in envelope.items():
            if e["start"]:
                e.update(start=False, level=15, left=regs[4 * v] % 16)
            elif e["left"] > 0:
                e["left"] -= 1
            else:
                e["left"] = regs[4 * v] % 16
                e["level"] = e["level"] - 1 if e["level"] else (15 if regs[4 * v] & 32 else 0)
        linear = regs[8] % 128 if reload else max(linear - 1, 0)
        reload = reload and regs[8] >= 128

    def half():
        for v in range(4):
            halted = regs[8] >= 128 if v == 2 else regs[4 * v] & 32
            counts[v] = counts[v] if halted else max(counts[v] - 1, 0)
        for v, s in sweep.items():
            register = regs[4 * v + 1]
            if s["left"] == 0 and register >= 128 and register % 8 and not silenced(v):
                timers[v] = max(target(v), 0)
            if s["left"] == 0 or s["reload"]:
                s.update(left=register // 16 % 8, reload=False)
            else:
                s["left"] -= 1

    by_tick = {}
    for tick, register, value in writes:
        by_tick.setdefault(tick, []).append((register, value))
    for tick in range(length):
        cycle = tick * chip.CLOCK / 44_100
        while True:
            # Quarter frames 7457, 14913, 22371, (none at 29829) and 37281 with five steps, else the
            # first four.
            five = regs[0x17] >= 128
            steps = [(7457, 0), (14913, 1), (22371, 0), *([(37281, 1)] if five else [(29829, 1)])]
            turn, step = divmod(done, 4)
            if frame_began + turn * (37282 if five else 29830) + steps[step][0] > cycle:
                break
            quarter()
            if steps[step][1]:
                half()
            done += 1
        for register, value in by_tick.get(tick, ()):
            regs[register] = value
            v, which = divmod(register, 4)
            if register == 0x15:
                on = value
                counts = [c if on >> v & 1 else 0 for v, c in enumerate(counts)]
            elif register == 0x17:
                frame_began, done = int(cycle), 0
                if value >= 128:
                    quarter()
                    half()
            elif which == 1 and v < 2:
                sweep[v]["reload"] = True
            elif which == 2 and v < 3:
                timers[v] = timers[v] // 256 * 256 + value
            elif which == 3:
                if v < 3:
                    timers[v] = timers[v] % 256 + value % 8 * 256
                if on >> v & 1:
                    counts[v] = lengths[value // 8]
                if v == 2:
                    reload = True
                else:
                    envelope[v]["start"] = True
        for v in range(4):
            level = 1 if v == 2 else regs[4 * v] % 16 if regs[4 * v] & 16 else envelope[v]["level"]
            timbre = [regs[0] // 64, regs[4] // 64, 0, regs[14] // 128][v]
            if v == 3:
                pitch = 16 - regs[14] % 16
            else:
                hertz = chip.CLOCK / ((32 if v == 2 else 16) * (timers[v] + 1))
                pitch = round(69 + 12 * np.log2(hertz / 440))
                low, high = ((33, 108), (33, 108), (21, 108))[v]
                pitch = pitch if low <= pitch <= high else 0
            silent = (
                not counts[v]
                or (v < 2 and silenced(v))
                or (v == 2 and not linear)
                or not level
                or not pitch
            )
            table[tick, v] = (0, 0, timbre) if silent else (pitch, level, timbre)
    return table


def states(score):
    """The same table from a score."""
    table = np.full((score.length, 4, 3), 0)
    for voice, start, end, pitch, velocity in score.notes.tolist():
        table[start:end, voice, 0], table[start:end, voice, 1] = pitch, velocity
    for voice, tick, kind, value in score.controls.tolist():
        if kind == TIMBRE_CHANGE:
            table[tick:, voice, 2] = value
        else:
            sounding = next(n for n in score.voice(voice).tolist() if n[1] < tick < n[2])
            table[tick : sounding[2], voice, 1] = value
    return table


@pytest.mark.parametrize("seed", range(3))
def test_counters_equal_a_slow_emulation(seed):
    random = np.random.default_rng(seed)
    writes, length = [(0, 0x15, 15)], 30_000
    for tick in np.sort(random.integers(0, length, 160)).tolist():
        register = int(random.choice([*range(16), 3, 7, 11, 15, 3, 7, 11, 15, 0x15, 0x17]))
        value = int(random.integers(256))
        if register in (9, 13):
            continue
        if register == 0x15:
            value |= int(random.integers(16)) | 5
        writes.append((tick, register, value))
    found = emulation.run(writes, length)
    expected = slow_states(writes, length)
    for voice in range(4):
        if len(found.voice(voice)):
            np.testing.assert_array_equal(states(found)[:, voice], expected[:, voice])
        else:
            assert not expected[:, voice, 0].any()
    assert len(found.notes) > 10


def frame(step, steps=4):
    """Tick of the frame counter's step, counted from 1, after a reset at tick 0."""
    turn, place = divmod(step - 1, 4)
    cycles = (7457, 14913, 22371, 29829 if steps == 4 else 37281)[place] + turn * (
        29830 if steps == 4 else 37282
    )
    return -(-cycles * 44_100 // chip.CLOCK)


def test_envelope_falls_from_15_a_level_every_period():
    writes = [(0, 0x15, 1), (0, 0x00, 0x22), (0, 0x01, 8), (0, 0x02, 253), (0, 0x03, 0)]
    score = emulation.run(writes, 20_000)
    # Loop flag set: 15 down to 0 in steps of three quarter frames, and again; the length counter is
    # halted.
    start = frame(1)
    levels = [(tick, value) for _, tick, _, value in score.controls.tolist()]
    assert score.notes[0]["start"] == start and score.notes[0]["velocity"] == 15
    assert levels[:14] == [(frame(1 + 3 * n), 15 - n) for n in range(1, 15)]
    assert score.notes["start"].tolist()[:2] == [start, frame(1 + 3 * 16)] and score.notes["end"][
        0
    ] == frame(1 + 3 * 15)


def test_length_counter_ends_a_note_after_its_half_frames():
    # Load index 3 is two half frames: the steps 2 and 4.
    score = emulation.run(
        [(0, 0x15, 2), (0, 0x04, 0x1F), (0, 0x05, 8), (0, 0x06, 253), (0, 0x07, 3 << 3)], 5000
    )
    assert score.notes.tolist() == [(P2, 0, frame(4), 69, 15)]


def test_linear_counter_ends_the_triangle_after_its_quarter_frames():
    score = emulation.run([(0, 0x15, 4), (0, 0x08, 3), (0, 0x0A, 126), (0, 0x0B, 0x08)], 5000)
    assert score.notes.tolist() == [(TR, frame(1), frame(4), 69, 1)]


def test_every_length_of_the_length_counter():
    lengths = [10, 254, 20, 2, 40, 4, 80, 6, 160, 8, 60, 10, 14, 12, 26, 14]
    lengths += [12, 16, 24, 18, 48, 20, 96, 22, 192, 24, 72, 26, 16, 28, 32, 30]
    for index, half_frames in enumerate(lengths):
        writes = [(0, 0x15, 1), (0, 0, 0x1F), (0, 1, 8), (0, 2, 253), (0, 3, index << 3)]
        score = emulation.run(writes, frame(2 * half_frames) + 1)
        assert score.notes["end"].tolist() == [frame(2 * half_frames)], index


def test_sweep_bends_the_pitch_until_it_mutes():
    # Down an octave's half each half frame: the period grows by itself / 2.
    score = emulation.run(
        [(0, 0x15, 1), (0, 0x00, 0x3F), (0, 0x01, 0x81), (0, 0x02, 253), (0, 0x03, 0)], 5000
    )
    timers = [253]
    while timers[-1] + (timers[-1] >> 1) <= 0x7FF:
        timers.append(timers[-1] + (timers[-1] >> 1))
    # The next target is beyond 11 bits, so the voice is silent although the sweep has not gone
    # there.
    timers = timers[:-1]
    assert score.notes["pitch"].tolist() == [
        round(69 + 12 * np.log2(chip.CLOCK / 16 / (t + 1) / 440)) for t in timers
    ]
    assert score.notes["start"].tolist() == [0, *(frame(2 * n) for n in range(1, len(timers)))]
    assert score.notes["end"][-1] == frame(2 * len(timers))


def test_a_pulse_is_muted_by_a_sweep_that_is_off_unless_it_negates():
    low = [(0, 0x15, 1), (0, 0x00, 0x3F), (0, 0x02, 2033 & 255), (0, 0x03, 2033 >> 8)]
    for sweep, heard in ((0x00, False), (0x07, False), (0x08, True)):
        assert bool(len(emulation.run([*low, (0, 0x01, sweep)], 100).notes)) == heard


def test_five_step_frames_are_slower_and_begin_at_once():
    # Load index 5 is four half frames; the write of the frame counter is one at once.
    writes = [
        (0, 0x15, 2),
        (0, 0x04, 0x1F),
        (0, 0x05, 8),
        (0, 0x06, 253),
        (0, 0x07, 5 << 3),
        (0, 0x17, 0x80),
    ]
    assert emulation.run(writes, 9000).notes["end"].tolist() == [frame(6, 5)]


RESET = [
    (0, 0x00, 0x30),
    (0, 0x01, 0x08),
    (0, 0x08, 0xFF),
    (0, 0x0B, 0),
    (0, 0x0C, 0x30),
    (0, 0x17, 0xC0),
]


def test_writes_of_one_tick_count_together():
    writes = [
        *RESET,
        (50, 0x15, 1),
        (50, 0x00, 0x3F),
        (50, 0x02, 253),
        (50, 0x03, 0),
        (50, 0x02, 100),
        (50, 0x02, 253),
    ]
    assert emulation.run(writes, 100).notes.tolist() == [(P1, 50, 100, 69, 15)]
