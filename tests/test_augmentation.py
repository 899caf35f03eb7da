"""Augmentation against plain loops over notes and over event text, its draws, and training that
goes on from a kill.
"""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupts import interrupt
from songs import scores, tune

from lakhnes_lib import profiles
from lakhnes_lib.data.corpus import Corpus, pack
from lakhnes_lib.data.streams import KINDS, Streams
from lakhnes_lib.errors import BadProfile, LakhnesError
from lakhnes_lib.music import augmentation, events, grammar, nes
from lakhnes_lib.music.augmentation import DROPPED, SETTINGS
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import tunes
from lakhnes_lib.training import trainer

SONGBOOK = tunes.scores("train")
changes = st.builds(
    lambda semitones, speed, order, noise, dropped: np.array(
        [
            (
                semitones,
                speed,
                [DROPPED if d else v for v, d in zip([*order, 3], [*dropped, noise], strict=True)],
            )
        ],
        augmentation.CHANGE,
    )[0],
    st.integers(-12, 12),
    st.floats(0.5, 2.0),
    st.permutations(range(3)),
    st.booleans(),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)


def packed(songs):
    return pack("test", songs)


def arrays(split):
    return split.notes, split.offsets, split.songs["length"]


# --- oracles


def by_hand(score: Score, change) -> Score:
    """One song changed note by note."""
    semitones, speed, voices = change.tolist()
    notes = []
    for voice, start, end, pitch, velocity in score.notes.tolist():
        new = voices[voice]
        if voice != nes.NO:
            pitch += semitones
        start, end = round(start * (1 / speed)), round(end * (1 / speed))
        if (
            new == DROPPED
            or not nes.LOWEST_PITCH[new] <= pitch <= nes.HIGHEST_PITCH[new]
            or start == end
        ):
            continue
        if (new == nes.TR) != (voice == nes.TR):
            velocity = 1 if new == nes.TR else 15
        notes.append((new, start, end, pitch, velocity))
    return Score.build(notes, round(score.length * (1 / speed)))


def by_text(score: Score, change) -> list[str]:
    """What the published steps make of a song's event text: trim, choose voices, exchange,
    transpose, stretch.
    """
    semitones, speed, voices = change.tolist()
    lines = events.to_tx1(score).split()
    if lines and lines[0].startswith("WT"):
        lines = lines[1:]
    if lines and lines[-1].startswith("WT"):
        lines = lines[:-1]
    now, moments = 0, {}
    for line in lines:
        title, *rest = line.split("_")
        if title == "WT":
            now += int(rest[0])
            continue
        voice = nes.VOICES.index(title)
        if voices[voice] == DROPPED:
            continue
        title = nes.VOICES[voices[voice]]
        if rest[0] == "NOTEON" and title != "NO":
            pitch = int(rest[1]) + semitones
            if not nes.LOWEST_PITCH[voices[voice]] <= pitch <= nes.HIGHEST_PITCH[voices[voice]]:
                continue
            rest = ["NOTEON", str(pitch)]
        moments.setdefault(round(now * (1 / speed)), []).append("_".join([title, *rest]))
    out, before = [], 0
    for moment in sorted(moments):
        if moment > before:
            nearest = min(
                events.WAIT_TICKS.tolist(),
                key=lambda ticks: (abs(ticks - (moment - before)), ticks),
            )
            out.append(f"WT_{nearest}")
        out += moments[moment]
        before = moment
    return out


# --- paper: Score to Score


@settings(deadline=None, max_examples=40)
@given(scores(with_controls=True), changes)
def test_a_changed_song_equals_plain_loops(score, change):
    # A Score checks order, ranges and monophony itself.
    changed = augmentation.change_score(score, *change)
    expected = by_hand(score, change)
    assert changed.length == expected.length
    assert np.array_equal(changed.notes, expected.notes)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(scores(), changes), max_size=5))
def test_many_songs_at_once_equal_each_alone(pairs):
    given_changes = np.array([change for _, change in pairs], augmentation.CHANGE)
    split = packed([score for score, _ in pairs])
    notes, offsets, lengths = augmentation.change_songs(*arrays(split), given_changes)
    assert len(offsets) == len(pairs) + 1 and offsets[-1] == len(notes)
    for number, (score, change) in enumerate(pairs):
        song = Score.build(notes[offsets[number] : offsets[number + 1]], lengths[number])
        assert song == dataclasses.replace(
            augmentation.change_score(score, *change), controls=song.controls
        )


def middle(score):
    """The notes that can go an octave up and down."""
    low, high = (
        nes.LOWEST_PITCH[score.notes["voice"]] + 12,
        nes.HIGHEST_PITCH[score.notes["voice"]] - 12,
    )
    noise, pitch = score.notes["voice"] == nes.NO, score.notes["pitch"]
    return dataclasses.replace(score, notes=score.notes[noise | ((pitch >= low) & (pitch <= high))])


@pytest.mark.parametrize("score", SONGBOOK[:6], ids=lambda score: score.name)
def test_there_and_back_is_where_it_was(score):
    score = middle(score)
    for semitones in (-6, 1, 12):
        moved = augmentation.transpose(score, semitones)
        assert moved != score and augmentation.transpose(moved, -semitones) == score
    swapped = augmentation.change_voices(score, (1, 0, 2, 3))
    assert np.array_equal(swapped.voice(nes.P2)["start"], score.voice(nes.P1)["start"])
    assert augmentation.change_voices(swapped, (1, 0, 2, 3)) == score
    assert augmentation.change_speed(score, 1.0) == score
    back = augmentation.change_speed(augmentation.change_speed(score, 1.05), 1 / 1.05)
    assert (
        len(back.notes) == len(score.notes)
        and np.abs(back.notes["start"] - score.notes["start"]).max() <= 1
    )
    assert augmentation.change_score(score, *augmentation.unchanged()[0]) == score
    without = augmentation.change_voices(score, (0, DROPPED, 2, 3))
    assert without == score.only([nes.P1, nes.TR, nes.NO])


def test_a_note_out_of_range_takes_its_note_off_along():
    score = Score.build(
        [(nes.P1, 0, 100, 107, 9), (nes.P1, 100, 200, 60, 9), (nes.NO, 0, 200, 16, 9)]
    )
    ids = events.encode(augmentation.transpose(score, 5))
    named = [events.VOCABULARY[event] for event in ids]
    assert named == ["NO_NOTEON_16", "WT_100", "P1_NOTEON_65", "WT_100", "P1_NOTEOFF", "NO_NOTEOFF"]
    grammar.check(ids)


def test_what_the_nes_cannot_do_is_refused():
    score = tune(1)
    for voices in [(0, 0, 2, 3), (0, 1, 3, 2), (0, 1, 2, 0), (0, 1, 7, 3)]:
        with pytest.raises(LakhnesError, match="go to different ones"):
            augmentation.change_voices(score, voices)
    for speed in (0.0, -1.0, 1e-300, float("inf"), float("nan")):
        with pytest.raises(LakhnesError, match="speed must be between"):
            augmentation.change_speed(score, speed)
    with pytest.raises(LakhnesError, match="'papr' is not known"):
        augmentation.draw("papr", np.ones((1, 4), bool), np.random.default_rng(0))


# --- published: events


@settings(deadline=None, max_examples=40)
@given(st.lists(scores(), max_size=3), st.integers(0, 1 << 30))
def test_the_published_variant_equals_its_steps_on_text(songs, seed):
    split = packed(songs)
    drawn = augmentation.draw(
        "published", np.ones((len(songs), 4), bool), np.random.default_rng(seed)
    )
    ids, offsets = augmentation.change_events(*arrays(split), drawn)
    for number, (song, change) in enumerate(zip(songs, drawn, strict=True)):
        named = [events.VOCABULARY[event] for event in ids[offsets[number] : offsets[number + 1]]]
        assert named == by_text(song, change)


def test_the_published_variant_leaves_note_offs_behind():
    score = Score.build([(nes.P1, 0, 100, 107, 9), (nes.NO, 0, 200, 16, 9)])
    change = augmentation.unchanged()
    change["semitones"] = 5
    ids, _ = augmentation.change_events(score.notes, [0, 2], [score.length], change)
    assert [events.VOCABULARY[event] for event in ids] == [
        "NO_NOTEON_16", "WT_100", "P1_NOTEOFF", "WT_100", "NO_NOTEOFF",
    ]  # fmt: skip


# --- draws

SONGS = 24_000


def near(found, expected, trials=SONGS):
    """Within five standard errors of a share."""
    return abs(found / trials - expected) <= 5 * np.sqrt(expected * (1 - expected) / trials)


def test_transposed_draws_nothing_but_a_key():
    drawn = augmentation.draw("transposed", np.ones((SONGS, 4), bool), np.random.default_rng(5))
    found, counts = np.unique(drawn["semitones"], return_counts=True)
    assert found.tolist() == list(range(-6, 6)) and all(near(count, 1 / 12) for count in counts)
    assert (drawn["speed"] == 1).all() and (drawn["voices"] == range(4)).all()


@pytest.mark.parametrize(
    "setting, semitones", [("paper", range(-6, 6)), ("published", range(-6, 7))]
)
def test_draws_of_the_published_kinds_are_as_the_setting_says(setting, semitones):
    drawn = augmentation.draw(setting, np.ones((SONGS, 4), bool), np.random.default_rng(5))
    found, counts = np.unique(drawn["semitones"], return_counts=True)
    assert found.tolist() == list(semitones)
    assert all(near(count, 1 / len(semitones)) for count in counts)
    speed = drawn["speed"]
    assert 0.95 <= speed.min() < 0.951 and 1.049 < speed.max() <= 1.05
    assert all(near(count, 1 / 10) for count in np.histogram(speed, 10, (0.95, 1.05))[0])
    kept = drawn["voices"] != DROPPED
    assert near((kept.sum(1) == 4).sum(), 1 / 2)
    for number in (1, 2, 3):
        assert near((kept.sum(1) == number).sum(), 1 / 6)
        for voice in range(4):
            assert near((kept[:, voice] & (kept.sum(1) == number)).sum(), number / 4 / 6)
    whole = drawn["voices"][kept.all(1)]
    assert (whole[:, 3] == nes.NO).all()
    for order in itertools.permutations(range(3)):
        share = {(0, 1, 2): 1 / 2, (1, 0, 2): 1 / 2}.get(order, 0)
        if setting == "paper":
            share = 1 / 2 * (order == (0, 1, 2)) + 1 / 12
        assert near((whole[:, :3] == order).all(1).sum(), share, len(whole))
    related = np.corrcoef([drawn["semitones"], speed, kept.sum(1)]) - np.eye(3)
    assert np.abs(related).max() < 5 / np.sqrt(SONGS)


def test_one_sounding_voice_is_always_left():
    random = np.random.default_rng(0)
    sounding = random.random((4000, 4)) < 0.5
    drawn = augmentation.draw("paper", sounding, random)
    kept = (drawn["voices"] != DROPPED) & sounding
    assert (kept.any(1) == sounding.any(1)).all()
    two = sounding.sum(1) == 2
    assert near((kept[two].sum(1) == 1).sum(), 1 / 2, two.sum())
    assert (kept[sounding.sum(1) == 1].sum(1) == 1).all()


# --- what training reads


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
    found = augmentation.framed_songs(setting, *arrays(split), np.random.default_rng(0))
    assert all(np.array_equal(a, b) for a, b in zip(found, split.framed(), strict=True))


def fresh_each_epoch(epoch):
    split = packed([tune(seed) for seed in range(5)])
    return augmentation.framed_songs("paper", *arrays(split), np.random.default_rng([7, epoch]))


@pytest.mark.parametrize("kind", KINDS)
def test_streams_draw_each_epoch_afresh_and_go_on_exactly(kind):
    streams, taken, positions = Streams(fresh_each_epoch, 3, 40, seed=1, kind=kind), [], []
    while streams.epoch < 3:
        positions.append(json.loads(json.dumps(streams.position)))
        taken.append(next(streams))
    for place, position in enumerate(positions):
        resumed = Streams(fresh_each_epoch, 3, 40, seed=1, kind=kind)
        resumed.position = position
        for expected in taken[place : place + 2]:
            found = next(resumed)
            for name in ("ids", "targets", "fresh"):
                assert np.array_equal(getattr(found, name), getattr(expected, name))
    if kind == "songs":  # every song of an epoch is read from end to end, as it was drawn for it
        drawn = [[len(song) - 1 for song in fresh_each_epoch(epoch)] for epoch in range(4)]
        begun = sum(drawn[3][number] for number in streams._order[: streams.begun])
        read = sum(int((segment.targets >= 0).sum()) for segment in taken)
        assert (
            read + sum(cursor.left for cursor in streams.rows) == sum(map(sum, drawn[:3])) + begun
        )
        assert len(set(map(sum, drawn))) > 1


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


def test_a_profile_names_its_augmentation(tmp_path):
    text = (profiles.root() / "profiles" / "smoke.yaml").read_text()
    assert all(
        part.augment in ("none", *SETTINGS) for part in profiles.load("smoke").training.values()
    )
    (tmp_path / "odd.yaml").write_text(
        text.replace("    steps:", "    augment: some\n    steps:", 1)
    )
    with pytest.raises(
        BadProfile,
        match="augment: must be 'none', 'paper', 'published' or 'transposed', not 'some'",
    ):
        profiles.load(tmp_path / "odd.yaml")
