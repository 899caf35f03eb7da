"""One interface for every language model, the base of the neural ones, and the two simplest: random and unigram.

Paper: §5.2 (baselines) and §6 (perplexity). Notebook: 06_baselines.
A model gives, after each event, the log-probabilities of the event that follows. Perplexity and sampling are written
once on top of this. Differences from the paper: the unigram counts ``<S>`` too, since the evaluation scores it;
the published 198.14 is what comes out without it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.models.fast.decoding import Decoding

VOCABULARY_SIZE = 631


def check_ids(ids: Tensor, vocabulary_size: int = VOCABULARY_SIZE) -> None:
    """Raises BadEvents unless ids is int64 (batch, time) within the vocabulary (a GPU would die of it without a
    word)."""
    if ids.dim() != 2 or ids.dtype != torch.int64:
        raise BadEvents(
            f"ids must be int64 (batch, time), not {str(ids.dtype)[6:]} of shape {tuple(ids.shape)}"
        )
    if ids.numel():
        low, high = torch.aminmax(ids)
        if low < 0 or high >= vocabulary_size:
            raise BadEvents(
                f"ids must lie in 0-{vocabulary_size - 1}, found {int(low)} to {int(high)}"
            )


def settings(local: dict) -> dict:
    """What a constructor was given, by name, for ``config``; local: the ``locals()`` of its first line."""
    return {name: value for name, value in local.items() if name not in ("self", "__class__")}


class LanguageModel(nn.Module):
    """Base of all models.

    memory_length: events of history kept between calls; evaluation and sampling may set it.
    normalised: False if the probabilities after a history need not sum to one (the published n-gram back-off).
    Subclasses give ``log_probs`` and, where state is more than None, ``select``; ``config`` is what rebuilds them.
    """

    architecture = "?"
    normalised = True

    def __init__(self, vocabulary_size: int = VOCABULARY_SIZE, memory_length: int = 0):
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.memory_length = memory_length

    @property
    def config(self) -> dict:
        """Plain values: ``type(self)(**config)`` has the same shape."""
        return {"vocabulary_size": self.vocabulary_size}

    @property
    def device(self) -> torch.device:
        """Where ids must live."""
        return next((tensor.device for tensor in self.state_dict().values()), torch.device("cpu"))

    def log_probs(self, ids: Tensor, state=None) -> tuple[Tensor, object]:
        """Natural log-probabilities of the event after each position.

        ids: int64 (batch, time); state: None for a fresh start, else what the call before returned.
        Returns float32 (batch, time, vocabulary), and the state after the last position.
        Raises BadEvents for ids out of range.
        """
        raise NotImplementedError

    def target_log_probs(self, ids: Tensor, targets: Tensor, state=None) -> tuple[Tensor, object]:
        """Log-probability of the given following events only: float32 (batch, time); targets below 0 give 0."""
        log_probs, state = self.log_probs(ids, state)
        picked = log_probs.gather(-1, targets.clamp_min(0).unsqueeze(-1)).squeeze(-1)
        return picked.masked_fill(targets < 0, 0.0), state

    def select(self, state, rows: Tensor):
        """The state of these rows of the batch: int64 (rows,), any order, repeats allowed."""
        return state

    def decoding(
        self,
        rows: int | Tensor,
        state=None,
        memory_length: int | None = None,
        precision: str = "fp32",
    ):
        """The model reading several pieces event by event: a ``Decoding``, whose arguments these are.

        precision: "fp16" or "int8" lets a model that can do so hold its weights in 16 or 8 bits meanwhile, which a CPU
        reads faster.
        """
        return Decoding(self, rows, state, memory_length)

    def empty(self, batch: int, dtype: torch.dtype):
        """A state of ``batch`` rows in which nothing is remembered, of its full size: with it a compiled training step
        always has the same shapes. None where the model has no such state."""
        return None

    def restart(self, state, fresh: Tensor):
        """The same state with nothing remembered in the rows where ``fresh`` (bool (batch,)) holds."""
        return state

    def parameter_count(self) -> int:
        """Number of trainable values; tied weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())


class NeuralModel(LanguageModel):
    """Base of the models that make a vector of each position and logits of each vector.

    Subclasses give ``hidden``, ``logits``, ``select``, ``restart`` and ``state_type``: the dataclass of their state,
    whose fields are tensors, plain values, or for each layer a tuple of tensors.
    """

    state_type: type

    def hidden(self, ids: Tensor, state=None) -> tuple[Tensor, object]:
        """The last layer's output for int64 ids (batch, time): (batch, time, width), and the state after them.

        Raises BadEvents for ids out of range.
        """
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, width) -> (…, vocabulary)."""
        raise NotImplementedError

    def log_probs(self, ids, state=None):
        hidden, state = self.hidden(ids, state)
        logits = self.logits(hidden)
        return F.log_softmax(
            logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32)
        ), state

    def target_log_probs(self, ids, targets, state=None):
        hidden, state = self.hidden(ids, state)
        logits, wanted = self.logits(hidden).flatten(0, 1).float(), targets.flatten().clamp_min(-1)
        losses = F.cross_entropy(logits, wanted, ignore_index=-1, reduction="none")
        return -losses.view(targets.shape), state

    def state_tree(self, state) -> dict:
        """The state as lists and dicts of tensors and plain values, for snapshots; ``state_from`` reads it back."""
        return dict(vars(state))

    def state_from(self, tree: dict, device):
        """The state that ``state_tree`` took apart."""

        def moved(part):
            if isinstance(part, list):
                return [tuple(tensor.to(device) for tensor in layer) for layer in part]
            return part.to(device) if isinstance(part, Tensor) else part

        return self.state_type(**{name: moved(part) for name, part in tree.items()})


class RandomModel(LanguageModel):
    """Every event equally likely: perplexity 631 whatever the music."""

    architecture = "random"

    def log_probs(self, ids, state=None):
        check_ids(ids, self.vocabulary_size)
        uniform = -torch.log(torch.tensor(float(self.vocabulary_size)))
        return uniform.expand(*ids.shape, self.vocabulary_size).to(ids.device), None


class UnigramModel(LanguageModel):
    """Each event by its share in the training split, whatever came before.

    smoothing is added to every count, so that no event is impossible.
    """

    architecture = "unigram"

    def __init__(self, vocabulary_size: int = VOCABULARY_SIZE, smoothing: float = 1.0):
        super().__init__(vocabulary_size)
        self.smoothing = smoothing
        self.register_buffer("counts", torch.zeros(vocabulary_size, dtype=torch.float64))

    @property
    def config(self):
        return super().config | {"smoothing": self.smoothing}

    def fit(self, targets: Tensor) -> "UnigramModel":
        """Adds the counts of these events: integers, any shape."""
        self.counts += torch.bincount(targets.flatten().long(), minlength=self.vocabulary_size)
        return self

    def parameter_count(self):
        return self.vocabulary_size

    def log_probs(self, ids, state=None):
        check_ids(ids, self.vocabulary_size)
        counts = self.counts + self.smoothing
        return torch.log(counts / counts.sum()).float().expand(
            *ids.shape, self.vocabulary_size
        ), None
