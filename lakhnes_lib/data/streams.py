"""Streams: rows of segments, each row reading one song after another.

Paper: §5 (training on segments with memory). Notebook: 05_training.
Differences from the paper: streams may also be bounded by songs, so that nothing is remembered across songs;
then a song's last segment is padded on the right.
"""

from dataclasses import dataclass

import numpy as np

IGNORED = -1
"""Target where there is nothing to predict."""


@dataclass(frozen=True)
class Segment:
    """One step's data: ids and targets int64 (batch, segment); fresh bool (batch,), rows where a new song begins."""

    ids: np.ndarray
    targets: np.ndarray
    fresh: np.ndarray


class Streams:
    """Endless segments of shuffled songs; a new order each epoch, drawn from the seed.

    songs: framed ids each; bounded: True to begin each song in a segment of its own, with ``fresh`` set.
    ``position`` is all it takes to go on from here (plain values).
    """

    def __init__(self, songs: list[np.ndarray], batch: int, segment: int, seed: int, bounded: bool):
        self.songs = [song for song in songs if len(song) > 2]
        if not self.songs:
            raise ValueError("there is no song to train on")
        self.batch, self.segment, self.seed, self.bounded = batch, segment, seed, bounded
        self.epoch, self.cursor = 0, 0
        self.rows = [[-1, 0] for _ in range(batch)]  # song, and the place of its next input
        self._shuffle()

    def _shuffle(self):
        self._order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.songs))

    @property
    def position(self) -> dict:
        return {"epoch": self.epoch, "cursor": self.cursor, "rows": [list(row) for row in self.rows]}

    @position.setter
    def position(self, value: dict):
        self.epoch, self.cursor, self.rows = value["epoch"], value["cursor"], [list(row) for row in value["rows"]]
        self._shuffle()

    def _next_song(self) -> int:
        if self.cursor == len(self._order):
            self.epoch, self.cursor = self.epoch + 1, 0
            self._shuffle()
        self.cursor += 1
        return int(self._order[self.cursor - 1])

    def __iter__(self):
        return self

    def __next__(self) -> Segment:
        ids = np.zeros((self.batch, self.segment), np.int64)
        targets = np.full((self.batch, self.segment), IGNORED, np.int64)
        fresh = np.zeros(self.batch, bool)
        for number, row in enumerate(self.rows):
            if self.bounded:
                fresh[number] = row[0] < 0 or row[1] >= len(self.songs[row[0]]) - 1
                if fresh[number]:
                    row[:] = self._next_song(), 0
                song = self.songs[row[0]]
                targets_here = song[row[1] + 1 : row[1] + self.segment + 1]
                ids[number, : len(targets_here)] = song[row[1] : row[1] + len(targets_here)]
                targets[number, : len(targets_here)] = targets_here
                row[1] += self.segment
            else:
                events = self._across(row)
                ids[number], targets[number] = events[:-1], events[1:]
        return Segment(ids, targets, fresh)

    def _across(self, row: list[int]) -> np.ndarray:
        """segment + 1 events of a row that runs on from song to song; the last is read again next time."""
        parts, missing = [], self.segment + 1
        while missing:
            if row[0] < 0 or row[1] == len(self.songs[row[0]]):
                row[:] = self._next_song(), 0
            part = self.songs[row[0]][row[1] : row[1] + missing]
            parts.append(part)
            row[1] += len(part)
            missing -= len(part)
        row[1] -= 1
        return np.concatenate(parts)
