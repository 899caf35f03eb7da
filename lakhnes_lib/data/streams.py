"""Streams: what training reads, row by row of a batch, segment by segment.

Paper: §5 (training on segments with memory). Notebook: 05_training.
Differences from the paper: its streams run on from song to song (``endless``). Here a row may also begin each song
afresh (``songs``), or read segments of all songs in random order, without a memory (``segments``): with few rows, songs
read from beginning to end make one step too much like the next.
"""

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

    songs: framed ids each; kind: one of ``KINDS``. A song's last segment is padded on the right under ``songs``;
    under ``segments`` it overlaps the one before instead. ``position`` is all it takes to go on from here (plain
    values). Raises DataNotFound if there is nothing to train on.
    """

    def __init__(self, songs: list[np.ndarray], batch: int, segment: int, seed: int, kind: str):
        self.songs = [song for song in songs if len(song) > 2]
        if not self.songs:
            raise DataNotFound("the training split holds no song with events to train on")
        self.batch, self.segment, self.seed, self.kind = batch, segment, seed, kind
        # What is shuffled: (song, first input, number of targets) of every piece that a row reads from end to end.
        self._pieces = [
            (number, start, size) for number, song in enumerate(self.songs) for start, size in self._cuts(len(song) - 1)
        ]
        self.epoch, self.cursor = 0, 0
        self.rows = [[0, 0, 0] for _ in range(batch)]  # song, next input, targets left of its piece
        self._shuffle()

    def _cuts(self, targets: int) -> list[tuple[int, int]]:
        if self.kind != "segments" or targets <= self.segment:
            return [(0, targets)]
        count = -(-targets // self.segment)
        return [(int(start), self.segment) for start in np.linspace(0, targets - self.segment, count).round()]

    def _shuffle(self):
        self._order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self._pieces))

    @property
    def position(self) -> dict:
        return {"epoch": self.epoch, "cursor": self.cursor, "rows": [list(row) for row in self.rows]}

    @position.setter
    def position(self, value: dict):
        self.epoch, self.cursor, self.rows = value["epoch"], value["cursor"], [list(row) for row in value["rows"]]
        self._shuffle()

    def _next_piece(self) -> tuple[int, int, int]:
        if self.cursor == len(self._order):
            self.epoch, self.cursor = self.epoch + 1, 0
            self._shuffle()
        self.cursor += 1
        return self._pieces[self._order[self.cursor - 1]]

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
            song, start, size = self.songs[row[0]], row[1], min(row[2], self.segment)
            ids[number, :size], targets[number, :size] = song[start : start + size], song[start + 1 : start + size + 1]
            row[1:] = start + size, row[2] - size
        return Segment(ids, targets, fresh)

    def _across(self, row: list[int]) -> np.ndarray:
        """segment + 1 events of a row that runs on from song to song; the last is read again next time."""
        parts, missing = [], self.segment + 1
        while missing:
            if row[2] == 0:
                song, _, targets = self._next_piece()
                row[:] = song, 0, targets + 1  # the first <S> of the next song is a target too
            part = self.songs[row[0]][row[1] : row[1] + min(missing, row[2])]
            parts.append(part)
            row[1:] = row[1] + len(part), row[2] - len(part)
            missing -= len(part)
        row[1:] = row[1] - 1, row[2] + 1
        return np.concatenate(parts)
