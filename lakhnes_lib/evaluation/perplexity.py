"""Perplexity by two protocols: the exact one, and the one behind the paper's numbers.

Paper: §6, Table 2. Notebook: 07_quantitative_analysis. Where a model is good: ``diagnostics.py``.
``exact`` scores every event of each song of ten events or more once, with nothing but that song's own past. ``paper``
is the published evaluation: parallel streams whose memory runs on from song to song, and which stop all together when
one of them finds no next song, so that the songs' ends still waiting then are never scored.
Differences from the paper: it read files in the order of the directory, which is not known; here they go by name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import exp

import numpy as np
import torch
from tqdm.auto import tqdm

from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.models.devices import without_denormals
from lakhnes_lib.models.language_model import LanguageModel

SHORTEST = 10
"""Songs of fewer events, ``<S>`` at both ends counted, are not scored (as in the published protocol)."""


@dataclass(frozen=True)
class Perplexity:
    """Scores of a split.

    songs: for each song float32 (targets,), the log-probabilities of its events but the first ``<S>``, from the
    beginning, as far as they were scored; numbers: each song's place in the list that was given.
    unscored: events of these songs that the protocol left out.
    """

    songs: list[np.ndarray]
    numbers: tuple[int, ...] = ()
    unscored: int = 0

    @property
    def targets(self) -> int:
        """Events scored."""
        return sum(map(len, self.songs))

    @property
    def nats(self) -> float:
        """Mean negative log-likelihood a target. Raises DataNotFound if there is none."""
        if not self.targets:
            raise DataNotFound("no event was scored, so there is no perplexity")
        return -sum(float(song.sum(dtype=np.float64)) for song in self.songs) / self.targets

    @property
    def perplexity(self) -> float:
        """Raises LakhnesError where it is no finite number, or larger than one can be."""
        if not self.nats < 700:
            raise LakhnesError(
                f"no perplexity: the mean log-probability is {-self.nats:.3g}, so weights are damaged"
            )
        return exp(self.nats)


@contextmanager
def _measuring(model: LanguageModel, memory_length: int | None):
    """The model in evaluation mode, with this memory; afterwards it is as it was."""
    training, kept = model.training, model.memory_length
    model.eval()
    if memory_length is not None:
        model.memory_length = memory_length
    try:
        with without_denormals():
            yield
    finally:
        model.memory_length = kept
        model.train(training)


@torch.inference_mode()
def exact(
    model: LanguageModel,
    songs: list[np.ndarray],
    *,
    segment: int = 128,
    memory_length: int | None = 896,
    batch: int = 16,
    progress: bool = True,
) -> Perplexity:
    """Scores framed songs (``Split.framed``); those under 10 events are left out.

    segment: events a call; memory_length: events of history kept between calls, None for the model's own;
    batch: songs at once, of like length, padded on the right: the result does not depend on it.
    """
    chosen = [number for number, song in enumerate(songs) if len(song) >= SHORTEST]
    order = sorted(chosen, key=lambda number: -len(songs[number]))
    scores: dict[int, np.ndarray] = {}
    total = sum(len(songs[number]) - 1 for number in order)
    with _measuring(model, memory_length), _bar(total, progress) as bar:
        for first in range(0, len(order), batch):
            group = order[first : first + batch]
            scored = _score_batch(model, [songs[number] for number in group], segment, bar)
            scores.update(zip(group, scored, strict=True))
    return Perplexity([scores[number] for number in chosen], tuple(chosen))


def _bar(total: int, progress: bool) -> tqdm:
    return tqdm(
        total=total,
        desc="measuring perplexity",
        unit="event",
        unit_scale=True,
        disable=not progress,
    )


def _score_batch(model, songs, segment, bar) -> list[np.ndarray]:
    """Songs sorted from long to short, side by side; a row leaves the batch when its song is over."""
    lengths = [len(song) - 1 for song in songs]
    ids = np.zeros((len(songs), lengths[0]), np.int64)
    targets = np.full((len(songs), lengths[0]), -1, np.int64)
    for row, song in enumerate(songs):
        ids[row, : len(song) - 1], targets[row, : len(song) - 1] = song[:-1], song[1:]
    ids, targets = (
        torch.from_numpy(ids).to(model.device),
        torch.from_numpy(targets).to(model.device),
    )
    out = np.zeros(ids.shape, np.float32)
    state, rows = None, len(songs)
    for start in range(0, lengths[0], segment):
        left = sum(length > start for length in lengths)
        if left < rows:
            state, rows = model.select(state, torch.arange(left, device=model.device)), left
        part = slice(start, min(start + segment, lengths[0]))
        scored, state = model.target_log_probs(ids[:rows, part], targets[:rows, part], state)
        out[:rows, part] = scored.float().cpu().numpy()
        bar.update(sum(min(max(length - start, 0), segment) for length in lengths))
    return [out[row, :length] for row, length in enumerate(lengths)]


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
) -> Perplexity:
    """Scores framed songs (``Split.framed``) as the published evaluation does; those under 10 events are left out.

    names: the songs are read in the order of these; None: as they stand.
    streams: rows of the batch, each of which takes the next song when its own is over; segment, memory_length: as in
    ``exact``. With fewer songs than streams nothing is scored.
    """
    chosen = [number for number, song in enumerate(songs) if len(song) >= SHORTEST]
    if names is not None:
        chosen.sort(key=lambda number: names[number])
    total = sum(len(songs[number]) - 1 for number in chosen)
    scores: dict[int, list[np.ndarray]] = {number: [] for number in chosen}
    state, done = None, 0
    with _measuring(model, memory_length), _bar(total, progress) as bar:
        for pieces in _published_segments(
            [(number, len(songs[number]) - 1) for number in chosen], streams, segment
        ):
            ids = np.stack([np.concatenate([songs[n][a:b] for n, a, b in row]) for row in pieces])
            targets = np.stack(
                [np.concatenate([songs[n][a + 1 : b + 1] for n, a, b in row]) for row in pieces]
            )
            ids, targets = (
                torch.from_numpy(x.astype(np.int64)).to(model.device) for x in (ids, targets)
            )
            scored, state = model.target_log_probs(ids, targets, state)
            for row, values in zip(pieces, scored.float().cpu().numpy(), strict=True):
                parts = np.split(values, np.cumsum([b - a for _, a, b in row[:-1]]))
                for (number, _, _), part in zip(row, parts, strict=True):
                    scores[number].append(part)
            done += streams * segment
            bar.update(streams * segment)
    empty = np.zeros(0, np.float32)
    return Perplexity(
        [np.concatenate([empty, *scores[n]]) for n in chosen], tuple(chosen), total - done
    )


def _published_segments(
    songs, streams: int, segment: int
) -> Iterator[list[list[tuple[int, int, int]]]]:
    """What each stream reads in each step: pieces (song, first input, end), ``segment`` inputs long together.

    songs: pairs (song, number of targets), in the order in which streams take them.
    """
    waiting = iter(songs)
    current = [(0, 0, 0)] * streams  # song, next input, end
    while True:
        pieces = []
        for row, (song, start, end) in enumerate(current):
            read, missing = [], segment
            while missing:
                if start == end:
                    song, end = next(waiting, (0, 0))
                    if not end:
                        return
                    start = 0
                stop = min(end, start + missing)
                read.append((song, start, stop))
                missing, start = missing - (stop - start), stop
            current[row] = song, start, end
            pieces.append(read)
        yield pieces
