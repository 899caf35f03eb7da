"""Lakh songs, packed as what the NES may play of them; examples are drawn when they are read.

Paper: §4.2.1. Notebook: 03_lakh_to_nes. Differences from the paper: it wrote every example as a
file of its own, at most 16 a song, drawn once. Here a song's monophonic melodies and drum tracks
are kept once, and an epoch of training reads either those ``published`` draws or a ``fresh`` one of
each song. An epoch reads only a part of the songs, so that none takes long to draw however large
the corpus is: the parts follow each other through a permutation of all songs, and then through the
next.
"""

from functools import cache, cached_property

import numpy as np

from lakhnes_lib.data.packed import Packed
from lakhnes_lib.music import filters, mapping
from lakhnes_lib.music.score import NOTE, Score, records
from lakhnes_lib.music.tracks import TRACK_NOTE

PACKED_NOTE = np.dtype([("wait", "u4"), ("ticks", "u4"), ("pitch", "u1"), ("velocity", "u1")])
"""A note: ticks since the note before in its track began (since 0 for the first), its own ticks."""
TRACK = np.dtype([("notes", "u4"), ("drums", "?")])
SONG = np.dtype([("tracks", "u4"), ("notes", "u4"), ("length", "i8"), ("content", "S64")])
"""How many tracks and notes, where the last note ends, and the file's SHA-256 in hexadecimal."""
SONGS_A_PART = {"fresh": 1024, "published": 128}
"""Songs of an epoch: about a thousand examples with either kind of draw."""


class LakhSplit(Packed):
    """The candidates of one split's songs, sorted by their content's hash.

    settings: ``seed`` and ``options`` of the published draws.
    """

    FORMAT, PARTS = "lakh-1", {"notes": PACKED_NOTE, "tracks": TRACK, "songs": SONG}

    @cached_property
    def options(self) -> filters.MappingOptions:
        """How files became candidates, and candidates become examples."""
        return filters.MappingOptions(**self.settings.get("options", {}))

    @property
    def seed(self) -> int:
        """The seed of the published draws."""
        return self.settings.get("seed", 0)

    @cached_property
    def _parts(self) -> dict[str, list[np.ndarray]]:
        """Each song's ``tracks`` and each song's ``notes``."""
        ends = {part: np.cumsum(self.songs[part], dtype=np.int64) for part in ("tracks", "notes")}
        return {part: np.split(getattr(self, part), ends[part][:-1]) for part in ends}

    def check(self) -> None:
        """Raises an error for settings, hashes or pitches that are none."""
        hashes = [int(content, 16) for content in self.songs["content"].tolist()]
        np.random.default_rng([self.seed, *hashes[:1]])
        if self.notes["pitch"].max(initial=0) > 127 or not self.options:
            raise ValueError("a pitch is above 127")

    @classmethod
    def gathered(
        cls, songs: list[tuple["LakhSplit", int]], name: str = "", settings: dict | None = None
    ) -> "LakhSplit":
        """Songs of any splits, each named by its split and index, in this order, in memory."""
        notes, tracks = (
            np.concatenate([np.zeros(0, cls.PARTS[part]), *(s._parts[part][i] for s, i in songs)])
            for part in ("notes", "tracks")
        )
        names = [split.names[index] for split, index in songs]
        rows = np.array([split.songs[index] for split, index in songs], SONG)
        return cls(name, names, notes, tracks, rows, settings=settings)

    def candidates(self, index: int) -> filters.Candidates:
        """What the NES may play of one song, as ``filters.candidates`` gave it."""
        tracks, parts = self._parts["tracks"][index], []
        for track in np.split(self._parts["notes"][index], np.cumsum(tracks["notes"])[:-1]):
            start = np.cumsum(track["wait"], dtype=np.int64)
            columns = (start, start + track["ticks"], track["pitch"], track["velocity"])
            parts.append(records(TRACK_NOTE, *columns))
        melodies = int(np.count_nonzero(~tracks["drums"]))  # they stand before the drum tracks
        content_hash = self.songs["content"][index].decode()
        kinds = parts[:melodies], parts[melodies:]
        return filters.Candidates(self.names[index], content_hash, *kinds)

    def score(self, index: int) -> Score:
        """The first published example of one song; it may hold no note. Raises IndexError."""
        self.check_index(index)
        song = self.candidates(index)
        rng = mapping.generator(song.content_hash, self.seed)
        first = mapping.assignments(len(song.melodies), rng, self.options)[0]
        return mapping.draw(song, first, rng, self.options)

    def fresh(self, index: int, seed: int, turn: int) -> Score:
        """An example of one song, drawn anew for each time (``turn``) that all songs are read; it
        may hold no note."""
        song = self.candidates(index)
        rng = np.random.default_rng([int(song.content_hash, 16), seed, turn])
        melodies = list(range(len(song.melodies)))
        silent = [mapping.SILENT] * (3 - len(melodies))
        assignment = rng.permutation(melodies + silent)[:3]  # each is as likely as any other
        return mapping.draw(song, assignment.tolist(), rng, self.options)

    def packed(self, epoch: int, seed: int, draws: str):
        """Notes, offsets and lengths of the examples that one epoch reads.

        seed: the training run's. draws: ``published`` (drawn with the corpus' own seed) or
        ``fresh``. The same arguments give the same examples.
        """
        count = min(SONGS_A_PART[draws], len(self))
        order = cache(lambda turn: np.random.default_rng([seed, turn, 2]).permutation(len(self)))
        scores = []
        for position in range(epoch * count, (epoch + 1) * count):
            turn, position_in_turn = divmod(position, len(self))
            index = int(order(turn)[position_in_turn])
            if draws == "fresh":
                scores.append(self.fresh(index, seed, turn))
            else:
                scores += mapping.examples(self.candidates(index), self.seed, options=self.options)
        notes = np.concatenate([np.zeros(0, NOTE), *(score.notes for score in scores)])
        offsets = np.cumsum([0, *(len(score.notes) for score in scores)])
        return notes, offsets, np.array([score.length for score in scores], np.int64)


def pack(songs: list[filters.Candidates]) -> LakhSplit:
    """Candidates of songs as a split, in memory."""
    tracks, rows, parts = [], [], []
    for song in songs:
        own = [*song.melodies, *song.drums]
        tracks += [(len(notes), number >= len(song.melodies)) for number, notes in enumerate(own)]
        length = max(int(notes["end"].max()) for notes in own)
        rows.append((len(own), sum(map(len, own)), length, song.content_hash))
        parts += own
    every = np.concatenate([np.zeros(0, TRACK_NOTE), *parts])
    waits = [np.diff(notes["start"], prepend=0) for notes in parts]
    wait = np.concatenate([every["start"][:0], *waits])
    columns = (wait, every["end"] - every["start"], every["pitch"], every["velocity"])
    packed = records(PACKED_NOTE, *columns)
    names = [song.name for song in songs]
    return LakhSplit("", names, packed, np.array(tracks, TRACK), np.array(rows, SONG))
