"""The chip's counters: envelopes, lengths, sweeps and frames, against a slow chip."""

import apu_oracle
import numpy as np

from lakhnes_lib.music.nes import NO, P1, P2, TR
from lakhnes_lib.music.score import TIMBRE_CHANGE
from lakhnes_lib.sound import chip, emulation


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


def expected_and_actual(writes, length, clock=chip.CLOCK):
    """The chip's states on each tick by the slow chip, and by the library."""
    score = emulation.run(writes, length, clock)
    expected = apu_oracle.states(writes, length, clock)
    silent = [voice for voice in range(4) if not len(score.voice(voice))]
    expected[:, silent, 2] = 0  # the timbre of a voice without notes is no part of a score
    return expected, states(score)


def test_counters_equal_a_chip_run_cycle_by_cycle_on_200_streams():
    different, sounding = [], 0
    for seed in range(200):
        expected, actual = expected_and_actual(*apu_oracle.stream(seed))
        sounding += (expected[..., 0] > 0).mean() / 200
        if not np.array_equal(expected, actual):
            different.append(seed)
    assert not different
    assert sounding > 0.2


def test_triangle_runs_out_under_a_halted_length_counter():
    """The control bit set late halts the length counter, but reloads the linear counter no more."""
    writes = [(0, 0x15, 15), (0, 0x17, 0xC0), (0, 0x00, 0x30), (0, 0x04, 0x30), (0, 0x0C, 0x30)]
    writes += [(0, 0x08, 0x10), (0, 0x0B, 0), (0, 0x01, 8), (0, 0x05, 8), (0, 0x0A, 253)]
    writes += [(2461, 0x08, 0x90)]
    assert emulation.run(writes, 90_645).notes["end"].tolist() == [3859]


def test_an_envelope_runs_on_while_a_constant_volume_hides_it():
    """Level 15 at the first clock, 14 at the second, and so on, whether or not it is heard."""
    writes = [(0, 0x15, 9), (0, 0x00, 0x30), (0, 0x01, 8), (0, 0x02, 253), (0, 0x03, 0)]
    writes += [(0, 0x04, 0x30), (0, 0x05, 8), (0, 0x08, 0x80)]
    writes += [
        (0, 0x0C, 0x30),
        (0, 0x0F, 0),
        (frame(3), 0x02, 253),
        (frame(10), 0x00, 0x2F),
        (frame(13), 0x0C, 0x2F),
    ]
    score = emulation.run(writes, frame(14) - 1)
    first, second = (P1, frame(10), score.length, 69, 6), (NO, frame(13), score.length, 16, 3)
    assert score.notes.tolist() == [first, second]


def test_a_sweep_turned_on_waits_for_the_divider_of_the_one_before():
    """The divider goes on while the sweep is off, and is asked for again by each write."""
    writes = [(0, 0x15, 1), (0, 0x00, 0x3F), (0, 0x01, 0x7A), (0, 0x02, 253), (0, 0x03, 0)]
    writes += [(frame(5), 0x01, 0x8A)]
    expected, actual = expected_and_actual(writes, 6000)
    np.testing.assert_array_equal(actual, expected)
    # The first half frame loads the divider with 7, the second takes 1, the third asks again: 0.
    starts = emulation.run(writes, 6000).notes["start"].tolist()
    assert starts[1] == frame(8)


def test_long_pauses_and_streams_without_writes():
    for length in (0, 1, 183, 184, 100_000):
        assert not len(emulation.run([], length).notes)
        assert emulation.run([], length).length == length
    writes = [(0, 0x15, 1), (0, 0x00, 0x0F), (0, 0x01, 8), (0, 0x02, 253), (0, 0x03, 8)]
    # Length index 1 is 254 half frames; the envelope's 240th clock after its start gives level 0.
    assert emulation.run(writes, 1_000_000).notes["end"].tolist() == [frame(241)]


def test_delay_of_the_frame_counter_moves_no_change_by_more_than_a_tick():
    """A log cannot say on which cycle of its tick a write falls; it matters no more than this."""
    different = 0
    for seed in range(30):
        writes, length, clock = apu_oracle.stream(seed)
        at_once = apu_oracle.states(writes, length, clock)
        later = apu_oracle.states(writes, length, clock, delay=True)
        differs = (at_once != later).any(axis=2)
        different += differs.any()
        assert not (differs[1:] & differs[:-1]).any(), seed
    assert different


def frame(step, steps=4):
    """Tick of the frame counter's step, counted from 1, after a reset at tick 0."""
    turn, index = divmod(step - 1, 4)
    cycles = (7457, 14913, 22371, 29829 if steps == 4 else 37281)[index] + turn * (
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
