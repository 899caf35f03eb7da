"""Voices that fit given ones: some voices are given as a whole, the model composes the others.

Paper: none of its tools do this; §8 comes nearest. Notebook: 09_composing. Works with every model.
A model reads from left to right: while it composes, it cannot know what the given voices do next.
So several particles compose side by side. Each plays the given events at their times, and draws
what the free voices do between them from the model's probabilities. Its weight is the model's
probability of all its events, divided by the probability with which they were drawn: it says how
well the particle predicts the given voices. When few particles hold most of the weight, they are
copied and the others are dropped: sequential Monte Carlo (Doucet, de Freitas and Gordon 2001). At
temperature 1, without top-k and top-p, the particles come from the model's own distribution given
those voices (and given that no free voice rests too long, ``LONGEST_REST``), the better the more
there are. Of the last ones, the one that gave the given events the highest probability is kept.
Particles differ in how many events they need, so that some are ahead of others. To compare them,
what a given event costs on average is taken off the weights of those that have passed it.
"""

from collections.abc import Iterator

import numpy as np

from lakhnes_lib.errors import BadSetting, LakhnesError
from lakhnes_lib.generation import decoding, sampling
from lakhnes_lib.music import events, grammar, nes
from lakhnes_lib.music.score import Score

LONGEST_REST = 1.0
"""Seconds of silence after which a free voice must begin a note with the next given event. Given
voices are easiest to predict when all others are silent, which nobody wants to hear."""
_VOICES = np.arange(len(nes.VOICES))
_NO_VOICE = len(nes.VOICES)  # above all voices
_HALF_STEP = 500  # ticks, of the coarsest part of the time grid
_LEAST = -1e4  # natural logarithm for probability 0: a model may rule out what is given


def voices_of(text: str) -> list[int]:
    """Voice numbers of titles such as ``TR,NO``. Raises BadSetting for another title."""
    titles = [title.strip().upper() for title in text.split(",")]
    for title in titles:
        if title not in nes.VOICES:
            known = ", ".join(nes.VOICES)
            raise BadSetting(f"{text}: {title!r} is no voice; name some of {known}, such as TR,NO")
    return [nes.VOICES.index(title) for title in titles]


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
    timed = []
    for voice in voices:
        notes = score.voice(voice)
        ends = np.setdiff1d(notes["end"], notes["start"])  # where the next note begins is no end
        ids = events.NOTE_ON[voice] + notes["pitch"]
        timed += zip(notes["start"].tolist(), ids.tolist(), strict=True)
        timed += [(end, int(events.NOTE_OFF[voice])) for end in ends.tolist()]
    if not timed:
        titles = ", ".join(nes.VOICES[voice] for voice in voices) or "no voice"
        raise LakhnesError(f"{name}: {titles} given, and there is no note to compose around")
    times, ids = np.array(sorted(timed), np.int64).T  # in one instant ids rise with the voice
    return times, ids


class Search:
    """The particles of one piece; ``step`` composes one event of each.

    Arrays have one row for each particle. Weights are natural logarithms.
    """

    _ROWS = ("made", "now", "index", "due", "last_sound", "weight", "pending", "fit", "costs")

    def __init__(
        self, model, given, voices, *, particles, seed, memory_length, precision="fp32", **options
    ):
        """given: of ``given_events``; particles: how many; the others as in ``sampling.stream``."""
        if particles < 1:
            raise BadSetting(f"at least one particle is needed, not {particles}")
        times, ids = given
        # After the given events stands <S>, at the time of the last one.
        self.times, self.ids = np.append(times, times[-1]), np.append(ids, events.START)
        self.voices = np.append(events.VOICE_OF[ids], _NO_VOICE)
        self.free = ~np.isin(_VOICES, list(voices))
        self.options, self.random = options, np.random.default_rng(seed)
        start = [np.array([events.START])]
        self.pieces = decoding.begin(model, start, particles, memory_length, precision)
        self.rules = grammar.start(particles)
        self.made = np.zeros((particles, 1), np.int64)  # ids from <S> on, and <S> after the end
        self.now = np.full(particles, times[0])  # ticks
        self.index = np.zeros(particles, np.int64)  # of the next given event
        self.due = np.ones(particles, bool)  # whether its time has come
        self.last_sound = np.full((particles, len(_VOICES)), times[0])  # of each voice, in ticks
        self.weight = np.zeros(particles)  # since particles were chosen the last time
        self.pending = np.zeros(particles)  # the part of it since the last given event
        self.fit = np.zeros(particles)  # log-probability of the given events alone
        self.costs = np.full((particles, len(times)), np.nan)  # what each given event brought
        # Over all waits that end before a given event: the sum of the probabilities that a free
        # voice acts then, and the number of these waits.
        self.acting = np.array([1.0, 2.0])
        self.chosen_evidence, self.resampled = 0.0, 0

    @property
    def evidence(self) -> float:
        """Estimated log-probability that the model gives to what the given voices have played.

        At temperature 1 without top-k and top-p its exponential is unbiased.
        """
        return self.chosen_evidence + _log_mean(self.weight)

    @property
    def done(self) -> bool:
        """Whether every particle has played all given events and ended its own notes."""
        return bool((self.index == len(self.times) - 1).all() and not self.rules.sounding.any())

    def best(self) -> np.ndarray:
        """Ids of the particle that has predicted the given voices best: int64 (events,)."""
        ids = self.made[int(np.argmax(self.fit))]
        return ids[ids != events.START]

    def step(self) -> None:
        """One more event for every particle; those at their end wait for the others."""
        rows = np.arange(len(self.made))
        log_probs = self.pieces.feed(self.made[:, -1]).astype(np.float64)
        log_probs = np.maximum(log_probs, _LEAST)
        able, landing = self._able()
        proposal = self._proposal(log_probs, able, landing)
        mass = np.logaddexp.reduce(np.where(able, proposal, -np.inf), axis=1)
        stopped = self.rules.waiting & ~self.due
        self.acting += np.exp(mass[stopped]).sum(), stopped.sum()
        uniform = self.random.random(len(rows))
        chosen = sampling.draw(proposal, able, uniform, **self.options)
        # Of all that is able, the chosen event was drawn with exp(proposal - mass).
        gain = log_probs[rows, chosen] - (proposal[rows, chosen] - mass)
        gain[able[:, events.START]] = 0.0  # at the end
        self.weight += gain
        self.pending += gain
        played = self.due & (chosen == self.ids[self.index]) & (chosen != events.START)
        self.fit[played] += log_probs[rows, chosen][played]
        self._advance(chosen, played, landing)
        if played.any():
            self._choose()

    def _able(self) -> tuple[np.ndarray, np.ndarray]:
        """Which events may come, bool (particles, 631), and the wait to the next given event.

        The wait is the nearest on the time grid, so that a given event is early or late by half a
        step of the grid at most. It is ``<S>`` where no single wait is so long.
        """
        # At its time a given event waits for the free voices before its own.
        before = np.where(self.due, self.voices[self.index], _NO_VOICE)
        may_act = self.free & (_VOICES < before[:, None])  # (particles, 4)
        left = np.maximum(self.times[self.index] - self.now, 1)
        landing = events.wait_ids(left).astype(np.int64)
        voices_and_waits = np.concatenate([may_act, ~self.due[:, None]], 1)  # (particles, 5)
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
        """At a given event, lets only note-ons of the first voice come that has rested too long."""
        rest = self.now[:, None] - self.last_sound
        rested = self.due[:, None] & (rest > LONGEST_REST * nes.TICKS_PER_SECOND)
        later = _VOICES > self.rules.last[:, None]  # these have had no event in this instant
        rested &= may_act & later & ~self.rules.sounding
        for row in np.flatnonzero(rested.any(1)):
            able[row] = events.IS_NOTE_ON & (events.VOICE_OF == rested[row].argmax())

    def _proposal(self, log_probs: np.ndarray, able: np.ndarray, landing: np.ndarray) -> np.ndarray:
        """Logarithms of the probabilities by which particles draw, not normalised.

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
        share = self.acting[0] / self.acting[1]
        part = np.where(whole, 0.0, np.where(shorter, np.log1p(-share), -np.inf))
        proposal = np.where(shorter, log_probs + np.log(share), log_probs)
        proposal[rows, goal] = np.logaddexp.reduce(log_probs + part, axis=1)
        return proposal

    def _advance(self, chosen: np.ndarray, played: np.ndarray, landing: np.ndarray) -> None:
        """Takes over the chosen events; played: bool (particles,), which of them are the given."""
        self.rules = grammar.advance(self.rules, chosen)
        self.made = np.concatenate([self.made, chosen[:, None]], 1)
        self.now += events.TICKS_OF[chosen]
        self.last_sound = np.where(self.rules.sounding, self.now[:, None], self.last_sound)
        self.costs[played, self.index[played]] = self.pending[played]
        self.pending[played] = 0.0
        self.index[played] += 1
        self.due[played] = self.times[self.index[played]] == self.times[self.index[played] - 1]
        self.due |= events.IS_WAIT[chosen] & (chosen == landing)

    def _choose(self) -> None:
        """Copies and drops particles if their weights have become uneven."""
        passed = ~np.isnan(self.costs)
        average = np.nansum(self.costs, 0) / np.maximum(passed.sum(0), 1)  # of each given event
        last = int(self.index.min())  # the particle that is furthest behind stands here
        ahead = np.where(passed[:, last:], average[last:], 0.0).sum(1)
        weight = self.weight - self.pending - ahead
        share = np.exp(weight - weight.max())
        share /= share.sum()
        effective = 1 / (share**2).sum()  # so many equal weights would be as uneven
        if effective >= len(share) / 2:
            return
        self.chosen_evidence += _log_mean(weight)
        self.weight -= weight
        # Systematic resampling: equally spaced points on the line of all shares.
        points = (np.arange(len(share)) + self.random.random()) / len(share)
        rows = np.searchsorted(np.cumsum(share)[:-1], points, side="right")
        for name in self._ROWS:
            setattr(self, name, getattr(self, name)[rows])
        self.rules = self.rules.select(rows)
        self.pieces.select(rows)
        self.resampled += 1


def _log_mean(values: np.ndarray) -> float:
    return float(np.logaddexp.reduce(values) - np.log(len(values)))


def compose(
    model, score: Score, voices, *, n: int = 1, particles: int = 16, seed: int = 0, **options
) -> Iterator[list[np.ndarray]]:
    """Pieces around these voices (numbers 0-3) of a song, as they grow.

    Gives the ids of the finished pieces and of the best particle of the next, after each event. A
    piece lasts from the given voices' first event to their last. options: temperature, top_k,
    top_p, memory_length, precision. Raises as ``given_events`` does, and BadSetting for settings
    out of range.
    """
    sampling.check(n, 1, seed=seed, **options)
    given, done = given_events(score, voices), []
    for piece in range(n):
        search = Search(model, given, voices, particles=particles, seed=[seed, piece], **options)
        while not search.done:
            search.step()
            yield [*done, search.best()]
        done.append(search.best())
