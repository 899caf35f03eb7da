"""Any MIDI file as tracks of notes in absolute time: what the mapping to the NES starts from.

Paper: §4.2.1 (Lakh MIDI, instruments of every kind). Notebook: 03_lakh_to_nes.
Differences from the paper: files are read by ``midi_song.py`` instead of pretty_midi, twenty times
faster, to the same notes. What still differs, and on how many files, stands in
``docs/mapping.md``. Times are exact up to one rounding to 1/44,100 s.
"""

from dataclasses import dataclass

import numpy as np

from lakhnes_lib.music import midi
from lakhnes_lib.music.midi_song import Instrument
from lakhnes_lib.music.score import records

TRACK_NOTE = np.dtype([("start", "i8"), ("end", "i8"), ("pitch", "u1"), ("velocity", "u1")])
"""A note of any instrument: half-open ``[start, end)`` in ticks of 1/44,100 s, MIDI pitch and
velocity."""


@dataclass(frozen=True)
class Track(Instrument):
    """An instrument and what it plays: ``TRACK_NOTE`` records by start, then end, then pitch."""

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
    ticks = np.concatenate([song.notes.time, song.notes.end, [song.last]])
    start, end, (length,) = np.split(midi.to_samples(ticks, song), [len(song.notes), -1])
    order = np.lexsort((song.notes.pitch, end, start, song.notes.instrument))
    order = order[(end > start)[order]]
    notes = records(TRACK_NOTE, start, end, song.notes.pitch, song.notes.velocity)[order]
    owner, tracks = song.notes.instrument[order], []
    for index, part in enumerate(song.instruments):
        own = notes[owner == index]
        if len(own):
            tracks.append(Track(part.program, part.is_drum, part.name, own))
    return tracks, int(length)
