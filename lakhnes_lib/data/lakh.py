"""Lakh songs packed as what they offer the NES: monophonic melodies and drum tracks, once; examples drawn when read.

Paper: §4.2.1. Notebook: 03_lakh_to_nes. Differences from the paper: it wrote every example as a file of its own, at
most 16 a song, drawn once. Here a song is kept once, and an epoch reads either those ``published`` draws, or a
``fresh`` one of each song. Songs stand in the order of their content's hash, and an epoch is a part of them, so that
none takes long to draw however large the corpus is: parts follow each other through a permutation of all songs, and
then through the next.
"""

from functools import cached_property

import numpy as np

from lakhnes_lib.data.packed import Packed
from lakhnes_lib.music import events, mapping
from lakhnes_lib.music.score import NOTE, Score
from lakhnes_lib.music.tracks import TRACK_NOTE

KEPT_NOTE = np.dtype([("wait", "u4"), ("ticks", "u4"), ("pitch", "u1"), ("velocity", "u1")])
"""A note by ticks since its track's note before began (from 0 for the first), and how many it lasts."""
TRACK = np.dtype([("notes", "u4"), ("drums", "?")])
SONG = np.dtype([("tracks", "u4"), ("notes", "u4"), ("length", "i8"), ("content", "S64")])
"""How many tracks and notes, where the last note ends, and the file's SHA-256 in hexadecimal."""
SONGS_A_PART = {"fresh": 1024, "published": 128}
"""Songs of an epoch: about a thousand examples with either kind of draw."""


class LakhSplit(Packed):
    """The candidates of one split's songs. settings: ``seed`` and ``options`` of the published draws."""

    FORMAT, PARTS = "lakh-1", {"notes": KEPT_NOTE, "tracks": TRACK, "songs": SONG}

    @cached_property
    def options(self) -> mapping.MappingOptions:
        """How files became candidates, and candidates become examples."""
        return mapping.MappingOptions(**self.settings.get("options", {}))

    @cached_property
    def _borders(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 (songs + 1,) each: where a song's tracks and notes begin."""
        return tuple(
            np.append(0, np.cumsum(self.songs[part], dtype=np.int64))
            for part in ("tracks", "notes")
        )

    def part(self, places, name: str = "", settings: dict | None = None) -> "LakhSplit":
        """These songs alone, in this order, in memory."""
        tracks, notes = self._borders
        return LakhSplit(
            name,
            [self.names[i] for i in places],
            np.concatenate(
                [self.notes[:0], *(self.notes[notes[i] : notes[i + 1]] for i in places)]
            ),
            np.concatenate(
                [self.tracks[:0], *(self.tracks[tracks[i] : tracks[i + 1]] for i in places)]
            ),
            self.songs[places],
            settings=settings,
        )

    def candidates(self, index: int) -> mapping.Candidates:
        """What one song offers, as ``mapping.candidates`` found it."""
        tracks, notes = self._borders
        kept = self.notes[notes[index] : notes[index + 1]]
        parts, drums = [], self.tracks[tracks[index] : tracks[index + 1]]["drums"]
        for track in np.split(
            kept, np.cumsum(self.tracks[tracks[index] : tracks[index + 1]]["notes"])[:-1]
        ):
            found = np.empty(len(track), TRACK_NOTE)
            found["start"] = np.cumsum(track["wait"], dtype=np.int64)
            found["end"] = found["start"] + track["ticks"]
            found["pitch"], found["velocity"] = track["pitch"], track["velocity"]
            parts.append(found)
        melodies = [part for part, drum in zip(parts, drums, strict=True) if not drum]
        return mapping.Candidates(
            self.names[index],
            self.songs["content"][index].decode(),
            melodies,
            parts[len(melodies) :],
        )

    @property
    def seed(self) -> int:
        """Of the published draws."""
        return self.settings.get("seed", 0)

    def score(self, index: int) -> Score:
        """The first published example of one song; it may hold no note."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} songs, there is no song {index}")
        kept = self.candidates(index)
        rng = mapping.generator(kept.content_hash, self.seed)
        first = mapping.assignments(len(kept.melodies), rng, self.options)[0]
        return mapping.draw(kept, first, rng, self.options)

    def framed(self) -> list[np.ndarray]:
        """What models see of the first published example of each song; uint16 each."""
        return [events.frame(events.encode(self.score(index))) for index in range(len(self))]

    def fresh(self, index: int, seed: int, turn: int) -> Score:
        """An example of one song drawn for this reading (``turn``) of the corpus; it may hold no note."""
        kept = self.candidates(index)
        rng = np.random.default_rng([int(kept.content_hash, 16), seed, turn])
        count = len(kept.melodies)
        order = rng.permutation([*range(count), *[-1] * (3 - count)])[
            :3
        ]  # as likely as any of ``assignments``
        return mapping.draw(kept, order.tolist(), rng, self.options)

    def packed(self, epoch: int, seed: int, draws: str):
        """Notes, offsets and lengths of the examples of one part.

        seed: of the run that reads; draws: ``published`` (drawn with the corpus' seed) or ``fresh``. The same arguments
        give the same examples.
        """
        count = min(SONGS_A_PART[draws], len(self))
        places, scores = np.arange(epoch * count, (epoch + 1) * count), []
        for turn in np.unique(places // max(len(self), 1)).tolist():
            order = np.random.default_rng([seed, turn, 2]).permutation(len(self))
            for index in order[places[places // len(self) == turn] % len(self)].tolist():
                if draws == "fresh":
                    scores.append(self.fresh(index, seed, turn))
                else:
                    scores += mapping.examples(
                        self.candidates(index), self.seed, options=self.options
                    )
        notes = np.concatenate([np.zeros(0, NOTE), *(score.notes for score in scores)])
        offsets = np.cumsum([0, *(len(score.notes) for score in scores)])
        return notes, offsets, np.array([score.length for score in scores], np.int64)


def pack(songs: list[mapping.Candidates]) -> LakhSplit:
    """Candidates of songs as a split, in memory."""
    parts = [[*song.melodies, *song.drums] for song in songs]
    every = np.concatenate(
        [np.zeros(0, TRACK_NOTE), *(notes for tracks in parts for notes in tracks)]
    )
    kept = np.zeros(len(every), KEPT_NOTE)
    waits = (np.diff(notes["start"], prepend=0) for tracks in parts for notes in tracks)
    kept["wait"] = np.concatenate([every["start"][:0], *waits])
    kept["ticks"] = every["end"] - every["start"]
    kept["pitch"], kept["velocity"] = every["pitch"], every["velocity"]
    tracks, rows = [], []
    for song, own in zip(songs, parts, strict=True):
        tracks += [(len(notes), number >= len(song.melodies)) for number, notes in enumerate(own)]
        rows.append(
            (
                len(own),
                sum(map(len, own)),
                max(int(notes["end"].max()) for notes in own),
                song.content_hash,
            )
        )
    return LakhSplit(
        "", [song.name for song in songs], kept, np.array(tracks, TRACK), np.array(rows, SONG)
    )
