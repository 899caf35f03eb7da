"""Continuation: where a given song is cut, and pieces that go on from there; also pieces from nothing.

Paper: §8 ("primed" on human-composed material; its notebook takes the first 512 events). Notebook: 09_composing.
Differences from the paper: the cut may be at a time; several continuations at once; the beginning's own perplexity says
how well the model can follow it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from lakhnes_lib.data.build import read_song
from lakhnes_lib.errors import BadMidi, LakhnesError
from lakhnes_lib.evaluation.perplexity import exact
from lakhnes_lib.generation import sampling
from lakhnes_lib.music import events, mapping, midi, nes
from lakhnes_lib.music.score import Score


def read(path) -> Score:
    """Score of a MIDI, TX1 or VGM file; a MIDI file of other instruments is mapped to the NES (``mapping.py``).

    Raises BadMidi, BadEvents or BadAudio (VGM), and Rejected for a MIDI file of which no voice can be made.
    """
    try:
        return read_song(path)
    except BadMidi:
        named = {track.name.strip().lower() for track in midi.parse(path).tracks} - {""}
        if named and named <= set(nes.MIDI_NAMES):
            raise  # meant for the NES, and wrong
        options = mapping.MappingOptions(least_seconds=0.0)
        return mapping.map_to_nes(path, options=options)[0].renamed(Path(path).stem)


def cut(score: Score, *, seconds: float | None = None, count: int | None = None) -> np.ndarray:
    """Events of a song's beginning: uint16 (events,), the silence before the first note left out.

    seconds: up to there, from the song's beginning; count: so many events. A note that sounds at the cut is not ended:
    how long it lasts is part of the continuation. Raises LakhnesError if nothing is left.
    """
    ids = events.frame(events.encode(score))[1:-1]
    silence = int(score.notes["start"].min(initial=score.length))
    if seconds is not None:
        reached = silence + np.cumsum(events.TICKS_OF[ids]) <= round(seconds * nes.TICKS_PER_SECOND)
        ids = ids[: int(reached.sum())]
    ids = ids[: max(0, count)] if count is not None else ids
    if not len(ids):
        place = "all of it" if seconds is None else f"its first {seconds:g} s"
        raise LakhnesError(f"{score.name or 'beginning'}: {place} holds no note to go on from")
    return ids


def perplexity(model, ids: np.ndarray, memory_length: int | None = 512) -> float:
    """Perplexity of a beginning under the model; nan for one too short to be scored (``evaluation.SHORTEST``)."""
    framed = np.concatenate([[events.START], ids])
    scores = exact(model, [framed], memory_length=memory_length, progress=False)
    return scores.perplexity if scores.targets else float("nan")


def grow(steps: Iterable[np.ndarray], n: int, start=()) -> Iterator[list[list[int]]]:
    """The pieces as they stand after each step of ``sampling.stream``: always the same n lists, ever longer.

    Whoever stops early, at Ctrl-C for one, has what is composed by then; ``decode`` makes a valid Score of it.
    """
    pieces = [list(map(int, start)) for _ in range(n)]
    for step in steps:
        for piece, event in zip(pieces, step.tolist(), strict=True):
            if event >= 0:
                piece.append(event)
        yield pieces


def compose(
    model, prime: np.ndarray | None = None, *, n: int, **options
) -> Iterator[list[list[int]]]:
    """Pieces from nothing, or from a beginning of ``cut``, as they grow; options: those of ``sampling.stream``."""
    return grow(
        sampling.stream(model, n=n, prime=prime, **options), n, () if prime is None else prime
    )
