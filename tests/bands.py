"""Small MIDI songs for any instruments, and a corpus of them: what the tests of the mapping run read."""

import numpy as np
import symusic

from lakhnes_lib.music import mapping


def band(seed: int, melodies: int = 3, chords: bool = True, beats: int = 16) -> bytes:
    """A MIDI file of so many melodies, a track of chords and one of drums; the same for the same arguments."""
    random = np.random.default_rng([seed, melodies])
    song = symusic.Score(480)
    song.tempos.append(symusic.Tempo(0, 100 + seed % 40))

    def play(name, program, rows, is_drum=False):
        start, length, pitch, velocity = np.array(rows).T
        track = symusic.Track(name, program, is_drum)
        track.notes = symusic.Note.from_numpy(
            start.astype(np.int32), length.astype(np.int32), pitch.astype(np.int8), velocity.astype(np.int8)
        )
        song.tracks.append(track)

    for part in range(melodies):
        pitches = random.integers(40, 90, beats)
        play(f"part {part}", 40 + part, [(480 * i, 400, pitch, 60 + part) for i, pitch in enumerate(pitches)])
    if chords:
        play("chords", 0, [(960 * i, 960, pitch, 70) for i in range(beats // 2) for pitch in (60, 64, 67)])
    play("drums", 0, [(240 * i, 100, (36, 42, 38, 42)[i % 4], 90) for i in range(2 * beats)], is_drum=True)
    return song.dumps_midi()


def candidates(seeds) -> list[mapping.Candidates]:
    """What songs of one to four melodies keep."""
    return [mapping.candidates_of(band(seed, 1 + seed % 4), f"song {seed}") for seed in seeds]
