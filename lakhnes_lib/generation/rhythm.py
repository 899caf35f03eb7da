"""Music to a given rhythm: its waits, note ends and drums are kept, and the model chooses the pitches.

Paper: §8 ("composers can also provide fixed rhythmic material"). Notebook: 09_composing.
Each note-on of P1, P2 and TR keeps its voice and its time; every other event stands as it is.
Differences from the paper: its notebook computes temperature and top-k and then draws without them; here they hold.
A drum pattern alone is a rhythm too: its deep drums give the triangle's notes, the middle ones P1's, the high ones
P2's, and all of them sound as noise.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lakhnes_lib.data.build import read_song
from lakhnes_lib.errors import BadMidi, LakhnesError
from lakhnes_lib.generation import continuation, sampling
from lakhnes_lib.music import events, midi, nes
from lakhnes_lib.music.score import Score

PLAYED_BY = {nes.TR: (1, 6), nes.P1: (7, 13), nes.P2: (14, 16)}
"""Which noise types (1 is the deepest) give which melodic voice its notes."""
LONGEST_TICKS = {nes.TR: 44_100, nes.P1: 22_050, nes.P2: 22_050, nes.NO: 4_410}
"""A drum does not say how long: a note made of one lasts until its voice's next, and at most so long."""
_KITS = {
    4: (35, 36),
    6: (41, 43, 45, 47, 48, 50),
    10: (37, 38, 39, 40),
    12: (49, 52, 55, 57),
    15: (46, 51, 53, 59),
}
_TYPE_OF = np.full(128, 16, np.int64)
"""Noise type of each General MIDI drum: bass drum 4, toms 6, snare 10, crash 12, open hi-hat and ride 15, else 16."""
for _type, _drums in _KITS.items():
    _TYPE_OF[list(_drums)] = _type


def read(path) -> Score:
    """The rhythm in a music file: the song itself; of a song or a MIDI file with nothing but drums, ``from_drums``.

    Raises as ``continuation.read``.
    """
    try:
        song = read_song(path)
        drums = song.notes if np.all(song.notes["voice"] == nes.NO) else None
        return song if drums is None else from_drums(drums["start"], drums["pitch"], song.name)
    except BadMidi:
        song = midi.parse(path)  # not in NES-MDB's form
    tracks = [track for track in song.tracks if len(track.notes)]
    if not all(track.is_drum for track in tracks):
        return continuation.read(path)
    hits = np.array(
        [(note.time, _TYPE_OF[note.pitch]) for track in tracks for note in track.notes], np.int64
    )
    times, types = hits.reshape(-1, 2).T
    return from_drums(midi.to_samples(times, song), types, Path(path).stem)


def from_drums(times: np.ndarray, types: np.ndarray, name: str = "") -> Score:
    """A rhythm for all four voices from drum hits: ticks and noise types, int64 (hits,) each.

    The melodic pitches are placeholders; of hits in one instant the deepest sounds as noise.
    """
    notes = []
    for voice, (low, high) in (PLAYED_BY | {nes.NO: (1, 16)}).items():
        mine = np.lexsort((types, times))
        mine = mine[(types[mine] >= low) & (types[mine] <= high)]
        starts, first = np.unique(times[mine], return_index=True)
        ends = np.minimum(
            np.append(starts[1:], starts[-1:] + nes.TICKS_PER_SECOND), starts + LONGEST_TICKS[voice]
        )
        pitches = types[mine][first] if voice == nes.NO else np.full(len(starts), 60)
        velocity = int(nes.HIGHEST_VELOCITY[voice])
        notes += [
            (voice, *row, velocity)
            for row in zip(starts.tolist(), ends.tolist(), pitches.tolist(), strict=True)
        ]
    return Score.build(notes, name=name)


def compose(model, score: Score, *, n: int, **options) -> Iterator[list[list[int]]]:
    """Pieces to the rhythm of a song, as they grow; options: those of ``sampling.stream`` but ``length``.

    Raises LakhnesError for a song in which P1, P2 and TR begin no note.
    """
    script = events.frame(events.encode(score))[1:-1].astype(np.int64)
    voice = np.where(events.IS_NOTE_ON[script], events.VOICE_OF[script], -1)
    if not np.isin(voice, nes.MELODIC).any():
        raise LakhnesError(
            f"{score.name or 'rhythm'}: no note of P1, P2 or TR begins, so there is no pitch to choose"
        )
    able = np.zeros((len(script), len(events.VOCABULARY)), bool)  # (step, event): what may come
    able[np.arange(len(script)), script] = True
    for melodic in nes.MELODIC:
        able[voice == melodic] = events.IS_NOTE_ON & (events.VOICE_OF == melodic)
    steps = sampling.stream(
        model, n=n, length=len(script), choices=lambda step, *_: able[step : step + 1], **options
    )
    return continuation.grow(steps, n)
