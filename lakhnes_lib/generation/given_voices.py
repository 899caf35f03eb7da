"""Voices that fit given ones: some voices are given as a whole, the model composes the others.

Paper: none of its tools do this; §8 comes nearest. Notebook: 09_composing. Works with every model.
A model reads from left to right: while it composes, it cannot know what the given voices do next.
So several candidates are composed side by side. Each plays the given events at their times, and
draws what the free voices do between them from the model's probabilities. Of the candidates in
whose free voices no fault is heard (``auditions.py``), the one is taken whose free voices let the
model predict the given ones best.
Candidates that predict badly could be replaced on the way by copies of better ones (sequential
Monte Carlo; Doucet, de Freitas and Gordon 2001). That was tried, and selects voices that hold one
note or rest: beside them the given voices are easiest to predict.
"""

from collections.abc import Iterator

import numpy as np

from lakhnes_lib.errors import BadSetting, LakhnesError
from lakhnes_lib.generation import auditions, decoding, sampling
from lakhnes_lib.music import events, grammar, nes
from lakhnes_lib.music.score import Score

LONGEST_REST = 1.0
"""Seconds of silence after which a free voice must begin a note with the next given event."""
_VOICES = np.arange(len(nes.VOICES))
_NO_VOICE = len(nes.VOICES)  # above all voices
_HALF_STEP = 500  # ticks, of the coarsest part of the time grid
_LEAST = -1e4  # natural logarithm for probability 0: a model may rule out what is given


def given_events(score: Score, voices) -> tuple[np.ndarray, np.ndarray]:
    """Times in ticks and ids of all events of these voices, in order: int64 (events,) each.

    Raises LakhnesError if there are none, BadSetting if all four voices are given, or if one is no
    voice (0-3).
    """
    voices = sorted(set(voices))
    name = score.name or "given voices"
    if not set(voices) <= set(_VOICES.tolist()):
        raise BadSetting(f"{name}: voices have numbers from 0 to 3, not {voices}")
    if len(voices) == len(nes.VOICES):
        raise BadSetting(f"{name}: all four voices are given; leave at least one to be composed")
    times, ids = timed_events(score, voices)
    if not len(ids):
        titles = ", ".join(nes.VOICES[voice] for voice in voices) or "no voice"
        raise LakhnesError(f"{name}: {titles} given, and there is no note to compose around")
    return times, ids


def timed_events(score: Score, voices) -> tuple[np.ndarray, np.ndarray]:
    """The same, and two empty arrays if there are none."""
    notes = score.only(voices).notes
    ids, times, _ = events.timeline(notes, [0, len(notes)], [score.length])
    return times[:-1], ids[:-1]  # without the <S> at the song's end


class Accompaniment:
    """The candidates of one piece; ``step`` composes one event of each.

    Arrays have one row for each candidate.
    """

    def __init__(
        self,
        model,
        given: tuple[np.ndarray, np.ndarray],
        free,
        *,
        candidates: int,
        seed,
        memory_length,
        prime: np.ndarray | None = None,
        end: int | None = None,
        precision: str = "fp32",
        **options,
    ):
        """given: of ``given_events``; free: the voices to compose; prime: ids of what comes before;
        end: tick of the piece's end, counted like the given events' times from the prime's end, or
        None for a piece from the first given event to the last; the others as in
        ``sampling.stream``."""
        if candidates < 1:
            raise BadSetting(f"at least one candidate is needed, not {candidates}")
        times, ids = given
        # After the given events stands <S>, where the piece ends.
        self.times = np.append(times, times[-1] if end is None else end)
        self.ids = np.append(ids, events.START)
        self.voices = np.append(events.VOICE_OF[ids], _NO_VOICE)
        self.free = np.isin(_VOICES, list(free))
        self.options, self.random = options, np.random.default_rng(seed)
        start = sampling.beginning(prime)
        self.pieces = decoding.begin(model, start, candidates, memory_length, precision)
        self.rules = grammar.after(start, candidates)
        self.first = len(start)  # events before what is composed
        self.made = np.tile(start, (candidates, 1))  # ids from <S> on, and <S> after the end
        begin = times[0] if end is None else 0
        self.now = np.full(candidates, begin)  # ticks
        self.index = np.zeros(candidates, np.int64)  # of the next given event
        self.due = np.full(candidates, self.times[0] == begin)  # whether its time has come
        self.met = np.zeros(candidates, bool)  # whether one was played in this instant
        self.last_sound = np.full((candidates, len(_VOICES)), begin)  # of each voice, in ticks
        self.fit = np.zeros(candidates)  # log-probability of the given events
        # Over all waits that end before a given event: the sum of the probabilities that a free
        # voice acts then, and the number of these waits. At first it is one half, if any is given.
        self.acting = np.array([1.0, 1.0 + bool(len(ids))])

    @property
    def done(self) -> bool:
        """Whether every candidate has come to its end, and has ended its own notes."""
        at_end = self.due & (self.index == len(self.times) - 1)
        return bool(at_end.all() and not self.rules.sounding.any())

    def composed(self) -> list[np.ndarray]:
        """Ids of each candidate after the prime: int64 (events,)."""
        return [ids[ids != events.START] for ids in self.made[:, self.first :]]

    def best(self) -> np.ndarray:
        """Of the candidates with the fewest faults in their free voices, the one that predicts the
        given voices best: its ids, int64 (events,)."""
        rows, free = self.composed(), np.flatnonzero(self.free)
        scores = [events.decode(ids).only(free) for ids in rows]
        return rows[auditions.best(scores, self.fit)]

    def step(self) -> None:
        """One more event for every candidate; those at their end wait for the others."""
        rows = np.arange(len(self.made))
        log_probs = self.pieces.feed(self.made[:, -1]).astype(np.float64)
        log_probs = np.maximum(log_probs, _LEAST)
        able, landing = self._able()
        proposal = self._proposal(log_probs, able, landing)
        mass = np.logaddexp.reduce(np.where(able, proposal, -np.inf), axis=1)
        stopped = self.rules.waiting & ~self.due
        self.acting += np.exp(mass[stopped]).sum(), stopped.sum()
        chosen = sampling.draw(proposal, able, self.random.random(len(rows)), **self.options)
        played = self.due & (chosen == self.ids[self.index]) & (chosen != events.START)
        self.fit[played] += log_probs[rows, chosen][played]
        self._advance(chosen, played, landing)

    def _able(self) -> tuple[np.ndarray, np.ndarray]:
        """Which events may come, bool (candidates, 631), and the wait to the next given event.

        The wait is the nearest on the time grid, so that a given event is early or late by half a
        step of the grid at most. It is ``<S>`` where no single wait is so long.
        """
        # At its time a given event waits for the free voices before its own.
        before = np.where(self.due, self.voices[self.index], _NO_VOICE)
        may_act = self.free & (_VOICES < before[:, None])  # (candidates, 4)
        left = np.maximum(self.times[self.index] - self.now, 1)
        landing = events.wait_ids(left).astype(np.int64)
        voices_and_waits = np.concatenate([may_act, ~self.due[:, None]], 1)  # (candidates, 5)
        able = grammar.allowed(self.rules) & voices_and_waits[:, events.VOICE_OF]
        able &= events.TICKS_OF <= events.TICKS_OF[landing][:, None]
        able[self.due, self.ids[self.index[self.due]]] = True
        self._end_rests(able, may_act)
        for row in np.flatnonzero(self.due & (self.times[self.index] == self.times[-1])):
            # In the last instant the free voices end their notes, and then the given event comes.
            sounding = np.flatnonzero(may_act[row] & self.rules.sounding[row])
            off = events.NOTE_OFF[sounding[0]] if len(sounding) else self.ids[self.index[row]]
            able[row] = np.arange(len(able[row])) == off
        return able, np.where(left > events.LONGEST_WAIT + _HALF_STEP, events.START, landing)

    def _end_rests(self, able: np.ndarray, may_act: np.ndarray) -> None:
        """In the instant of a given event, before it or after it, lets only note-ons of the first
        voice come that has rested too long."""
        rest = self.now[:, None] - self.last_sound
        rested = (self.due | self.met)[:, None] & (rest > LONGEST_REST * nes.TICKS_PER_SECOND)
        later = _VOICES > self.rules.last[:, None]  # these have had no event in this instant
        rested &= may_act & later & ~self.rules.sounding
        for row in np.flatnonzero(rested.any(1)):
            able[row] = events.IS_NOTE_ON & (events.VOICE_OF == rested[row].argmax())

    def _proposal(self, log_probs: np.ndarray, able: np.ndarray, landing: np.ndarray) -> np.ndarray:
        """Logarithms of the probabilities by which candidates draw, not normalised.

        They are the model's, except that everything which leaves it to the given voices to act is
        one event, the goal: at its time the given event, which stands for all that is not able;
        before, the wait to it, which stands for longer waits too. A shorter wait may be meant for
        an event of a given voice, which will not come, so only a share of it is a free voice's;
        the rest belongs to the goal.
        """
        rows = np.arange(len(able))
        wait = np.where(able[rows, landing], landing, events.START)  # <S>: there is no goal
        goal = np.where(self.due, self.ids[self.index], wait)
        ticks = events.TICKS_OF[goal][:, None]
        shorter = events.IS_WAIT & (events.TICKS_OF < ticks)
        whole = np.where(self.due[:, None], ~able, events.IS_WAIT & (events.TICKS_OF > ticks))
        whole[rows, goal] = True
        share = min(self.acting[0] / self.acting[1], 0.999)  # of which the logarithm is taken
        part = np.where(whole, 0.0, np.where(shorter, np.log1p(-share), -np.inf))
        proposal = np.where(shorter, log_probs + np.log(share), log_probs)
        proposal[rows, goal] = np.logaddexp.reduce(log_probs + part, axis=1)
        return proposal

    def _advance(self, chosen: np.ndarray, played: np.ndarray, landing: np.ndarray) -> None:
        """Takes over the chosen events; played: bool (candidates,), which of them are the given."""
        self.rules = grammar.advance(self.rules, chosen)
        self.made = np.concatenate([self.made, chosen[:, None]], 1)
        self.now += events.TICKS_OF[chosen]
        self.last_sound = np.where(self.rules.sounding, self.now[:, None], self.last_sound)
        self.met = played | (self.met & ~events.IS_WAIT[chosen])
        self.index[played] += 1
        before = np.maximum(self.index - 1, 0)
        self.due[played] = (self.times[self.index] == self.times[before])[played]
        self.due |= events.IS_WAIT[chosen] & (chosen == landing)


def compose(
    model, score: Score, voices, *, n: int = 1, candidates: int = 16, seed: int = 0, **options
) -> Iterator[list[np.ndarray]]:
    """Pieces around these voices (numbers 0-3) of a song, as they grow.

    Gives the ids of the finished pieces, and those of a candidate of the next, after each event.
    What is composed lasts from the given voices' first event to their last; a silence before stays.
    candidates: how many compete for each piece; options: temperature, top_k, top_p, memory_length,
    precision. Raises as ``given_events`` does, and BadSetting for settings out of range.
    """
    sampling.check(n, 1, seed=seed, **options)
    given, free, done = given_events(score, voices), set(range(4)) - set(voices), []
    silence = events.silence(given[0][0])
    for piece in range(n):
        settings = dict(candidates=candidates, seed=[seed, piece]) | options
        accompaniment = Accompaniment(model, given, free, **settings)
        while not accompaniment.done:
            accompaniment.step()
            yield [*done, np.concatenate([silence, accompaniment.composed()[0]])]
        done.append(np.concatenate([silence, accompaniment.best()]))
    yield done
