"""Streams: the batches that training reads, each row of a batch from one segment to the next.

Paper: §5 (training on segments with memory). Notebook: 05_training. A batch has several rows, and
each row reads music of its own. In every epoch the songs are shuffled anew. There are three kinds:

- ``endless``, as in the paper's code: a row reads one song after another like one long text, and
  its memory reaches back into the songs before. One ``<S>`` stands between two songs: it ends the
  one and begins the other, as in the evaluation by the paper's protocol.
- ``songs``: a row reads a song from its beginning to its end, and forgets it before the next one.
- ``segments``: all songs are cut into segments first, and these are shuffled, so that a row reads
  them in any order and without a memory. With few rows, songs read from beginning to end make one
  training step too much like the next.
"""

from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np

from lakhnes_lib.errors import DataNotFound

IGNORED = -1
"""The target where there is nothing to predict."""
KINDS = ("endless", "songs", "segments")


@dataclass(frozen=True)
class Segment:
    """What one step trains on. ids, targets: int64 (batch, segment). fresh: bool (batch,), the
    rows whose memory must be forgotten."""

    ids: np.ndarray
    targets: np.ndarray
    fresh: np.ndarray


@dataclass
class Cursor:
    """Where a row of the batch is reading: in song ``song`` of epoch ``epoch``, ``next_event`` is
    the index of its next input, and ``left`` counts the targets that are left of its piece; in an
    endless row it is one more, as it stands in the snapshots of earlier versions."""

    song: int = 0
    next_event: int = 0
    left: int = 0
    epoch: int = 0


class Streams:
    """An endless iterator of ``Segment``, in an order drawn from the seed.

    songs: framed ids of each song, or a function that gives them for an epoch's number, always the
        same for the same number.
    batch: rows. segment: events a row and step. kind: one of ``KINDS``. A segment shorter than
        that is padded on the right; under ``segments`` a song's last one overlaps the one before
        instead.
    ``position`` holds, in plain values, all that another Streams needs to go on from here.
    Raises DataNotFound if there is nothing to train on.
    """

    def __init__(self, songs, batch: int, segment: int, seed: int, kind: str):
        source = songs if callable(songs) else lambda epoch: songs
        # Rows may still read songs of the epochs before.
        self._songs = lru_cache(4)(lambda epoch: [ids for ids in source(epoch) if len(ids) > 2])
        self.batch, self.segment, self.seed, self.kind = batch, segment, seed, kind
        self.epoch, self.begun = 0, 0  # begun: how many pieces of this epoch rows have begun
        self.rows = [Cursor() for _ in range(batch)]
        self._start_epoch()

    def __iter__(self):
        return self

    def __next__(self) -> Segment:
        ids = np.zeros((self.batch, self.segment), np.int64)
        targets = np.full((self.batch, self.segment), IGNORED, np.int64)
        fresh = np.zeros(self.batch, bool)
        for row, cursor in enumerate(self.rows):
            fresh[row] = cursor.left == 0 and self.kind != "endless"
            self._read(cursor, ids[row], targets[row])
        return Segment(ids, targets, fresh)

    @property
    def position(self) -> dict:
        """Where reading stands: the epoch, the pieces begun in it, and each row's ``Cursor``."""
        rows = [list(astuple(cursor)) for cursor in self.rows]
        return {"epoch": self.epoch, "cursor": self.begun, "rows": rows}

    @position.setter
    def position(self, value: dict):
        self.epoch, self.begun = value["epoch"], value["cursor"]
        self.rows = [Cursor(*row) for row in value["rows"]]
        self._start_epoch()

    def _start_epoch(self) -> None:
        songs = self._songs(self.epoch)
        if not songs:
            raise DataNotFound("the training split holds no song with events to train on")
        # A piece is what a row reads from end to end: (song, its first input, number of targets).
        cuts = ((song, self._cut(len(ids) - 1)) for song, ids in enumerate(songs))
        self._pieces = [(song, *piece) for song, pieces in cuts for piece in pieces]
        self._order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self._pieces))

    def _cut(self, targets: int) -> list[tuple[int, int]]:
        """The pieces of a song with so many targets: first input and number of targets of each."""
        if self.kind != "segments" or targets <= self.segment:
            return [(0, targets)]
        count = -(-targets // self.segment)  # rounded up
        firsts = np.linspace(0, targets - self.segment, count).round()
        return [(int(first), self.segment) for first in firsts]

    def _begin_piece(self, cursor: Cursor) -> None:
        if self.begun == len(self._order):
            self.epoch, self.begun = self.epoch + 1, 0
            self._start_epoch()
        cursor.song, cursor.next_event, cursor.left = self._pieces[self._order[self.begun]]
        cursor.epoch = self.epoch
        self.begun += 1

    def _read(self, cursor: Cursor, ids: np.ndarray, targets: np.ndarray) -> None:
        """Fills a row of a segment, as far as the cursor's piece goes; if endless, with the pieces
        after it too."""
        is_endless, filled = self.kind == "endless", 0
        while filled < self.segment and (is_endless or not filled):
            if cursor.left <= is_endless:
                self._begin_piece(cursor)
                cursor.left += is_endless
            count = min(cursor.left - is_endless, self.segment - filled)
            events = self._songs(cursor.epoch)[cursor.song][cursor.next_event :][: count + 1]
            ids[filled : filled + count] = events[:-1]
            targets[filled : filled + count] = events[1:]
            cursor.next_event += count
            cursor.left -= count
            filled += count
