"""Perplexity by three protocols: the exact one, the one behind the paper's numbers, song by song.

Paper: §6, Table 2. Notebook: 07_quantitative_analysis. Where a model is good: ``diagnostics.py``.

Perplexity is e to the power of the mean negative log-likelihood of an event. The protocols differ
in what a model has read before an event, and in which events count:

- ``exact`` scores every event of every song once. A song is read by itself, from a fresh state.
- ``paper`` is the published evaluation. Several streams read the songs one after the other, and a
  stream's memory runs on from one song to the next. All streams stop together as soon as one of
  them finds no next song, so the events that the other streams still have to read are never scored.
- ``per_song`` is the evaluation that the authors ran on the published LakhNES in their notebook
  ``eval_playground``, which lists 2.452 on test and the perplexity of each song. It is ``exact``
  with longer segments, on all songs, whose waits before the first note and after the last stay.

The first two leave out the edge waits, and songs of fewer than ten events.
Differences from the paper: its streams took the files as the file system listed them, an order that
was not published; here they are taken by name. Song by song the order changes nothing, so there a
published number can be met to its last digit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import exp
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from lakhnes_lib.errors import BadSetting, DataNotFound, LakhnesError
from lakhnes_lib.models import processes
from lakhnes_lib.models.devices import without_denormals
from lakhnes_lib.models.language_model import LanguageModel
from lakhnes_lib.music import events
from lakhnes_lib.music.score import Score

SHORTEST = 10
"""Songs of fewer events, ``<S>`` at both ends counted, are not scored, as in the published code."""


class Scores(NamedTuple):
    """The log-probabilities that a model gave to the events of some songs.

    - songs: for each scored song float32 (targets,), the natural log-probability of each of its
      events but the first ``<S>``, in order, as far as the protocol came;
    - indices: the index of each of these songs in the list that was scored;
    - unscored: how many events of these songs the protocol left out.
    """

    songs: list[np.ndarray]
    indices: tuple[int, ...] = ()
    unscored: int = 0

    @property
    def targets(self) -> int:
        """Number of events scored."""
        return sum(map(len, self.songs))

    @property
    def nats(self) -> float:
        """Mean negative log-likelihood of an event. Raises DataNotFound if none was scored."""
        if not self.targets:
            raise DataNotFound("no event was scored, so there is no perplexity")
        return -sum(float(song.sum(dtype=np.float64)) for song in self.songs) / self.targets

    @property
    def perplexity(self) -> float:
        """e to the power of ``nats``. Raises LakhnesError if that is no finite number."""
        if not self.nats < 700:
            raise LakhnesError(
                f"no perplexity: the mean log-probability of an event is {-self.nats:.3g}, "
                "so the model's weights are damaged"
            )
        return exp(self.nats)


def perplexity(model: LanguageModel, songs, *, protocol: str = "exact", **settings) -> float:
    """Perplexity of a model on some songs, as one number.

    songs: each a Score or event ids with ``<S>`` around them; protocol: ``exact``, ``paper`` or
    ``per_song``; settings: the other arguments of that function. Raises BadSetting for another
    protocol.

    >>> import lakhnes_lib as nes
    >>> model = nes.load_model("assets/pretrained/mini")
    >>> song = nes.read("assets/songbook/greensleeves.abc").excerpt(0, 10)
    >>> nes.perplexity(model, [song], progress=False) < 631  # pure guessing
    True
    """
    protocols = {"exact": exact, "paper": paper, "per_song": per_song}
    if protocol not in protocols:
        raise BadSetting(f"protocol must be one of {', '.join(protocols)}, not {protocol!r}")
    frame = whole if protocol == "per_song" else lambda song: events.frame(events.encode(song))
    framed = [frame(song) if isinstance(song, Score) else song for song in songs]
    return protocols[protocol](model, framed, **settings).perplexity


@torch.inference_mode()
def exact(
    model: LanguageModel,
    songs: list[np.ndarray],
    *,
    segment: int = 128,
    memory_length: int | None = 896,
    batch: int = 16,
    shortest: int = SHORTEST,
    progress: bool = True,
) -> Scores:
    """Scores framed songs (``Split.framed``) by the exact protocol.

    segment: events that the model reads in one call; memory_length: events of history that it keeps
    between calls, None for the model's own number; batch: songs of like length that are read side
    by side, padded on the right; shortest: songs of fewer events are left out. The scores do not
    depend on ``batch``. Of several processes each reads a share of the songs; all get all scores.
    """
    indices = _long_enough(songs, shortest)
    by_length = sorted(indices, key=lambda index: -len(songs[index]))
    groups = [by_length[first : first + batch] for first in range(0, len(by_length), batch)]
    scores: dict[int, np.ndarray] = {}
    own = processes.own(groups)
    with _evaluating(model, songs, sum(own, []), progress) as bar:
        for group in own:
            chosen = [songs[index] for index in group]
            rows = _score_batch(model, chosen, segment, memory_length, bar)
            scores.update(zip(group, rows, strict=True))
    for part in processes.gather(scores):
        scores |= part
    return Scores([scores[index] for index in indices], tuple(indices))


def per_song(model: LanguageModel, songs: list[np.ndarray], **settings) -> Scores:
    """Scores songs (``whole``) as the authors did song by song: all of them, in segments of 512,
    memory 896. settings: as in ``exact``; ``diagnostics.per_song`` gives each song's mean.
    """
    return exact(model, songs, **{"segment": 512, "shortest": 0} | settings)


def whole(song: Score) -> np.ndarray:
    """What a model sees of a song whose edge waits stay: uint16 (events + 2,), ``<S>`` before and
    after."""
    return events.with_starts(events.encode(song))


def _score_batch(model, songs, segment, memory_length, bar) -> list[np.ndarray]:
    """Log-probabilities of songs that are sorted from long to short; a row leaves the batch when
    its song is over."""
    lengths = np.array([len(song) - 1 for song in songs])
    padded = pad_sequence([torch.from_numpy(song.astype(np.int64)) for song in songs], True, -1)
    padded = padded.to(model.device)
    ids, targets = padded[:, :-1].clamp_min(0), padded[:, 1:]  # targets of -1 are not scored
    log_probs = np.zeros(ids.shape, np.float32)
    state, rows = None, len(songs)
    for start in range(0, lengths[0], segment):
        unfinished = int((lengths > start).sum())
        if unfinished < rows:
            rows = unfinished
            state = model.select(state, torch.arange(rows, device=model.device))
        columns = slice(start, min(start + segment, lengths[0]))
        part = ids[:rows, columns], targets[:rows, columns]
        scored, state = model.target_log_probs(*part, state, memory_length=memory_length)
        log_probs[:rows, columns] = scored.float().cpu().numpy()
        bar.update(int((lengths - start).clip(0, segment).sum()))
    return [log_probs[row, :length] for row, length in enumerate(lengths)]


@torch.inference_mode()
def paper(
    model: LanguageModel,
    songs: list[np.ndarray],
    names: list[str] | None = None,
    *,
    streams: int = 10,
    segment: int = 128,
    memory_length: int | None = 896,
    progress: bool = True,
) -> Scores:
    """Scores framed songs (``Split.framed``) by the paper's protocol.

    names: the songs are read in the order of these names, None: in the order of the list; streams:
    rows of the batch; segment, memory_length: as in ``exact``. With fewer songs than streams
    nothing is scored.
    """
    indices = _long_enough(songs)
    if names is not None:
        indices.sort(key=lambda index: names[index])
    log_probs, owners = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
    state = None
    read = [songs[index] for index in indices]
    with _evaluating(model, songs, indices, progress) as bar:
        for step in _stream_segments(read, streams, segment):
            ids, targets = torch.from_numpy(step[:2]).to(model.device)
            scored, state = model.target_log_probs(ids, targets, state, memory_length=memory_length)
            log_probs.append(scored.float().cpu().numpy().ravel())
            owners.append(step[2].ravel())
            bar.update(ids.numel())
    # One stream reads all of a song, so a stable sort leaves the events of each song in order.
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=len(indices))
    by_song = np.split(np.concatenate(log_probs)[order], np.cumsum(counts)[:-1])
    unscored = sum(len(song) - 1 for song in read) - len(owner)
    return Scores(by_song[: len(indices)], tuple(indices), unscored)


def _stream_segments(songs, streams: int, segment: int) -> Iterator[np.ndarray]:
    """What the streams read in each step: int64 (3, streams, segment), namely ids, targets and the
    song's index.

    A stream takes the next song in the list when its own does not fill the segment.
    """
    waiting = iter(enumerate(songs))
    unread = [np.zeros((3, 0), np.int64) for _ in range(streams)]
    while True:
        for row in range(streams):
            while unread[row].shape[1] < segment:
                index, song = next(waiting, (None, None))
                if song is None:
                    return
                taken = np.stack([song[:-1], song[1:], np.full(len(song) - 1, index)])
                unread[row] = np.concatenate([unread[row], taken.astype(np.int64)], axis=1)
        yield np.stack([stream[:, :segment] for stream in unread], axis=1)
        unread = [stream[:, segment:] for stream in unread]


def _long_enough(songs, shortest: int = SHORTEST) -> list[int]:
    """The indices of the songs that are scored."""
    return [index for index, song in enumerate(songs) if len(song) >= shortest]


@contextmanager
def _evaluating(model: LanguageModel, songs, indices, progress: bool):
    """The model is in evaluation mode inside, and afterwards in the mode in which it was.

    Gives a progress bar over the events of the songs with these indices.
    """
    total = sum(len(songs[index]) - 1 for index in indices)
    shown = dict(desc="measuring perplexity", unit="event", unit_scale=True, disable=not progress)
    training = model.training
    model.eval()
    try:
        with without_denormals(), tqdm(total=total, **shown) as bar:
            yield bar
    finally:
        model.train(training)
