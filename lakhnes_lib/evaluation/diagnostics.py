"""Where a model is good: its scores by song, voice, kind of event, position and memory.

Paper: §6 gives one number a model. Notebook: 07_quantitative_analysis.
Differences from the paper: it has none of this.

All functions but ``by_memory`` group the scores that a protocol of ``perplexity`` returned; the
model does not run again. A group's mean is in nats an event, and e to its power is the group's
perplexity. The mean of the groups, weighted by their ``targets``, is that of the whole.
"""

from typing import NamedTuple

import numpy as np

from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.evaluation.perplexity import Scores
from lakhnes_lib.music import events, nes

KINDS = ("time", "note-on", "note-off", "end")
MEMORIES = (0, 64, 128, 256, 512, 896)


class Groups(NamedTuple):
    """Scores by group.

    targets: int64 (groups,), how many events were scored; nats: float64 (groups,), their mean
    negative log-likelihood, NaN for a group without events.
    """

    labels: tuple[str, ...]
    targets: np.ndarray
    nats: np.ndarray

    @property
    def perplexity(self) -> np.ndarray:
        """float64 (groups,)"""
        return np.exp(self.nats)

    @property
    def share(self) -> np.ndarray:
        """float64 (groups,): each group's share of all the nats."""
        nats = np.where(self.targets > 0, self.targets * np.nan_to_num(self.nats), 0.0)
        return nats / nats.sum()


def per_song(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Scored events, int64 (songs,), and their mean nats, float64 (songs,), of each song.

    The songs stand in the order of ``scores.indices``. The mean is NaN where no event was scored.
    """
    song_of_event = np.repeat(np.arange(len(scores.songs)), [len(song) for song in scores.songs])
    groups = _group(scores, song_of_event, tuple(map(str, scores.indices)))
    return groups.targets, groups.nats


def by_kind(scores: Scores, songs: list[np.ndarray]) -> Groups:
    """Waits, note-ons, note-offs and the last ``<S>``; songs: the framed songs that were scored."""
    return by_event(scores, songs, _KIND_OF, KINDS)


def by_voice(scores: Scores, songs: list[np.ndarray]) -> Groups:
    """Note-ons and note-offs of P1, P2, TR, NO, then all others; songs: as for ``by_kind``."""
    return by_event(scores, songs, _VOICE_OF, (*nes.VOICES, "no voice"))


def by_event(
    scores: Scores, songs: list[np.ndarray], group_of: np.ndarray, labels: tuple[str, ...]
) -> Groups:
    """Any grouping of the vocabulary.

    group_of: integers (631,), the group of each event id, from 0 to len(labels) - 1.
    """
    scored = zip(scores.indices, scores.songs, strict=True)
    targets = [songs[index][1 : 1 + len(song)] for index, song in scored]
    return _group(scores, group_of[np.concatenate([np.zeros(0, np.uint16), *targets])], labels)


def by_position(scores: Scores) -> tuple[np.ndarray, Groups]:
    """Groups by position: how many events of its song come before an event, ``<S>`` counted.

    Returns edges, int64 (groups + 1,), the powers of two up to the longest song, and the groups: a
    group begins at its edge and ends before the next one.
    """
    positions = [np.arange(1, len(song) + 1) for song in scores.songs]
    position = np.concatenate([np.zeros(0, np.int64), *positions])
    edges = 2 ** np.arange(int(position.max(initial=1)).bit_length() + 1)
    ranges = zip(edges[:-1], edges[1:] - 1, strict=True)
    labels = tuple(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)
    return edges, _group(scores, np.searchsorted(edges, position, side="right") - 1, labels)


def by_memory(model, songs: list[np.ndarray], lengths=MEMORIES, **settings) -> np.ndarray:
    """Exact perplexity with each of these memory lengths: float64 (lengths,).

    settings: those of ``perplexity.exact``.
    The later events of a segment also see its earlier ones, whatever the memory, so a short
    ``segment`` shows more of the memory's effect.
    """
    runs = [perplexity.exact(model, songs, memory_length=length, **settings) for length in lengths]
    return np.array([scores.perplexity for scores in runs])


_VOICE_OF = np.where(events.VOICE_OF < 0, len(nes.VOICES), events.VOICE_OF)
_KIND_OF = np.select([events.IS_WAIT, events.IS_NOTE_ON, events.IS_NOTE_OFF], [0, 1, 2], 3)


def _group(scores: Scores, group: np.ndarray, labels: tuple[str, ...]) -> Groups:
    """group: integers (targets,), that of each scored event; one without a label is left out."""
    nats = -np.concatenate([np.zeros(0, np.float32), *scores.songs]).astype(np.float64)
    inside = (group >= 0) & (group < len(labels))
    targets = np.bincount(group[inside], minlength=len(labels))
    sums = np.bincount(group[inside], nats[inside], minlength=len(labels))
    with np.errstate(invalid="ignore"):
        return Groups(labels, targets, sums / targets)
