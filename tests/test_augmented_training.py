"""What training reads of augmented songs: drawn by seed and epoch, and resumed exactly."""

import json

import numpy as np
import pytest
from interrupts import interrupt
from packed_songs import SONGBOOK, arrays, packed
from songs import tune

from lakhnes_lib import profiles
from lakhnes_lib.data.corpus import Corpus
from lakhnes_lib.data.streams import KINDS, Streams
from lakhnes_lib.music import augmentation, events, grammar
from lakhnes_lib.music.augmentation import SETTINGS
from lakhnes_lib.music.score import Score
from lakhnes_lib.training import trainer


@pytest.mark.parametrize("setting", SETTINGS)
def test_framed_songs(setting):
    split = packed(SONGBOOK)
    one, again, other = (
        augmentation.framed_songs(setting, *arrays(split), np.random.default_rng(seed))
        for seed in (3, 3, 4)
    )
    assert len(one) == len(SONGBOOK)
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    same = sum(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert (
        same < len(one) / 3 if setting == "transposed" else not same
    )  # of 12 keys one may be drawn twice
    for song in one:
        assert (
            song.dtype == np.uint16
            and song[0] == song[-1] == events.START
            and (song[1:-1] > 0).all()
        )
        waits = events.IS_WAIT[song]
        assert not (waits[1:] & waits[:-1]).any()
        if setting != "published":
            grammar.check(song)
            assert not waits[1] and not waits[-2]


@pytest.mark.parametrize("setting", SETTINGS)
def test_framed_songs_of_no_change_are_the_songs(setting, monkeypatch):
    monkeypatch.setattr(
        augmentation, "draw", lambda setting, sounding, rng: augmentation.unchanged(len(sounding))
    )
    monkeypatch.setattr(augmentation, "_SONGS_AT_ONCE", 5)
    split = packed([*SONGBOOK, Score.build([], 500), Score.build([], 0), tune(1)])
    framed = augmentation.framed_songs(setting, *arrays(split), np.random.default_rng(0))
    assert all(np.array_equal(a, b) for a, b in zip(framed, split.framed(), strict=True))


def fresh_each_epoch(epoch):
    split = packed([tune(seed) for seed in range(5)])
    return augmentation.framed_songs("paper", *arrays(split), np.random.default_rng([7, epoch]))


@pytest.mark.parametrize("kind", KINDS)
def test_streams_draw_each_epoch_afresh_and_go_on_exactly(kind):
    streams, taken, positions = Streams(fresh_each_epoch, 3, 40, seed=1, kind=kind), [], []
    while streams.epoch < 3:
        positions.append(json.loads(json.dumps(streams.position)))
        taken.append(next(streams))
    for index, position in enumerate(positions):
        resumed = Streams(fresh_each_epoch, 3, 40, seed=1, kind=kind)
        resumed.position = position
        for expected in taken[index : index + 2]:
            actual = next(resumed)
            for name in ("ids", "targets", "fresh"):
                assert np.array_equal(getattr(actual, name), getattr(expected, name))
    if kind == "songs":  # every song of an epoch is read from end to end, as it was drawn for it
        drawn = [[len(song) - 1 for song in fresh_each_epoch(epoch)] for epoch in range(4)]
        begun = sum(drawn[3][number] for number in streams._order[: streams.begun])
        read = sum(int((segment.targets >= 0).sum()) for segment in taken)
        assert (
            read + sum(cursor.left for cursor in streams.rows) == sum(map(sum, drawn[:3])) + begun
        )
        assert len(set(map(sum, drawn))) > 1


def same_songs(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


@pytest.mark.parametrize("setting", SETTINGS)
def test_songs_of_an_epoch_are_drawn_by_seed_and_epoch(setting):
    split = packed(SONGBOOK[:8])
    first = augmentation.songs_by_epoch(split, setting, seed=1)
    again = augmentation.songs_by_epoch(split, setting, seed=1)
    other = augmentation.songs_by_epoch(split, setting, seed=2)
    assert len(first(0)) == 8 and same_songs(first(0), again(0))
    assert not same_songs(first(0), first(1)) and not same_songs(first(0), other(0))
    plain = augmentation.songs_by_epoch(split, "none", seed=1)
    assert same_songs(plain(0), split.framed()) and same_songs(plain(3), split.framed())


def test_a_count_of_songs_is_drawn_once_for_all_epochs():
    split = packed(SONGBOOK)
    names = {song.tobytes(): index for index, song in enumerate(split.framed())}

    def chosen(seed, count, epoch=0):
        songs = augmentation.songs_by_epoch(split, "none", seed, count=count)(epoch)
        return [names[song.tobytes()] for song in songs]

    five = chosen(3, 5)
    assert len(set(five)) == 5 and five == sorted(five)
    assert five == chosen(3, 5, epoch=1) == chosen(3, 5, epoch=7)
    assert five != chosen(4, 5)
    assert set(five) < set(chosen(3, 9)), "more songs are the same ones and others"
    everything = list(range(len(SONGBOOK)))
    assert chosen(3, 0) == chosen(3, len(SONGBOOK)) == chosen(3, 10**6) == everything
    both = augmentation.songs_by_epoch(split, "paper", 3, count=5)
    assert len(both(0)) == len(both(1)) == 5 and not same_songs(both(0), both(1))


def profile_of(augment):
    model = dict(
        architecture="transformer_xl", layers=1, width=16, heads=2, head_width=8, feed_forward=16
    )
    steps = dict(
        steps=6, batch=2, segment=24, learning_rate=1e-3, evaluate_every=3, precision="fp32"
    )
    return profiles.Profile(
        name="test",
        seed=3,
        corpus="songbook",
        models={"tiny": model},
        training={"tiny": profiles.Training(**steps, augment=augment)},
    )


@pytest.fixture(scope="module")
def tunes(tmp_path_factory):
    splits = {"train": packed([tune(1), tune(2)]), "valid": packed([tune(3)])}
    return Corpus(tmp_path_factory.mktemp("corpus"), {}, splits)


def losses(run):
    lines = (run.folder / "log.jsonl").read_text().splitlines()
    return [line["valid_loss"] for line in map(json.loads, lines) if "valid_loss" in line]


def test_training_with_augmentation_goes_on_where_it_was_stopped(tunes, tmp_path, monkeypatch):
    profile = profile_of("paper")
    options = dict(model="tiny", device="cpu", progress=False)
    whole = trainer.train(profile, tunes, tmp_path / "whole", **options)
    plain = trainer.train(profile_of("none"), tunes, tmp_path / "plain", **options)
    assert losses(whole) != losses(plain)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 4)
        trainer.train(profile, tunes, tmp_path / "parts", **options)
    resumed = trainer.train(profile, tunes, tmp_path / "parts", resume=True, **options)
    assert resumed.step == 6 and losses(resumed) == losses(whole)
