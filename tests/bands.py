"""Small MIDI songs for any instruments, alone and in a folder: what the tests of the mapping run
read.
"""

from pathlib import Path

import numpy as np
import symusic

from lakhnes_lib.music import filters, mapping

SONGS = 21
FILES_A_SHARD = 4
"""So that a small folder makes several shards."""


def band(seed: int, melodies: int = 3, chords: bool = True, beats: int = 16) -> bytes:
    """A MIDI file of so many melodies, a track of chords and one of drums; the same for the same
    arguments.
    """
    random = np.random.default_rng([seed, melodies])
    song = symusic.Score(480)
    song.tempos.append(symusic.Tempo(0, 100 + seed % 40))

    def play(name, program, rows, is_drum=False):
        start, length, pitch, velocity = np.array(rows).T
        track = symusic.Track(name, program, is_drum)
        track.notes = symusic.Note.from_numpy(
            start.astype(np.int32),
            length.astype(np.int32),
            pitch.astype(np.int8),
            velocity.astype(np.int8),
        )
        song.tracks.append(track)

    for part in range(melodies):
        pitches = random.integers(40, 90, beats)
        play(
            f"part {part}",
            40 + part,
            [(480 * i, 400, pitch, 60 + part) for i, pitch in enumerate(pitches)],
        )
    if chords:
        play(
            "chords",
            0,
            [(960 * i, 960, pitch, 70) for i in range(beats // 2) for pitch in (60, 64, 67)],
        )
    play(
        "drums",
        0,
        [(240 * i, 100, (36, 42, 38, 42)[i % 4], 90) for i in range(2 * beats)],
        is_drum=True,
    )
    return song.dumps_midi()


def candidates(seeds) -> list[mapping.Candidates]:
    """What songs of one to four melodies keep."""
    return [filters.candidates_of(band(seed, 1 + seed % 4), f"song {seed}") for seed in seeds]


def files() -> dict[str, bytes]:
    """Songs of one to four melodies, and whatever else lies in folders of music."""
    songs = {f"{seed % 3}/song {seed}.mid": band(seed, 1 + seed % 4) for seed in range(SONGS)}
    return songs | {
        "0/again.MID": band(5, 2),
        "1/copy of song 5.midi": band(5, 2),
        "1/chords.mid": band(1, 0),
        "1/short.mid": band(1, 1, beats=2),
        "1/text.mid": b"not music",
        "2/cut.mid": band(3)[:-20],
        "2/empty.mid": b"",
        "2/huge.mid": band(2) + bytes(mapping.PUBLISHED.most_bytes),
        "2/notes.txt": b"no music",
        ".hidden/song.mid": band(99),
        "0/._song 0.mid": b"what a Mac leaves",
    }


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
