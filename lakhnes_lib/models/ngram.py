"""n-grams: the next event as it followed the last few events in training.

Paper: §5.2 (its 5-gram is the strongest model without a network). Notebook: 06_baselines.
With h the last events and w the next one, c(h w) counts how often training has these one after the
other, c(h ·) is its sum over all w, and h' is h without its oldest event. There are two ways to
score what was rare or never seen:

- ``backoff``: p(w | h) = c(h w) / c(h ·) if c(h w) > 0, else p(w | h'). These numbers do not sum
  to one over the events, so what they give is no true perplexity; samplers have to normalise them.
- ``kneser_ney``: interpolated modified Kneser-Ney (Chen and Goodman 1999, section 3), which does:
  p(w | h) = (c(h w) - D(c(h w)) + Σ D(c(h v)) · p(w | h')) / c(h ·), the sum over all events v.

Below the empty history every event has the probability 1 / 631.
Differences from the paper: it does not say how it smooths, and its authors published no n-gram
code. That it backs off without normalising is inferred from the number: ``backoff`` gives a test
perplexity of 37.26, the paper has 37.25; a smoothed model that sums to one is far from it.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lakhnes_lib.errors import BadCheckpoint, DataNotFound
from lakhnes_lib.models.language_model import VOCABULARY_SIZE, LanguageModel, check_ids

START = 0  # <S>
BITS = 10
"""Of an event within a key: an n-gram is one integer, its oldest event in the highest bits. So the
n-grams of one history are neighbours in a sorted array, and a binary search finds them."""
NO_EVENT = (1 << BITS) - 1
"""Stands before a song's first event and behind its last one; no n-gram with it is counted."""
SMOOTHINGS = ("backoff", "kneser_ney")
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""D(1), D(2), D(3 or more) of a corpus so small that the usual estimate does not exist."""


class Table:
    """The n-grams of one length, and what is looked up of them.

    keys: int64 (n,), sorted; counts: int64 (n,), c of each; discounts: float64 (4,), D of the
    counts 0, 1, 2, and 3 or more; count_sums int64 and discount_sums float64, each (n + 1,): sums
    over all n-grams before the first, the second, … and over all.
    """

    def __init__(self, keys: Tensor, counts: Tensor, discounts: Tensor):
        self.keys = keys
        self.count_sums = F.pad(counts.cumsum(0), (1, 0))
        self.discount_sums = F.pad(discounts[counts.clamp_max(3)].cumsum(0), (1, 0))

    def sums(self, first: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """Σ c and Σ D(c) over the n-grams from one key on up to another, each float64 of the keys'
        shape. Of one n-gram that is its own c and D, of a history c(h ·) and Σ D(c(h v))."""
        first, end = torch.searchsorted(self.keys, first), torch.searchsorted(self.keys, end)
        counted = self.count_sums[end] - self.count_sums[first]
        return counted.double(), self.discount_sums[end] - self.discount_sums[first]


class NGram(LanguageModel):
    """Counts of all n-grams up to an order, and the probabilities made of them.

    order: 2 to 6; smoothing: one of ``SMOOTHINGS``; sizes: number of different n-grams of each
    length, which ``fit`` finds. The state is the last order - 1 events, int64 (batch, order - 1),
    ``NO_EVENT`` before the first; ``memory_length`` has no effect.

    Example:
        model = NGram(order=5, smoothing="backoff").fit(corpus["train"].framed())
        probabilities, state = model.probabilities(ids)
    """

    architecture = "ngram"

    def __init__(
        self,
        vocabulary_size: int = VOCABULARY_SIZE,
        order: int = 5,
        smoothing: str = "kneser_ney",
        sizes: list[int] | None = None,
    ):
        most, known = NO_EVENT, ", ".join(SMOOTHINGS)
        if not 2 <= order <= 6 or not 1 <= vocabulary_size <= most or smoothing not in SMOOTHINGS:
            rule = f"order must be 2-6, vocabulary_size at most {most}, smoothing one of {known}"
            raise ValueError(f"{rule}; not {order}, {vocabulary_size}, {smoothing}")
        sizes = [0] * order if sizes is None else list(sizes)
        if len(sizes) != order:
            raise ValueError(f"sizes must hold {order} numbers, not {len(sizes)}")
        super().__init__(vocabulary_size, order - 1)
        self.order, self.smoothing = order, smoothing
        self.normalised = smoothing == "kneser_ney"
        for length, size in enumerate(sizes, 1):
            self.register_buffer(f"keys_{length}", torch.zeros(size, dtype=torch.int64))
            self.register_buffer(f"counts_{length}", torch.zeros(size, dtype=torch.int32))
        self._tables: list[Table] | None = None

    @property
    def sizes(self) -> list[int]:
        """Number of different n-grams of each length, from 1 up."""
        return [len(getattr(self, f"keys_{length}")) for length in range(1, self.order + 1)]

    @property
    def config(self):
        own = {"order": self.order, "smoothing": self.smoothing, "sizes": self.sizes}
        return super().config | own

    def parameter_count(self):
        return sum(self.sizes)

    def _apply(self, fn, recurse=True):
        self._tables = None  # the counts move to another device
        return super()._apply(fn, recurse)

    # --- counting

    def fit(self, songs: list[np.ndarray]) -> "NGram":
        """Counts the n-grams of these songs; earlier counts are dropped. Returns the model.

        songs: framed ids, integers, ``<S>`` at both ends.
        Raises DataNotFound if there are no songs, BadEvents for ids out of range.
        """
        if not songs:
            raise DataNotFound("there are no songs to count n-grams of")
        ids = np.concatenate(songs).astype(np.int64)
        check_ids(torch.from_numpy(ids[None]), self.vocabulary_size)
        lengths = [len(song) for song in songs]
        left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(ids))  # to the song's end
        # The longest n-gram that starts at each event. Sorted once, they sort their beginnings too.
        keys = np.zeros(len(ids), np.int64)
        for ahead in range(self.order):
            event = np.where(left > ahead, np.roll(ids, -ahead), NO_EVENT)
            keys = keys << BITS | event
        keys.sort()
        for length in range(1, self.order + 1):
            grams, counts = np.unique(keys >> BITS * (self.order - length), return_counts=True)
            if length == 1:
                counts[grams == START] -= len(songs)  # no event predicts a song's first <S>
            inside = (grams & NO_EVENT != NO_EVENT) & (counts > 0)
            setattr(self, f"keys_{length}", torch.from_numpy(grams[inside]))
            setattr(self, f"counts_{length}", torch.from_numpy(counts[inside].astype(np.int32)))
        self._tables = None
        return self

    def _table(self, length: int) -> Table:
        keys, counts = getattr(self, f"keys_{length}"), getattr(self, f"counts_{length}").long()
        if bool((keys[1:] <= keys[:-1]).any()) or keys[0] < 0 or bool((counts < 1).any()):
            raise BadCheckpoint(f"the {length}-grams are not sorted, or one of them has no count")
        if bool(((keys & NO_EVENT) >= self.vocabulary_size).any()):
            raise BadCheckpoint(f"a {length}-gram ends with an event beyond the vocabulary")
        discounts = torch.zeros(4, dtype=torch.float64)
        if self.smoothing == "kneser_ney":
            if length < self.order:
                # A shorter n-gram counts by how many different events stand before it in training.
                # At a song's start none does: there its plain count remains.
                endings = getattr(self, f"keys_{length + 1}") & ((1 << BITS * length) - 1)
                index = torch.searchsorted(keys, endings).clamp_max(len(keys) - 1)
                preceding = torch.bincount(index, minlength=len(keys))
                counts = torch.where(preceding > 0, preceding, counts)
            of_counts = torch.bincount(counts.clamp_max(5), minlength=6)
            discounts = modified_discounts(of_counts[1:5].tolist())
        return Table(keys, counts, discounts.to(keys.device))

    @property
    def tables(self) -> list[Table]:
        """Of every length, built when first needed. Raises BadCheckpoint, DataNotFound."""
        if self._tables is None:
            if not all(self.sizes):
                advice = "fit it, or load a checkpoint"
                raise DataNotFound(f"this n-gram model has counted nothing yet: {advice}")
            self._tables = [self._table(length) for length in range(1, self.order + 1)]
        return self._tables

    # --- scoring

    def _histories(self, ids: Tensor, state: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """Keys of the last 0 to order - 1 events at each position, and the next state.

        The keys: int64 (batch, time). A history that reaches over a song's first ``<S>`` needs no
        care: training has no n-gram with it.
        """
        check_ids(ids, self.vocabulary_size)
        if state is None:
            state = ids.new_full((len(ids), self.order - 1), NO_EVENT)
        read = torch.cat([state, ids], 1)  # (batch, order - 1 + time)
        time = ids.shape[1]
        histories = [torch.zeros_like(ids)]
        for back in range(self.order - 1):
            first = self.order - 1 - back
            event = read[:, first : first + time]  # the one that is ``back`` events old
            histories.append(histories[-1] | event << BITS * back)
        return histories, read[:, time:]

    def _probability(self, histories: list[Tensor], event: Tensor) -> Tensor:
        """p(event | history): float64, of the shape to which event and histories broadcast."""
        probability = torch.full_like(event, 1 / self.vocabulary_size, dtype=torch.float64)
        for table, history in zip(self.tables, histories, strict=True):
            key = history << BITS | event
            count, discount = table.sums(key, key + 1)
            total, discounted = table.sums(history << BITS, (history + 1) << BITS)
            if self.smoothing == "backoff":
                probability = torch.where(count > 0, count / total, probability)
            else:
                interpolated = (count - discount + discounted * probability) / total
                probability = torch.where(total > 0, interpolated, probability)
        return probability

    def probabilities(self, ids: Tensor, state=None) -> tuple[Tensor, Tensor]:
        """Of every event after each position: float64 (batch, time, vocabulary), and the state."""
        histories, state = self._histories(ids, state)
        every_event = torch.arange(self.vocabulary_size, device=ids.device)
        return self._probability([key.unsqueeze(-1) for key in histories], every_event), state

    def log_probs(self, ids, state=None, *, memory_length=None):
        probabilities, state = self.probabilities(ids, state)
        return probabilities.log().float(), state

    def target_log_probs(self, ids, targets, state=None, *, memory_length=None):
        histories, state = self._histories(ids, state)
        scores = self._probability(histories, targets.clamp_min(0)).log().float()
        return scores.masked_fill(targets < 0, 0.0), state

    def select(self, state, rows):
        return None if state is None else state[rows]

    def restart(self, state, fresh):
        return None if state is None else state.masked_fill(fresh.unsqueeze(1), NO_EVENT)


def modified_discounts(seen: list[int]) -> Tensor:
    """D of a count of 0, 1, 2, and 3 or more: float64 (4,) (Chen and Goodman 1999, equation 17).

    seen: how many n-grams have a count of 1, 2, 3 and 4. Where the estimate does not exist, or does
    not lie between 0 and the count, ``FALLBACK_DISCOUNTS``.
    """
    discounts = list(FALLBACK_DISCOUNTS)
    if all(seen):
        one, two, three, four = seen
        share = one / (one + 2 * two)
        ratios = two / one, three / two, four / three
        estimate = [n - (n + 1) * share * ratio for n, ratio in enumerate(ratios, 1)]
        if all(0 <= value <= count for count, value in enumerate(estimate, 1)):
            discounts = estimate
    return torch.tensor([0.0, *discounts], dtype=torch.float64)
