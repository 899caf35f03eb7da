"""Piano rolls: phrases of four bars, for five tracks of Lakh or for the four voices of the NES.

Source: X. Liang, J. Wu and J. Cao, "MIDI-Sandwich2" (2019), §IV.A, whose data are those of H.-W.
Dong et al., "MuseGAN" (AAAI 2018). Notebook: 11_midi_sandwich. A roll says of each track, step and
pitch whether it sounds. It does not say how loud, and a note that is struck again at once looks
like one that is held.
Differences from the paper: it took the Lakh Pianoroll Dataset; here any MIDI files are drawn, such
as folder 5 of Lakh, and drum hits last one step. Of the NES a second is a beat and four seconds are
a bar, since its music has neither.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch

from lakhnes_lib.data.corpus import SPLITS
from lakhnes_lib.music import midi, midi_bytes, nes
from lakhnes_lib.music.midi_song import Song
from lakhnes_lib.music.score import NOTE, Score, records

BEAT, BAR, BARS = 24, 96, 4
"""Steps of a beat and of a bar, and bars of a phrase."""
LEAST_TRACKS, LONGEST = 3, 500
"""Tracks that must sound in a phrase, and the most bars of a song."""


class Kind(NamedTuple):
    """What a roll shows. tracks: their names; lowest: the MIDI pitch of the first row (of noise it
    is type 1); pitches: how many rows."""

    tracks: tuple[str, ...]
    lowest: int
    pitches: int


LAKH = Kind(("Drums", "Piano", "Guitar", "Bass", "Strings"), 24, 84)
NES = Kind(nes.VOICES, 21, 88)
_TRACK_OF_FAMILY = np.array([1, 4, 4, 2, 3, 4, 4, 4, 4, 4, 4, 4, -1, 4, -1, -1])
"""MuseGAN's: of every eight programs the track that plays them, or -1 for effects and drums."""


def draw(track, start, end, row, shape: tuple[int, int, int]) -> np.ndarray:
    """Notes as a roll: bool, of ``shape`` (tracks, steps, pitches).

    track, row, start, end: int (notes,); a note sounds in the steps from start to before end.
    Notes in no row are left out, and what is after the last step is cut off.

    >>> draw(*np.array([[0], [1], [3], [2]]), shape=(1, 4, 3))[0].astype(int).T
    array([[0, 0, 0, 0],
           [0, 0, 0, 0],
           [0, 1, 1, 0]])
    """
    roll = np.zeros(shape, bool)
    inside = (row >= 0) & (row < shape[2]) & (track >= 0)
    for number, first, stop, pitch in np.column_stack([track, start, end, row])[inside].tolist():
        roll[number, first:stop, pitch] = True
    return roll


def notes(roll: np.ndarray) -> tuple[np.ndarray, ...]:
    """The notes that a roll shows: track, start, end and row, int (notes,), by track, then row.

    roll: bool (tracks, steps, pitches). It is the inverse of ``draw`` for notes that do not touch.
    """
    edges = np.diff(roll.astype(np.int8), axis=1, prepend=0, append=0).swapaxes(1, 2)
    track, row, start = np.nonzero(edges > 0)
    return track, start, np.nonzero(edges < 0)[2], row


def phrases(roll: np.ndarray, most: int) -> np.ndarray:
    """Phrases of a song, one after the other: bool (phrases, bars, tracks, 96, pitches).

    Those in which fewer than three tracks sound are left out, and so is an unfinished one. most:
    of the rest so many are taken at most, evenly over the song.
    """
    tracks, steps, pitches = roll.shape
    count = steps // (BAR * BARS)
    shape = (tracks, count, BARS, BAR, pitches)
    cut = roll[:, : count * BAR * BARS].reshape(shape).transpose(1, 2, 0, 3, 4)
    cut = cut[cut.any((1, 3, 4)).sum(1) >= LEAST_TRACKS]
    return cut[:: max(1, -(-len(cut) // most))]


def band_notes(song: Song, beat: int) -> tuple[np.ndarray, ...]:
    """Track, start and end of each note of a MIDI file, in steps of which so many are a beat.

    int (notes,) each. track: the number in ``LAKH.tracks``, or -1. A note has a step at least.
    """
    tracks = [0 if p.is_drum else _TRACK_OF_FAMILY[p.program // 8] for p in song.instruments]
    ticks = np.stack([song.notes.time, song.notes.end])
    start, end = np.rint(ticks * (beat / song.resolution)).astype(np.int64)
    return np.array(tracks, int)[song.notes.instrument], start, np.maximum(end, start + 1)


def lakh_roll(data: bytes, name="MIDI data") -> np.ndarray:
    """The roll of a MIDI file's bytes, bool (5, steps, 84), with whole bars.

    It has no step if the file is not in 4/4 throughout, or has more than 500 bars. Raises BadMidi.
    """
    song = midi.parse_bytes(data, name)
    metas = midi_bytes.read_events(data[max(data.find(b"MThd"), 0) :]).metas
    metres = {body[:2] for *_, kind, body in metas if kind == midi_bytes.TIME_SIGNATURE}
    track, start, end = band_notes(song, BEAT)
    bars = -(-int(end.max(initial=0)) // BAR)
    if bars > LONGEST or metres - {b"\x04\x02"}:
        bars = 0
    end = np.where(track == 0, start + 1, end)  # hits
    shape = (len(LAKH.tracks), bars * BAR, LAKH.pitches)
    return draw(track, start, end, song.notes.pitch - LAKH.lowest, shape)


def nes_roll(score: Score) -> np.ndarray:
    """The roll of a NES song, bool (4, steps, 88), at 24 steps a second.

    Every note sounds for a step at least, so that a step may show two notes of a voice.
    """
    voice = score.notes["voice"].astype(int)
    ticks = np.stack([score.notes["start"], score.notes["end"]])
    start, end = np.rint(ticks * (BEAT / nes.TICKS_PER_SECOND)).astype(int)
    row = score.notes["pitch"] - np.where(voice == nes.NO, 1, NES.lowest)
    shape = (len(NES.tracks), score.length * BEAT // nes.TICKS_PER_SECOND, NES.pitches)
    return draw(voice, start, np.maximum(end, start + 1), row, shape)


def to_score(roll: np.ndarray, name: str = "") -> Score:
    """What four NES voices play of a roll, bool or probabilities (4, steps, 88).

    Of each voice and step it is the likeliest pitch, the lowest of equal ones, if its probability
    is at least 1/2. What no voice can play is left out.
    """
    line = np.eye(roll.shape[-1], dtype=bool)[roll.argmax(-1)] & (roll >= 0.5)
    voice, start, end, row = notes(line)
    ticks = np.rint(np.arange(roll.shape[1] + 1) * nes.TICKS_PER_SECOND / BEAT).astype(int)
    pitch = row + np.where(voice == nes.NO, 1, NES.lowest)
    velocity = np.where(voice == nes.TR, 1, 12)
    played = records(NOTE, voice, ticks[start], ticks[end], pitch, velocity)
    inside = (nes.LOWEST_PITCH[voice] <= pitch) & (pitch <= nes.HIGHEST_PITCH[voice])
    return Score.build(played[inside], ticks[-1], name=name)


class Rolls(NamedTuple):
    """Bars of a data set; four that follow one another are a phrase.

    splits: by the split's name, uint8 (bars, tracks, 96, 11), a bit for each pitch.
    """

    kind: Kind
    splits: dict[str, np.ndarray]

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Packed rolls of any shape as bool (…, pitches)."""
        return np.unpackbits(packed, axis=-1, count=self.kind.pitches).view(bool)

    def floats(self, packed: np.ndarray) -> torch.Tensor:
        """Packed rolls of any shape as the float32 (…, pitches) of 0 and 1 that networks read."""
        return torch.from_numpy(self.unpack(packed)).float()

    def batch(self, count: int, random: np.random.Generator) -> torch.Tensor:
        """So many random bars of train: float32 (count, tracks, 96, pitches)."""
        return self.floats(random.choice(self.splits["train"], count))


def packed(kind: Kind, songs: Iterable[tuple[str, np.ndarray]], most: int) -> Rolls:
    """Phrases of songs, ``most`` of each; songs: the split and the roll of each.

    Example: ``packed(NES, [("train", nes_roll(score))], most=2)``
    """
    empty = np.zeros((0, len(kind.tracks), BAR, -(-kind.pitches // 8)), np.uint8)
    parts = {split: [empty] for split in SPLITS}
    for split, roll in songs:
        parts[split] += list(np.packbits(phrases(roll, most), axis=-1))
    return Rolls(kind, {split: np.concatenate(part) for split, part in parts.items()})
