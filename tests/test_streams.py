"""Streams visit what they should, and go on from a position as if they had never stopped."""

import hashlib
import itertools
import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakhnes_lib.data.streams import IGNORED, KINDS, Streams
from lakhnes_lib.errors import DataNotFound

GOLDEN = {
    "endless": "3b97d20ac0839019",
    "songs": "b5c5e06de146c0b9",
    "segments": "d3289ffe269d372a",
}
LENGTHS = st.lists(st.integers(3, 30), min_size=1, max_size=8)


def made(lengths):
    """Framed songs of which every inner event is unlike every other."""
    songs, event = [], 1
    for length in lengths:
        songs.append(np.array([0, *range(event, event + length - 2), 0], np.uint16))
        event += length - 2
    return songs


def read_rows(streams, steps):
    """For each row its steps: (ids, targets, fresh) of what is not padding."""
    rows = [[] for _ in range(streams.batch)]
    for _ in range(steps):
        segment = next(streams)
        assert segment.ids.shape == segment.targets.shape == (streams.batch, streams.segment)
        assert (
            segment.ids.dtype == segment.targets.dtype == np.int64 and segment.fresh.dtype == bool
        )
        for row, ids, targets, fresh in zip(
            rows, segment.ids, segment.targets, segment.fresh, strict=True
        ):
            used = targets != IGNORED
            assert not ids[~used].any() and used[: used.sum()].all()
            row.append((ids[used].tolist(), targets[used].tolist(), bool(fresh)))
    return rows


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 4), st.integers(1, 12), st.integers(0, 99))
def test_songs_are_read_from_end_to_end_each_once_an_epoch(lengths, batch, segment, seed):
    songs = made(lengths)
    streams = Streams(songs, batch, segment, seed, "songs")
    rows = read_rows(streams, 40)
    begun = Counter()
    for row in rows:
        starts = [index for index, (_, _, fresh) in enumerate(row) if fresh]
        assert starts[0] == 0
        for first, last in pairwise([*starts, len(row)]):
            ids, targets = (sum((part[side] for part in row[first:last]), []) for side in (0, 1))
            song = next(song.tolist() for song in songs if song[1] == targets[0])
            begun[song[1]] += 1
            complete = last < len(row) or len(ids) == len(song) - 1
            assert ids == song[: len(ids)] and targets == song[1 : len(targets) + 1]
            assert not complete or len(ids) == len(song) - 1
    # Songs are begun in epochs: no one twice more often than another.
    counts = [begun[int(song[1])] for song in songs]
    assert max(counts) - min(counts) <= 1


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 12), st.integers(0, 99))
def test_one_endless_row_is_the_songs_one_after_another(lengths, segment, seed):
    songs = made(lengths)
    streams = Streams(songs, 1, segment, seed, "endless")
    total = sum(lengths) - len(lengths)  # one ``<S>`` a song: it ends one and begins the next
    (row,) = read_rows(streams, (3 * total + 1) // segment + 1)
    ids, targets = (sum((part[side] for part in row), []) for side in (0, 1))
    assert ids[1:] == targets[:-1] and not any(fresh for _, _, fresh in row)
    by_first = {int(song[1]): song.tolist() for song in songs}
    for epoch in range(3):  # every epoch holds each song whole, ``<S>`` at both ends
        left, part = dict(by_first), ids[epoch * total : (epoch + 1) * total + 1]
        while len(part) > 1:
            song = left.pop(part[1])
            assert part[: len(song)] == song
            part = part[len(song) - 1 :]
        assert not left


@settings(max_examples=40, deadline=None)
@given(LENGTHS, st.integers(2, 4), st.integers(1, 12), st.integers(0, 99))
def test_endless_rows_each_run_on_without_a_gap(lengths, batch, segment, seed):
    for row in read_rows(Streams(made(lengths), batch, segment, seed, "endless"), 30):
        ids, targets = (sum((part[side] for part in row), []) for side in (0, 1))
        assert ids[1:] == targets[:-1] and len(ids) == 30 * segment
        assert all(b == a + 1 or 0 in (a, b) for a, b in pairwise(ids))


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 4), st.integers(1, 12), st.integers(0, 99))
def test_segments_cover_every_target_each_epoch(lengths, batch, segment, seed):
    songs = made(lengths)
    pieces = sum(-(-(length - 1) // segment) for length in lengths)
    rows = read_rows(Streams(songs, batch, segment, seed, "segments"), -(-pieces // batch))
    read = [part for step in zip(*rows, strict=True) for part in step][:pieces]
    assert all(fresh for _, _, fresh in read)
    seen = Counter(pair for ids, targets, _ in read for pair in zip(ids, targets, strict=True))
    assert set(seen) == {pair for song in songs for pair in pairwise(song.tolist())}
    assert all(
        len(ids) == min(segment, max(lengths) - 1) or len(ids) < segment for ids, _, _ in read
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [0, 1, 7, 23])
def test_position_goes_on_as_if_it_had_never_stopped(kind, stop):
    songs = made([9, 4, 17, 30, 3])
    unbroken = Streams(songs, 3, 5, 1, kind)
    for _ in range(stop):
        next(unbroken)
    again = Streams(songs, 3, 5, 1, kind)
    again.position = json.loads(json.dumps(unbroken.position))
    for _ in range(30):
        one, other = next(unbroken), next(again)
        for field in ("ids", "targets", "fresh"):
            assert np.array_equal(getattr(one, field), getattr(other, field))


@pytest.mark.parametrize("kind", KINDS)
def test_songs_of_an_epoch_are_asked_for_by_its_number(kind):
    """Songs that change from epoch to epoch: a row ends the song it has begun, and a position finds
    it again."""

    def songs(epoch):
        return [song + (song > 0) * np.uint16(100 * epoch) for song in made([9, 4, 12])]

    unbroken = Streams(songs, 2, 5, 1, kind)
    steps = [next(unbroken) for _ in range(12)]
    again = Streams(songs, 2, 5, 1, kind)
    for step in steps:
        again_step = next(again)
        assert np.array_equal(again_step.ids, step.ids)
        position = json.loads(json.dumps(again.position))
        again = Streams(songs, 2, 5, 1, kind)
        again.position = position
    inner = np.concatenate([step.ids.ravel() for step in steps])
    assert len(set((inner[inner > 0] // 100).tolist())) >= 2
    for step in steps:
        both = (step.ids > 0) & (step.targets > 0)
        assert (step.targets[both] == step.ids[both] + 1).all() if kind != "endless" else both.any()


def digest(kind):
    """sha256 over twenty steps of songs that change from epoch to epoch, and their positions."""

    def songs(epoch):
        random = np.random.default_rng([5, epoch])
        lengths = random.integers(0, 90, 13).tolist()
        return [np.concatenate([[0], random.integers(1, 631, n), [0]]) for n in lengths]

    streams, whole = Streams(songs, 3, 16, 1, kind), hashlib.sha256()
    for segment in itertools.islice(streams, 20):
        for array in (segment.ids, segment.targets, segment.fresh):
            whole.update(array)
        whole.update(json.dumps(streams.position).encode())
    return whole.hexdigest()


def test_numbers_stay_the_same():
    """A run that was begun with an earlier version goes on exactly."""
    assert {kind: digest(kind)[:16] for kind in KINDS} == GOLDEN


def test_seed_decides_the_order():
    def order(seed):
        return [
            next(streams).ids.tolist()
            for streams in [Streams(made([9] * 8), 2, 5, seed, "songs")]
            for _ in range(9)
        ]

    assert order(0) == order(0) != order(1)


@pytest.mark.parametrize("songs", [[], [np.array([0, 0], np.uint16)], made([2, 2])])
def test_nothing_to_train_on(songs):
    with pytest.raises(
        DataNotFound, match="the training split holds no song with events to train on"
    ):
        Streams(songs, 2, 5, 0, "songs")
