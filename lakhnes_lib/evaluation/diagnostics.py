"""Where a model is good: its scores by song, by voice, by kind of event, by position and by length of memory.

Paper: §6 gives one number a model. Notebook: 07_quantitative_analysis.
All functions but ``by_memory`` take apart the scores that ``evaluation`` made, without a second pass of the model.
Means are in nats an event: weighted by ``targets`` they add up to ``nats`` of the whole; exp of one is its perplexity.
Differences from the paper: it has none of this.
"""

from dataclasses import dataclass

import numpy as np

from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.evaluation.perplexity import Perplexity
from lakhnes_lib.music import events, nes

KINDS = ("time", "note-on", "note-off", "end")
MEMORIES = (0, 64, 128, 256, 512, 896)


@dataclass(frozen=True)
class Groups:
    """Scores by group: ``targets`` int64 (groups,) events; ``nats`` float64 (groups,) their mean, nan if none."""

    labels: tuple[str, ...]
    targets: np.ndarray
    nats: np.ndarray

    @property
    def perplexity(self) -> np.ndarray:
        """float64 (groups,)"""
        return np.exp(self.nats)

    @property
    def share(self) -> np.ndarray:
        """float64 (groups,): each group's part of all the nats; where the model's effort goes."""
        nats = np.where(self.targets > 0, self.targets * np.nan_to_num(self.nats), 0.0)
        return nats / nats.sum()


def per_song(scores: Perplexity) -> tuple[np.ndarray, np.ndarray]:
    """The events scored of each song, int64 (songs,), and their mean nats, float64 (songs,), nan where none was.

    In the order of ``scores.numbers``.
    """
    groups = np.repeat(np.arange(len(scores.songs)), [len(song) for song in scores.songs])
    found = _grouped(scores, groups, tuple(map(str, scores.numbers)))
    return found.targets, found.nats


def by_kind(scores: Perplexity, songs: list[np.ndarray]) -> Groups:
    """Time, note-on, note-off, and the closing ``<S>``. songs: the framed songs that were scored."""
    return by_event(scores, songs, _KIND_OF, KINDS)


def by_voice(scores: Perplexity, songs: list[np.ndarray]) -> Groups:
    """Notes on and off of P1, P2, TR and NO; then the events of no voice."""
    return by_event(scores, songs, _VOICE_OF, (*nes.VOICES, "no voice"))


def by_event(
    scores: Perplexity, songs: list[np.ndarray], group_of: np.ndarray, labels: tuple[str, ...]
) -> Groups:
    """Any grouping of events: group_of: integers (631,), the group of each id, from 0 to len(labels) - 1."""
    targets = [
        songs[n][1 : 1 + len(song)] for n, song in zip(scores.numbers, scores.songs, strict=True)
    ]
    return _grouped(scores, group_of[np.concatenate([np.zeros(0, np.uint16), *targets])], labels)


def by_position(scores: Perplexity, edges: np.ndarray | None = None) -> tuple[np.ndarray, Groups]:
    """By how many events of its song stand before an event, the opening ``<S>`` counted.

    edges: int64 (groups + 1,), rising; a group reaches from its edge to before the next, and what lies outside of all
    is left out. None: powers of two, up to the longest song. Returns the edges, and the groups.
    """
    lengths = [len(song) for song in scores.songs]
    history = np.concatenate(
        [np.zeros(0, np.int64), *(np.arange(1, length + 1) for length in lengths)]
    )
    if edges is None:
        edges = 2 ** np.arange(max(1, int(history.max(initial=1)).bit_length()) + 1)
    edges = np.asarray(edges, np.int64)
    labels = tuple(
        f"{a}" if b - a == 1 else f"{a}-{b - 1}" for a, b in zip(edges[:-1], edges[1:], strict=True)
    )
    return edges, _grouped(scores, np.searchsorted(edges, history, side="right") - 1, labels)


def by_memory(model, songs: list[np.ndarray], lengths=MEMORIES, **settings) -> np.ndarray:
    """Exact perplexity with each of these memories: float64 (lengths,). settings: those of ``perplexity.exact``.

    A segment's later events see its earlier ones too, whatever the memory: a short ``segment`` shows more.
    """
    return np.array(
        [perplexity.exact(model, songs, memory_length=n, **settings).perplexity for n in lengths]
    )


_VOICE_OF = np.where(events.VOICE_OF < 0, len(nes.VOICES), events.VOICE_OF)
_KIND_OF = np.select([events.IS_WAIT, events.IS_NOTE_ON, events.IS_NOTE_OFF], [0, 1, 2], 3)


def _grouped(scores: Perplexity, groups: np.ndarray, labels: tuple[str, ...]) -> Groups:
    """groups: integers (targets,), one of each scored event; those outside of the labels are left out."""
    nats = -np.concatenate([np.zeros(0, np.float32), *scores.songs]).astype(np.float64)
    inside = (groups >= 0) & (groups < len(labels))
    targets = np.bincount(groups[inside], minlength=len(labels))
    sums = np.bincount(groups[inside], nats[inside], minlength=len(labels))
    with np.errstate(invalid="ignore"):
        return Groups(labels, targets, sums / targets)
