"""Music for any instruments becomes music for the NES: monophonic parts, drawn at random for its voices.

Paper: §4.2.1. Notebook: 03_lakh_to_nes. What the paper leaves open follows the authors' published script; every filter
and choice of both is a field of ``MappingOptions``. Differences from them:

- Every random choice comes from a seed made of the file's content and the run's seed; theirs has none.
- Overlapping hits of a drum track are thinned before its example is drawn, so an example ends with the last note that
  is heard; theirs may end with a hit that was skipped.
- Examples without any note, which theirs writes as empty files, are left out.
- Files with negative or reversed times never get here: ``tracks.parse_tracks`` refuses them.
"""

import hashlib
import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lakhnes_lib.errors import BadMidi, Rejected
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import NOTE, Score
from lakhnes_lib.music.tracks import Track, parse_tracks

NOISE_TYPES = int(nes.HIGHEST_PITCH[nes.NO])

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

    most_bytes: larger files are refused. least_seconds, most_seconds: length of a song, by its last timed event.
    lowest_top, highest_bottom: an instrument stays if its highest pitch is not below the one, and its lowest not above
    the other; its notes outside a voice's own range are dropped when it is given that voice.
    least_melodies: monophonic instruments a song must have.
    drop_duplicates, duplicate_seconds: of instruments with the same pitches at the same onsets, rounded to this grid,
    the first stays.
    drums: give an example one drum track, drawn at random. drum_overlaps: of hits that overlap, the ``first`` stays
    (published) or the ``loudest``.
    most_examples: assignments a song, drawn at random where there are more. most_instruments: the assignments are those
    of so many instruments, drawn at random where there are more.
    most_example_seconds: an example's length from its first note; notes that end later are dropped whole.
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

    content_hash: SHA-256 of the file in hexadecimal. melodies: each monophonic. drums: each thinned to one hit at a
    time, with the file's own drum pitches.
    """

    name: str
    content_hash: str
    melodies: list[np.ndarray]
    drums: list[np.ndarray]


def map_to_nes(path, seed: int = 0, options: MappingOptions = PUBLISHED) -> list[Score]:
    """The NES examples of a MIDI file: one at least, the same for the same content, seed and options.

    Raises Rejected, with the reason, when nothing comes of the file.
    """
    kept = candidates(path, options)
    found = examples(kept, seed, options=options)
    if not found:
        raise _rejected("nothing_left", path)
    return found


def candidates(path, options: MappingOptions = PUBLISHED) -> Candidates:
    """The parts of a MIDI file that the NES may play. Raises Rejected."""
    path = Path(path)
    try:
        if path.stat().st_size > options.most_bytes:
            raise _rejected("too_large", path)
        data = path.read_bytes()
    except OSError as error:
        raise Rejected("unreadable", f"{path}: cannot be read ({error.strerror})") from error
    return replace(
        candidates_of(data, str(path), options), name=path.stem
    )  # messages name the whole path


def candidates_of(data: bytes, name: str, options: MappingOptions = PUBLISHED) -> Candidates:
    """The same of a MIDI file's bytes. Raises Rejected."""
    if len(data) > options.most_bytes:
        raise _rejected("too_large", name)
    try:
        tracks, length = parse_tracks(data, name)
    except BadMidi as error:
        raise Rejected("unreadable", str(error)) from error
    return candidates_of_tracks(tracks, length, name, hashlib.sha256(data).hexdigest(), options)


def candidates_of_tracks(
    tracks: list[Track],
    length: int,
    name: str,
    content_hash: str,
    options: MappingOptions = PUBLISHED,
) -> Candidates:
    """The same of tracks and length (1/44,100 s) as ``tracks.parse_tracks`` gives them. Raises Rejected."""
    if not tracks:
        raise _rejected("no_notes", name)
    if length < options.least_seconds * nes.TICKS_PER_SECOND:
        raise _rejected("too_short", name)
    if length > options.most_seconds * nes.TICKS_PER_SECOND:
        raise _rejected("too_long", name)
    melodies = [track.notes for track in tracks if not track.is_drum]
    for reason, rule in (
        ("only_drums", None),
        ("out_of_range", in_range),
        ("polyphonic", is_monophonic),
    ):
        melodies = [notes for notes in melodies if rule is None or rule(notes, options)]
        if len(melodies) < options.least_melodies:
            raise _rejected(reason, name)
    if options.drop_duplicates:
        melodies = without_duplicates(melodies, options)
        if len(melodies) < options.least_melodies:
            raise _rejected("polyphonic", name)
    drums = [thin(track.notes, options) for track in tracks if track.is_drum and options.drums]
    return Candidates(name, content_hash, melodies, drums)


def _rejected(reason: str, name) -> Rejected:
    return Rejected(reason, f"{name}: {REASONS[reason]}")


def in_range(notes: np.ndarray, options: MappingOptions = PUBLISHED) -> bool:
    """Whether an instrument reaches into the range of the NES."""
    pitches = notes["pitch"]
    return bool(pitches.max() >= options.lowest_top and pitches.min() <= options.highest_bottom)


def is_monophonic(notes: np.ndarray, options: MappingOptions = PUBLISHED) -> bool:
    """Whether no note starts before the one before it has ended. notes: sorted by start."""
    return bool((notes["start"][1:] >= notes["end"][:-1]).all())


def without_duplicates(
    melodies: list[np.ndarray], options: MappingOptions = PUBLISHED
) -> list[np.ndarray]:
    """The first of every set of melodies with the same pitches at the same onsets, on a grid of time."""
    step = options.duplicate_seconds * nes.TICKS_PER_SECOND
    first = {}
    for notes in melodies:
        first.setdefault(
            (notes["pitch"].tobytes(), np.rint(notes["start"] / step).tobytes()), notes
        )
    return list(first.values())


def thin(hits: np.ndarray, options: MappingOptions = PUBLISHED) -> np.ndarray:
    """The hits of a drum track that a single voice can play: of two that overlap one is dropped."""
    kept, end, loudness = [], -1, 0
    loudest = options.drum_overlaps == "loudest"
    columns = (hits[field].tolist() for field in ("start", "end", "velocity"))
    for place, (start, stop, velocity) in enumerate(zip(*columns, strict=True)):
        if start < end:
            if not loudest or velocity <= loudness:
                continue
            kept.pop()
        kept.append(place)
        end, loudness = stop, velocity
    return hits[kept]


def generator(content_hash: str, seed: int) -> np.random.Generator:
    """The source of every random choice for one file in one run. seed: not negative."""
    return np.random.default_rng([int(content_hash, 16), seed])


def assignments(
    count: int, rng: np.random.Generator, options: MappingOptions = PUBLISHED
) -> list[tuple]:
    """Which of ``count`` melodies P1, P2 and TR play in each example: tuples of three numbers, -1 for a silent voice.

    One melody goes to each voice in turn, two to each pair of voices, more to all voices in every order.
    """
    chosen = list(range(count))
    if count > options.most_instruments:
        chosen = rng.choice(count, options.most_instruments, replace=False).tolist()
    silent = [-1] * (3 - count)
    orders = sorted(set(itertools.permutations(chosen + silent, 3)))
    if len(orders) > options.most_examples:
        orders = [
            orders[place] for place in rng.choice(len(orders), options.most_examples, replace=False)
        ]
    return orders


def draw(
    kept: Candidates,
    assignment: tuple,
    rng: np.random.Generator,
    options: MappingOptions = PUBLISHED,
) -> Score:
    """One example: melodies to voices by ``assignment``, and a drum track with its own map of pitches to noise types.

    It starts with its first note. It may hold no note, where none is in its voice's range.
    """
    parts = []
    for voice, number in enumerate(assignment):
        if number >= 0:
            notes = kept.melodies[number]
            fits = (notes["pitch"] >= nes.LOWEST_PITCH[voice]) & (
                notes["pitch"] <= nes.HIGHEST_PITCH[voice]
            )
            parts.append(_for_voice(voice, notes[fits]))
    if kept.drums:
        hits = _for_voice(nes.NO, kept.drums[rng.integers(len(kept.drums))])
        hits["pitch"] = rng.integers(1, NOISE_TYPES + 1, 128)[hits["pitch"]]
        parts.append(hits)
    notes = np.concatenate(parts)
    start, end = notes["start"].min(initial=1 << 62), notes["end"].max(initial=0)
    end = min(end, start + round(options.most_example_seconds * nes.TICKS_PER_SECOND))
    notes = notes[notes["end"] <= end]
    notes["start"] -= start
    notes["end"] -= start
    return Score.build(notes, max(end - start, 0), name=kept.name)


def _for_voice(voice: int, part: np.ndarray) -> np.ndarray:
    """``NOTE`` records of one voice, with the velocities 1-127 brought to the voice's 1-15, or 1."""
    notes = np.empty(len(part), NOTE)
    notes["voice"] = voice
    for field in ("start", "end", "pitch"):
        notes[field] = part[field]
    notes["velocity"] = np.rint(
        1 + (float(nes.HIGHEST_VELOCITY[voice]) - 1) * part["velocity"] / 127
    )
    return notes


def examples(kept: Candidates, seed: int = 0, options: MappingOptions = PUBLISHED) -> list[Score]:
    """The published examples of a song: at most ``most_examples``, those without notes left out."""
    rng = generator(kept.content_hash, seed)
    drawn = (
        draw(kept, order, rng, options) for order in assignments(len(kept.melodies), rng, options)
    )
    found = [score for score in drawn if len(score.notes)]
    return [score.renamed(f"{kept.name}_{number:03}") for number, score in enumerate(found)]
