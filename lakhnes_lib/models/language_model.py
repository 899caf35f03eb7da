"""One interface for every language model, the base of the neural ones, and the two simplest models.

Paper: §5.2 (baselines) and §6 (perplexity). Notebook: 06_baselines.
A language model gives, after each event, the log-probabilities of the event that follows.
Perplexity and sampling are written once on top of this.
Differences from the paper: the unigram model counts ``<S>`` too, since the evaluation scores it;
the published 198.14 is what comes out without it.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from lakhnes_lib.errors import BadEvents

VOCABULARY_SIZE = 631


def check_ids(ids: Tensor, vocabulary_size: int = VOCABULARY_SIZE) -> None:
    """Raises BadEvents unless ids is int64 (batch, time) and lies within the vocabulary.

    A GPU would stop the whole program with a message that names no reason.
    """
    if ids.dim() != 2 or ids.dtype != torch.int64:
        shape = tuple(ids.shape)
        raise BadEvents(f"ids must be int64 (batch, time), not {ids.dtype} of shape {shape}")
    if ids.numel() and not torch.compiler.is_compiling():  # which could not stop for a look
        low, high = torch.aminmax(ids)
        if low < 0 or high >= vocabulary_size:
            actual = f"{int(low)} to {int(high)}"
            raise BadEvents(f"ids must lie in 0-{vocabulary_size - 1}, found {actual}")


class LanguageModel(nn.Module):
    """Base of all models. Subclasses give ``log_probs``, and ``select`` if they have a state.

    memory_length: events of history kept between calls unless a call says otherwise.
    normalised: False if the probabilities after a history need not sum to one (the n-gram's plain
    back-off).
    folder: the checkpoint folder that it was loaded from, None if it was made in memory.

    Example:
        log_probs, state = model.log_probs(ids[:, :100])         # a fresh start
        log_probs, state = model.log_probs(ids[:, 100:], state)  # going on after these events
    """

    architecture = "?"
    normalised = True
    folder: Path | None = None

    def __init__(self, vocabulary_size: int = VOCABULARY_SIZE, memory_length: int = 0):
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.memory_length = memory_length

    @property
    def config(self) -> dict:
        """The constructor's arguments, plain values: ``type(self)(**config)`` has this shape."""
        return {"vocabulary_size": self.vocabulary_size}

    @property
    def device(self) -> torch.device:
        """Where ids must be."""
        return next((tensor.device for tensor in self.state_dict().values()), torch.device("cpu"))

    def log_probs(
        self, ids: Tensor, state=None, *, memory_length: int | None = None
    ) -> tuple[Tensor, object]:
        """Natural log-probabilities of the event after each position.

        ids: int64 (batch, time); state: None for a fresh start, else what the last call returned;
        memory_length: events of history that the returned state keeps at most, None for the
        model's own. Models without such a memory ignore it.
        Returns float32 (batch, time, vocabulary), and the state after the last position.
        Raises BadEvents for ids out of range.
        """
        raise NotImplementedError

    def target_log_probs(
        self, ids: Tensor, targets: Tensor, state=None, *, memory_length: int | None = None
    ) -> tuple[Tensor, object]:
        """Log-probability of the given next events only: float32 (batch, time), and the state.

        targets: int64 (batch, time); one below 0 gets 0. Other arguments: ``log_probs``.
        """
        log_probs, state = self.log_probs(ids, state, memory_length=memory_length)
        picked = log_probs.gather(-1, targets.clamp_min(0).unsqueeze(-1)).squeeze(-1)
        return picked.masked_fill(targets < 0, 0.0), state

    def select(self, state, rows: Tensor):
        """The state of these rows of the batch: int64 (rows,), in any order, repeats allowed."""
        return state

    def restart(self, state, fresh: Tensor):
        """The same state with nothing remembered in rows where ``fresh``, bool (batch,), holds."""
        return state

    def parameter_count(self) -> int:
        """Number of trainable values; tied weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())


def arguments(local: dict) -> dict:
    """A constructor's arguments by name; local: the ``locals()`` of its first line."""
    return {name: value for name, value in local.items() if name not in ("self", "__class__")}


class NeuralModel(LanguageModel):
    """Base of the models that make a vector of each position, and logits of each vector.

    Subclasses give ``hidden``, ``logits``, ``restart`` and ``state_type``: the named tuple of their
    state, whose fields are tensors, plain values, or a list with a tuple of tensors for each layer.
    In every tensor the batch comes first; an LSTM has a ``select`` of its own.
    """

    state_type: type

    def __init__(self, config: dict):
        """config: the arguments of the subclass's constructor, ``vocabulary_size`` among them."""
        super().__init__(config["vocabulary_size"], config.get("memory_length", 0))
        self._config = config

    @property
    def config(self):
        lengths = {"memory_length": self.memory_length} if "memory_length" in self._config else {}
        return self._config | lengths

    def hidden(
        self, ids: Tensor, state=None, *, memory_length: int | None = None
    ) -> tuple[Tensor, object]:
        """The last layer's output, (batch, time, width), and the state. Arguments: ``log_probs``.

        Raises BadEvents for ids out of range.
        """
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, width) -> (…, vocabulary)."""
        raise NotImplementedError

    def log_probs(self, ids, state=None, *, memory_length=None):
        hidden, state = self.hidden(ids, state, memory_length=memory_length)
        logits = self.logits(hidden)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return F.log_softmax(logits, -1, dtype=dtype), state

    def target_log_probs(self, ids, targets, state=None, *, memory_length=None):
        hidden, state = self.hidden(ids, state, memory_length=memory_length)
        logits = self.logits(hidden).flatten(0, 1).float()  # (batch * time, vocabulary)
        wanted = targets.flatten().clamp_min(-1)
        losses = F.cross_entropy(logits, wanted, ignore_index=-1, reduction="none")
        return -losses.view(targets.shape), state

    def state_tree(self, state) -> dict | None:
        """The state's fields, on the CPU, for snapshots; ``state_from`` reads them back."""
        return None if state is None else tree_map_only(Tensor, Tensor.cpu, state._asdict())

    def state_from(self, tree: dict | None, device):
        """The state that ``state_tree`` took apart, on this device."""
        state = None if tree is None else self.state_type(**tree)
        return tree_map_only(Tensor, lambda tensor: tensor.to(device), state)

    def select(self, state, rows):
        return tree_map_only(Tensor, lambda tensor: tensor[rows], state)

    def empty(self, batch: int):
        """A training state of full size in which every row remembers nothing, or None.

        With it every step of a compiled training has the same shapes. The state is that of some
        events, which are then forgotten; so it has the dtypes that it will have in training, if
        this is called in the same ``torch.autocast``.
        """
        if not self.memory_length:
            return None
        ids = torch.zeros(batch, self.memory_length, dtype=torch.int64, device=self.device)
        with torch.no_grad():
            _, state = self.hidden(ids)
        return self.restart(state, torch.ones_like(ids[:, 0], dtype=torch.bool))


class RandomModel(LanguageModel):
    """Every event is equally likely: perplexity 631 whatever the music."""

    architecture = "random"

    def log_probs(self, ids, state=None, *, memory_length=None):
        check_ids(ids, self.vocabulary_size)
        uniform = -torch.log(torch.tensor(float(self.vocabulary_size)))
        return uniform.expand(*ids.shape, self.vocabulary_size).to(ids.device), None


class UnigramModel(LanguageModel):
    """Each event by its share of the training split, whatever came before.

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

    def log_probs(self, ids, state=None, *, memory_length=None):
        check_ids(ids, self.vocabulary_size)
        counts = self.counts + self.smoothing
        rows = torch.log(counts / counts.sum()).float()
        return rows.expand(*ids.shape, self.vocabulary_size), None
