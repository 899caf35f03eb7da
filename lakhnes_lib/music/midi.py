"""MIDI in NES-MDB's form: four instruments ``p1 p2 tr no``, one tick an audio sample.

Paper: §3.1. Notebook: 01_nes_ensemble. Any other MIDI file becomes NES music through
``mapping.py``. Differences from the paper: files are read by ``midi_song.py`` instead of
pretty_midi, whose ``MAX_TICK`` refuses these files and which is twenty times slower; the two agree
on every file of NES-MDB (through the authors' TX1 text). Files of another resolution or tempo are
brought to 44,100 ticks a second.
"""

from pathlib import Path

import numpy as np

from lakhnes_lib import files
from lakhnes_lib.errors import BadMidi, BadScore
from lakhnes_lib.music import midi_song, nes
from lakhnes_lib.music.midi_song import Instrument, Song
from lakhnes_lib.music.score import CONTROL, CONTROL_KINDS, LONGEST_SECONDS, NOTE, Score, records

RESOLUTION = 22_050
"""MIDI ticks a quarter note; at 120 beats a minute that is 44,100 a second."""
MOST_NOTES = 100_000
"""What is taken for a song: the largest file of NES-MDB has 18,000 notes."""


def read_bytes(path) -> bytes:
    """The content of a file. Raises BadMidi as ``files.read_bytes`` does."""
    return files.read_bytes(path, BadMidi)


def parse_bytes(data: bytes, name) -> Song:
    """The bytes of a MIDI file of any kind, in MIDI ticks; name: the file, for messages.

    Raises BadMidi for what is not MIDI, is cut off or damaged, or counts no time.
    """
    if not data:
        raise BadMidi(f"{name}: is empty")
    if data[:4] == b"RIFF":
        data = data[max(data.find(b"MThd"), 0) :]  # the file inside
    if data[:4] != b"MThd":
        raise BadMidi(f"{name}: is not a MIDI file (it does not start with MThd)")
    try:
        return midi_song.read_song(data)
    except ValueError as error:
        raise BadMidi(f"{name}: is a damaged MIDI file ({error})") from None


def to_samples(ticks: np.ndarray, song: Song) -> np.ndarray:
    """MIDI ticks of a song to ticks of 1/44,100 s, int64, by its changes of tempo.

    Exact before the last rounding.
    """
    ticks = np.asarray(ticks, np.int64)
    starts = np.array(list(song.tempos), np.int64)
    unit = song.resolution * 1_000_000  # a sample, in the unit of the exact times below
    rates = [tempo * nes.TICKS_PER_SECOND for tempo in song.tempos.values()]
    if set(rates) == {unit}:
        return ticks
    begins = [0]  # where each tempo begins
    for length, rate in zip(np.diff(starts).tolist(), rates[:-1], strict=True):
        begins.append(begins[-1] + length * rate)
    # The whole samples of a beginning stay integers; only the rest is calculated as float64.
    whole = np.array([begin // unit for begin in begins], np.int64)
    rest = np.array([begin % unit / unit for begin in begins])
    rates = np.array(rates) / unit
    tempo = np.maximum(np.searchsorted(starts, ticks, side="right") - 1, 0)
    since = rest[tempo] + (ticks - starts[tempo]) * rates[tempo]
    return whole[tempo] + np.rint(since).astype(np.int64)


def _voice_of(instrument: Instrument, path) -> int:
    name = instrument.name.strip().lower()
    if name in nes.MIDI_NAMES:
        return nes.MIDI_NAMES.index(name)
    if not name and instrument.is_drum:
        return nes.NO
    if not name and instrument.program in nes.MIDI_PROGRAMS[:3]:
        return nes.MIDI_PROGRAMS.index(instrument.program)
    label = f"instrument {instrument.name!r} (program {instrument.program})"
    rule = "a MIDI file of other instruments must be mapped to the NES first"
    raise BadMidi(f"{path}: {label} is none of {', '.join(nes.MIDI_NAMES)}; {rule}")


def check_size(length: int, notes: int, path) -> None:
    """Raises BadMidi for more ticks of 1/44,100 s or more notes than a song has."""
    if length > LONGEST_SECONDS * nes.TICKS_PER_SECOND:
        seconds = length // nes.TICKS_PER_SECOND
        raise BadMidi(f"{path}: lasts {seconds} s, more than the {LONGEST_SECONDS} s of a song")
    if notes > MOST_NOTES:
        raise BadMidi(f"{path}: holds {notes} notes, more than the {MOST_NOTES} of a song")


def read(path) -> Score:
    """Score of a MIDI file in NES-MDB's form, with velocities and timbre.

    A pitch that is struck again while it sounds begins anew. Raises BadMidi.
    """
    song = parse_bytes(read_bytes(path), path)
    voices = np.array([_voice_of(part, path) for part in song.instruments], np.uint8)
    notes = _notes(song, voices)
    rows = song.controls[np.isin(song.controls.number, CONTROL_KINDS)]
    ticks = to_samples(rows.time, song)
    controls = records(CONTROL, voices[rows.instrument], ticks, rows.number, rows.value)
    controls = controls[np.lexsort((controls["voice"], ticks))]
    end = int(to_samples([song.end], song)[0])
    length = max(end, int(notes["end"].max(initial=0)), int(controls["tick"].max(initial=0)))
    check_size(length, len(song.notes), path)
    try:
        return Score.build(notes, length, controls, Path(path).stem)
    except BadScore as error:
        raise BadMidi(f"{path}: {error}") from None


def _notes(song: Song, voices: np.ndarray) -> np.ndarray:
    """``NOTE`` records; voices: of each instrument."""
    rows = song.notes[np.lexsort((song.notes.time, song.notes.pitch, song.notes.instrument))]
    start, end = to_samples(rows.time, song), to_samples(rows.end, song)
    # A strike without its note-off ends where the same pitch is struck again.
    key = rows.instrument * 128 + rows.pitch
    again = np.flatnonzero(key[1:] == key[:-1])
    end[again] = np.minimum(end[again], start[again + 1])
    notes = records(NOTE, voices[rows.instrument], start, end, rows.pitch, rows.velocity)
    return notes[end > start]


def write(score: Score, path) -> None:
    """Writes the song in NES-MDB's form, with velocities and timbre.

    That is 120 beats a minute and 22,050 ticks a beat. What is set in a voice without notes cannot
    be heard, and is left out: symusic reads no track without notes.
    Raises BadMidi for a song so large that ``read`` would refuse it, OutOfSpace.
    """
    import symusic

    check_size(score.length, len(score.notes), path)
    song = symusic.Score(RESOLUTION)
    song.tempos.append(symusic.Tempo(0, 120))
    song.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    song.time_signatures.append(symusic.TimeSignature(score.length, 1, 1))
    for voice, (name, program) in enumerate(zip(nes.MIDI_NAMES, nes.MIDI_PROGRAMS, strict=True)):
        notes, controls = score.voice(voice), score.controls[score.controls["voice"] == voice]
        if not len(notes):
            continue
        track = symusic.Track(name, program, voice == nes.NO)
        lengths = notes["end"] - notes["start"]
        columns = (notes["start"], lengths, notes["pitch"], notes["velocity"])
        track.notes = symusic.Note.from_numpy(*map(np.asarray, columns, ("i4", "i4", "i1", "i1")))
        columns = (controls[name] for name in ("tick", "kind", "value"))
        columns = map(np.asarray, columns, ("i4", "u1", "u1"))
        track.controls = symusic.ControlChange.from_numpy(*columns)
        song.tracks.append(track)
    files.write_file(path, song.dumps_midi())
