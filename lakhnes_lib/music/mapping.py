"""Music for any instruments becomes music for the NES: melodies and drums drawn for its voices.

Paper: §4.2.1. Notebook: 03_lakh_to_nes. Which parts of a file may be drawn: ``filters.py``. What
the paper leaves open follows the authors' published script. Differences from them: every random
choice comes from a seed made of the file's content and the run's seed, where theirs has none;
examples without any note, which theirs writes as empty files, are left out.
"""

import itertools

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.filters import PUBLISHED, Candidates, MappingOptions, candidates, require
from lakhnes_lib.music.score import NOTE, Score, records

NOISE_TYPES = int(nes.HIGHEST_PITCH[nes.NO])
SILENT = -1
"""In an assignment: the voice plays no melody."""


def map_to_nes(path, seed: int = 0, options: MappingOptions = PUBLISHED) -> list[Score]:
    """The NES examples of a MIDI file, at least one.

    The same content, seed and options give the same examples.
    Raises Rejected, with the reason, when nothing comes of the file.

    >>> import lakhnes_lib as nes
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/song.mid"
    >>> nes.write(nes.read("assets/songbook/greensleeves.abc"), path)
    >>> nes.map_to_nes(path)[0]
    Score('song_000', 60.30 s, notes: P1 144, P2 162, TR 64, NO 135)
    """
    scores = examples(candidates(path, options), seed, options)
    require(scores, "nothing_left", path)
    return scores


def generator(content_hash: str, seed: int) -> np.random.Generator:
    """The source of every random choice for one file in one run. seed: not negative."""
    return np.random.default_rng([int(content_hash, 16), seed])


def assignments(
    count: int, rng: np.random.Generator, options: MappingOptions = PUBLISHED
) -> list[tuple]:
    """Which of ``count`` melodies P1, P2 and TR play in each example: three numbers, or ``SILENT``.

    One melody goes to each voice in turn, two to each pair of voices, more to all voices in every
    order.
    """
    chosen = list(range(count))
    if count > options.most_instruments:
        chosen = rng.choice(count, options.most_instruments, replace=False).tolist()
    orders = sorted(set(itertools.permutations(chosen + [SILENT] * (3 - count), 3)))
    if len(orders) > options.most_examples:
        drawn = rng.choice(len(orders), options.most_examples, replace=False)
        orders = [orders[index] for index in drawn]
    return orders


def draw(
    song: Candidates,
    assignment: tuple,
    rng: np.random.Generator,
    options: MappingOptions = PUBLISHED,
) -> Score:
    """One example: melodies to voices by ``assignment``, and a drum track.

    Each example has its own map of drum pitches to noise types. It starts with its first note. It
    may hold no note, where none is in its voice's range.
    """
    parts = []
    for voice, number in enumerate(assignment):
        if number != SILENT:
            notes = song.melodies[number]
            parts.append(_for_voice(voice, notes[nes.has_pitch(voice, notes["pitch"])]))
    if song.drums:
        hits = _for_voice(nes.NO, song.drums[rng.integers(len(song.drums))])
        noise_types = rng.integers(1, NOISE_TYPES + 1, 128)  # of each drum pitch
        hits["pitch"] = noise_types[hits["pitch"]]
        parts.append(hits)
    notes = np.concatenate(parts)
    if not len(notes):
        return Score.build(notes, 0, name=song.name)
    start = notes["start"].min()
    longest = round(options.most_example_seconds * nes.TICKS_PER_SECOND)
    end = min(notes["end"].max(), start + longest)
    notes = notes[notes["end"] <= end]
    notes["start"] -= start
    notes["end"] -= start
    return Score.build(notes, end - start, name=song.name)


def _for_voice(voice: int, part: np.ndarray) -> np.ndarray:
    """``NOTE`` records of one voice, with velocities 1-127 brought to the voice's 1-15, or 1."""
    velocity = np.rint(1 + (float(nes.HIGHEST_VELOCITY[voice]) - 1) * part["velocity"] / 127)
    return records(NOTE, voice, part["start"], part["end"], part["pitch"], velocity)


def examples(song: Candidates, seed: int = 0, options: MappingOptions = PUBLISHED) -> list[Score]:
    """The published examples of a song: at most ``most_examples``, those without notes left out."""
    rng = generator(song.content_hash, seed)
    orders = assignments(len(song.melodies), rng, options)
    drawn = [draw(song, order, rng, options) for order in orders]
    scores = [score for score in drawn if len(score.notes)]
    return [score.renamed(f"{song.name}_{number:03}") for number, score in enumerate(scores)]
