"""The longest shared run against the obvious search, and copies that were hidden."""

import numpy as np
import pytest
from _copying import LONGEST, CopyIndex, SharedRun
from songs import tune

from lakhnes_lib.data.corpus import pack
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score


def line(pitches, voice=nes.P1, step=10_000, start=0):
    """NOTE tuples of one voice."""
    return [
        (voice, start + i * step, start + i * step + step // 2, int(p), 1)
        for i, p in enumerate(pitches)
    ]


def wander(seed: int, notes: int, span: int = 3):
    random = np.random.default_rng(seed)
    return np.clip(60 + np.cumsum(random.integers(-span, span + 1, notes)), 40, 80)


def steps_by_hand(score):
    """Steps of each melodic voice, notes repeated at their pitch counted once."""
    for voice in nes.MELODIC:
        pitches = score.voice(voice)["pitch"].astype(int)
        steps = np.diff(pitches)
        yield voice, steps[steps != 0].tolist()


def shared_by_hand(score, songs) -> int:
    """Notes of the longest shared run, by trying every pair of steps."""
    best = 0
    for _, ours in steps_by_hand(score):
        for song in songs:
            for _, theirs in steps_by_hand(song):
                table = np.zeros((len(ours) + 1, len(theirs) + 1), int)
                for i, a in enumerate(ours):
                    for j, b in enumerate(theirs):
                        table[i + 1, j + 1] = table[i, j] + 1 if a == b else 0
                best = max(best, table.max())
    return int(best) + 1 if best else 0


@pytest.mark.parametrize("seed", range(6))
def test_against_the_obvious_search(seed):
    songs = [
        Score.build(
            line(wander(10 * seed + i, 40))
            + line(wander(10 * seed + i + 500, 20), nes.TR)
            + line([3, 5], nes.NO)
        )
        for i in range(4)
    ]
    piece = Score.build(
        line(wander(seed + 1000, 60)) + line(wander(seed + 2000, 30), nes.P2) + line([3, 5], nes.NO)
    )
    run = CopyIndex(pack("train", songs)).longest(piece)
    assert run.notes == shared_by_hand(piece, songs) > 3
    # Both voices play the same steps there.
    heard = [
        score.voice(voice)["pitch"][
            (score.voice(voice)["start"] >= a * 44_100 - 1)
            & (score.voice(voice)["end"] <= b * 44_100 + 1)
        ]
        for score, voice, (a, b) in (
            (piece, run.voice, run.seconds),
            (songs[run.song], run.song_voice, run.song_seconds),
        )
    ]
    mine, theirs = (np.diff(pitches.astype(int)) for pitches in heard)
    assert (
        mine[mine != 0].tolist() == theirs[theirs != 0].tolist()
        and (mine != 0).sum() == run.notes - 1
    )


def test_a_hidden_copy_is_found():
    songs = [tune(seed) for seed in range(3)] + [
        Score.build(line(wander(7, 90, 5), nes.TR), name="source")
    ]
    stolen = wander(7, 90, 5)[30:60] + 5
    piece = Score.build(
        line(wander(8, 20))
        + line(np.repeat(stolen, 2), step=700, start=300_000)
        + line(wander(9, 30), nes.TR)
    )
    run = CopyIndex(pack("train", songs)).longest(piece)
    distinct = 1 + np.count_nonzero(np.diff(stolen))
    assert run.notes >= distinct and (run.song, run.song_voice, run.voice) == (3, nes.TR, nes.P1)
    # It may begin a step earlier and end a step later, where the music around happens to agree.
    assert run.song_seconds[0] == pytest.approx(30 * 10_000 / 44_100, abs=0.5)
    assert run.seconds[0] == pytest.approx(300_000 / 44_100, abs=0.5)


def test_training_songs_are_found_whole():
    songs = [Score.build(line(wander(seed, 50)), name=str(seed)) for seed in range(5)]
    index = CopyIndex(pack("train", songs))
    for number, song in enumerate(songs):
        run = index.longest(song)
        assert run.song == number and run.notes == 1 + np.count_nonzero(
            np.diff(song.notes["pitch"].astype(int))
        )
        assert run.seconds == run.song_seconds


def test_variety_tells_a_tune_from_an_arpeggio():
    arpeggio, melody = (
        [60, 64, 67] * 30,
        48 + np.arange(40) ** 2 % 37,
    )  # no step of which returns soon
    index = CopyIndex(pack("train", [Score.build(line(arpeggio)), Score.build(line(melody))]))
    piece = Score.build(line(arpeggio[:60], nes.P2) + line(melody - 2, nes.TR))
    long, varied = index.longest(piece), index.longest(piece, by="figures")
    assert (long.notes, long.figures, long.song) == (60, 3, 0)
    assert varied.song == 1 and varied.figures > 15 and varied.notes <= 40


def test_longer_runs_are_not_followed():
    song = Score.build(line([60, 62, 64, 65] * 200, step=3000))
    assert CopyIndex(pack("train", [song])).longest(song).notes == LONGEST + 1


@pytest.mark.parametrize("notes", [[], line([60]), line([60, 60, 60]), line([2, 5, 9], nes.NO)])
def test_nothing_to_share(notes):
    song, silent = tune(1), Score.build(notes, 10**6)
    assert CopyIndex(pack("train", [song])).longest(silent) is None
    assert CopyIndex(pack("train", [silent])).longest(song) is None
    assert CopyIndex(pack("train", [])).longest(song) is None


def test_real_songs(nesmdb):
    """A real song is in the index; one of another composer shares little with it."""
    index = CopyIndex(nesmdb["train"])
    own = nesmdb["train"].score(1000)
    own_run = index.longest(own, by="figures")
    assert isinstance(own_run, SharedRun)
    shared_voice = nesmdb["train"].score(own_run.song).voice(own_run.song_voice)
    assert len(shared_voice) >= own_run.notes
    foreign = [
        index.longest(nesmdb["test"].score(number), by="figures") for number in range(0, 100, 20)
    ]
    assert np.median([run.figures for run in foreign]) < own_run.figures
