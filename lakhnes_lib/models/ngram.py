"""n-grams: the next event as it followed the last few events in training, counted and sorted.

Paper: §5.2 (its 5-gram is the strongest model without a network). Notebook: 06_baselines.
An n-gram is one integer, ten bits an event, so that those of one history stand side by side in a sorted array, and a
look-up is a binary search. Histories end at the song's first ``<S>``. Two ways to score what was rare or never seen:

- ``backoff``, as published: the relative frequency of the longest n-gram seen in training. These numbers do not sum to
  one over the events, so what they give is no true perplexity; samplers have to normalise them.
- ``kneser_ney``: interpolated modified Kneser-Ney (Chen and Goodman 1999, section 3), a distribution.

Differences from the paper: it has the first only, and does not say so. An event that training lacks altogether gets the
probability 1/631 by back-off; the published code has no answer to it, and no song of the test split needs one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lakhnes_lib.errors import BadCheckpoint, DataNotFound
from lakhnes_lib.models.language_model import VOCABULARY_SIZE, LanguageModel, check_ids

START = 0  # <S>
BITS = 10
_PAD = (1 << BITS) - 1  # after a song's end; sorts behind every event
SMOOTHINGS = ("backoff", "kneser_ney")
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""Where a corpus is so small that Chen and Goodman's estimate does not exist."""


@dataclass(frozen=True)
class _Level:
    """What look-ups need of one order's n-grams.

    keys: int64 (n,), sorted; counts: int32 (n,), adjusted; discounts: float64 (4,), what is taken off a count of 0, 1,
    2, and 3 or more; mass int64 and discounted float64 (n + 1,): sums of counts, and of what is taken off them, over
    all n-grams before.
    """

    keys: Tensor
    counts: Tensor
    mass: Tensor
    discounts: Tensor
    discounted: Tensor

    def followers(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """The n-grams that begin with these packed histories: from, to; int64 of context's shape."""
        return torch.searchsorted(self.keys, context << BITS), torch.searchsorted(
            self.keys, (context + 1) << BITS
        )

    def left(self, place: Tensor) -> Tensor:
        """Counts less their discounts, float64."""
        counts = self.counts[place].long()
        return counts - self.discounts[counts.clamp_max(3)]


class NGram(LanguageModel):
    """Counts of all n-grams up to an order, and the probabilities made of them.

    order: 2 to 6; smoothing: one of ``SMOOTHINGS``; sizes: number of n-grams of each order (what ``fit`` found).
    The history is the last order - 1 events, whatever ``memory_length`` says.
    """

    architecture = "ngram"

    def __init__(
        self,
        vocabulary_size: int = VOCABULARY_SIZE,
        order: int = 5,
        smoothing: str = "kneser_ney",
        sizes: list[int] | None = None,
    ):
        if not 2 <= order <= 6 or not 1 <= vocabulary_size <= _PAD or smoothing not in SMOOTHINGS:
            raise ValueError(
                f"order must be 2-6, vocabulary_size at most {_PAD}, smoothing one of {', '.join(SMOOTHINGS)}; "
                f"not {order}, {vocabulary_size}, {smoothing}"
            )
        sizes = [0] * order if sizes is None else list(sizes)
        if len(sizes) != order:
            raise ValueError(f"sizes must hold {order} numbers, not {len(sizes)}")
        super().__init__(vocabulary_size, order - 1)
        self.order, self.smoothing, self.normalised = order, smoothing, smoothing == "kneser_ney"
        for length, size in enumerate(sizes, 1):
            self.register_buffer(f"keys_{length}", torch.zeros(size, dtype=torch.int64))
            self.register_buffer(f"counts_{length}", torch.zeros(size, dtype=torch.int32))
        self._levels: list[_Level] | None = None

    @property
    def sizes(self) -> list[int]:
        """Number of different n-grams of each order, from 1 up."""
        return [len(getattr(self, f"keys_{length}")) for length in range(1, self.order + 1)]

    @property
    def config(self):
        return super().config | {
            "order": self.order,
            "smoothing": self.smoothing,
            "sizes": self.sizes,
        }

    def parameter_count(self):
        return sum(self.sizes)

    def _apply(self, fn, recurse=True):
        self._levels = None  # made anew where the counts go
        return super()._apply(fn, recurse)

    # --- counting

    def fit(self, songs: list[np.ndarray]) -> "NGram":
        """Counts these songs, framed ids each (integers, ``<S>`` at both ends), in place of what was counted before.

        Raises DataNotFound if there are no songs, BadEvents for ids out of range.
        """
        if not songs:
            raise DataNotFound("there are no songs to count n-grams of")
        ids = np.concatenate(songs).astype(np.int64)
        check_ids(torch.from_numpy(ids[None]), self.vocabulary_size)
        ends = np.cumsum([len(song) for song in songs])
        # The order-gram that starts at each event; one sort of these sorts the shorter ones too, which are its heads.
        left = np.repeat(ends, [len(song) for song in songs]) - np.arange(len(ids))
        keys = np.zeros(len(ids), np.int64)
        for ahead in range(self.order):
            keys = keys << BITS | np.where(left > ahead, np.append(ids[ahead:], ids[:ahead]), _PAD)
        keys.sort()
        for length in range(1, self.order + 1):
            heads = keys >> BITS * (self.order - length)
            first = np.flatnonzero(np.append(True, heads[1:] != heads[:-1]))
            counts, heads = np.diff(first, append=len(keys)), heads[first]
            if length == 1:
                counts = counts - len(songs) * (heads == START)  # nothing predicts the first <S>
            inside = (heads & _PAD != _PAD) & (counts > 0)
            setattr(self, f"keys_{length}", torch.from_numpy(heads[inside]))
            setattr(self, f"counts_{length}", torch.from_numpy(counts[inside].astype(np.int32)))
        self._levels = None
        return self

    def _level(self, length: int) -> _Level:
        keys, counts = getattr(self, f"keys_{length}"), getattr(self, f"counts_{length}")
        if len(keys) and (
            bool((keys[1:] <= keys[:-1]).any()) or keys[0] < 0 or bool((counts < 1).any())
        ):
            raise BadCheckpoint(f"the {length}-grams are not sorted, or one of them has no count")
        if bool(((keys & _PAD) >= self.vocabulary_size).any()):
            raise BadCheckpoint(
                f"a {length}-gram ends with an event that the vocabulary does not have"
            )
        discounts = torch.zeros(4, dtype=torch.float64)
        if self.smoothing == "kneser_ney":
            if length < self.order:
                # A shorter n-gram counts by how many different events precede it; none do where a song begins.
                longer = getattr(self, f"keys_{length + 1}") & ((1 << BITS * length) - 1)
                place = torch.searchsorted(keys, longer).clamp_max(max(len(keys) - 1, 0))
                preceding = torch.bincount(place, minlength=len(keys))
                counts = torch.where(preceding > 0, preceding, counts).int()
            discounts = modified_discounts(
                torch.bincount(counts.clamp_max(5), minlength=6)[1:5].tolist()
            )
        discounts = discounts.to(keys.device)
        return _Level(
            keys,
            counts,
            torch.cat([keys.new_zeros(1), counts.cumsum(0)]),
            discounts,
            torch.cat([discounts.new_zeros(1), discounts[counts.clamp_max(3).long()].cumsum(0)]),
        )

    @property
    def levels(self) -> list[_Level]:
        """The look-up tables of every order, made when first needed. Raises BadCheckpoint, DataNotFound."""
        if self._levels is None:
            if not all(self.sizes):
                raise DataNotFound(
                    "this n-gram model has counted nothing yet: fit it, or load a checkpoint"
                )
            self._levels = [self._level(length) for length in range(1, self.order + 1)]
        return self._levels

    # --- scoring

    def _contexts(
        self, ids: Tensor, state: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Packed histories of 0 to order - 1 events after each position and whether the song is that old already, by
        length, int64 and bool (batch * time,); and the next state, int64 (batch, order - 1), -1 before the start."""
        check_ids(ids, self.vocabulary_size)
        if state is None:
            state = ids.new_full((len(ids), self.order - 1), -1)
        told = torch.cat([state, ids], 1)
        windows = told.unfold(1, self.order - 1, 1)[:, 1:].flatten(
            0, 1
        )  # (batch * time, order - 1), latest last
        context = torch.zeros_like(windows[:, 0])
        there = torch.ones_like(context, dtype=torch.bool)
        contexts, known = [context], [there]
        for back in range(self.order - 1):
            event = windows[:, -1 - back]
            there = there & (event >= 0)
            context = context | event.clamp_min(0) << BITS * back
            contexts.append(context)
            known.append(there)
            there = there & (event != START)
        return contexts, known, told[:, -(self.order - 1) :]

    def target_log_probs(self, ids, targets, state=None):
        contexts, known, state = self._contexts(ids, state)
        target = targets.flatten().clamp_min(0)
        probability = torch.full(
            target.shape, 1 / self.vocabulary_size, dtype=torch.float64, device=ids.device
        )
        for level, context, there in zip(self.levels, contexts, known, strict=True):
            key = context << BITS | target
            place = torch.searchsorted(level.keys, key).clamp_max(len(level.keys) - 1)
            seen = there & (level.keys[place] == key)
            first, last = level.followers(context)
            mass = level.mass[last] - level.mass[first]
            own = torch.where(seen, level.left(place), 0.0) / mass.clamp_min(1)
            if self.normalised:
                share = (level.discounted[last] - level.discounted[first]) / mass.clamp_min(1)
                probability = torch.where(
                    there & (mass > 0), own + share * probability, probability
                )
            else:
                probability = torch.where(seen, own, probability)
        scores = probability.log().float().view_as(targets)
        return scores.masked_fill(targets < 0, 0.0), state

    def probabilities(self, ids: Tensor, state=None) -> tuple[Tensor, Tensor]:
        """Of every event after each position: float64 (batch, time, vocabulary), and the state after the last one."""
        contexts, known, state = self._contexts(ids, state)
        rows = torch.full(
            (len(contexts[0]), self.vocabulary_size),
            1 / self.vocabulary_size,
            dtype=torch.float64,
            device=ids.device,
        )
        for level, context, there in zip(self.levels, contexts, known, strict=True):
            first, last = level.followers(context)
            last = torch.where(there, last, first)
            mass = (level.mass[last] - level.mass[first]).clamp_min(1)
            # All followers of all histories, one after the other: their rows, and their places in the level.
            row = torch.arange(len(first), device=first.device).repeat_interleave(last - first)
            begin = (last - first).cumsum(0) - (last - first)
            place = torch.arange(len(row), device=first.device) + (first - begin)[row]
            event, own = level.keys[place] & _PAD, level.left(place) / mass[row]
            if self.normalised:
                share = (level.discounted[last] - level.discounted[first]) / mass
                rows *= torch.where(last > first, share, 1.0).unsqueeze(1)
                rows[row, event] += own
            else:
                rows[row, event] = own
        return rows.view(*ids.shape, -1), state

    def log_probs(self, ids, state=None):
        probabilities, state = self.probabilities(ids, state)
        return probabilities.log().float(), state

    def select(self, state, rows):
        return None if state is None else state[rows]

    def restart(self, state, fresh):
        return None if state is None else state.masked_fill(fresh.unsqueeze(1), -1)


def modified_discounts(seen: list[int]) -> Tensor:
    """What modified Kneser-Ney takes off a count of 0, 1, 2, and 3 or more: float64 (4,).

    seen: how many n-grams have a count of 1, 2, 3 and 4. ``FALLBACK_DISCOUNTS`` where the estimate is not between 0 and
    the count (Chen and Goodman 1999, equation 17).
    """
    discounts = list(FALLBACK_DISCOUNTS)
    if all(seen):
        one, two, three, four = seen
        share = one / (one + 2 * two)
        estimate = [
            1 - 2 * share * two / one,
            2 - 3 * share * three / two,
            3 - 4 * share * four / three,
        ]
        if all(0 <= value <= count for count, value in enumerate(estimate, 1)):
            discounts = estimate
    return torch.tensor([0.0, *discounts], dtype=torch.float64)
