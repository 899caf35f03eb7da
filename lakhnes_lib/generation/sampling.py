"""Sampling: a language model composes event by event, and the result is always a valid Score.

Paper: §8 and its repository's defaults (temperature 0.95, the 32 likeliest events, ``<S>``
excluded, memory 512). Notebook: 09_composing.
Differences from the paper: a grammar mask (``grammar.py``; it can be switched off), seeds, many
pieces at once, top-p, a length in seconds, pieces that end by ``<S>``.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from lakhnes_lib.errors import BadSetting
from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.generation import decoding
from lakhnes_lib.models.fast.engine import FILES as PRECISIONS
from lakhnes_lib.music import events, grammar, nes

_EVENTS_OF = events.VOICE_OF == np.arange(len(nes.VOICES))[:, None]  # bool (4, 631)
_WAITS = slice(*(np.flatnonzero(events.IS_WAIT)[[0, -1]] + [0, 1]).tolist())  # all side by side
_RECENT, _LOOPING, _LOOP_CHECKS = 192, 0.5, 16
"""Newest events in which a loop is looked for; the share of them that it has to explain; events
from one such look to the next."""
MOST_EVENTS, MOST_MEMORY = 50_000_000, 250_000
"""Of all pieces of a call, each event with a random number; of the history that a piece keeps."""


def sample(
    model,
    *,
    n: int = 1,
    length: int = 1024,
    temperature: float = 0.95,
    top_k: int | None = 32,
    top_p: float = 1.0,
    seed: int = 0,
    memory_length: int | None = 512,
    prime: np.ndarray | None = None,
    progress: bool = False,
    **options,
) -> list[np.ndarray]:
    """Composes ``n`` pieces of at most ``length`` events.

    model: a LanguageModel, or the folder of a checkpoint; temperature: above 0, divides the logits;
    top_k: draw from so many of the likeliest events, None or 0 for all; top_p: draw from the fewest
    events that together have this share of the probability; seed: the same seed gives piece i the
    same notes whatever ``n`` is; memory_length: events of history, None for the model's own; prime:
    ids of a beginning. The pieces go on from it; it is part of what is returned, but not of any
    length. options: as of ``stream``.
    Returns uint16 ids of each piece, without ``<S>``, ready for ``events.decode``.
    Raises BadSetting for settings out of range, BadEvents for a prime that is not in the
    vocabulary.

    >>> import lakhnes_lib as nes
    >>> model = nes.load_model("assets/pretrained/mini")
    >>> pieces = nes.sample(model, n=2, length=40, seed=1)
    >>> [nes.decode(piece).seconds > 0 for piece in pieces]
    [True, True]
    """
    from tqdm.auto import tqdm

    options |= dict(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, prime=prime)
    steps = stream(model, n=n, length=length, memory_length=memory_length, **options)
    bar = tqdm(steps, f"composing {n}", total=length, unit="event", disable=not progress)
    *_, pieces = grow(bar, beginning(prime)[1:])
    return [np.array(piece, np.uint16) for piece in pieces]


def stream(
    model,
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
    seconds: float | None = None,
    longest_note: float | None = None,
    loop_heat: float = 1.0,
    timing: float = 1.0,
    choices: Callable[[int], np.ndarray] | None = None,
    precision: str = "fp32",
    first: int = 0,
) -> Iterator[np.ndarray]:
    """The next event of every piece, step by step: int64 (n,), -1 for pieces that have ended.

    Arguments as of ``sample``, and: masked: keep the grammar, and end every note within ``length``
    and ``seconds`` (False: draw as the paper does); stop: let the model end a piece by ``<S>``,
    with its own probability, whatever the temperature; seconds: greatest length of what is
    composed; longest_note: when a note has been held for so many seconds, only its end or its
    voice's next note may come; loop_heat: factor of the temperature while one loop explains more
    than half of a piece's newest events; timing: temperature of the choice among waits, if a wait
    comes, before the other temperature; choices: which events may come at a step, bool (631,), if
    not all of them may; precision: "int8" composes with weights in 8 bits, if the model has an
    exported step, which is faster and may change notes; first: the number of the first piece, so
    that other pieces of the same seed can be composed later. A piece ends early where no event may
    come.
    """
    check(n, length, temperature, top_k, top_p, seed, memory_length, precision)
    if seconds is not None and not seconds > 0:
        raise BadSetting(f"the greatest length must be above 0 seconds, not {seconds}")
    settings = dict(top_k=top_k or None, top_p=top_p)
    numbers = range(first, first + n)
    uniform = np.stack([np.random.default_rng([seed, row]).random(length) for row in numbers])
    start = beginning(prime)
    pieces = decoding.begin(model, start, n, memory_length, precision)
    rules, newest = grammar.after(start, n), np.repeat(start[-1], n)
    rows = np.arange(n)  # the pieces that go on
    ticks_left = np.full(n, round((seconds or 0) * nes.TICKS_PER_SECOND))
    most_ticks = (longest_note or np.inf) * nes.TICKS_PER_SECOND
    held = np.zeros((n, len(nes.VOICES)), np.int64)  # ticks since each voice's note began
    recent, heat = np.zeros((n, _RECENT), np.int64), np.ones((n, 1))
    for step in range(length):
        log_probs = pieces.feed(newest)
        if timing != 1:  # a wait stays as likely as it was
            log_probs = log_probs.copy()
            greatest = log_probs[:, _WAITS].max(1, keepdims=True)
            waits = log_probs[:, _WAITS] - greatest
            sharper = waits / timing
            share = np.exp(waits).sum(1) / np.exp(sharper).sum(1)
            log_probs[:, _WAITS] = sharper + greatest + np.log(share)[:, None]
        if masked:
            able = grammar.allowed(rules, np.full(len(rows), length - step), stop)
        else:
            able = np.ones(log_probs.shape, bool)
            able[:, events.START] = stop
        if choices is not None:
            able &= choices(step)
        if seconds is not None:
            able &= _in_time(rules, ticks_left)
        overdue = held > most_ticks
        for voice in np.flatnonzero(overdue.any(0)):
            due = able & overdue[:, voice, None] & _EVENTS_OF[voice]
            able = np.where(due.any(1, keepdims=True), due, able)
        ends, numbers = _endings(log_probs, able, uniform[rows, step])
        able[:, events.START] = False
        if loop_heat != 1 and step >= _RECENT and step % _LOOP_CHECKS == 0:
            loops = musical_metrics.loop_shares(recent) > _LOOPING
            heat = np.where(loops, loop_heat, 1.0)[:, None]
        newest = draw(log_probs, able, numbers, temperature=temperature * heat, **settings)
        going = ~ends & (newest >= 0)  # a piece also ends where no event may come
        composed = np.full(n, -1)
        composed[rows[going]] = newest[going]
        yield composed
        if not going.any():
            return
        if not going.all():
            pieces.select(np.flatnonzero(going))
            rows, newest, ticks_left = rows[going], newest[going], ticks_left[going]
            rules, held = rules.select(going), held[going]
            recent, heat = recent[going], heat[going]
        recent = np.column_stack([recent[:, 1:], newest])
        rules = grammar.advance(rules, newest)
        ticks_left -= events.TICKS_OF[newest]
        begins = _EVENTS_OF[:, newest].T
        held = np.where(begins | ~rules.sounding, 0, held + events.TICKS_OF[newest][:, None])


def _endings(log_probs, able, uniform) -> tuple[np.ndarray, np.ndarray]:
    """Which rows end by ``<S>``, bool (rows,), and for the others new uniform numbers (rows,).

    Arguments as of ``draw``. ``<S>`` has the model's own probability among what may come: at a low
    temperature it would hardly ever be drawn, and a song that wants to end holds its last note.
    """
    probability = np.exp(np.where(able, log_probs, -np.inf).astype(np.float64))
    share = probability[:, events.START] / np.maximum(probability.sum(1), np.finfo(float).tiny)
    return uniform < share, (uniform - share) / np.maximum(1 - share, np.finfo(float).tiny)


def grow(steps: Iterable[np.ndarray], beginning=None) -> Iterator[list[list[int]]]:
    """The pieces as they stand after each step of ``stream``: the same lists of ids, longer.

    Whoever stops early, at Ctrl-C for one, has what is composed by then; ``events.decode`` makes a
    valid Score of it. beginning: the ids that every piece begins with, if any.
    """
    first, pieces = [] if beginning is None else list(map(int, beginning)), []
    for step in steps:
        pieces = pieces or [[*first] for _ in step]
        for piece, event in zip(pieces, step.tolist(), strict=True):
            if event >= 0:
                piece.append(event)
        yield pieces


def check(n, length, temperature, top_k, top_p, seed, memory_length, precision="fp32") -> None:
    """Raises BadSetting for the first setting that is out of range or of the wrong kind."""
    if precision not in PRECISIONS:
        raise BadSetting(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    integers = (n, length, seed, top_k or 1, memory_length or 0)
    whole = all(isinstance(value, int | np.integer) for value in integers)
    if not whole or isinstance(temperature, str) or isinstance(top_p, str):
        rule = "pieces, length, seed, top-k and memory are whole numbers"
        raise BadSetting(f"{rule}; temperature and top-p are numbers")
    if min(n, length) < 1 or n * length > MOST_EVENTS:
        raise BadSetting(f"{n} pieces of {length} events are not 1 to {MOST_EVENTS:,} in all")
    if not 0 < temperature < float("inf"):
        advice = "0.01 all but takes the likeliest"
        raise BadSetting(f"temperature must be above 0, not {temperature}; {advice}")
    if top_k is not None and top_k < 0:
        raise BadSetting(f"top-k must be 0 (all) or more, not {top_k}")
    if not 0 < top_p <= 1:
        raise BadSetting(f"top-p must be above 0 and at most 1, not {top_p}")
    if seed < 0 or not 0 <= (memory_length or 0) <= MOST_MEMORY:
        raise BadSetting(f"seed and memory must be 0 or more, memory at most {MOST_MEMORY:,}")


def beginning(prime: np.ndarray | None) -> np.ndarray:
    """``<S>`` and the prime: int64 (events,).

    A wait before the first note is taken off; one at the end stays.
    """
    ids = events.strip([] if prime is None else prime, "prime")
    first = np.append(~events.IS_WAIT[ids], True).argmax()
    return np.concatenate([[events.START], ids[first:]])


def _in_time(rules: grammar.State, left: np.ndarray) -> np.ndarray:
    """Events after which every note can still end within so many ticks: bool (rows, 631).

    left: int64 (rows,).
    """
    silent = ~rules.sounding.any(1)
    able = events.TICKS_OF <= (left - silent)[:, None]  # after a wait in silence a note has time
    over = left == 0
    able[over] = False
    # The notes end in the order of the voices, so that no other wait is needed.
    closing = over & ~silent
    first = rules.sounding[closing].argmax(1)
    able[closing, events.NOTE_OFF[first]] = True
    return able


def draw(log_probs, able, uniform, *, temperature, top_k, top_p) -> np.ndarray:
    """One event for each row, by one uniform number in [0, 1) each: int64 (rows,).

    log_probs: floats (rows, 631); able: bool (rows, 631), the events that may come; uniform:
    float64 (rows,); temperature: one number, or float64 (rows, 1); the others as of ``sample``. The
    events lie on a line from 0 to 1, the most likely first, each as long as its probability. The
    number says which is taken; -1: none is able.
    """
    logits = np.where(able, log_probs, -np.inf)
    # Of equally likely events the first in the vocabulary stands first.
    likely = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
    logits = np.take_along_axis(logits, likely, 1).astype(np.float64)
    some = logits[:, 0] > -np.inf
    greatest = np.where(some, logits[:, 0], 0.0)[:, None]
    weights = np.exp((logits - greatest) / temperature)
    if top_p < 1:
        before = weights.cumsum(1) - weights
        weights[before >= top_p * weights.sum(1, keepdims=True)] = 0.0
    reached = weights.cumsum(1)
    index = (reached <= uniform[:, None] * reached[:, -1:]).sum(1)
    last = np.maximum((weights > 0).sum(1) - 1, 0)  # rounding may bring the sum beyond the line
    chosen = likely[np.arange(len(likely)), np.minimum(index, last)]
    return np.where(some, chosen, -1)
