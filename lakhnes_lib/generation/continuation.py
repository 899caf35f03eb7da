"""Continuation: the beginning of a given song, which is cut where pieces are to go on from it.

Paper: §8 (its notebook goes on from the first 512 events of human-composed material).
Notebook: 09_composing. What goes on: ``sampling.py`` and ``auditions.py``, with the beginning as
``prime``.
Differences from the paper: the cut may be at a time; the perplexity of the beginning says how well
the model can follow it.
"""

import numpy as np

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score


def cut(score: Score, *, seconds: float | None = None, count: int | None = None) -> np.ndarray:
    """Events of a song's beginning, without the silence before its first note: uint16 (events,).

    seconds: up to there, counted from the song's beginning; count: so many events. A note that
    sounds at the cut is not ended: its length is up to the continuation.
    Raises LakhnesError if nothing is left.

    >>> import lakhnes_lib as nes
    >>> song = nes.read("assets/songbook/greensleeves.abc")
    >>> len(nes.cut(song, seconds=8))
    156
    """
    ids, _ = split(score, np.inf if seconds is None else round(seconds * nes.TICKS_PER_SECOND))
    ids = ids[: None if count is None else max(0, count)]
    if not len(ids):
        part = "all of it" if seconds is None else f"its first {seconds:g} s"
        raise LakhnesError(f"{score.name or 'beginning'}: {part} holds no note to go on from")
    return ids


def split(score: Score, tick: float) -> tuple[np.ndarray, np.ndarray]:
    """A song's events up to a tick, and those after it, without the silence at either end."""
    ids = events.frame(events.encode(score))[1:-1]
    times = score.notes["start"].min(initial=score.length) + np.cumsum(events.TICKS_OF[ids])
    count = int((times <= tick).sum())
    return ids[:count], ids[count:]


def perplexity(model, ids: np.ndarray, memory_length: int | None = 512) -> float:
    """Perplexity of a beginning under a LanguageModel.

    nan for a beginning that is too short to be scored (``evaluation.perplexity.SHORTEST``).
    """
    from lakhnes_lib.evaluation.perplexity import exact

    framed = np.concatenate([[events.START], ids])
    scores = exact(model, [framed], memory_length=memory_length, progress=False)
    return scores.perplexity if scores.targets else float("nan")
