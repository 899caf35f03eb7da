"""The renderer, against a chip that counts cycle by cycle, the mixer's formulas, and theory."""

import itertools
import math

import numpy as np
import pytest
from scipy import signal
from songs import random_score

from lakhnes_lib.music import nes
from lakhnes_lib.music.nes import NO, P1, P2, TR
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import apu, bandlimit, chip, timeline
from lakhnes_lib.sound.edges import level_changes


def counted_levels(score):
    """The four voices on every cycle, by counters that go down by one; a pulse begins anew with
    every note.
    """
    cycles = [int(math.floor(tick * chip.CLOCK / 44_100 + 0.5)) for tick in range(score.length + 1)]
    levels = np.zeros((4, cycles[score.length]), np.uint8)
    for voice in range(4):
        events = {}
        for _, start, end, pitch, velocity in score.voice(voice).tolist():
            events.setdefault(cycles[end], []).insert(0, ("off", 0))
            events.setdefault(cycles[start], []).append(("on", (pitch, velocity)))
        for number, tick, kind, value in score.controls.tolist():
            if number == voice:
                events.setdefault(cycles[tick], []).append((kind, value))
        period, volume, timbre, sounds = 1, 0, 0, False
        counter, step, register = 0, 16 if voice == TR else 0, 1
        # The short sequence has its own register, which shifts along.
        loop_register, output = 1, 0
        for cycle in range(levels.shape[1]):
            if sounds:
                counter -= 1
                if counter == 0:
                    counter, step = period, step + 1
                    register = register >> 1 | ((register ^ register >> 1) & 1) << 14
                    loop_register = (
                        loop_register >> 1 | ((loop_register ^ loop_register >> 6) & 1) << 14
                    )
            for what, value in events.get(cycle, ()):
                if what == "off":
                    sounds = False
                elif what == "on":
                    sounds, (pitch, volume) = True, value
                    if voice == NO:
                        period = [
                            4,
                            8,
                            16,
                            32,
                            64,
                            96,
                            128,
                            160,
                            202,
                            254,
                            380,
                            508,
                            762,
                            1016,
                            2034,
                            4068,
                        ][16 - pitch]
                    else:
                        unit = 32 if voice == TR else 16
                        period = round(chip.CLOCK / (unit * 440 * 2 ** ((pitch - 69) / 12))) * (
                            1 if voice == TR else 2
                        )
                    counter = period
                    if voice in (P1, P2):
                        step = 0
                elif what == VELOCITY_CHANGE:
                    volume = value
                else:
                    timbre = value
            if voice == TR:
                output = (list(range(15, -1, -1)) + list(range(16)))[step % 32]
            elif not sounds:
                output = 0
            elif voice == NO:
                output = 0 if (loop_register if timbre else register) & 1 else volume
            else:
                output = volume * int(
                    ("01000000", "01100000", "01111000", "10011111")[timbre][step % 8]
                )
            levels[voice, cycle] = output
    return levels


def tone(voice, pitch, seconds=1.0, timbre=0, rate=44_100, **options):
    length = round(seconds * 44_100)
    controls = [(voice, 0, TIMBRE_CHANGE, timbre)] if voice != TR else []
    score = Score.build([(voice, 0, length, pitch, 1 if voice == TR else 15)], length, controls)
    return apu.render(score, rate, **options).astype(float)


@pytest.mark.parametrize("seed", range(2))
def test_levels_equal_a_chip_that_counts_every_cycle(seed):
    score = random_score(seed, 4000)
    levels, expected = apu.levels(score), counted_levels(score)
    for voice in range(4):
        np.testing.assert_array_equal(levels[voice], expected[voice], nes.VOICES[voice])


@pytest.mark.parametrize("rests", [True, False])
def test_changes_add_up_to_the_mixer_on_every_cycle_wherever_blocks_are_cut(rests):
    score = random_score(5, 8000, rests, shortest=30)
    mixed = chip.mix(apu.levels(score))
    song = timeline.build(score)
    random = np.random.default_rng(0)
    borders = [0, *np.sort(random.integers(0, len(mixed), 30)), len(mixed)]
    summed = np.zeros(len(mixed))
    for begin, end in itertools.pairwise(borders):
        cycle, change = level_changes(song, begin, end)
        assert not len(cycle) or (begin <= cycle.min() and cycle.max() < end)
        np.add.at(summed, cycle, change)
    np.testing.assert_allclose(np.cumsum(summed), mixed, atol=1e-12)


def test_unisons_move_on_one_cycle_and_still_add_up():
    score = Score.build(
        [(P1, 0, 4000, 69, 15), (P2, 0, 4000, 69, 9), (TR, 0, 4000, 69, 1), (NO, 0, 4000, 16, 7)],
        5000,
    )
    levels = apu.levels(score)
    cycle, change = level_changes(timeline.build(score), 0, levels.shape[1])
    summed = np.zeros(levels.shape[1])
    np.add.at(summed, cycle, change)
    np.testing.assert_allclose(np.cumsum(summed), chip.mix(levels), atol=1e-12)
    assert set(levels[P1] * 9) == set(levels[P2] * 15.0)


def test_a_pulse_keeps_its_phase_from_note_to_note_and_restarts_with_the_high_bits():
    # Timers 253 and 239 share their high bits; 268 does not.
    assert chip.timer(P1, [69, 70, 68]).tolist() == [253, 239, 268]
    first, border = 8 * 2 * 254, int(timeline.cycle_of(1001))
    for pitch, expected in ((70, (border % first) / first), (68, 0.0)):
        score = Score.build([(P1, 0, 1001, 69, 15), (P1, 1001, 3000, pitch, 15)])
        period = 16 * (int(chip.timer(P1, pitch)) + 1)
        rises = np.flatnonzero(np.diff(apu.levels(score)[P1].astype(int)) > 0) + 1
        rise = rises[rises > border][0]
        assert (
            (period / 8 - (rise - border)) / period - expected + 0.5
        ) % 1 - 0.5 == pytest.approx(0, abs=1 / period)


def test_output_equals_a_direct_convolution_of_every_cycle():
    score = random_score(11, 1500)
    mixed = chip.mix(apu.levels(score))
    x = np.arange(-16 * 41, 16 * 41 + 1)
    expected = np.zeros(score.length)
    for sample in range(score.length):
        centre = sample * chip.CLOCK / 44_100
        cycle = np.clip(np.rint(centre).astype(int) + x, -1, len(mixed) - 1)
        # A cycle's level stands from its beginning to the next one's.
        distance = (cycle + 0.5 - centre) * 44_100 / chip.CLOCK
        window = np.i0(bandlimit.KAISER_BETA * np.sqrt(np.maximum(1 - (distance / 16) ** 2, 0)))
        kernel = np.sinc(2 * bandlimit.CUTOFF * distance) * window * (np.abs(distance) < 16)
        expected[sample] = (np.where(cycle < 0, 0, mixed[cycle]) * kernel).sum() / kernel.sum()
    sound = apu.render(score, output="none") / apu.GAIN["none"]
    inner = slice(20, -20)
    error = np.sqrt(np.mean((sound - expected)[inner] ** 2)) / expected.std()
    assert 20 * np.log10(error) < -50


def nearest_timer(voice, pitch):
    """The timer that comes nearest to a pitch of equal temperament, by trying all of them."""
    unit = 32 if voice == TR else 16
    period = chip.CLOCK / (unit * 440 * 2 ** ((pitch - 69) / 12))
    return min(range(2048), key=lambda timer: abs(timer + 1 - period))


@pytest.mark.parametrize("voice", [P1, P2, TR])
def test_every_note_has_its_timers_frequency_to_a_tenth_of_a_cent(voice):
    pitches = range(nes.LOWEST_PITCH[voice], nes.HIGHEST_PITCH[voice] + 1)
    timers = [nearest_timer(voice, pitch) for pitch in pitches]
    assert chip.timer(voice, pitches).tolist() == timers
    for pitch, timer in list(zip(pitches, timers, strict=True))[::5]:
        hertz = chip.CLOCK / ((32 if voice == TR else 16) * (timer + 1))
        sound = tone(voice, pitch, 1.2, 2 if voice != TR else 0, output="none")[2000:-2000]
        half = len(sound) // 2
        time, window = np.arange(half) / 44_100, np.hanning(half)
        early, late = (
            (part * window * np.exp(-2j * np.pi * hertz * (time + shift))).sum()
            for part, shift in ((sound[:half], 0), (sound[half : 2 * half], half / 44_100))
        )
        measured = hertz + np.angle(late / early) / (2 * np.pi * half / 44_100)
        assert abs(1200 * np.log2(measured / hertz)) < 0.1, (voice, pitch, measured, hertz)


@pytest.mark.parametrize(
    "voice, pitch, duty",
    [*((P1, pitch, duty) for pitch in (96, 108) for duty in range(4)), (TR, 96, 0), (TR, 108, 0)],
)
def test_aliasing_is_below_45_db(voice, pitch, duty):
    sound = tone(voice, pitch, 1.0, duty, output="none")
    # Against eight times the rate, brought down by a long filter, where neither filter has begun to
    # fall.
    taps = signal.firwin(8 * 400 + 1, 0.97 / 8, window=("kaiser", 9))
    reference = signal.upfirdn(
        taps, tone(voice, pitch, 1.0, duty, 8 * 44_100, output="none"), 1, 8
    )[200 : 200 + 44_100]
    inner = slice(4000, 40_000)
    low = signal.firwin(401, 17_000, fs=44_100, window=("kaiser", 9))
    both = [np.convolve(x, low, "same")[inner] for x in (sound, reference)]
    assert 20 * np.log10((both[0] - both[1]).std() / both[1].std()) < -45
    # And in the whole band: what is left when the harmonics are taken out.
    hertz = float(chip.timer_frequency(voice, chip.timer(voice, pitch)))
    angle = (
        2
        * np.pi
        * hertz
        * np.outer(np.arange(36_000) / 44_100, np.arange(1, int(22_050 / hertz) + 1))
    )
    basis = np.hstack([np.ones((36_000, 1)), np.cos(angle), np.sin(angle)])
    left = sound[inner] - basis @ np.linalg.lstsq(basis, sound[inner], rcond=None)[0]
    assert 20 * np.log10(left.std() / sound[inner].std()) < -60


def test_waveforms_before_filtering():
    for duty, pattern in enumerate(("01000000", "01100000", "01111000", "10011111")):
        score = Score.build([(P2, 0, 2000, 60, 15)], 2000, [(P2, 0, TIMBRE_CHANGE, duty)])
        step = 2 * (int(chip.timer(P2, 60)) + 1)
        expected = np.repeat([15 * int(c) for c in pattern], step)
        np.testing.assert_array_equal(apu.levels(score)[P2][: 8 * step], expected)
    step = int(chip.timer(TR, 60)) + 1
    levels = apu.levels(Score.build([(TR, 0, 2000, 60, 1)]))[TR]
    np.testing.assert_array_equal(levels[: 32 * step : step], [*range(16), *range(15, -1, -1)])


def test_noise_types_have_the_chips_periods():
    periods = [4068, 2034, 1016, 762, 508, 380, 254, 202, 160, 128, 96, 64, 32, 16, 8, 4]
    assert chip.noise_period(range(1, 17)).tolist() == periods


@pytest.mark.parametrize("loop, expected", [(0, 32_767), (1, 93)])
def test_noise_sequences_have_their_length_and_no_shorter_one(loop, expected):
    gate = chip.noise_sequence(loop)
    assert len(gate) == expected
    for part in (3, 7, 31, 151, 93):
        if expected % part == 0 and part != expected:
            assert not np.array_equal(gate, np.roll(gate, part))
    for noise_type in (1, 9, 16):
        period = int(chip.noise_period(noise_type))
        length = min(6000, period * expected // 40 + 100)
        score = Score.build(
            [(NO, 0, length, noise_type, 15)], length, [(NO, 0, TIMBRE_CHANGE, loop)]
        )
        levels = apu.levels(score)[NO]
        repeat = -(-len(levels) // (period * expected))
        np.testing.assert_array_equal(
            levels, 15 * np.tile(np.repeat(gate, period), repeat)[: len(levels)]
        )


def test_mixer_equals_its_formulas():
    for p1, p2, tr, no in itertools.product((0, 1, 7, 15), (0, 2, 15), range(16), (0, 1, 8, 15)):
        pulse = 95.88 / (8128 / (p1 + p2) + 100) if p1 + p2 else 0.0
        tnd = 159.79 / (1 / (tr / 8227 + no / 12241) + 100) if tr + no else 0.0
        assert float(chip.mix([p1, p2, tr, no])) == pytest.approx(pulse + tnd, rel=1e-12)


def test_triangle_holds_its_level_and_goes_on_from_there():
    score = Score.build([(TR, 0, 1003, 50, 1), (TR, 3000, 4000, 57, 1)], 5000)
    levels, border = apu.levels(score)[TR], timeline.cycle_of([1003, 3000, 4000])
    held = levels[border[0] : border[1] + 1]
    assert (held == held[0]).all() and 0 < held[0] < 15
    assert (levels[border[2] :] == levels[-1]).all()
    assert (np.abs(np.diff(levels.astype(int))) <= 1).all()


def test_filters_follow_their_analogue_curves():
    hertz = np.array([20.0, 37, 90, 200, 440, 1000, 5000, 10_000, 14_000, 18_000])
    for rate, (name, (highs, low)) in itertools.product(
        (44_100, 48_000, 96_000), bandlimit.FILTERS.items()
    ):
        expected = np.ones(len(hertz))
        for corner in highs:
            expected = expected * (hertz / corner) / np.hypot(1, hertz / corner)
        if low:
            expected = expected / np.hypot(1, hertz / low)
        numerator, denominator = bandlimit.filter_coefficients(name, rate)
        gains = np.abs(signal.freqz(numerator, denominator, hertz, fs=rate)[1])
        assert np.abs(20 * np.log10(gains / expected)).max() < (0.1 if rate == 44_100 else 0.2), (
            name,
            rate,
        )
