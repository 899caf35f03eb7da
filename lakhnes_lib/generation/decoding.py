"""Pieces that are read event by event while they are composed, whatever the model.

Paper: §8 (sampling with a memory of events). Notebook: 09_composing.
The pieces of a checkpoint are read by its exported step (``models/fast/engine.py``), side by side
on all cores. A model that is only in memory, or has no such step, reads them with its own key/value
cache. Differences from the paper: none in what is computed.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lakhnes_lib.models.fast import engine


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


_THREADS = usable_cores()
_pool = ThreadPoolExecutor(_THREADS)
_SEGMENT = 128  # events of a beginning that a model reads in one call


def begin(model, beginning: np.ndarray, n: int, memory_length: int | None, precision: str):
    """n pieces that have read a beginning, all but its last event: an object with two methods.

    ``feed(ids)``: the newest event of each piece, int64 (n,), to the log-probabilities of the next
    one, float32 (n, vocabulary). ``select(rows)``: goes on with these pieces, int64 (any,); one
    that is named twice is copied.
    model: a LanguageModel, or the folder of a checkpoint; beginning: int64 (events,) from ``<S>``
    on; memory_length: events to look back to, None for the model's own; precision: of the weights
    if the model has an exported step, "fp32" or "int8".
    """
    is_folder, piece, threads = isinstance(model, str | os.PathLike), None, _THREADS
    together = False
    if engine.is_available():
        folder = Path(model) if is_folder else engine.folder_of(model)
        piece = folder and engine.open_piece(folder, memory_length, precision)
    if piece is None:
        from lakhnes_lib.models import checkpoints, devices, language_model

        if is_folder:
            model = checkpoints.load(model, devices.choose_device())
        piece, threads = CachedPieces(model, memory_length), 1
        together = not isinstance(model, language_model.NeuralModel) or model.device.type != "cpu"
    piece.read(beginning[:-1])
    pieces = piece if together else SideBySide([piece], threads)
    pieces.select(np.zeros(n, np.int64))
    return pieces


class SideBySide:
    """Pieces that are read one by one: what one of them holds does not depend on the others."""

    def __init__(self, pieces: list, threads: int):
        self.pieces, self.threads = pieces, threads

    def feed(self, ids: np.ndarray) -> np.ndarray:
        rows = range(len(self.pieces))
        side_by_side = _pool.map if min(self.threads, len(rows)) > 1 else map
        fed = side_by_side(lambda row: self.pieces[row].feed(ids[row : row + 1]), rows)
        return np.concatenate(list(fed))

    def select(self, rows: np.ndarray) -> None:
        chosen, taken = [], set()
        for row in rows.tolist():
            chosen.append(self.pieces[row].copy() if row in taken else self.pieces[row])
            taken.add(row)
        self.pieces = chosen


class CachedPieces:
    """One piece, or several of the same beginning, that a model reads with its key/value cache.

    Several are one batch, which is what a GPU is fast at.
    """

    def __init__(self, model, memory_length: int | None, state=None):
        self.model, self.memory_length, self.state = model, memory_length, state

    def read(self, ids: np.ndarray) -> None:
        for first in range(0, len(ids), _SEGMENT):
            self._log_probs(ids[None, first : first + _SEGMENT])

    def feed(self, ids: np.ndarray) -> np.ndarray:
        return self._log_probs(ids[:, None])

    def copy(self) -> "CachedPieces":
        return CachedPieces(self.model, self.memory_length, self.state)  # a state never changes

    def select(self, rows: np.ndarray) -> None:
        import torch

        if self.state is not None:
            rows = torch.from_numpy(rows).to(self.model.device)
            self.state = self.model.select(self.state, rows)

    def _log_probs(self, ids: np.ndarray) -> np.ndarray:
        """After the last of ids (rows, time), which are remembered: float32 (rows, vocabulary)."""
        import torch

        model, training = self.model, self.model.training
        model.train(False)
        try:
            with torch.inference_mode():
                ids = torch.from_numpy(ids).to(model.device)
                log_probs, self.state = model.log_probs(
                    ids, self.state, memory_length=self.memory_length
                )
        finally:
            model.train(training)
        return log_probs[:, -1].float().cpu().numpy()
