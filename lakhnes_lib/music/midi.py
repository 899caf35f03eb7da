"""MIDI in NES-MDB's form: four instruments ``p1 p2 tr no``, one tick an audio sample.

Paper: §3.1. Notebook: 01_nes_ensemble. Any other MIDI file becomes NES music through
``mapping.py``. Differences from the paper: files are read by symusic (C++) instead of pretty_midi,
whose ``MAX_TICK`` refuses these files and which is a hundred times slower; the two agree on every
file of NES-MDB (through the authors' TX1 text). Files of another resolution or tempo are brought to
44,100 ticks a second.
"""

from fractions import Fraction
from pathlib import Path

import numpy as np

from lakhnes_lib.errors import BadMidi, BadScore
from lakhnes_lib.files import write_file
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import (
    CONTROL,
    LONGEST_SECONDS,
    NOTE,
    TIMBRE_CHANGE,
    VELOCITY_CHANGE,
    Score,
)

RESOLUTION = 22_050
"""MIDI ticks a quarter note; at 120 beats a minute that is 44,100 a second."""
MOST_NOTES = 100_000
MOST_BYTES = 16_000_000
"""Limits of what is taken for a song: the largest file of NES-MDB has 18,000 notes."""


def read_bytes(path) -> bytes:
    """The content of a file. Raises BadMidi if it cannot be read or is too large for a song."""
    path = Path(path)
    try:
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
    except OSError as error:
        raise BadMidi(f"{path}: cannot be read ({error.strerror})") from None
    if data is None:
        raise BadMidi(f"{path}: is larger than {MOST_BYTES // 1_000_000} MB, too large for a song")
    return data


def parse(path):
    """A MIDI file of any kind as a symusic Score, in MIDI ticks. Raises BadMidi."""
    return parse_bytes(read_bytes(path), path)


def parse_bytes(data: bytes, name):
    """The same of the bytes of a MIDI file; name: the file, for messages.

    Raises BadMidi for what is not MIDI, is cut off or damaged, or has a resolution of 0.
    """
    import symusic  # here, so that packed music is read without it

    if not data:
        raise BadMidi(f"{name}: is empty")
    if data[:4] != b"MThd":
        raise BadMidi(f"{name}: is not a MIDI file (it does not start with MThd)")
    try:
        song = symusic.Score.from_midi(data)
        if song.ticks_per_quarter < 1:
            raise ValueError("its resolution is 0 ticks a quarter note")
    except MemoryError:
        raise
    except Exception as error:  # symusic raises RuntimeError and ValueError of many kinds
        reason = " ".join(str(error).split())[:120]
        raise BadMidi(f"{name}: is a damaged MIDI file ({reason})") from None
    return song


def to_samples(ticks: np.ndarray, song) -> np.ndarray:
    """MIDI ticks of a symusic Score to ticks of 1/44,100 s, int64, by the song's changes of tempo.

    Exact before the last rounding.
    """
    ticks = np.asarray(ticks, np.int64)
    tempos = {0: 500_000} | {tempo.time: tempo.mspq for tempo in song.tempos}  # us a quarter note
    starts = np.array(sorted(tempos), np.int64)
    unit = song.ticks_per_quarter * 1_000_000
    rates = [Fraction(tempos[tick] * nes.TICKS_PER_SECOND, unit) for tick in starts.tolist()]
    if set(rates) == {1}:
        return ticks
    begins = [Fraction(0)]  # where each tempo begins, in samples
    for length, rate in zip(np.diff(starts).tolist(), rates[:-1], strict=True):
        begins.append(begins[-1] + length * rate)
    # The whole samples of a beginning stay integers; only the rest is calculated as float64.
    whole = np.array([begin.__floor__() for begin in begins], np.int64)
    rest = np.array([float(begin - begin.__floor__()) for begin in begins])
    rates = np.array([float(rate) for rate in rates])
    tempo = np.maximum(np.searchsorted(starts, ticks, side="right") - 1, 0)
    since = rest[tempo] + (ticks - starts[tempo]) * rates[tempo]
    return whole[tempo] + np.rint(since).astype(np.int64)


def _voice_of(track, path) -> int:
    name = track.name.strip().lower()
    if name in nes.MIDI_NAMES:
        return nes.MIDI_NAMES.index(name)
    if not name and track.is_drum:
        return nes.NO
    if not name and track.program in nes.MIDI_PROGRAMS[:3]:
        return nes.MIDI_PROGRAMS.index(track.program)
    raise BadMidi(
        f"{path}: instrument {track.name!r} (program {track.program}) is none of "
        f"{', '.join(nes.MIDI_NAMES)}; "
        "a MIDI file of other instruments must be mapped to the NES first"
    )


def _refuse_long(length: int, path):
    if length > LONGEST_SECONDS * nes.TICKS_PER_SECOND:
        seconds = length // nes.TICKS_PER_SECOND
        raise BadMidi(f"{path}: lasts {seconds} s, more than the {LONGEST_SECONDS} s of a song")


def read(path) -> Score:
    """Score of a MIDI file in NES-MDB's form, with velocities and timbre. Raises BadMidi."""
    song = parse(path)
    count = sum(len(track.notes) for track in song.tracks)
    if count > MOST_NOTES:
        raise BadMidi(f"{path}: holds {count} notes, more than the {MOST_NOTES} of a song")
    notes, controls = [np.zeros(0, NOTE)], [np.zeros(0, CONTROL)]
    for track in song.tracks:
        if len(track.notes):
            voice = _voice_of(track, path)
            notes.append(_notes_of(track, voice, song))
            controls.append(_controls_of(track, voice, song))
    notes, controls = np.concatenate(notes), np.concatenate(controls)
    controls = controls[np.lexsort((controls["voice"], controls["tick"]))]
    # A time signature of 1/1 stands at the song's end.
    signatures = song.time_signatures
    ends = [s.time for s in signatures if (s.numerator, s.denominator) == (1, 1)]
    end = int(to_samples(np.array(ends[-1:]), song).max(initial=0))
    length = max(end, int(notes["end"].max(initial=0)), int(controls["tick"].max(initial=0)))
    _refuse_long(length, path)
    try:
        return Score.build(notes, length, controls, Path(path).stem)
    except BadScore as error:
        raise BadMidi(f"{path}: {error}") from None


def _notes_of(track, voice: int, song) -> np.ndarray:
    columns = track.notes.numpy()
    notes = np.empty(len(track.notes), NOTE)
    notes["voice"], notes["pitch"], notes["velocity"] = voice, columns["pitch"], columns["velocity"]
    notes["start"] = to_samples(columns["time"], song)
    notes["end"] = to_samples(columns["time"].astype(np.int64) + columns["duration"], song)
    return notes


def _controls_of(track, voice: int, song) -> np.ndarray:
    columns = track.controls.numpy()
    known = np.isin(columns["number"], (VELOCITY_CHANGE, TIMBRE_CHANGE))
    controls = np.empty(np.count_nonzero(known), CONTROL)
    controls["voice"], controls["tick"] = voice, to_samples(columns["time"][known], song)
    controls["kind"], controls["value"] = columns["number"][known], columns["value"][known]
    return controls


def write(score: Score, path) -> None:
    """Writes the song in NES-MDB's form, with velocities and timbre.

    That is 120 beats a minute and 22,050 ticks a beat. What is set in a voice without notes cannot
    be heard, and is left out: symusic reads no track without notes.
    Raises BadMidi for a song so long that ``read`` would refuse it, OutOfSpace.
    """
    import symusic

    _refuse_long(score.length, path)
    song = symusic.Score(RESOLUTION)
    song.tempos.append(symusic.Tempo(0, 120))
    song.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    song.time_signatures.append(symusic.TimeSignature(score.length, 1, 1))
    for voice, (name, program) in enumerate(zip(nes.MIDI_NAMES, nes.MIDI_PROGRAMS, strict=True)):
        notes, controls = score.voice(voice), score.controls[score.controls["voice"] == voice]
        if not len(notes):
            continue
        track = symusic.Track(name, program, voice == nes.NO)
        track.notes = symusic.Note.from_numpy(
            notes["start"].astype(np.int32),
            (notes["end"] - notes["start"]).astype(np.int32),
            notes["pitch"].astype(np.int8),
            notes["velocity"].astype(np.int8),
        )
        track.controls = symusic.ControlChange.from_numpy(
            controls["tick"].astype(np.int32),
            controls["kind"].astype(np.uint8),
            controls["value"].astype(np.uint8),
        )
        song.tracks.append(track)
    write_file(path, song.dumps_midi())
