"""Sampling: a language model composes, event by event, and what it composes is always a valid Score.

Paper: §8 and its repository's defaults (temperature 0.95, the 32 likeliest events, ``<S>`` excluded, memory 512).
Notebook: 09_composing.
Differences from the paper: a grammar mask (``grammar.py``; it can be switched off), seeds, many pieces at once, top-p.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.models.language_model import LanguageModel
from lakhnes_lib.music import events, grammar

PRIME_SEGMENT = 128
"""Events of a given beginning that the model reads at a time."""


def sample(
    model: LanguageModel,
    *,
    n: int = 1,
    length: int = 1024,
    temperature: float = 0.95,
    top_k: int | None = 32,
    top_p: float = 1.0,
    seed: int = 0,
    memory_length: int | None = 512,
    prime: np.ndarray | None = None,
    masked: bool = True,
    stop: bool = False,
    progress: bool = False,
) -> list[np.ndarray]:
    """Composes ``n`` pieces of at most ``length`` events: uint16 ids each, without ``<S>``, ready for
    ``events.decode``.

    temperature: above 0, divides the logits; top_k: draw from so many of the likeliest events, None for all;
    top_p: draw from the fewest events that hold this share of the probability; seed: the same seed gives piece i the
    same notes whatever ``n`` is; memory_length: events of history, None for the model's own; prime: ids of a beginning,
    which the pieces go on from (and which is part of what is returned, but not of ``length``); masked: keep the
    grammar, and close every note within ``length`` (False: sample as the paper does); stop: let the model end a piece
    by ``<S>``. Raises LakhnesError for settings out of range, BadEvents for a prime that is not in the vocabulary.
    """
    options = dict(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, memory_length=memory_length)
    start = _beginning(prime)[1:]
    pieces = [[] for _ in range(n)]
    steps = stream(model, n=n, length=length, prime=prime, masked=masked, stop=stop, **options)
    for step in tqdm(steps, total=length, unit="event", desc=f"composing {n}", disable=not progress):
        for piece, event in zip(pieces, step.tolist(), strict=True):
            if event >= 0:
                piece.append(event)
    return [np.concatenate([start, np.array(piece, np.uint16)]) for piece in pieces]


@torch.inference_mode()
def stream(
    model: LanguageModel,
    *,
    n: int,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float,
    seed: int,
    memory_length: int | None,
    prime: np.ndarray | None = None,
    masked: bool = True,
    stop: bool = False,
) -> Iterator[np.ndarray]:
    """The next event of every piece, step by step: int64 (n,), -1 for pieces that have ended. Arguments as
    ``sample``."""
    _check(n, length, temperature, top_k, top_p, seed, memory_length)
    kept, training = model.memory_length, model.training
    model.eval()
    if memory_length is not None:
        model.memory_length = memory_length
    try:
        uniform = np.stack([np.random.default_rng([seed, row]).random(length) for row in range(n)])
        ids, state, rules = _read(model, prime, n)
        rows = np.arange(n)  # pieces still going
        for step in range(length):
            log_probs, state = model.log_probs(ids, state)
            logits = log_probs[:, -1]
            if masked:
                left = np.full(len(rows), length - step)
                able = torch.from_numpy(grammar.allowed(rules, left, stop)).to(logits.device)
            else:
                able = torch.ones_like(logits, dtype=torch.bool)
                able[:, events.START] = stop
            chosen = _draw(logits, able, temperature, top_k, top_p, uniform[rows, step])
            going = chosen > events.START  # <S> ends a piece, and so does having no event to choose
            out = np.full(n, -1)
            out[rows[going]] = chosen[going]
            yield out
            if not going.all():
                if not going.any():
                    return
                rows, chosen = rows[going], chosen[going]
                state = model.select(state, torch.from_numpy(np.flatnonzero(going)).to(model.device))
                rules = grammar.State(rules.sounding[going], rules.last[going], rules.waiting[going])
            rules = grammar.advance(rules, chosen)
            ids = torch.from_numpy(chosen).to(model.device).unsqueeze(1)
    finally:
        model.memory_length = kept
        model.train(training)


def _check(n, length, temperature, top_k, top_p, seed, memory_length):
    whole = all(isinstance(value, int | np.integer) for value in (n, length, seed, top_k or 1, memory_length or 0))
    if not whole or isinstance(temperature, str) or isinstance(top_p, str):
        raise LakhnesError(
            "pieces, length, seed, top-k and memory are whole numbers; temperature and top-p are numbers"
        )
    if n < 1 or length < 1:
        raise LakhnesError(f"at least one piece of one event must be asked for, not {n} of {length}")
    if not 0 < temperature < float("inf"):
        raise LakhnesError(f"temperature must be above 0, not {temperature}; 0.01 is as good as always the likeliest")
    if top_k is not None and top_k < 1:
        raise LakhnesError(f"top-k must be at least 1, not {top_k}")
    if not 0 < top_p <= 1:
        raise LakhnesError(f"top-p must be above 0 and at most 1, not {top_p}")
    if seed < 0 or (memory_length is not None and memory_length < 0):
        raise LakhnesError(f"seed and memory must be 0 or more, not {seed} and {memory_length}")


def _beginning(prime) -> np.ndarray:
    """``<S>`` and the prime, uint16; a wait before its first note is taken off, one at its end is kept."""
    ids = events.strip([] if prime is None else prime, "prime")
    notes = np.flatnonzero(~events.IS_WAIT[ids])
    return np.concatenate([[events.START], ids[notes[0] :] if len(notes) else ids[:0]]).astype(np.uint16)


def _read(model, prime, n):
    """Reads ``<S>`` and a prime once for all pieces; returns the last id, the state before it, and the grammar's
    state."""
    start = _beginning(prime).astype(np.int64)
    rules = grammar.start(1)
    for event in start[1:]:
        rules = grammar.advance(rules, np.array([event]))
    ids = torch.from_numpy(start).to(model.device).unsqueeze(0)
    state = None
    for first in range(0, len(start) - 1, PRIME_SEGMENT):
        _, state = model.log_probs(ids[:, first : min(first + PRIME_SEGMENT, len(start) - 1)], state)
    if state is not None:
        state = model.select(state, torch.zeros(n, dtype=torch.int64, device=model.device))
    rules = grammar.State(*(np.repeat(part, n, 0) for part in (rules.sounding, rules.last, rules.waiting)))
    return ids[:, -1:].expand(n, 1), state, rules


def _draw(logits: Tensor, able: Tensor, temperature: float, top_k, top_p: float, uniform: np.ndarray) -> np.ndarray:
    """One event for each row of logits (batch, events), among those ``able``, by one uniform number each; -1: none is
    able."""
    logits = logits.double().masked_fill(~able, float("-inf")) / temperature
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    if top_k is not None:
        ordered[:, top_k:] = float("-inf")
    probabilities = ordered.softmax(-1)
    below = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities.masked_fill(below >= top_p, 0.0)
    reached = probabilities.cumsum(-1)
    goal = torch.from_numpy(uniform).to(logits.device).unsqueeze(1) * reached[:, -1:]
    place = torch.searchsorted(reached, goal, right=True).clamp_max((probabilities > 0).sum(-1, keepdim=True) - 1)
    chosen = order.gather(1, place.clamp_min(0)).squeeze(1)
    return chosen.masked_fill(~able.any(-1), -1).cpu().numpy()
