"""Any MIDI file as tracks of notes in absolute time: what the mapping to the NES starts from.

Paper: §4.2.1 (Lakh MIDI, instruments of every kind). Notebook: 03_lakh_to_nes.
Differences from the paper: read by symusic (C++), a hundred times faster than pretty_midi, and brought to the same
notes: one note-off ends every note of its pitch that began earlier, and notes without length are left out. What still
differs, and on how many files, stands in ``docs/mapping.md``. Times are exact up to one rounding to 1/44,100 s.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lakhnes_lib.errors import BadMidi
from lakhnes_lib.music import midi

TRACK_NOTE = np.dtype([("start", "i8"), ("end", "i8"), ("pitch", "u1"), ("velocity", "u1")])
"""A note of any instrument: half-open ``[start, end)`` in ticks of 1/44,100 s, MIDI pitch and velocity."""
MOST_BYTES = midi.MOST_BYTES


@dataclass(frozen=True)
class Track:
    """What one channel plays with one program in one track of the file.

    program: 0-127. name: the track's, for people. notes: ``TRACK_NOTE`` records by start, then end, then pitch.
    """

    program: int
    is_drum: bool
    name: str
    notes: np.ndarray


def read_tracks(path, most_bytes: int = MOST_BYTES) -> list[Track]:
    """The tracks with notes of a MIDI file of any kind. Raises BadMidi."""
    path = Path(path)
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= most_bytes else None
    except OSError as error:
        raise BadMidi(f"{path}: cannot be read ({error.strerror})") from error
    if data is None:
        raise BadMidi(f"{path}: holds {size:,} bytes, more than the {most_bytes:,} of a song")
    return parse_tracks(data, path)[0]


def parse_tracks(data: bytes, name="MIDI data") -> tuple[list[Track], int]:
    """Tracks of a MIDI file's bytes, and its length (1/44,100 s): the last end of a note, control, pitch bend,
    lyric, or change of tempo, time or key signature.

    name: the file, for messages. Raises BadMidi for what is not MIDI, is cut off, or counts time in an impossible way.
    """
    import symusic  # here, so that a packed corpus is read without it

    if data[:4] != b"MThd":
        raise BadMidi(
            f"{name}: is {'not a MIDI file (it does not start with MThd)' if data else 'empty'}"
        )
    try:
        song = symusic.Score.from_midi(data)
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # symusic raises plain RuntimeError and ValueError for whatever it cannot parse
        raise BadMidi(
            f"{name}: is a damaged MIDI file ({' '.join(str(error).split())[:120]})"
        ) from error
    if song.ticks_per_quarter < 1 or any(tempo.mspq < 1 for tempo in song.tempos):
        raise BadMidi(f"{name}: counts no time (its resolution or a tempo is 0)")

    sources = [track for track in song.tracks if len(track.notes)]
    columns = [track.notes.numpy() for track in sources]
    group = np.repeat(np.arange(len(sources)), [len(column["time"]) for column in columns])
    start, length, pitch, velocity = (
        np.concatenate([np.zeros(0, np.int64), *(column[field] for column in columns)])
        for field in ("time", "duration", "pitch", "velocity")
    )
    group, start, length, pitch, velocity = (
        part[length > 0] for part in (group, start, length, pitch, velocity)
    )
    end = _first_release(group * 128 + pitch, start, start + length)
    if (start < 0).any() or (end < start).any():
        raise BadMidi(f"{name}: has times beyond what a MIDI file can count")
    timed = [
        event for track in sources for event in (track.controls, track.pitch_bends, track.lyrics)
    ]
    timed += [song.time_signatures, song.key_signatures, _tempo_changes(song)]
    last = max([int(end.max(initial=0)), *(event[-1].time for event in timed if len(event))])
    samples = midi.to_samples(np.concatenate([start, end, [last]]), song)

    notes = np.empty(len(start), TRACK_NOTE)
    notes["start"], notes["end"] = np.split(samples[:-1], 2)
    notes["pitch"], notes["velocity"] = pitch, velocity
    order = np.lexsort((pitch, notes["end"], notes["start"], group))
    order = order[(notes["end"] > notes["start"])[order]]
    notes, group = notes[order], group[order]
    borders = np.searchsorted(group, np.arange(len(sources) + 1)).tolist()
    tracks = [
        Track(track.program, track.is_drum, track.name, notes[first:last])
        for track, first, last in zip(sources, borders, borders[1:], strict=False)
        if last > first
    ]
    return tracks, int(samples[-1])


def _tempo_changes(song) -> list:
    """A symusic Score's tempos without those that repeat the one before."""
    tempos = list(song.tempos)
    before = [500_000, *(tempo.mspq for tempo in tempos)]
    return [tempo for tempo, last in zip(tempos, before, strict=False) if tempo.mspq != last]


def _first_release(key: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """For each note the first end after its start among the notes of its key (instrument and pitch): int64.

    symusic gives the first note-off to the oldest note; where a pitch is struck again before it was released, all
    later ends would be late by one.
    """
    if not len(key):
        return end
    shift = 1 << 33
    ends = np.sort(key * shift + end)
    place = np.searchsorted(ends, key * shift + start, side="right")
    found = ends[np.minimum(place, len(ends) - 1)] - key * shift
    return np.where((place < len(ends)) & (found < shift), found, end)
