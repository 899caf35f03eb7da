"""Streams: what training reads, row by row of a batch, segment by segment.

Paper: §5 (training on segments with memory). Notebook: 05_training.
Differences from the paper: its streams run on from song to song (``endless``). Here a row may also begin each song
afresh (``songs``), or read segments of all songs in random order, without a memory (``segments``): with few rows, songs
read from beginning to end make one step too much like the next.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lakhnes_lib.errors import DataNotFound

IGNORED = -1
"""Target where there is nothing to predict."""
KINDS = ("endless", "songs", "segments")


@dataclass(frozen=True)
class Segment:
    """One step's data: ids and targets int64 (batch, segment); fresh bool (batch,), rows whose memory must be
    forgotten."""

    ids: np.ndarray
    targets: np.ndarray
    fresh: np.ndarray


class Streams:
    """Endless segments of shuffled songs; a new order each epoch, drawn from the seed.

    songs: framed ids each, or a function that gives those of an epoch, the same whenever it is asked for that epoch;
    kind: one of ``KINDS``. A song's last segment is padded on the right under ``songs``; under ``segments`` it overlaps
    the one before instead. ``position`` is all it takes to go on from here (plain values).
    Raises DataNotFound if there is nothing to train on.
    """

    def __init__(
        self,
        songs: list[np.ndarray] | Callable[[int], list[np.ndarray]],
        batch: int,
        segment: int,
        seed: int,
        kind: str,
    ):
        self._source = songs if callable(songs) else lambda epoch: songs
        self._songs: dict[
            int, list[np.ndarray]
        ] = {}  # by epoch: a row may still be in a song of the one before
        self.batch, self.segment, self.seed, self.kind = batch, segment, seed, kind
        self.epoch, self.cursor = 0, 0
        self.rows = [
            [0, 0, 0, 0] for _ in range(batch)
        ]  # song, next input, targets left of its piece, epoch
        self._begin_epoch()

    def _cuts(self, targets: int) -> list[tuple[int, int]]:
        if self.kind != "segments" or targets <= self.segment:
            return [(0, targets)]
        count = -(-targets // self.segment)
        return [
            (int(start), self.segment)
            for start in np.linspace(0, targets - self.segment, count).round()
        ]

    def _begin_epoch(self):
        used = {self.epoch} | {row[3] for row in self.rows if row[2]}
        self._songs = {epoch: self._songs.get(epoch) or self._songs_of(epoch) for epoch in used}
        # What is shuffled: (song, first input, number of targets) of every piece that a row reads from end to end.
        self._pieces = [
            (number, start, size)
            for number, song in enumerate(self._songs[self.epoch])
            for start, size in self._cuts(len(song) - 1)
        ]
        self._order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self._pieces))

    def _songs_of(self, epoch: int) -> list[np.ndarray]:
        songs = [song for song in self._source(epoch) if len(song) > 2]
        if not songs:
            raise DataNotFound("the training split holds no song with events to train on")
        return songs

    @property
    def position(self) -> dict:
        return {
            "epoch": self.epoch,
            "cursor": self.cursor,
            "rows": [list(row) for row in self.rows],
        }

    @position.setter
    def position(self, value: dict):
        self.epoch, self.cursor, self.rows = (
            value["epoch"],
            value["cursor"],
            [list(row) for row in value["rows"]],
        )
        self._begin_epoch()

    def _next_piece(self) -> tuple[int, int, int, int]:
        if self.cursor == len(self._order):
            self.epoch, self.cursor = self.epoch + 1, 0
            self._begin_epoch()
        self.cursor += 1
        return *self._pieces[self._order[self.cursor - 1]], self.epoch

    def __iter__(self):
        return self

    def __next__(self) -> Segment:
        ids = np.zeros((self.batch, self.segment), np.int64)
        targets = np.full((self.batch, self.segment), IGNORED, np.int64)
        fresh = np.zeros(self.batch, bool)
        for number, row in enumerate(self.rows):
            if self.kind == "endless":
                events = self._across(row)
                ids[number], targets[number] = events[:-1], events[1:]
                continue
            fresh[number] = row[2] == 0
            if fresh[number]:
                row[:] = self._next_piece()
            song, start, size = self._songs[row[3]][row[0]], row[1], min(row[2], self.segment)
            ids[number, :size], targets[number, :size] = (
                song[start : start + size],
                song[start + 1 : start + size + 1],
            )
            row[1:3] = start + size, row[2] - size
        return Segment(ids, targets, fresh)

    def _across(self, row: list[int]) -> np.ndarray:
        """segment + 1 events of a row that runs on from song to song; the last is read again next time."""
        parts, missing = [], self.segment + 1
        while missing:
            if row[2] == 0:
                song, _, targets, epoch = self._next_piece()
                row[:] = (
                    song,
                    0,
                    targets + 1,
                    epoch,
                )  # the first <S> of the next song is a target too
            part = self._songs[row[3]][row[0]][row[1] : row[1] + min(missing, row[2])]
            parts.append(part)
            row[1:3] = row[1] + len(part), row[2] - len(part)
            missing -= len(part)
        row[1:3] = row[1] - 1, row[2] + 1
        return np.concatenate(parts)
