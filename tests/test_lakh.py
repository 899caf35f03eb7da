"""Packed candidates: what goes in comes out, and training reads the mapping's examples."""

import dataclasses
import json
import shutil
from collections import Counter

import numpy as np
import pytest
from bands import candidates
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupts import interrupt

from lakhnes_lib import profiles
from lakhnes_lib.__main__ import main
from lakhnes_lib.data import corpus, lakh
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.errors import BadCorpus
from lakhnes_lib.music import augmentation, events, mapping
from lakhnes_lib.music.tracks import TRACK_NOTE
from lakhnes_lib.training import trainer

OPTIONS = mapping.MappingOptions(most_examples=5, most_example_seconds=6.0)
SETTINGS = {"seed": 4, "options": dataclasses.asdict(OPTIONS)}


def same(one: mapping.Candidates, other: mapping.Candidates) -> bool:
    pairs = [
        (a, b)
        for part in ("melodies", "drums")
        for a, b in zip(getattr(one, part), getattr(other, part), strict=True)
    ]
    return (one.name, one.content_hash) == (other.name, other.content_hash) and all(
        a.dtype == b.dtype == TRACK_NOTE and np.array_equal(a, b) for a, b in pairs
    )


@pytest.fixture(scope="module")
def twelve_songs():
    return candidates(range(12))


@pytest.fixture(scope="module")
def packed(twelve_songs, tmp_path_factory):
    """A corpus of nine songs to train on and three to stop by."""
    splits = {"train": lakh.pack(twelve_songs[:9]), "valid": lakh.pack(twelve_songs[9:])}
    for name, split in splits.items():
        split.name, split.settings = name, SETTINGS
    return corpus.write_corpus(
        splits, tmp_path_factory.mktemp("lakh") / "corpus", settings=SETTINGS
    )


@st.composite
def any_candidates(draw):
    """Tracks of notes anywhere in ten minutes, late and overlapping ones too."""
    notes = st.tuples(
        st.integers(0, 26_000_000),
        st.integers(1, 9_000_000),
        st.integers(0, 127),
        st.integers(1, 127),
    )
    track = st.lists(notes, min_size=1, max_size=5).map(
        lambda rows: np.array(
            sorted((start, start + ticks, *rest) for start, ticks, *rest in rows), TRACK_NOTE
        )
    )
    content = f"{draw(st.integers(0, 2**256 - 1)):064x}"
    melodies, drums = (
        draw(st.lists(track, min_size=1, max_size=4)),
        draw(st.lists(track, max_size=2)),
    )
    return mapping.Candidates(draw(st.text(max_size=5)), content, melodies, drums)


@settings(max_examples=25, deadline=None)
@given(st.lists(any_candidates(), max_size=4), st.data())
def test_candidates_come_out_as_they_went_in(songs, data):
    split = lakh.pack(songs)
    assert len(split) == len(songs)
    assert all(same(split.candidates(i), song) for i, song in enumerate(songs))
    order = data.draw(st.permutations(range(len(songs))))
    other = lakh.pack(songs[::-1])
    pairs = [(split, i) if i % 2 else (other, len(songs) - 1 - i) for i in order]
    chosen = lakh.LakhSplit.gathered(pairs)
    assert all(same(chosen.candidates(i), part.candidates(n)) for i, (part, n) in enumerate(pairs))
    everything = lakh.LakhSplit.gathered([(split, i) for i in range(len(split))])
    assert everything.fingerprint == split.fingerprint
    assert split.seconds == pytest.approx(
        sum(max(track["end"].max() for track in (*song.melodies, *song.drums)) for song in songs)
        / 44_100
    )


def test_what_is_opened_is_what_was_written(packed, twelve_songs):
    train = prepare(packed.folder)["train"]
    assert (
        isinstance(train, lakh.LakhSplit)
        and isinstance(train.notes, np.memmap)
        and not train.notes.flags.writeable
    )
    assert all(same(train.candidates(i), song) for i, song in enumerate(twelve_songs[:9]))
    assert train.options == OPTIONS and train.seed == 4
    with pytest.raises(IndexError, match="train has 9 songs, there is no song 9"):
        train.score(9)


def test_any_change_is_noticed(packed, tmp_path):
    copy = shutil.copytree(packed.folder, tmp_path / "corpus")
    for name in sorted(path.name for path in copy.glob("train.*")):
        whole = (copy / name).read_bytes()
        for position in (0, len(whole) // 2, len(whole) - 2):
            (copy / name).write_bytes(
                whole[:position] + bytes([whole[position] ^ 2]) + whole[position + 1 :]
            )
            with pytest.raises(BadCorpus, match="was changed|is incomplete or damaged"):
                corpus.open_corpus(copy)
        (copy / name).write_bytes(whole)
    said = json.loads((copy / "corpus.json").read_text())
    said["settings"]["options"]["most_examples"] = 6
    (copy / "corpus.json").write_text(json.dumps(said))
    with pytest.raises(BadCorpus, match="train was changed"):
        corpus.open_corpus(copy)


# --- examples


def read(split, epoch, seed=1, draws="fresh"):
    """The examples of a part one by one: notes and length."""
    notes, offsets, lengths = split.packed(epoch, seed, draws)
    return [
        (notes[a:b], length) for a, b, length in zip(offsets, offsets[1:], lengths, strict=False)
    ]


def test_published_draws_are_those_of_the_mapping(packed, twelve_songs, monkeypatch):
    """Whatever the run's seed; three parts of three songs hold each song once, and the next three
    begin again."""
    monkeypatch.setitem(lakh.SONGS_A_PART, "published", 3)
    expected = [
        score for song in twelve_songs[:9] for score in mapping.examples(song, 4, options=OPTIONS)
    ]
    pairs = [pair for epoch in range(3) for pair in read(packed["train"], epoch, draws="published")]
    assert len(pairs) == len(expected) == sum(min(5, (3, 6, 6, 24)[seed % 4]) for seed in range(9))
    known = Counter((score.notes.tobytes(), score.length) for score in expected)
    assert Counter((notes.tobytes(), int(length)) for notes, length in pairs) == known
    again = [pair for epoch in range(3, 6) for pair in read(packed["train"], epoch, 2, "published")]
    assert Counter((notes.tobytes(), int(length)) for notes, length in again) == known
    firsts = [mapping.examples(song, 4, options=OPTIONS)[0] for song in twelve_songs[:9]]
    assert [packed["train"].score(i) for i in range(9)] == firsts
    framed = [events.frame(events.encode(score)).tolist() for score in firsts]
    assert [ids.tolist() for ids in packed["train"].framed()] == framed


def test_fresh_draws_read_each_song_once_a_turn(packed, monkeypatch):
    """In parts that do not divide the songs: five songs at a time of nine."""
    monkeypatch.setitem(lakh.SONGS_A_PART, "fresh", 5)
    read_songs = []
    fresh = lakh.LakhSplit.fresh
    monkeypatch.setattr(
        lakh.LakhSplit,
        "fresh",
        lambda self, index, seed, turn: (
            read_songs.append((index, turn)) or fresh(self, index, seed, turn)
        ),
    )
    parts = [read(packed["train"], epoch) for epoch in range(9)]
    assert [len(part) for part in parts] == [5] * 9
    assert sorted(read_songs) == [(song, turn) for song in range(9) for turn in range(5)]
    orders = [[song for song, turn in read_songs if turn == wanted] for wanted in range(5)]
    assert len({tuple(order) for order in orders}) == 5
    texts = [[notes.tobytes() for notes, _ in part] for part in parts]
    assert texts[3] == [notes.tobytes() for notes, _ in read(packed["train"], 3)]
    assert texts[3] != [notes.tobytes() for notes, _ in read(packed["train"], 3, seed=2)]
    assert len({text for part in texts for text in part}) > 36


@pytest.mark.parametrize("song", range(4))
def test_fresh_draws_give_every_assignment_alike(packed, twelve_songs, song):
    """By the velocities: part n plays at 60 + n, the drums louder."""
    count, seen = 1 + song, Counter()
    options = dataclasses.replace(
        OPTIONS, most_example_seconds=180.0, drums=False, most_examples=99
    )
    split = lakh.pack([dataclasses.replace(twelve_songs[song], drums=[])])
    split.settings = {"seed": 0, "options": dataclasses.asdict(options)}
    possible = mapping.assignments(count, np.random.default_rng(0), options)
    expected = {
        order: mapping.draw(split.candidates(0), order, np.random.default_rng(0), options)
        for order in possible
    }
    for turn in range(60 * len(possible)):
        score = split.fresh(0, 0, turn)
        seen[next(order for order, drawn in expected.items() if drawn == score)] += 1
    assert set(seen) == set(possible)
    assert all(25 < times < 100 for times in seen.values())  # 60 expected, deviation 8


@pytest.mark.parametrize("setting", ["none", "paper", "published"])
def test_training_reads_framed_examples(packed, setting):
    songs = augmentation.songs_by_epoch(packed["train"], setting, 1, "fresh")
    framed, again = songs(2), songs(2)
    assert len(framed) == 9 and all(
        np.array_equal(a, b) for a, b in zip(framed, again, strict=True)
    )
    assert all(ids.dtype == np.uint16 and ids[0] == ids[-1] == events.START for ids in framed)
    if setting == "none":
        scores = [mapping.Score.build(notes, length) for notes, length in read(packed["train"], 2)]
        assert [ids.tolist() for ids in framed] == [
            events.frame(events.encode(score)).tolist() for score in scores
        ]


# --- training


def profile(**changes):
    model = dict(
        architecture="transformer_xl", layers=1, width=16, heads=2, head_width=8, feed_forward=16
    )
    steps = dict(
        steps=12,
        batch=3,
        segment=32,
        learning_rate=1e-3,
        evaluate_every=4,
        precision="fp32",
        streams="songs",
    )
    return profiles.Profile(
        name="test",
        seed=3,
        corpus="songbook",
        models={"tiny": model},
        training={"tiny": profiles.Training(**steps | changes)},
    )


def losses(run):
    lines = (run.folder / "log.jsonl").read_text().splitlines()
    return [[line.get("train_loss"), line.get("valid_loss")] for line in map(json.loads, lines)]


@pytest.mark.parametrize(("draws", "songs"), [("fresh", 2), ("published", 1)])
def test_training_goes_on_where_it_was_stopped(packed, tmp_path, monkeypatch, draws, songs):
    """Over the border of a part."""
    monkeypatch.setitem(lakh.SONGS_A_PART, draws, songs)
    options = dict(model="tiny", device="cpu", progress=False)
    whole = trainer.train(profile(draws=draws), packed, tmp_path / "whole", **options)
    assert whole.streams.epoch >= 1
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 6)
        trainer.train(profile(draws=draws), packed, tmp_path / "parts", **options)
    assert losses(
        trainer.train(profile(draws=draws), packed, tmp_path / "parts", resume=True, **options)
    ) == losses(whole)


def test_train_verb_reads_lakh(packed, tmp_path, capsys):
    text = (profiles.root() / "profiles/smoke.yaml").read_text(encoding="utf-8")
    text = text.replace("    steps: 60\n", "    steps: 2\n")
    (tmp_path / "few.yaml").write_text(text.replace("evaluate_every: 20", "evaluate_every: 2"))
    command = ["train", "--profile", tmp_path / "few.yaml", "--out", tmp_path / "run"]
    command += ["--device", "cpu", "--data", packed.folder]
    assert main([str(word) for word in command]) == 0
    assert "2 of 2 steps" in capsys.readouterr().out
