"""Any MIDI file as tracks of notes in absolute time: what the mapping to the NES starts from.

Paper: §4.2.1 (Lakh MIDI, instruments of every kind). Notebook: 03_lakh_to_nes.
Differences from the paper: files are read by symusic (C++), a hundred times faster than
pretty_midi, and brought to the same notes: one note-off ends every note of its pitch that began
earlier, and notes without length are left out. What still differs, and on how many files, stands in
``docs/mapping.md``. Times are exact up to one rounding to 1/44,100 s.
"""

from dataclasses import dataclass

import numpy as np

from lakhnes_lib.errors import BadMidi
from lakhnes_lib.music import midi

TRACK_NOTE = np.dtype([("start", "i8"), ("end", "i8"), ("pitch", "u1"), ("velocity", "u1")])
"""A note of any instrument: half-open ``[start, end)`` in ticks of 1/44,100 s, MIDI pitch and
velocity."""


@dataclass(frozen=True)
class Track:
    """What one channel plays with one program in one track of the file.

    program: 0-127. name: the track's, for people. notes: ``TRACK_NOTE`` records by start, then end,
    then pitch.
    """

    program: int
    is_drum: bool
    name: str
    notes: np.ndarray


def read_tracks(path) -> list[Track]:
    """The tracks with notes of a MIDI file of any kind. Raises BadMidi."""
    return parse_tracks(midi.read_bytes(path), path)[0]


def parse_tracks(data: bytes, name="MIDI data") -> tuple[list[Track], int]:
    """Tracks of a MIDI file's bytes, and its length in ticks of 1/44,100 s.

    The length is the last end of a note, or the last control, pitch bend, lyric, or change of
    tempo, time or key signature. name: the file, for messages. Raises BadMidi for what is not MIDI,
    is cut off, or counts time in an impossible way.
    """
    song = midi.parse_bytes(data, name)
    if any(tempo.mspq < 1 for tempo in song.tempos):
        raise BadMidi(f"{name}: counts no time (a tempo is 0)")
    sources = [track for track in song.tracks if len(track.notes)]
    track, start, end, pitch, velocity = _columns(sources)
    if (start < 0).any() or (end < start).any():
        raise BadMidi(f"{name}: has times beyond what a MIDI file can count")
    last = max(int(end.max(initial=0)), _last_event(song, sources))
    samples = midi.to_samples(np.concatenate([start, end, [last]]), song)

    notes = np.empty(len(start), TRACK_NOTE)
    notes["start"], notes["end"] = np.split(samples[:-1], 2)
    notes["pitch"], notes["velocity"] = pitch, velocity
    order = np.lexsort((pitch, notes["end"], notes["start"], track))
    notes, track = notes[order], track[order]
    sounding = notes["end"] > notes["start"]
    notes, track = notes[sounding], track[sounding]
    parts = np.split(notes, np.searchsorted(track, np.arange(1, len(sources))))
    tracks = [
        Track(source.program, source.is_drum, source.name, part)
        for source, part in zip(sources, parts, strict=False)
        if len(part)
    ]
    return tracks, int(samples[-1])


def _columns(sources) -> tuple[np.ndarray, ...]:
    """Track number, start, end, pitch and velocity of every note with a length, in MIDI ticks."""
    columns = [track.notes.numpy() for track in sources]
    track = np.repeat(np.arange(len(sources)), [len(part["time"]) for part in columns])
    start, length, pitch, velocity = (
        np.concatenate([np.zeros(0, np.int64), *(part[field] for part in columns)])
        for field in ("time", "duration", "pitch", "velocity")
    )
    long = length > 0
    track, start, length, pitch, velocity = (
        column[long] for column in (track, start, length, pitch, velocity)
    )
    end = _first_release(track * 128 + pitch, start, start + length)
    return track, start, end, pitch, velocity


def _last_event(song, sources) -> int:
    """The MIDI tick of the last event that is no note; a tempo that changes nothing is none."""
    tempos = list(song.tempos)
    before = [500_000, *(tempo.mspq for tempo in tempos)]  # 120 beats a minute, if nothing is said
    changes = [tempo for tempo, last in zip(tempos, before, strict=False) if tempo.mspq != last]
    lists = [song.time_signatures, song.key_signatures, changes]
    for track in sources:
        lists += [track.controls, track.pitch_bends, track.lyrics]
    return max((events[-1].time for events in lists if len(events)), default=0)


def _first_release(key: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """For each note the first end after its start among the notes of its key: int64.

    key: the note's track and pitch. symusic gives the first note-off to the oldest note; where a
    pitch is struck again before it was released, all later ends would be late by one.
    """
    if not len(key):
        return end
    shift = 1 << 33  # more than a MIDI file's last tick, so that one sort keeps keys apart
    ends = np.sort(key * shift + end)
    index = np.searchsorted(ends, key * shift + start, side="right")
    release = ends[np.minimum(index, len(ends) - 1)] - key * shift
    same_key = (index < len(ends)) & (release < shift)
    return np.where(same_key, release, end)
