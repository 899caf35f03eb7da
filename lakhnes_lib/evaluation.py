"""Perplexity, exactly: every event of every song scored once, with nothing but that song's own past.

Paper: §6. Notebook: 07_quantitative_analysis.
Differences from the paper: its published protocol carries memory across songs and leaves part of the split unscored.
"""

from dataclasses import dataclass
from math import exp

import numpy as np
import torch
from tqdm.auto import tqdm

from lakhnes_lib.models.language_model import LanguageModel

SHORTEST = 10
"""Songs of fewer events, ``<S>`` at both ends counted, are not scored (as in the published protocol)."""


@dataclass(frozen=True)
class Perplexity:
    """Scores of a split: for each song float32 (targets,), the log-probability of every event but the first ``<S>``."""

    songs: list[np.ndarray]

    @property
    def targets(self) -> int:
        return sum(map(len, self.songs))

    @property
    def nats(self) -> float:
        """Mean negative log-likelihood a target."""
        return -sum(float(song.sum(dtype=np.float64)) for song in self.songs) / self.targets

    @property
    def perplexity(self) -> float:
        return exp(self.nats)


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
    training, kept = model.training, model.memory_length
    model.eval()
    if memory_length is not None:
        model.memory_length = memory_length
    chosen = [number for number, song in enumerate(songs) if len(song) >= SHORTEST]
    order = sorted(chosen, key=lambda number: -len(songs[number]))
    scores: dict[int, np.ndarray] = {}
    try:
        with tqdm(
            total=sum(len(songs[n]) - 1 for n in order), unit="event", unit_scale=True, disable=not progress
        ) as bar:
            for first in range(0, len(order), batch):
                group = order[first : first + batch]
                for number, score in zip(
                    group, _score_batch(model, [songs[n] for n in group], segment, bar), strict=True
                ):
                    scores[number] = score
    finally:
        model.memory_length = kept
        model.train(training)
    return Perplexity([scores[number] for number in chosen])


def _score_batch(model, songs, segment, bar) -> list[np.ndarray]:
    """Songs sorted from long to short, side by side; a row leaves the batch when its song is over."""
    lengths = [len(song) - 1 for song in songs]
    ids = np.zeros((len(songs), lengths[0]), np.int64)
    targets = np.full((len(songs), lengths[0]), -1, np.int64)
    for row, song in enumerate(songs):
        ids[row, : len(song) - 1], targets[row, : len(song) - 1] = song[:-1], song[1:]
    ids, targets = torch.from_numpy(ids).to(model.device), torch.from_numpy(targets).to(model.device)
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
