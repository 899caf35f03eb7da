"""Batches of pairs for an encoder-decoder, its loss on valid, and composing targets with it.

Paper: none; after M. Murhu (2024), §3.3 and §3.4. Notebook: 10_complementary_tracks. A task, such
as ``NesPairs``, draws the pairs, and its ``able`` says what may follow in a target. The training
is that of ``fitting.py``, with the loss of ``batch_of(task, "train", …)``.
Differences from the thesis: composing may keep the grammar of the tokens. The thesis draws from
the three likeliest tokens.
"""

from statistics import fmean

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from lakhnes_lib.companions.encoder_decoder import PADDING, EncoderDecoder
from lakhnes_lib.generation import sampling

VALID_BATCHES = 10
"""Of which the loss on valid is the mean, as in the thesis."""


def padded(rows) -> torch.Tensor:
    """Rows of ids as one int64 (rows, longest), with ``PADDING`` at the right."""
    return pad_sequence([torch.tensor(np.array(row, np.int64)) for row in rows], True, PADDING)


def batch_of(task, split: str, count: int, random: np.random.Generator) -> list[torch.Tensor]:
    """Sources and targets of so many pairs that the task draws."""
    pairs = [task.draw(split, random) for _ in range(count)]
    return [padded(rows) for rows in zip(*pairs, strict=True)]


@torch.inference_mode()
def valid_loss(model: EncoderDecoder, task, count: int) -> float:
    """Mean loss of the same batches of valid, of so many pairs each, in nats a token."""
    random = np.random.default_rng(0)
    batches = (batch_of(task, "valid", count, random) for _ in range(VALID_BATCHES))
    return fmean(model.loss(*batch).item() for batch in batches)


@torch.inference_mode()
def compose(model, task, sources, starts, *, length, seed=0, masked=True, top_k=None, top_p=1.0):
    """A target for each source, a list of tokens: its start, then others, without the end.

    length: tokens that are composed at most. masked: keep the grammar. top_k, top_p: as of
    ``sampling.draw``; without them every token may come. The same seed gives target i the same
    tokens, whatever the number of targets.
    """
    reading, state = model.eval().read(padded(sources)), None
    random = [np.random.default_rng([seed, row]) for row in range(len(starts))]
    made, going = [[start] for start in starts], np.ones(len(starts), bool)
    newest = np.array(made)
    for _ in range(length):
        logits, state = model.step(reading, torch.from_numpy(newest), state)
        log_probs = logits[:, -1].log_softmax(-1).numpy()
        able = np.stack([task.able(row) for row in made]) if masked else log_probs > -np.inf
        darts = np.array([each.random() for each in random])
        chosen = sampling.draw(log_probs, able, darts, temperature=1.0, top_k=top_k, top_p=top_p)
        going &= (chosen != task.end) & (chosen >= 0)
        if not going.any():
            break
        for row in np.flatnonzero(going):
            made[row].append(int(chosen[row]))
        newest = np.where(going, chosen, task.end)[:, None]
    return made
