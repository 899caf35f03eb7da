"""Piano rolls: phrases of four bars, for five tracks of Lakh or for the four voices of the NES.

Source: X. Liang, J. Wu and J. Cao, "MIDI-Sandwich2" (2019), §IV.A, whose data are those of H.-W.
Dong et al., "MuseGAN" (AAAI 2018). Notebook: 11_midi_sandwich. A roll says of each track, step and
pitch whether it sounds. It does not say how loud, and a note that is struck again at once looks
like one that is held.
Differences from the paper: files of Lakh's folder 5 are read here, and drum hits last one step. Of
the NES a second is a beat and four seconds are a bar, since its music has neither.
"""

from dataclasses import dataclass

import numpy as np
import symusic

from lakhnes_lib.files import write_file
from lakhnes_lib.music import midi, midi_bytes, nes
from lakhnes_lib.music.score import NOTE, Score, records

BEAT, BAR, BARS = 24, 96, 4
"""Steps of a beat and of a bar, and bars of a phrase."""
LEAST_TRACKS, LONGEST = 3, 500
"""Tracks that must sound in a phrase, and the most bars of a song."""


@dataclass(frozen=True)
class Kind:
    """What a roll shows. tracks: their names; lowest: the MIDI pitch of the first row (of noise it
    is type 1); pitches: how many rows."""

    tracks: tuple[str, ...]
    lowest: int
    pitches: int


LAKH = Kind(("Drums", "Piano", "Guitar", "Bass", "Strings"), 24, 84)
NES = Kind(nes.VOICES, 21, 88)
_PROGRAMS = (0, 0, 25, 33, 48)
_TRACK_OF_FAMILY = np.array([1, 4, 4, 2, 3, 4, 4, 4, 4, 4, 4, 4, -1, 4, -1, -1])
"""MuseGAN's: of every eight programs the track that plays them, or -1 for effects and drums."""


def _steps(times: np.ndarray, beat: int) -> np.ndarray:
    """Times, of which so many are a beat, as steps."""
    return np.rint(times * (BEAT / beat)).astype(int)


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


def phrases(roll: np.ndarray, most: int | None = None) -> np.ndarray:
    """Phrases of a song, one after the other: bool (phrases, bars, tracks, 96, pitches).

    Those in which fewer than three tracks sound are left out, and so is an unfinished one. most:
    of the rest so many are taken, evenly over the song.
    """
    tracks, steps, pitches = roll.shape
    count = steps // (BAR * BARS)
    shape = (tracks, count, BARS, BAR, pitches)
    cut = roll[:, : count * BAR * BARS].reshape(shape).transpose(1, 2, 0, 3, 4)
    cut = cut[cut.any((1, 3, 4)).sum(1) >= LEAST_TRACKS]
    kept = np.linspace(0, len(cut) - 1, min(len(cut), most or len(cut)))
    return cut[kept.round().astype(int)]


def lakh_roll(data: bytes, name="MIDI data") -> np.ndarray:
    """The roll of a MIDI file's bytes, bool (5, steps, 84), with whole bars.

    It has no step if the file is not in 4/4 throughout, or has more than 500 bars. Raises BadMidi.
    """
    song = midi.parse_bytes(data, name)
    metas = midi_bytes.read_events(data[max(data.find(b"MThd"), 0) :]).metas
    metres = {body[:2] for *_, kind, body in metas if kind == midi_bytes.TIME_SIGNATURE}
    start, end = (_steps(song.notes[name], song.resolution) for name in ("time", "end"))
    bars = -(-int(end.max(initial=0)) // BAR)
    if bars > LONGEST or metres - {b"\x04\x02"}:
        bars = 0
    tracks = [0 if p.is_drum else _TRACK_OF_FAMILY[p.program // 8] for p in song.instruments]
    track = np.array(tracks, int)[song.notes.instrument]
    end = np.where(track == 0, start, np.maximum(end - 1, start)) + 1
    shape = (len(LAKH.tracks), bars * BAR, LAKH.pitches)
    return draw(track, start, end, song.notes.pitch - LAKH.lowest, shape)


def nes_roll(score: Score) -> np.ndarray:
    """The roll of a NES song, bool (4, steps, 88), at 24 steps a second.

    Every note sounds for a step at least, so that a step may show two notes of a voice.
    """
    voice = score.notes["voice"].astype(int)
    start, end = (_steps(score.notes[name], nes.TICKS_PER_SECOND) for name in ("start", "end"))
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


def write_midi(roll: np.ndarray, path) -> None:
    """Writes a roll of five tracks, bool (5, steps, 84), at 120 beats a minute. Raises
    OutOfSpace. ``songbook.roles.read`` makes NES music of the file."""
    song = symusic.Score(BEAT)
    song.tempos.append(symusic.Tempo(0, 120))
    song.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    for name, program in zip(LAKH.tracks, _PROGRAMS, strict=True):
        song.tracks.append(symusic.Track(name, program, name == "Drums"))
    for track, start, end, row in zip(*map(np.ndarray.tolist, notes(roll)), strict=True):
        note = symusic.Note(start, end - start, row + LAKH.lowest, 90)
        song.tracks[track].notes.append(note)
    write_file(path, song.dumps_midi())
