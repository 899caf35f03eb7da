"""A decoder as one would build it today, at the size of a laptop: what the years since the paper changed.

Paper: none; it stands beside §4.1's Transformer-XL, behind the same interface. Notebook: 07_quantitative_analysis.
Differences from the Transformer-XL: normalisation before each net, by root mean square alone (Zhang & Sennrich 2019);
rotary positions (Su et al. 2021) in half of each head, while the other half matches at any distance; normalised queries
and keys with a learned sharpness (Henry et al. 2020); squared ReLU (So et al. 2021); embeddings of the last four
events; and late keys (the key offset of the nanoGPT speed runs, 2025): what matches at any distance is the key of the
event before, so that one layer finds what came next the last time. The memory holds keys and values, in training too,
where no gradient passes into it.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lakhnes_lib.models.attention import causal_mask
from lakhnes_lib.models.language_model import VOCABULARY_SIZE, LanguageModel, check_ids

ROTARY_BASE = 1024.0
"""The slowest turn of a pair that turns takes 2 pi times so many events."""
_ABSENT = -1
"""Stands before a song's first event in the history of ids."""


@dataclass(frozen=True)
class Past:
    """What the decoder carries from call to call.

    layers: each layer's keys (turned and late) and values, (batch, heads, length, head width), and the half key that
    the next event's will hold, (batch, heads, 1, head width / 2); length: positions kept; position: place of the next
    event, from which keys are turned; valid: int64 (batch,), how many positions, from the newest, a row may look back
    to; ids: int64 (batch, 3), the last events, -1 where there is none.
    """

    layers: list[tuple[Tensor, Tensor, Tensor]]
    length: int
    position: int
    valid: Tensor
    ids: Tensor


def turns(first: int, time: int, head_width: int, device=None) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles, from position ``first`` on: each float64 (time, head width / 4)."""
    place = torch.arange(first, first + time, device=device, dtype=torch.float64)
    angle = torch.outer(place, ROTARY_BASE ** -torch.linspace(0, 1, head_width // 4, device=device, dtype=place.dtype))
    return angle.cos(), angle.sin()


def turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """x (…, time, head width): pairs (i, i + head width / 4) of its first half turned by their positions' angles."""
    a, b, still = x.split([x.shape[-1] // 4, x.shape[-1] // 4, x.shape[-1] // 2], -1)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine, still], -1)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """softmax(query · key / √(head width) + mask) · value, (batch, heads, time, head width); mask (… , time, keys).

    On a CPU the product is written out: for short segments it beats the fused kernel there.
    """
    if query.device.type == "cpu" and query.shape[2] > 1 and key.shape[2] <= 1024:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2) + mask.to(query.dtype)
        return scores.softmax(-1) @ value
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask.to(query.dtype))


class Block(nn.Module):
    """Attention, then a feed-forward net, each added to what it reads."""

    def __init__(self, width, heads, feed_forward, dropout, qk_norm, late_keys, activation):
        super().__init__()
        self.heads, self.late_keys, self.activation = heads, late_keys, activation
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.sharpness = nn.Parameter(torch.full((heads, 1, 1), 2.0)) if qk_norm else None
        self.output = nn.Linear(width, width, bias=False)
        self.inner = nn.Linear(width, feed_forward * (2 if activation == "swiglu" else 1), bias=False)
        self.outer = nn.Linear(feed_forward, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def project(self, x: Tensor, angles, before: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Query, key and value of x (batch, time, width), each (batch, heads, time, head width); then the half key that
        the event after these will hold, as ``before`` (None: none) is that of x's first: (batch, heads, 1, half)."""
        x = F.rms_norm(x, x.shape[-1:])
        query, key, value = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        if self.sharpness is not None:
            query, key = (F.rms_norm(part, part.shape[-1:]) for part in (query, key))
            query = query * self.sharpness.to(query.dtype)
        if angles is not None:
            cosine, sine = (part.to(query.dtype) for part in angles)
            query, key = turn(query, cosine, sine), turn(key, cosine, sine)
        turned, still = key.chunk(2, -1)
        if self.late_keys:
            first = torch.zeros_like(still[:, :, :1]) if before is None else before.to(still.dtype)
            key = torch.cat([turned, torch.cat([first, still[:, :, :-1]], 2)], -1)
        return query, key, value, still[:, :, -1:]

    def feed(self, x: Tensor) -> Tensor:
        """x and what the feed-forward net adds to it."""
        inner = self.inner(F.rms_norm(x, x.shape[-1:]))
        if self.activation == "swiglu":
            gate, inner = inner.chunk(2, -1)
            inner = F.silu(gate) * inner
        else:
            inner = F.relu(inner).square()
        return x + self.dropout(self.outer(inner))

    def forward(self, x: Tensor, past, angles, mask: Tensor):
        """x: (batch, time, width); past: this layer's of ``Past``, or None. Returns x's shape, and past and x's."""
        query, key, value, last = self.project(x, angles, None if past is None else past[2])
        if past is not None:
            key, value = torch.cat([past[0].to(key.dtype), key], 2), torch.cat([past[1].to(value.dtype), value], 2)
        attended = attend(query, key, value, mask).transpose(1, 2).flatten(-2)
        return self.feed(x + self.dropout(self.output(attended))), (key, value, last)


class ModernDecoder(LanguageModel):
    """The defaults are the laptop's size: 5.5 million parameters. Flags take one change out, to measure its gain."""

    architecture = "modern_decoder"

    def __init__(
        self,
        vocabulary_size: int = VOCABULARY_SIZE,
        layers: int = 6,
        width: int = 256,
        heads: int = 4,
        feed_forward: int = 1024,
        dropout: float = 0.0,
        memory_length: int = 2048,
        previous: int = 3,
        rotary: bool = True,
        qk_norm: bool = True,
        late_keys: bool = True,
        tied: bool = True,
        activation: str = "squared_relu",
    ):
        super().__init__(vocabulary_size, memory_length)
        self._config = {
            "layers": layers,
            "width": width,
            "heads": heads,
            "feed_forward": feed_forward,
            "dropout": dropout,
            "previous": previous,
            "rotary": rotary,
            "qk_norm": qk_norm,
            "late_keys": late_keys,
            "tied": tied,
            "activation": activation,
        }
        self.head_width, self.rotary = width // heads, rotary
        # One table for each of the last events; its last row stands for an event before the song's first.
        self.embeddings = nn.ModuleList(nn.Embedding(vocabulary_size + 1, width) for _ in range(1 + previous))
        self.blocks = nn.ModuleList(
            Block(width, heads, feed_forward, dropout, qk_norm, late_keys, activation) for _ in range(layers)
        )
        # Tied, an event copied from the past is predicted without first learning how to spell it.
        self.output = None if tied else nn.Embedding(vocabulary_size + 1, width)
        self.dropout = nn.Dropout(dropout)
        for table in (*self.embeddings, *([] if tied else [self.output])):
            nn.init.normal_(table.weight, 0.0, 0.02)
        for block in self.blocks:
            for matrix in (block.query, block.key, block.value, block.inner):
                nn.init.normal_(matrix.weight, 0.0, width**-0.5)
            for matrix in (block.output, block.outer):
                nn.init.normal_(matrix.weight, 0.0, 0.02)

    @property
    def config(self):
        return super().config | self._config | {"memory_length": self.memory_length}

    def hidden(self, ids: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """The last layer's output for int64 ids (batch, time): (batch, time, width), and what follows' past."""
        check_ids(ids, self.vocabulary_size)
        batch, time = ids.shape
        if past is None:
            nothing = ids.new_full((batch, len(self.embeddings) - 1), _ABSENT)
            past = Past([None] * len(self.blocks), 0, 0, ids.new_zeros(batch), nothing)
        history = torch.cat([past.ids, ids], 1)
        x = self.dropout(self.embed(history, time))
        angles = turns(past.position, time, self.head_width, ids.device) if self.rotary else None
        mask = self._mask(past, time)
        kept = min(past.length + time, self.memory_length)
        layers = []
        for block, before in zip(self.blocks, past.layers, strict=True):
            x, (key, value, last) = block(x, before, angles, mask)
            layers.append((*(part[:, :, part.shape[2] - kept :].detach() for part in (key, value)), last.detach()))
        ahead = Past(layers, kept, past.position + time, (past.valid + time).clamp_max(kept), history[:, time:])
        return F.rms_norm(x, x.shape[-1:]), ahead

    def embed(self, history: Tensor, time: int) -> Tensor:
        """The sum of the last events' vectors at the newest ``time`` positions of a history of ids."""
        steps = history.shape[1] - time
        rows = history.where(history >= 0, self.vocabulary_size)  # -1 would be the table's last row, but not on a GPU
        x = sum(table(rows[:, steps - back : steps - back + time]) for back, table in enumerate(self.embeddings))
        x = x * x.shape[-1] ** 0.5
        device = x.device.type
        return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x

    def _mask(self, past: Past, time: int) -> Tensor:
        """(batch or 1, 1, time, keys): 0 where a query may look, -inf elsewhere."""
        mask = causal_mask(time, past.length + time, past.valid.device)
        if past.length and bool((past.valid < past.length).any()):
            age = torch.arange(past.length, 0, -1, device=mask.device)
            foreign = F.pad(age > past.valid.unsqueeze(1), (0, time))
            mask = mask.masked_fill(foreign.unsqueeze(1), float("-inf"))
        return mask.unsqueeze(1)

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, width) -> (…, vocabulary)."""
        table = self.embeddings[0] if self.output is None else self.output
        return F.linear(hidden, table.weight[:-1])

    def log_probs(self, ids, state=None):
        hidden, state = self.hidden(ids, state)
        logits = self.logits(hidden)
        return F.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32)), state

    def target_log_probs(self, ids, targets, state=None):
        hidden, state = self.hidden(ids, state)
        logits = self.logits(hidden)
        losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-1, reduction="none")
        return -losses.view(targets.shape), state

    def select(self, state: Past | None, rows: Tensor):
        if state is None:
            return None
        layers = [tuple(part[rows] for part in layer) for layer in state.layers]
        return replace(state, layers=layers, valid=state.valid[rows], ids=state.ids[rows])

    def restart(self, state: Past | None, fresh: Tensor) -> Past | None:
        """The same state, with nothing remembered in the rows where ``fresh`` (bool (batch,)) holds."""
        if state is None:
            return None
        ids = state.ids.masked_fill(fresh.unsqueeze(1), _ABSENT)
        begun = fresh.view(-1, 1, 1, 1)
        layers = [(key, value, last.masked_fill(begun, 0)) for key, value, last in state.layers]
        return replace(state, layers=layers, valid=state.valid.masked_fill(fresh, 0), ids=ids)

    def state_tree(self, state: Past):
        return {name: getattr(state, name) for name in ("layers", "length", "position", "valid", "ids")}

    def state_from(self, tree, device):
        layers = [tuple(part.to(device) for part in layer) for layer in tree["layers"]]
        return Past(layers, tree["length"], tree["position"], tree["valid"].to(device), tree["ids"].to(device))
