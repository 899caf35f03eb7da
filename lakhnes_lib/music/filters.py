"""Which parts of a MIDI file the NES may play: the filters before any of them is given to a voice.

Paper: §4.2.1. Notebook: 03_lakh_to_nes. What the paper leaves open follows the authors' published
script; every filter and choice is a field of ``MappingOptions``. Differences from them:

- Overlapping hits of a drum track are thinned here, before an example is drawn, so an example ends
  with the last note that is heard; theirs may end with a hit that was skipped.
- Files with negative or reversed times never get here: ``tracks.parse_tracks`` refuses them.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lakhnes_lib.errors import BadMidi, Rejected
from lakhnes_lib.music import midi, nes
from lakhnes_lib.music.tracks import parse_tracks

REASONS = {
    "too_large": "is larger than a song should be",
    "unreadable": "cannot be read as MIDI",
    "no_notes": "has no notes",
    "too_short": "is shorter than a song should be",
    "too_long": "is longer than a song should be",
    "only_drums": "has no instrument besides drums",
    "out_of_range": "has no instrument in the range of the NES",
    "polyphonic": "has no instrument that plays one note at a time",
    "nothing_left": "keeps no note in the range of any voice",
}
"""Why a file gives no example, in the order of the filters."""


@dataclass(frozen=True)
class MappingOptions:
    """Every filter and choice, with the published value. Times in seconds, pitches as MIDI numbers.

    most_bytes: larger files are refused.
    least_seconds, most_seconds: length of a song, by its last timed event.
    lowest_top, highest_bottom: an instrument stays if its highest pitch is not below the one, and
        its lowest not above the other; its notes outside a voice's own range are dropped when it is
        given that voice.
    least_melodies: monophonic instruments a song must have.
    drop_duplicates, duplicate_seconds: of instruments with the same pitches at the same onsets,
        rounded to this grid, the first stays.
    drums: give an example one drum track, drawn at random.
    drum_overlaps: of hits that overlap, the ``first`` stays (published) or the ``loudest``.
    most_examples: assignments a song, drawn at random where there are more.
    most_instruments: the assignments are those of so many instruments, drawn where there are more.
    most_example_seconds: an example's length from its first note; notes that end later are dropped.
    """

    most_bytes: int = 512 * 1024
    least_seconds: float = 5.0
    most_seconds: float = 600.0
    lowest_top: int = 21
    highest_bottom: int = 108
    least_melodies: int = 1
    drop_duplicates: bool = True
    duplicate_seconds: float = 0.1
    drums: bool = True
    drum_overlaps: str = "first"
    most_examples: int = 16
    most_instruments: int = 32
    most_example_seconds: float = 180.0

    def __post_init__(self):
        if self.drum_overlaps not in ("first", "loudest"):
            raise ValueError(f"drum_overlaps is 'first' or 'loudest', not {self.drum_overlaps!r}")
        if self.least_melodies < 1:
            raise ValueError(f"least_melodies is at least 1, not {self.least_melodies}")


PUBLISHED = MappingOptions()


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a song keeps for the NES before any draw: ``TRACK_NOTE`` records, in absolute time.

    content_hash: SHA-256 of the file in hexadecimal. melodies: each monophonic. drums: each thinned
    to one hit at a time, with the file's own drum pitches.
    """

    name: str
    content_hash: str
    melodies: list[np.ndarray]
    drums: list[np.ndarray]


def candidates(path, options: MappingOptions = PUBLISHED) -> Candidates:
    """The parts of a MIDI file that the NES may play. Raises Rejected."""
    try:
        data = midi.read_bytes(path)
    except BadMidi as error:
        raise Rejected("unreadable", str(error)) from None
    return replace(candidates_of(data, str(path), options), name=Path(path).stem)


def candidates_of(data: bytes, name: str, options: MappingOptions = PUBLISHED) -> Candidates:
    """The same of a MIDI file's bytes; messages call it by its name. Raises Rejected."""
    require(len(data) <= options.most_bytes, "too_large", name)
    try:
        tracks, length = parse_tracks(data, name)
    except BadMidi as error:
        raise Rejected("unreadable", str(error)) from None
    require(tracks, "no_notes", name)
    require(length >= options.least_seconds * nes.TICKS_PER_SECOND, "too_short", name)
    require(length <= options.most_seconds * nes.TICKS_PER_SECOND, "too_long", name)
    melodies = [track.notes for track in tracks if not track.is_drum]
    require(len(melodies) >= options.least_melodies, "only_drums", name)
    melodies = [notes for notes in melodies if in_range(notes, options)]
    require(len(melodies) >= options.least_melodies, "out_of_range", name)
    melodies = [notes for notes in melodies if is_monophonic(notes)]
    if options.drop_duplicates:
        melodies = without_duplicates(melodies, options)
    require(len(melodies) >= options.least_melodies, "polyphonic", name)
    drums = [thin(track.notes, options) for track in tracks if track.is_drum and options.drums]
    return Candidates(name, hashlib.sha256(data).hexdigest(), melodies, drums)


def require(condition, reason: str, name) -> None:
    """Raises Rejected, for one of ``REASONS`` and the file of this name, unless this holds."""
    if not condition:
        raise Rejected(reason, f"{name}: {REASONS[reason]}")


def in_range(notes: np.ndarray, options: MappingOptions = PUBLISHED) -> bool:
    """Whether an instrument reaches into the range of the NES."""
    pitches = notes["pitch"]
    return bool(pitches.max() >= options.lowest_top and pitches.min() <= options.highest_bottom)


def is_monophonic(notes: np.ndarray) -> bool:
    """Whether no note starts before the one before it has ended. notes: sorted by start."""
    return bool((notes["start"][1:] >= notes["end"][:-1]).all())


def without_duplicates(
    melodies: list[np.ndarray], options: MappingOptions = PUBLISHED
) -> list[np.ndarray]:
    """The first of every set of melodies with the same pitches at the same onsets, on a grid."""
    step = options.duplicate_seconds * nes.TICKS_PER_SECOND
    first = {}
    for notes in melodies:
        key = (notes["pitch"].tobytes(), np.rint(notes["start"] / step).tobytes())
        first.setdefault(key, notes)
    return list(first.values())


def thin(hits: np.ndarray, options: MappingOptions = PUBLISHED) -> np.ndarray:
    """The hits of a drum track that a single voice can play: of two that overlap one is dropped."""
    chosen, last_end, last_velocity = [], -1, 0
    columns = (hits[field].tolist() for field in ("start", "end", "velocity"))
    for index, (start, end, velocity) in enumerate(zip(*columns, strict=True)):
        if start < last_end:
            if options.drum_overlaps == "first" or velocity <= last_velocity:
                continue
            chosen.pop()
        chosen.append(index)
        last_end, last_velocity = end, velocity
    return hits[chosen]
