"""Music to a given rhythm: its waits, note ends and drums stay, and the model chooses the pitches.

Paper: §8 ("composers can also provide fixed rhythmic material"). Notebook: 09_composing.
Each note-on of P1, P2 and TR keeps its voice and its time; every other event stays as it is.
Differences from the paper: its notebook computes temperature and top-k and then draws without them;
here they hold. A drum pattern alone is a rhythm too: its deep drums give the notes of TR, the
middle ones those of P1, the high ones those of P2, and all of them sound as noise.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lakhnes_lib.data.build import read_any
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.generation import sampling
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import NOTE, Score, records
from lakhnes_lib.music.tracks import read_tracks
from lakhnes_lib.songbook import roles
from lakhnes_lib.sound import song_files

PLAYED_BY = {nes.TR: (1, 6), nes.P1: (7, 13), nes.P2: (14, 16)}
"""Which noise types (1 is the deepest) give which melodic voice its notes."""
LONGEST_TICKS = {nes.TR: 44_100, nes.P1: 22_050, nes.P2: 22_050, nes.NO: 4_410}
"""A drum hit has no length. A note made of it lasts until its voice's next, and at most so long."""


def read(path) -> Score:
    """The rhythm in a music file: the song itself, or what ``from_drums`` makes of drums alone.

    Raises as ``build.read_any``.
    """
    song = read_any(path)
    if len(song.only(nes.MELODIC).notes):
        return song
    hits = song.notes
    if len(hits) and Path(path).suffix.lower() in song_files.MIDI:
        # The song has one of the hits of an instant, the tracks have all.
        hits = np.concatenate([track.notes for track in read_tracks(path)])
    return from_drums(hits["start"], roles.NOISE_TYPE[hits["pitch"]], song.name)


def from_drums(times: np.ndarray, types: np.ndarray, name: str = "") -> Score:
    """A rhythm for all four voices from drum hits: ticks and noise types, int64 (hits,) each.

    The melodic pitches mean nothing. Of hits in one instant the deepest sounds as noise.
    """
    notes = []
    for voice, (low, high) in (PLAYED_BY | {nes.NO: (1, 16)}).items():
        hits = np.lexsort((types, times))
        hits = hits[(types[hits] >= low) & (types[hits] <= high)]
        starts, first = np.unique(times[hits], return_index=True)
        following = np.append(starts[1:], starts[-1:] + nes.TICKS_PER_SECOND)
        ends = np.minimum(following, starts + LONGEST_TICKS[voice])
        pitches = types[hits][first] if voice == nes.NO else 60
        notes.append(records(NOTE, voice, starts, ends, pitches, nes.HIGHEST_VELOCITY[voice]))
    return Score.build(np.concatenate(notes), name=name)


def compose(model, score: Score, *, n: int, **options) -> Iterator[list[list[int]]]:
    """Pieces to the rhythm of a song, as they grow.

    A silence before the song's first note stays. options: those of ``sampling.stream`` but
    ``length``. Raises LakhnesError for a song in which P1, P2 and TR begin no note.
    """
    script = events.frame(events.encode(score))[1:-1].astype(np.int64)
    voice = np.where(events.IS_NOTE_ON[script], events.VOICE_OF[script], -1)
    if not np.isin(voice, nes.MELODIC).any():
        rule = "no note of P1, P2 or TR begins, so there is no pitch to choose"
        raise LakhnesError(f"{score.name or 'rhythm'}: {rule}")
    able = np.zeros((len(script), len(events.VOCABULARY)), bool)  # (step, event): what may come
    able[np.arange(len(script)), script] = True
    for melodic in nes.MELODIC:
        able[voice == melodic] = events.IS_NOTE_ON & (events.VOICE_OF == melodic)
    steps = sampling.stream(model, n=n, length=len(script), choices=lambda i: able[i], **options)
    return sampling.grow(steps, events.silence(score.notes["start"].min()))
