"""What ``apu.render`` and ``apu.blocks`` give: length, options, streams without end, the songbook
and real songs.
"""

import math
import os
import tarfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from songs import random_score

from lakhnes_lib.errors import BadAudio
from lakhnes_lib.music import midi
from lakhnes_lib.music.nes import NO, P1, P2, TR
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.songbook import tunes
from lakhnes_lib.sound import apu, chip, vgm
from lakhnes_lib.sound.presets import DECAY_TICKS, dress


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
    sound = apu.render(
        Score.build([note], 100, [(voice, 0, TIMBRE_CHANGE, 3)] if voice in (P1, P2) else [])
    )
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
    def peak(seconds):
        length = seconds * 44_100
        stream = apu.blocks(Score.build([(P1, 0, length, 60, 15), (NO, 0, length, 9, 15)]), 8000)
        tracemalloc.start()
        count = sum(map(len, stream))
        assert count == length * 8000 // 44_100
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(30)
    assert peak(120) < 1.05 * peak(30)


def test_ten_hours_are_refused_as_an_array_and_streamed_in_blocks():
    score = Score.build([(P1, 0, 36_000 * 44_100, 69, 15)], name="long")
    with pytest.raises(
        BadAudio, match=r"^long: 10.0 hours at 44100 Hz are more than .* use apu.blocks$"
    ):
        apu.render(score)
    stream = apu.blocks(score)
    next(stream)
    assert 0.05 < np.abs(next(stream)).max() < 1
    # The last second of a day-long tone still has its pitch: phases are whole cycles, not sums of
    # fractions.
    levels = apu.levels(score, 36_000 * chip.CLOCK - 20_000)[P1]
    period = 16 * (int(chip.timer(P1, 69)) + 1)
    np.testing.assert_array_equal(levels[:-period], levels[period:])
    assert (
        np.flatnonzero(np.diff(levels.astype(int)) > 0)[0] + 1 + 36_000 * chip.CLOCK - 20_000
    ) % period == period // 8


def test_a_control_that_changes_nothing_is_not_heard():
    score = random_score(6, 40_000)
    more = [
        (voice, tick, TIMBRE_CHANGE, 0) for voice in (P1, P2, NO) for tick in range(7, 40_000, 611)
    ]
    plain = Score.build(score.notes, score.length)
    same = Score.build(score.notes, score.length, more)
    np.testing.assert_allclose(apu.render(plain), apu.render(same), atol=2e-6)


def test_no_click_but_the_chips_own():
    # A note's border moves the output by no more than the voice's own step does.
    score = Score.build([(TR, 1000 * n, 1000 * n + 700, 40 + n, 1) for n in range(40)], 41_000)
    steps = np.abs(np.diff(apu.render(score, output="none").astype(float)))
    assert steps.max() < 1.2 * apu.GAIN["none"] * np.diff(chip.MIXERS[1][:, 0]).max()


def test_voices_duty_and_volume():
    score = random_score(8, 20_000)
    np.testing.assert_array_equal(
        apu.render(score, voices=[P2, NO]), apu.render(score.only([P2, NO]))
    )
    assert not apu.render(score, voices=[]).any()
    plain = Score.build(score.notes, score.length)
    for duty in (2, (2, 2)):
        chosen = Score.build(
            plain.notes, plain.length, [(v, 0, TIMBRE_CHANGE, 2) for v in (P1, P2)]
        )
        np.testing.assert_array_equal(apu.render(plain, duty=duty), apu.render(chosen))
    loud = plain.notes.copy()
    loud["velocity"][loud["voice"] != TR] = 15
    timbre = score.controls[score.controls["kind"] == TIMBRE_CHANGE]
    np.testing.assert_array_equal(
        apu.render(score, volume=15), apu.render(Score.build(loud, score.length, timbre))
    )


def test_decay_fades_every_note_a_level_at_a_time():
    score = Score.build([(P1, 100, 30_000, 60, 15), (P2, 0, 900, 60, 4), (TR, 0, 30_000, 60, 1)])
    faded = dress(score, volume="decay")
    fall = [(c["tick"], c["value"]) for c in faded.controls if c["voice"] == P1]
    assert fall == [(100 + n * DECAY_TICKS, 15 - n) for n in range(1, 16)]
    assert faded.controls[faded.controls["voice"] == P2].tolist() == [
        (P2, DECAY_TICKS, VELOCITY_CHANGE, 3)
    ]
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
    for piece in tunes.scores(split):
        score = piece.excerpt(0, 12)
        sound = apu.render(score, 22_050)
        assert np.isfinite(sound).all() and 0.03 < sound.std() and np.abs(sound).max() < 0.95, (
            score.name
        )
        for voice in range(4):
            alone = apu.render(score, 22_050, voices=[voice])
            assert bool(len(score.voice(voice))) == bool(alone.std() > 1e-4), (score.name, voice)


@pytest.fixture(scope="module")
def real_songs(tmp_path_factory):
    """A dozen songs of NES-MDB's test split, out of the mirror's archive."""
    mirror = os.environ.get("LAKHNES_MIRROR")
    archives = sorted(Path(mirror).glob("nesmdb_midi.tar*")) if mirror else []
    if not archives:
        pytest.skip("LAKHNES_MIRROR names no folder with NES-MDB's MIDI archive")
    songs, path = [], tmp_path_factory.mktemp("nesmdb") / "song.mid"
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            if member.name.endswith(".mid") and "/test/" in member.name:
                path.write_bytes(archive.extractfile(member).read())
                songs.append(midi.read(path))
                if len(songs) == 12:
                    return songs
    pytest.fail(f"{archives[0]} holds only {len(songs)} test songs")


def test_real_songs_sound(real_songs):
    for song in real_songs:
        score = song.excerpt(0, min(song.seconds, 30))
        sound = apu.render(score)
        assert (
            len(sound) == score.length and np.isfinite(sound).all() and np.abs(sound).max() < 0.95
        )
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
    # Loose on purpose; benchmarks/apu_accuracy.py measures.
    assert time.process_time() - begin < score.seconds / 20
