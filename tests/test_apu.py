"""The renderer, against a chip that counts cycle by cycle, the mixer's formulas, and theory."""

import itertools
import math
import os
import tarfile
import time
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from lakhnes_lib.data import songbook
from lakhnes_lib.errors import BadAudio, LakhnesError
from lakhnes_lib.music import midi, nes
from lakhnes_lib.music.nes import NO, P1, P2, TR
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import apu, bandlimit, chip, timeline, vgm
from lakhnes_lib.sound.audio import write_wav
from lakhnes_lib.sound.edges import Walk
from lakhnes_lib.sound.presets import DECAY_TICKS, dress


def random_score(seed, length=6000, rests=True, shortest=100, longest=1500):
    """All voices, any pitch, velocities and timbre that change at any time."""
    random = np.random.default_rng(seed)
    notes, controls = [], []
    for voice in range(4):
        now = int(random.integers(0, 300))
        while True:
            end = now + int(random.integers(shortest, longest))
            if end > length:
                break
            pitch = int(random.integers(nes.LOWEST_PITCH[voice], nes.HIGHEST_PITCH[voice], endpoint=True))
            notes.append((voice, now, end, pitch, 1 if voice == TR else int(random.integers(1, 16))))
            if voice != TR:
                controls.append((voice, (now + end) // 2, VELOCITY_CHANGE, int(random.integers(0, 16))))
                controls.append((voice, (now + 2 * end) // 3, TIMBRE_CHANGE, random.integers(nes.TIMBRE_VALUES[voice])))
            now = end + (int(random.integers(20, 400)) if rests else 0)
    return Score.build(notes, length, controls, f"random {seed}")


def counted_levels(score):
    """The four voices on every cycle, by counters that go down by one; a pulse begins anew with every note."""
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
                    loop_register = loop_register >> 1 | ((loop_register ^ loop_register >> 6) & 1) << 14
            for what, value in events.get(cycle, ()):
                if what == "off":
                    sounds = False
                elif what == "on":
                    sounds, (pitch, volume) = True, value
                    if voice == NO:
                        period = [4, 8, 16, 32, 64, 96, 128, 160, 202, 254, 380, 508, 762, 1016, 2034, 4068][16 - pitch]
                    else:
                        unit = 32 if voice == TR else 16
                        period = round(chip.CLOCK / (unit * 440 * 2 ** ((pitch - 69) / 12))) * (1 if voice == TR else 2)
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
                output = volume * int(("01000000", "01100000", "01111000", "10011111")[timbre][step % 8])
            levels[voice, cycle] = output
    return levels


def tone(voice, pitch, seconds=1.0, timbre=0, rate=44_100, **options):
    length = round(seconds * 44_100)
    controls = [(voice, 0, TIMBRE_CHANGE, timbre)] if voice != TR else []
    score = Score.build([(voice, 0, length, pitch, 1 if voice == TR else 15)], length, controls)
    return apu.render(score, rate, **options).astype(float)


@pytest.mark.parametrize("seed", range(3))
def test_levels_equal_a_chip_that_counts_every_cycle(seed):
    score = random_score(seed, 4000)
    found, expected = apu.levels(score), counted_levels(score)
    for voice in range(4):
        np.testing.assert_array_equal(found[voice], expected[voice], nes.VOICES[voice])


@pytest.mark.parametrize("rests", [True, False])
def test_changes_add_up_to_the_mixer_on_every_cycle_wherever_blocks_are_cut(rests):
    score = random_score(5, 8000, rests, shortest=30)
    mixed = chip.mix(apu.levels(score))
    walk = Walk(timeline.build(score))
    random = np.random.default_rng(0)
    borders = [0, *np.sort(random.integers(0, len(mixed), 30)), len(mixed)]
    summed = np.zeros(len(mixed))
    for begin, end in itertools.pairwise(borders):
        cycle, change = walk.changes(begin, end)
        assert not len(cycle) or (begin <= cycle.min() and cycle.max() < end)
        np.add.at(summed, cycle, change)
    np.testing.assert_allclose(np.cumsum(summed), mixed, atol=1e-12)


def test_unisons_move_on_one_cycle_and_still_add_up():
    score = Score.build([(P1, 0, 4000, 69, 15), (P2, 0, 4000, 69, 9), (TR, 0, 4000, 69, 1), (NO, 0, 4000, 16, 7)], 5000)
    levels = apu.levels(score)
    cycle, change = Walk(timeline.build(score)).changes(0, levels.shape[1])
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
        assert ((period / 8 - (rise - border)) / period - expected + 0.5) % 1 - 0.5 == pytest.approx(0, abs=1 / period)


def test_output_equals_a_direct_convolution_of_every_cycle():
    score = random_score(11, 3000)
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
    found = apu.render(score, output="none") / apu.GAIN["none"]
    inner = slice(20, -20)
    error = np.sqrt(np.mean((found - expected)[inner] ** 2)) / expected.std()
    assert 20 * np.log10(error) < -50


@pytest.mark.parametrize("voice", [P1, P2, TR])
def test_every_note_has_its_timers_frequency_to_a_tenth_of_a_cent(voice):
    for pitch in range(nes.LOWEST_PITCH[voice], nes.HIGHEST_PITCH[voice] + 1):
        # The nearest timer that exists, not equal temperament.
        unit = 32 if voice == TR else 16
        steps = min(range(8, 2049), key=lambda n: abs(n - chip.CLOCK / (unit * 440 * 2 ** ((pitch - 69) / 12))))
        hertz = chip.CLOCK / (unit * steps)
        sound = tone(voice, pitch, 1.2, 2 if voice != TR else 0, output="none")[2000:-2000]
        half = len(sound) // 2
        time, window = np.arange(half) / 44_100, np.hanning(half)
        early, late = (
            (part * window * np.exp(-2j * np.pi * hertz * (time + shift))).sum()
            for part, shift in ((sound[:half], 0), (sound[half : 2 * half], half / 44_100))
        )
        found = hertz + np.angle(late / early) / (2 * np.pi * half / 44_100)
        assert abs(1200 * np.log2(found / hertz)) < 0.1, (voice, pitch, found, hertz)


@pytest.mark.parametrize(
    "voice, pitch, duty", [*((P1, pitch, duty) for pitch in (96, 108) for duty in range(4)), (TR, 96, 0), (TR, 108, 0)]
)
def test_aliasing_is_below_45_db(voice, pitch, duty):
    sound = tone(voice, pitch, 1.0, duty, output="none")
    # Against eight times the rate, brought down by a long filter, where neither filter has begun to fall.
    taps = signal.firwin(8 * 400 + 1, 0.97 / 8, window=("kaiser", 9))
    reference = signal.upfirdn(taps, tone(voice, pitch, 1.0, duty, 8 * 44_100, output="none"), 1, 8)[200 : 200 + 44_100]
    inner = slice(4000, 40_000)
    low = signal.firwin(401, 17_000, fs=44_100, window=("kaiser", 9))
    both = [np.convolve(x, low, "same")[inner] for x in (sound, reference)]
    assert 20 * np.log10((both[0] - both[1]).std() / both[1].std()) < -45
    # And in the whole band: what is left when the harmonics are taken out.
    hertz = float(chip.timer_frequency(voice, chip.timer(voice, pitch)))
    angle = 2 * np.pi * hertz * np.outer(np.arange(36_000) / 44_100, np.arange(1, int(22_050 / hertz) + 1))
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
        score = Score.build([(NO, 0, length, noise_type, 15)], length, [(NO, 0, TIMBRE_CHANGE, loop)])
        levels = apu.levels(score)[NO]
        repeat = -(-len(levels) // (period * expected))
        np.testing.assert_array_equal(levels, 15 * np.tile(np.repeat(gate, period), repeat)[: len(levels)])


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


def test_silence_is_silent():
    assert not apu.render(Score.build([], 44_100)).any()
    assert apu.render(Score.build([], 0)).shape == (0,)
    sound = apu.render(Score.build([(P1, 22_050, 33_000, 60, 15)], 88_200))
    assert not sound[: 22_050 - 16].any()
    assert np.abs(sound[-22_050:]).max() < 1e-6


@pytest.mark.parametrize("voice", range(4))
def test_one_note_of_one_tick(voice):
    note = (voice, 10, 11, 16 if voice == NO else 108, 1 if voice == TR else 15)
    # A pulse of duty 3 begins high; the others' first step would outlast the note.
    sound = apu.render(Score.build([note], 100, [(voice, 0, TIMBRE_CHANGE, 3)] if voice in (P1, P2) else []))
    assert sound.shape == (100,) and np.isfinite(sound).all() and 0 < np.abs(sound).max() < 0.5


@pytest.mark.parametrize("rate", [4000, 8000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("output", ["console", "famicom", "none"])
def test_length_range_and_determinism(rate, output):
    score = random_score(3, 50_001)
    sound = apu.render(score, rate, output=output)
    assert sound.dtype == np.float32 and len(sound) == math.ceil(50_001 * rate / 44_100)
    assert np.abs(sound).max() <= 1 and sound.std() > 0.02
    np.testing.assert_array_equal(sound, apu.render(score, rate, output=output))


def test_blocks_are_the_render_in_pieces():
    score = random_score(4, 300_000, longest=20_000)
    pieces = list(apu.blocks(score, volume=9, seed=3))
    assert len(pieces) > 3 and max(map(len, pieces)) <= apu.BLOCK
    np.testing.assert_array_equal(np.concatenate(pieces), apu.render(score, volume=9, seed=3))


def test_memory_does_not_grow_with_the_length():
    def peak(minutes):
        length = minutes * 60 * 44_100
        stream = apu.blocks(Score.build([(P1, 0, length, 60, 15), (NO, 0, length, 9, 15)]), 8000)
        tracemalloc.start()
        count = sum(map(len, stream))
        assert count == length * 8000 // 44_100
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(1)
    assert peak(4) < 1.05 * peak(1)


def test_ten_hours_are_refused_as_an_array_and_streamed_in_blocks():
    score = Score.build([(P1, 0, 36_000 * 44_100, 69, 15)], name="long")
    with pytest.raises(BadAudio, match=r"^long: 10.0 hours at 44100 Hz are more than .* use apu.blocks$"):
        apu.render(score)
    stream = apu.blocks(score)
    next(stream)
    assert 0.05 < np.abs(next(stream)).max() < 1
    # The last second of a day-long tone still has its pitch: phases are whole cycles, not sums of fractions.
    levels = apu.levels(score, 36_000 * chip.CLOCK - 20_000)[P1]
    period = 16 * (int(chip.timer(P1, 69)) + 1)
    np.testing.assert_array_equal(levels[:-period], levels[period:])
    assert (
        np.flatnonzero(np.diff(levels.astype(int)) > 0)[0] + 1 + 36_000 * chip.CLOCK - 20_000
    ) % period == period // 8


def test_a_control_that_changes_nothing_is_not_heard():
    score = random_score(6, 40_000)
    more = [(voice, tick, TIMBRE_CHANGE, 0) for voice in (P1, P2, NO) for tick in range(7, 40_000, 611)]
    plain = Score.build(score.notes, score.length)
    same = Score.build(score.notes, score.length, more)
    np.testing.assert_allclose(apu.render(plain), apu.render(same), atol=2e-6)


def test_no_click_but_the_chips_own():
    # A note's border moves the output by no more than the voice's own step does.
    score = Score.build([(TR, 1000 * n, 1000 * n + 700, 40 + n, 1) for n in range(40)], 41_000)
    steps = np.abs(np.diff(apu.render(score, output="none").astype(float)))
    assert steps.max() < 1.2 * apu.GAIN["none"] * np.diff(chip.triangle_noise_mixer()[:, 0]).max()


def test_filters_follow_their_analogue_curves():
    hertz = np.array([20.0, 37, 90, 200, 440, 1000, 5000, 10_000, 14_000, 18_000])
    for rate, (name, (highs, low)) in itertools.product((44_100, 48_000, 96_000), bandlimit.FILTERS.items()):
        expected = np.ones(len(hertz))
        for corner in highs:
            expected = expected * (hertz / corner) / np.hypot(1, hertz / corner)
        if low:
            expected = expected / np.hypot(1, hertz / low)
        numerator, denominator = bandlimit.filter_coefficients(name, rate)
        found = np.abs(signal.freqz(numerator, denominator, hertz, fs=rate)[1])
        assert np.abs(20 * np.log10(found / expected)).max() < (0.1 if rate == 44_100 else 0.2), (name, rate)


def test_voices_duty_and_volume():
    score = random_score(8, 20_000)
    np.testing.assert_array_equal(apu.render(score, voices=[P2, NO]), apu.render(score.only([P2, NO])))
    assert not apu.render(score, voices=[]).any()
    plain = Score.build(score.notes, score.length)
    for duty in (2, (2, 2)):
        chosen = Score.build(plain.notes, plain.length, [(v, 0, TIMBRE_CHANGE, 2) for v in (P1, P2)])
        np.testing.assert_array_equal(apu.render(plain, duty=duty), apu.render(chosen))
    loud = plain.notes.copy()
    loud["velocity"][loud["voice"] != TR] = 15
    timbre = score.controls[score.controls["kind"] == TIMBRE_CHANGE]
    np.testing.assert_array_equal(apu.render(score, volume=15), apu.render(Score.build(loud, score.length, timbre)))


def test_decay_fades_every_note_a_level_at_a_time():
    score = Score.build([(P1, 100, 30_000, 60, 15), (P2, 0, 900, 60, 4), (TR, 0, 30_000, 60, 1)])
    faded = dress(score, volume="decay")
    fall = [(c["tick"], c["value"]) for c in faded.controls if c["voice"] == P1]
    assert fall == [(100 + n * DECAY_TICKS, 15 - n) for n in range(1, 16)]
    assert faded.controls[faded.controls["voice"] == P2].tolist() == [(P2, DECAY_TICKS, VELOCITY_CHANGE, 3)]
    assert TR not in faded.controls["voice"]


def test_seed_draws_the_phases_and_nothing_else():
    score = random_score(9, 20_000)
    one, two, none = (apu.render(score, seed=seed) for seed in (1, 2, None))
    assert not np.array_equal(one, two) and not np.array_equal(one, none)
    np.testing.assert_array_equal(one, apu.render(score, seed=1))
    loud = [np.sqrt(np.mean(x**2)) for x in (one, two, none)]
    assert max(loud) < 1.25 * min(loud)
    assert not apu.render(Score.build([], 1000), seed=1)[:900].round(6).any()


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(sample_rate=0), "sample rate 0 Hz"),
        (dict(sample_rate=-44_100), "sample rate -44100 Hz"),
        (dict(sample_rate=44_100.5), "sample rate 44100.5 Hz"),
        (dict(sample_rate=float("nan")), "sample rate nan Hz"),
        (dict(sample_rate="44100"), "sample rate '44100' Hz"),
        (dict(sample_rate=10**9), "sample rate 1000000000 Hz"),
        (dict(output="hifi"), "output filter 'hifi'"),
        (dict(duty=4), "duty 4"),
        (dict(duty=(0, 1, 2)), r"duty \(0, 1, 2\)"),
        (dict(volume=0), "volume 0"),
        (dict(volume="loud"), "volume 'loud'"),
        (dict(voices=[4]), r"voices \[4\]"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_rendered(options, says):
    with pytest.raises(BadAudio, match=says):
        apu.blocks(random_score(1), **options)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_songbook_pieces_sound(split):
    for score in songbook.scores(split):
        sound = apu.render(score, 22_050)
        assert np.isfinite(sound).all() and 0.03 < sound.std() and np.abs(sound).max() < 0.95, score.name
        for voice in range(4):
            alone = apu.render(score, 22_050, voices=[voice])
            assert bool(len(score.voice(voice))) == bool(alone.std() > 1e-4), (score.name, voice)


@pytest.fixture(scope="module")
def real_songs(tmp_path_factory):
    """Two dozen songs of NES-MDB's test split, out of the mirror's archive."""
    mirror = os.environ.get("LAKHNES_MIRROR")
    archives = sorted(Path(mirror).glob("nesmdb_midi.tar*")) if mirror else []
    if not archives:
        pytest.skip("LAKHNES_MIRROR names no folder with NES-MDB's MIDI archive")
    songs, place = [], tmp_path_factory.mktemp("nesmdb") / "song.mid"
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            if member.name.endswith(".mid") and "/test/" in member.name:
                place.write_bytes(archive.extractfile(member).read())
                songs.append(midi.read(place))
                if len(songs) == 24:
                    return songs
    pytest.fail(f"{archives[0]} holds only {len(songs)} test songs")


def test_real_songs_sound(real_songs):
    for score in real_songs:
        sound = apu.render(score)
        assert len(sound) == score.length and np.isfinite(sound).all() and np.abs(sound).max() < 0.95
        audible = score.notes[score.notes["voice"] != TR]
        for _, start, end, _, velocity in audible[:: max(len(audible) // 20, 1)].tolist():
            if end - start > 400:
                assert sound[start:end].std() > 1e-4 * velocity
        # A fifth of a second after the last voice has ceased there is silence, until the next note.
        ends = np.maximum.accumulate(score.notes["end"])[:-1]
        for end, start in zip(ends.tolist(), score.notes["start"][1:].tolist(), strict=True):
            assert np.abs(sound[end + 8820 : max(start - 20, 0)]).max(initial=0) < 1e-3


def test_real_songs_come_back_from_vgm_to_the_tick(real_songs, tmp_path):
    for score in real_songs:
        vgm.write(score, tmp_path / "song.vgz")
        assert vgm.read(tmp_path / "song.vgz") == score


def test_a_busy_score_is_rendered_far_faster_than_it_plays():
    score = random_score(13, 10 * 44_100)
    apu.render(score)
    begin = time.process_time()
    apu.render(score)
    # Loose on purpose; benchmarks/apu.py measures.
    assert time.process_time() - begin < score.seconds / 20


def test_wav_file(tmp_path):
    score = random_score(2, 200_000)
    sound = apu.render(score)
    write_wav(sound, tmp_path / "a.wav")
    write_wav(apu.blocks(score), tmp_path / "b.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 44_100)
        found = np.frombuffer(file.readframes(len(sound) + 1), "<i2")
    np.testing.assert_allclose(found / 32767, sound, atol=0.51 / 32767)


@pytest.mark.parametrize(
    "samples, rate",
    [(np.array([0, np.nan]), 44_100), (np.array([1.5]), 44_100), (np.zeros((2, 2)), 44_100), (np.zeros(2), 0)],
)
def test_bad_wav_leaves_nothing_behind(tmp_path, samples, rate):
    with pytest.raises(BadAudio):
        write_wav(samples, tmp_path / "a.wav", rate)
    assert not list(tmp_path.iterdir())


def test_unwritable_place(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(LakhnesError, match="cannot be written"):
        write_wav(np.zeros(10), tmp_path / "folder")
