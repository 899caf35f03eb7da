"""MIDI in NES-MDB's form: four instruments ``p1 p2 tr no``, one tick an audio sample.

Paper: §3.1. Notebook: 01_nes_ensemble. Any other MIDI file becomes NES music through ``mapping.py``.
Differences from the paper: read by symusic (C++) instead of pretty_midi, whose ``MAX_TICK`` refuses these files
and which reads a hundred times slower; the two agree on every file of NES-MDB (through the authors' TX1 text).
Files of another resolution or tempo are brought to 44,100 ticks a second.
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


def parse(path):
    """A symusic Score, in MIDI ticks. Raises BadMidi if it is not there, not MIDI, cut off or absurdly large."""
    import symusic  # here, so that packed music is read without it

    path = Path(path)
    try:
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
    except OSError as error:
        raise BadMidi(f"{path}: cannot be read ({error.strerror})") from error
    if data is None:
        raise BadMidi(f"{path}: is larger than {MOST_BYTES // 1_000_000} MB, too large for a song")
    if data[:4] != b"MThd":
        raise BadMidi(
            f"{path}: is {'empty' if not data else 'not a MIDI file (it does not start with MThd)'}"
        )
    try:
        song = symusic.Score.from_midi(data)
        if song.ticks_per_quarter < 1:
            raise ValueError("its resolution is 0 ticks a quarter note")
        return song
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # symusic raises plain RuntimeError and ValueError for whatever it cannot parse
        raise BadMidi(
            f"{path}: is a damaged MIDI file ({' '.join(str(error).split())[:120]})"
        ) from error


def to_samples(ticks: np.ndarray, song) -> np.ndarray:
    """MIDI ticks -> ticks of 1/44,100 s (int64), by the file's tempo changes; exact before the last rounding."""
    ticks = np.asarray(ticks, np.int64)
    changes = {0: 500_000} | {tempo.time: tempo.mspq for tempo in song.tempos}
    starts = np.array(sorted(changes), np.int64)
    rate = [
        Fraction(changes[start] * nes.TICKS_PER_SECOND, song.ticks_per_quarter * 1_000_000)
        for start in starts.tolist()
    ]
    if set(rate) == {1}:
        return ticks
    base = [Fraction(0)]
    for length, factor in zip(np.diff(starts).tolist(), rate, strict=False):
        base.append(base[-1] + length * factor)
    place = np.maximum(np.searchsorted(starts, ticks, side="right") - 1, 0)
    # Whole samples of the segment's beginning stay integers; only the rest goes through float64.
    whole = np.array([value.__floor__() for value in base], np.int64)
    part = np.array([float(value - value.__floor__()) for value in base])
    factor = np.array([float(value) for value in rate])
    return whole[place] + np.rint(part[place] + (ticks - starts[place]) * factor[place]).astype(
        np.int64
    )


def _voice_of(track, path) -> int:
    name = track.name.strip().lower()
    if name in nes.MIDI_NAMES:
        return nes.MIDI_NAMES.index(name)
    if not name and track.is_drum:
        return nes.NO
    if not name and track.program in nes.MIDI_PROGRAMS[:3]:
        return nes.MIDI_PROGRAMS.index(track.program)
    raise BadMidi(
        f"{path}: instrument {track.name!r} (program {track.program}) is none of {', '.join(nes.MIDI_NAMES)}; "
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
        if not len(track.notes):
            continue
        voice, raw = _voice_of(track, path), track.notes.numpy()
        part = np.zeros(len(track.notes), NOTE)
        part["voice"], part["pitch"], part["velocity"] = voice, raw["pitch"], raw["velocity"]
        part["start"] = to_samples(raw["time"], song)
        part["end"] = to_samples(raw["time"].astype(np.int64) + raw["duration"], song)
        notes.append(part)
        raw = track.controls.numpy()
        wanted = np.isin(raw["number"], (VELOCITY_CHANGE, TIMBRE_CHANGE))
        part = np.zeros(int(wanted.sum()), CONTROL)
        part["voice"], part["kind"], part["value"] = (
            voice,
            raw["number"][wanted],
            raw["value"][wanted],
        )
        part["tick"] = to_samples(raw["time"][wanted], song)
        controls.append(part)
    notes, controls = np.concatenate(notes), np.concatenate(controls)
    ends = [
        change.time
        for change in song.time_signatures
        if (change.numerator, change.denominator) == (1, 1)
    ]
    length = max(
        int(to_samples(np.array(ends[-1:] or [0]), song)[0]), int(notes["end"].max(initial=0))
    )
    length = max(length, int(controls["tick"].max(initial=0)))
    _refuse_long(length, path)
    controls = controls[np.lexsort((controls["voice"], controls["tick"]))]
    try:
        return Score.build(notes, length, controls, Path(path).stem)
    except BadScore as error:
        raise BadMidi(f"{path}: {error}") from error


def write(score: Score, path) -> None:
    """Writes the song in NES-MDB's form (120 beats a minute, 22,050 ticks a beat), velocities and timbre included.

    What is set in a voice without notes cannot be heard, and is left out: symusic reads no track without notes.
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
