"""Voices that fit given ones: some voices stand from beginning to end, the model composes the others around them.

Paper: none of its tools do this; §8 comes nearest. Notebook: 09_composing. Works with every language model.
A model reads from left to right, so while it composes it cannot know what the given voices do next. Several particles
compose side by side. Each plays the given events at their times and draws what the free voices do between them, from
the model's probabilities of what leaves the given voices alone. Its weight is the model's probability of all its events
over that with which they were drawn: how well it predicts the given voices. When few particles hold most of the
weight, they are multiplied and the others end: sequential Monte Carlo (Doucet, de Freitas and Gordon 2001). At
temperature 1 without cuts the particles come from the model's own distribution given those voices (and given that no
free voice rests too long, ``LONGEST_REST``), the better the more there are. Of the last ones, that which gave the given
events the highest probability is kept.
Particles differ in how many events they need, so some are ahead. They are compared as if all stood where the last one
stands: what a given event costs on average is taken off who has passed it, and stays with it as its weight.
"""

from collections.abc import Iterator

import numpy as np
import torch

from lakhnes_lib.errors import BadSetting, LakhnesError
from lakhnes_lib.generation import sampling
from lakhnes_lib.music import events, grammar, nes
from lakhnes_lib.music.score import Score

LONGEST_REST = 1.0
"""Seconds after which a silent free voice has to begin a note with the next given event: silence is the easiest company
to predict music in, and no company at all."""
_NONE = len(nes.VOICES)  # stands for "no voice", above all voices
_LEAST = -1e4  # natural logarithm that stands for probability 0: a model may rule out what is given


def voices_of(text: str) -> list[int]:
    """Voice numbers of titles such as ``TR,NO``. Raises BadSetting for a title that is none of the four."""
    titles = [title.strip().upper() for title in text.split(",")]
    for title in titles:
        if title not in nes.VOICES:
            raise BadSetting(
                f"{text}: {title!r} is no voice; name some of {', '.join(nes.VOICES)}, such as TR,NO"
            )
    return [nes.VOICES.index(title) for title in titles]


def given_events(score: Score, voices) -> tuple[np.ndarray, np.ndarray]:
    """Ticks and ids, int64 (events,) each, of all that these voices do, in the order of the event language.

    Raises LakhnesError if they do nothing, BadSetting if all four are given, or if one is no voice (0-3).
    """
    voices = sorted(set(voices))
    name = score.name or "given voices"
    if not set(voices) <= set(range(_NONE)):
        raise BadSetting(f"{name}: voices have numbers from 0 to 3, not {voices}")
    if len(voices) == _NONE:
        raise BadSetting(f"{name}: all four voices are given; leave at least one to be composed")
    rows = []
    for voice in voices:
        notes = score.voice(voice)
        ends = np.setdiff1d(
            notes["end"], notes["start"]
        )  # a note-on takes over from a note that ends there
        rows += zip(
            notes["start"].tolist(), (events.NOTE_ON[voice] + notes["pitch"]).tolist(), strict=True
        )
        rows += [(end, int(events.NOTE_OFF[voice])) for end in ends.tolist()]
    if not rows:
        titles = ", ".join(nes.VOICES[voice] for voice in voices) or "no voice"
        raise LakhnesError(f"{name}: {titles} given, and there is no note to compose around")
    times, ids = np.array(sorted(rows), np.int64).T  # ids rise by voice
    return times, ids


class Search:
    """The particles of one piece; ``step`` composes one event of each.

    given: of ``given_events``. particles: how many; seed: of every random choice; the rest as in ``sampling.stream``.
    resampled: how often particles were multiplied.
    """

    def __init__(
        self,
        model,
        given,
        voices,
        *,
        particles,
        seed,
        temperature,
        top_k,
        top_p,
        memory_length,
        precision="fp32",
    ):
        if particles < 1:
            raise BadSetting(f"at least one particle is needed, not {particles}")
        sampling.check(1, 1, temperature, top_k, top_p, 0, memory_length, precision)
        times, ids = given
        self.times, self.ids = np.append(times, times[-1]), np.append(ids, events.START)
        self.voices = np.append(events.VOICE_OF[ids], _NONE)
        self.free = ~np.isin(np.arange(_NONE), list(voices))  # (4,)
        self.choice = dict(temperature=temperature, top_k=top_k, top_p=top_p)
        self.random = np.random.default_rng(seed)
        self.device, self.decoding = (
            model.device,
            model.decoding(particles, None, memory_length, precision),
        )
        self.rules = grammar.start(particles)
        self.made = np.zeros((particles, 0), np.uint16)  # <S> where a particle had ended
        self.now = np.full(particles, times[0])
        self.place = np.zeros(particles, np.int64)  # the next given event
        self.heard = np.full((particles, _NONE), times[0])  # when each voice sounded last
        self.due = np.ones(particles, bool)  # its instant has come
        self.weight = np.zeros(
            particles
        )  # natural logarithm, since the last choice among particles
        self.total = np.zeros(particles)  # the same since the beginning
        self.fit = np.zeros(particles)  # log-probability of the given events alone
        self.gains = np.full(
            (particles, len(times)), np.nan
        )  # of which each given event brought so much
        self.acting = np.array(
            [1.0, 2.0]
        )  # after waits not to a given event: probability of a free voice's, and waits
        self.known, self.resampled = 0.0, 0

    @property
    def evidence(self) -> float:
        """Estimate of the log-probability that the model gives to what the given voices have played so far; at
        temperature 1 without cuts its exponential is unbiased."""
        return self.known + _log_mean(self.weight)

    @property
    def done(self) -> bool:
        """Whether every particle has played all given events and ended its own notes."""
        return bool((self.place == len(self.times) - 1).all() and not self.rules.sounding.any())

    def best(self) -> np.ndarray:
        """Ids of the particle that has predicted the given voices best."""
        ids = self.made[int(np.argmax(self.fit))]
        return ids[ids != events.START]

    def step(self) -> None:
        """One more event for every particle; those at their end wait."""
        ids = self.made[:, -1] if self.made.shape[1] else np.full(len(self.made), events.START)
        log_probs = self.decoding.feed(torch.from_numpy(ids.astype(np.int64)).to(self.device))
        log_probs = log_probs.double().clamp_min(_LEAST).cpu().numpy()
        able, landing = self._able()
        waiting, rows = able[:, events.START], np.arange(len(able))
        # What the free voices leave to the given ones: at a given instant all but their events, else the later waits.
        goal = np.where(
            self.due, self.ids[self.place], np.where(able[rows, landing], landing, events.START)
        )
        ticks = events.TICKS_OF[goal][:, None]
        rest = np.where(self.due[:, None], ~able, events.IS_WAIT & (events.TICKS_OF > ticks))
        rest[rows, goal] = True
        # An earlier wait may be for an event of a given voice, which will not come: only a share is for a free one.
        early, share = events.IS_WAIT & (events.TICKS_OF < ticks), self.acting[0] / self.acting[1]
        taken = np.where(rest, 0.0, np.where(early, np.log1p(-share), -np.inf))
        sure, gathered = log_probs[rows, goal], np.logaddexp.reduce(log_probs + taken, axis=1)
        log_probs[early] += np.log(share)
        log_probs[rows, goal] = gathered
        mass = np.logaddexp.reduce(np.where(able, log_probs, -np.inf), axis=1)
        stopped = self.rules.waiting & ~self.due
        self.acting += np.exp(mass[stopped]).sum(), stopped.sum()
        chosen = sampling.draw(
            log_probs, able, **self.choice, uniform=self.random.random(len(able))
        )
        mass += np.where(chosen == goal, sure - gathered, -np.log(share) * early[rows, chosen])
        mass[waiting] = 0.0
        self.rules = grammar.advance(self.rules, chosen)
        self.made = np.concatenate([self.made, chosen[:, None].astype(np.uint16)], 1)
        self.weight += mass
        self.total += mass
        self.now += events.TICKS_OF[chosen]
        self.heard = np.where(self.rules.sounding, self.now[:, None], self.heard)
        played = np.flatnonzero(self.due & ~waiting & (chosen == self.ids[self.place]))
        self.gains[played, self.place[played]] = self.total[played] - np.nansum(
            self.gains[played], 1
        )
        self.fit[played] += sure[played]
        self.place[played] += 1
        self.due[played] = self.times[self.place[played]] == self.times[self.place[played] - 1]
        self.due |= events.IS_WAIT[chosen] & (chosen == landing)
        if len(played):
            self._choose()

    def _able(self) -> tuple[np.ndarray, np.ndarray]:
        """What may come: bool (particles, 631), <S> for those at their end; and the wait that leads to the next given
        event, <S> if none is so long: the nearest on the grid, so that an event is late or early by half a grid step at
        most."""
        before = np.where(
            self.due, self.voices[self.place], _NONE
        )  # voices that come before the given event
        open_voices = self.free & (np.arange(_NONE) < before[:, None])
        left = np.maximum(self.times[self.place] - self.now, 1)
        landing = events.wait_ids(left).astype(np.int64)
        able = grammar.allowed(self.rules)
        able &= np.concatenate([open_voices, ~self.due[:, None]], 1)[
            :, events.VOICE_OF
        ]  # the last column: waits
        able[:, 1 : len(events.WAIT_TICKS) + 1] &= (
            np.arange(1, len(events.WAIT_TICKS) + 1) <= landing[:, None]
        )
        able[self.due, self.ids[self.place[self.due]]] = True
        resting = open_voices & ~self.rules.sounding & (np.arange(_NONE) > self.rules.last[:, None])
        resting &= self.due[:, None] & (
            self.now[:, None] - self.heard > LONGEST_REST * nes.TICKS_PER_SECOND
        )
        begins = np.where(resting.any(1), resting.argmax(1), _NONE)[:, None] == events.VOICE_OF
        able = np.where(resting.any(1)[:, None], begins & events.IS_NOTE_ON, able)
        landing[left > events.LONGEST_WAIT + 500] = events.START  # no one wait leads there
        for row in np.flatnonzero(
            self.due & (self.times[self.place] == self.times[-1])
        ):  # the last instant
            held = np.flatnonzero(open_voices[row] & self.rules.sounding[row])
            able[row] = False
            able[row, events.NOTE_OFF[held[0]] if len(held) else self.ids[self.place[row]]] = True
        return able, landing

    def _choose(self) -> None:
        """Multiplies and ends particles where their weights, brought to one place, have become uneven."""
        common = int(self.place.min())
        passed = ~np.isnan(self.gains)
        mean = np.nansum(self.gains, 0) / np.maximum(
            passed.sum(0), 1
        )  # of each given event, over who has passed it
        ahead = np.where(passed[:, common:], mean[common:], 0.0).sum(1)
        weight = self.weight - (self.total - np.nansum(self.gains, 1)) - ahead
        share = np.exp(weight - weight.max())
        share /= share.sum()
        if 1 / (share**2).sum() < len(share) / 2:  # effective sample size
            self.known += _log_mean(weight)
            self.weight -= weight
            points = (np.arange(len(share)) + self.random.random()) / len(share)  # systematic
            self._take(np.searchsorted(np.cumsum(share)[:-1], points, side="right"))
            self.resampled += 1

    def _take(self, rows: np.ndarray) -> None:
        for name in ("made", "now", "heard", "place", "due", "weight", "total", "fit", "gains"):
            setattr(self, name, getattr(self, name)[rows])
        self.rules = grammar.State(
            *(getattr(self.rules, name)[rows] for name in ("sounding", "last", "waiting"))
        )
        self.decoding.select(torch.from_numpy(rows).to(self.device))


def _log_mean(values: np.ndarray) -> float:
    return float(np.logaddexp.reduce(values) - np.log(len(values)))


def compose(
    model, score: Score, voices, *, n: int = 1, particles: int = 16, seed: int = 0, **options
) -> Iterator[list[np.ndarray]]:
    """Pieces around these voices (numbers 0-3) of a song: ids of those done and of the best particle of the next, after
    each event.

    A piece lasts from the given voices' first event to their last. options: temperature, top_k, top_p, memory_length.
    Raises as ``given_events`` does, and BadSetting for settings out of range.
    """
    given = given_events(score, voices)
    sampling.check(
        n,
        1,
        options["temperature"],
        options["top_k"],
        options["top_p"],
        seed,
        options["memory_length"],
    )
    return _pieces(model, given, voices, n, seed, particles=particles, **options)


@torch.inference_mode()
def _pieces(model, given, voices, n: int, seed: int, **options) -> Iterator[list[np.ndarray]]:
    done = []
    for piece in range(n):
        search = Search(model, given, voices, seed=[seed, piece], **options)
        while not search.done:
            search.step()
            yield [*done, search.best()]
        done.append(search.best())
