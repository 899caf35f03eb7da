"""Sampling: a language model composes, event by event, and what it composes is always a valid Score.

Paper: §8 and its repository's defaults (temperature 0.95, the 32 likeliest events, ``<S>`` excluded, memory 512).
Notebook: 09_composing.
Differences from the paper: a grammar mask (``grammar.py``; it can be switched off), seeds, many pieces at once, top-p,
least and greatest lengths, and ``choices`` for those who narrow down what may come.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from tqdm.auto import tqdm

from lakhnes_lib.errors import BadSetting, LakhnesError
from lakhnes_lib.models.fast.decoding import Decoding
from lakhnes_lib.models.fast.products import PRECISIONS
from lakhnes_lib.models.language_model import LanguageModel
from lakhnes_lib.music import events, grammar, nes

PRIME_SEGMENT = 128
"""Events of a given beginning that the model reads at a time."""

Choices = Callable[[int, np.ndarray, grammar.State, np.ndarray], np.ndarray | None]
"""(step, rows, rules, last) -> which events may come, bool (rows or 1, 631), or None for all of the grammar's.
rows: int64, the pieces still going; rules: where they stand; last: int64, their newest events."""


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
    prime: np.ndarray | list[np.ndarray] | None = None,
    progress: bool = False,
    **options,
) -> list[np.ndarray]:
    """Composes ``n`` pieces of at most ``length`` events: uint16 ids each, without ``<S>``, ready for
    ``events.decode``.

    temperature: above 0, divides the logits; top_k: draw from so many of the likeliest events, None for all;
    top_p: draw from the fewest events that hold this share of the probability; seed: the same seed gives piece i the
    same notes whatever ``n`` is; memory_length: events of history, None for the model's own; prime: ids of a beginning,
    or a list with one for each piece, which the pieces go on from (and which is part of what is returned, but not of
    any length); options: as of ``stream``. Raises BadSetting for settings out of range, BadEvents for a prime that is
    not in the vocabulary.
    """
    check(n, length, temperature, top_k, top_p, seed, memory_length)
    starts = _beginnings(prime, n)
    pieces = [start[1:].tolist() for start in (starts if len(starts) == n else starts * n)]
    settings = dict(
        temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, memory_length=memory_length
    )
    steps = stream(model, n=n, length=length, prime=prime, **settings, **options)
    for step in tqdm(
        steps, total=length, unit="event", desc=f"composing {n}", disable=not progress
    ):
        for piece, event in zip(pieces, step.tolist(), strict=True):
            if event >= 0:
                piece.append(event)
    return [np.array(piece, np.uint16) for piece in pieces]


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
    prime: np.ndarray | list[np.ndarray] | None = None,
    masked: bool = True,
    stop: bool = False,
    shortest: int = 0,
    seconds: float | None = None,
    shortest_seconds: float = 0.0,
    choices: Choices | None = None,
    precision: str = "fp32",
) -> Iterator[np.ndarray]:
    """The next event of every piece, step by step: int64 (n,), -1 for pieces that have ended.

    Arguments as of ``sample``, and: masked: keep the grammar, and close every note within ``length`` and ``seconds``
    (False: sample as the paper does); stop: let the model end a piece by ``<S>``, but not before ``shortest`` events
    and ``shortest_seconds``; seconds: composed time at most; choices: narrows down what may come; precision: fp16 and
    int8 let a Transformer hold its weights in 16 or 8 bits, which is faster and may change a note; with int8 piece i's
    notes depend on ``n`` as well. A piece ends early where nothing may come.
    """
    check(n, length, temperature, top_k, top_p, seed, memory_length, precision)
    least, most = (
        round((value or 0) * nes.TICKS_PER_SECOND) for value in (shortest_seconds, seconds)
    )
    if not 0 <= shortest <= length or least < 0 or (seconds is not None and most < max(least, 1)):
        raise LakhnesError(
            "a piece's least length must be 0 or more, and no more than its greatest, above 0"
        )
    kept, training = model.memory_length, model.training
    model.eval()
    if memory_length is not None:
        model.memory_length = memory_length
    try:
        uniform = np.stack([np.random.default_rng([seed, row]).random(length) for row in range(n)])
        decoding, chosen, rules = _begin(model, prime, n, precision)
        rows, ticks = (
            np.arange(n),
            np.zeros(n, np.int64),
        )  # pieces still going, and their composed time
        device = model.device  # which a model has to look for
        for step in range(length):
            log_probs = decoding.feed(torch.from_numpy(chosen).to(device))
            if masked:
                able = grammar.allowed(rules, np.full(len(rows), length - step), stop)
            else:
                able = np.ones(log_probs.shape, bool)
                able[:, events.START] = stop
            if stop:
                able[:, events.START] &= (step >= shortest) & (ticks >= least)
            if seconds is not None:
                able &= _in_time(rules, most - ticks)
            if choices is not None and (narrower := choices(step, rows, rules, chosen)) is not None:
                able &= narrower
            options = dict(
                temperature=temperature, top_k=top_k, top_p=top_p, uniform=uniform[rows, step]
            )
            chosen = draw(log_probs.cpu().numpy(), able, **options)
            going = chosen > events.START  # <S> ends a piece, and so does having no event to choose
            out = np.full(n, -1)
            out[rows] = np.where(going, chosen, -1)
            yield out
            if not going.all():
                if not going.any():
                    return
                rows, chosen, ticks = rows[going], chosen[going], ticks[going]
                decoding.select(torch.from_numpy(np.flatnonzero(going)).to(device))
                rules = grammar.State(
                    rules.sounding[going], rules.last[going], rules.waiting[going]
                )
            rules = grammar.advance(rules, chosen)
            ticks += events.TICKS_OF[chosen]
    finally:
        model.memory_length = kept
        model.train(training)


def check(n, length, temperature, top_k, top_p, seed, memory_length, precision="fp32") -> None:
    """Raises BadSetting for the first setting that is out of range or of the wrong kind."""
    if precision not in PRECISIONS:
        raise BadSetting(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    whole = all(
        isinstance(value, int | np.integer)
        for value in (n, length, seed, top_k or 1, memory_length or 0)
    )
    if not whole or isinstance(temperature, str) or isinstance(top_p, str):
        raise BadSetting(
            "pieces, length, seed, top-k and memory are whole numbers; temperature and top-p are numbers"
        )
    if n < 1 or length < 1:
        raise BadSetting(f"at least one piece of one event must be asked for, not {n} of {length}")
    if not 0 < temperature < float("inf"):
        raise BadSetting(
            f"temperature must be above 0, not {temperature}; 0.01 is as good as always the likeliest"
        )
    if top_k is not None and top_k < 1:
        raise BadSetting(f"top-k must be at least 1, not {top_k}")
    if not 0 < top_p <= 1:
        raise BadSetting(f"top-p must be above 0 and at most 1, not {top_p}")
    if seed < 0 or (memory_length is not None and memory_length < 0):
        raise BadSetting(f"seed and memory must be 0 or more, not {seed} and {memory_length}")


def _beginnings(prime, n: int) -> list[np.ndarray]:
    """``<S>`` and the prime, int64, once for all pieces or once for each; a wait before a prime's first note is taken
    off, one at its end is kept."""
    several = isinstance(prime, list) and len(prime) and np.ndim(prime[0]) > 0
    if several and len(prime) != n:
        raise LakhnesError(
            f"{len(prime)} beginnings were given for {n} pieces: give one for all, or one for each"
        )
    starts = []
    for ids in prime if several else [[] if prime is None else prime]:
        ids = events.strip(ids, "prime")
        notes = np.flatnonzero(~events.IS_WAIT[ids])
        starts.append(np.concatenate([[events.START], ids[notes[0] :] if len(notes) else ids[:0]]))
    return starts


def _begin(model, prime, n: int, precision: str) -> tuple[Decoding, np.ndarray, grammar.State]:
    """What the model has read of the pieces' beginnings, all but their last events; these; the grammar's state."""
    starts = _beginnings(prime, n)
    states = []
    for start in starts:
        states.append(grammar.start(1))
        for event in start[1:, None]:
            states[-1] = grammar.advance(states[-1], event)
    which = np.zeros(n, np.int64) if len(starts) == 1 else np.arange(n)
    rules = grammar.State(
        *(np.concatenate([getattr(s, part) for s in states])[which] for part in vars(states[0]))
    )
    # Shorter beginnings stand at the right; their rows begin afresh where they begin.
    longest = max(map(len, starts))
    ids = torch.tensor(np.stack([np.pad(start, (longest - len(start), 0)) for start in starts])).to(
        model.device
    )
    first = torch.tensor([longest - len(start) for start in starts], device=model.device)
    edges = sorted({*first.tolist(), *range(0, longest - 1, PRIME_SEGMENT), longest - 1})
    state = None
    for edge, following in zip(edges, edges[1:], strict=False):
        state = model.restart(state, first == edge)
        _, state = model.log_probs(ids[:, edge:following], state)
    state = model.restart(state, first == longest - 1)
    return (
        model.decoding(torch.from_numpy(which), state, precision=precision),
        ids[which, -1].cpu().numpy(),
        rules,
    )


def _in_time(rules: grammar.State, rest: np.ndarray) -> np.ndarray:
    """Which events leave time to end every note by a wait, at the latest after ``rest`` ticks: bool (rows, 631)."""
    silent = ~rules.sounding.any(1)
    able = events.TICKS_OF <= (rest - silent)[:, None]  # a wait in silence leaves time for a note
    able[rest == 0] = False
    closing = (
        rest == 0
    ) & ~silent  # from the first voice to the last, so that no further wait is needed
    able[closing, np.asarray(events.NOTE_OFF)[rules.sounding[closing].argmax(1)]] = True
    return able


def draw(
    log_probs: np.ndarray,
    able: np.ndarray,
    *,
    temperature: float,
    top_k: int | None,
    top_p: float,
    uniform: np.ndarray,
) -> np.ndarray:
    """One event for each row of log_probs, floats (rows, 631), among those ``able`` (bool, the same shape), by one
    uniform number each, float64 (rows,): int64 (rows,), -1 where none is able."""
    logits = np.where(able, log_probs, log_probs.dtype.type("-inf"))
    order = _likeliest(logits.astype(np.float32, copy=False), top_k)
    rows = np.arange(len(order))[:, None]
    ordered = logits[rows, order].astype(np.float64)
    greatest = np.maximum(
        ordered[:, :1], np.finfo(np.float32).min
    )  # a row may have no event at all
    probabilities = np.exp((ordered - greatest) / temperature)
    reached = probabilities.cumsum(1)
    if top_p < 1:
        below = reached - probabilities
        probabilities[below >= top_p * reached[:, -1:]] = 0.0
        reached = probabilities.cumsum(1)
    place = (reached <= uniform[:, None] * reached[:, -1:]).sum(1)
    place = np.clip(place, 0, np.maximum((probabilities > 0).sum(1) - 1, 0))
    return np.where(probabilities[:, 0] > 0, order[rows[:, 0], place], -1)


def _likeliest(logits: np.ndarray, top_k: int | None) -> np.ndarray:
    """The likeliest events of each row of float32 (rows, events), the likeliest first; of equals the first in the
    vocabulary comes first: int64 (rows, top_k or fewer).

    Numbers are sorted, which NumPy does far faster than it sorts places: a value's bits, which rise with it above 0 and
    fall below, and the event's number behind them.
    """
    bits = (logits + np.float32(0)).view(np.int32).astype(np.int64)  # + 0 turns -0 into 0
    bits ^= (bits >> 31) & 0x7FFFFFFF
    keys = (~bits << 10) | np.arange(logits.shape[1])
    keys.sort(axis=1)
    return keys[:, :top_k] & 1023
