"""A decoder as one would build it today, at the size of a laptop: what changed since the paper.

Paper: none; it stands beside §4.1's Transformer-XL, behind the same interface.
Notebook: 07_quantitative_analysis.
Differences from the Transformer-XL: normalisation before each net, by root mean square alone
(Zhang & Sennrich 2019); rotary positions (Su et al. 2021) in half of each head, while the other
half matches at any distance; normalised queries and keys with a learned logit scale (Henry et al.
2020); squared ReLU (So et al. 2021); embeddings of the last four events; and late keys (the key
offset of the nanoGPT speed runs, 2025): what matches at any distance is the key of the event
before, so that one layer finds what came next the last time. The memory holds keys and values, in
training too, where no gradient passes into it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lakhnes_lib.models.language_model import VOCABULARY_SIZE, NeuralModel, arguments, check_ids
from lakhnes_lib.models.modern_block import Block, normalised, rotary_angles
from lakhnes_lib.models.transformer_xl import memory_mask

_ABSENT = -1
"""Stands for an event before the song's first one."""


class Past(NamedTuple):
    """What the decoder carries from call to call, without gradient.

    layers: for each layer its keys and values, (batch, heads, length, head width) each, and half a
    key for the next event, (batch, heads, 1, head width / 2). length: events remembered; position:
    of the next event, by which its keys turn; valid: int64 (batch,), how many of the remembered
    events, from the newest, a row may look back to; ids: int64 (batch, previous), the last events.
    """

    layers: list[tuple[Tensor, Tensor, Tensor]]
    length: int
    position: int
    valid: Tensor
    ids: Tensor


class ModernDecoder(NeuralModel):
    """The defaults are the laptop's size: 5.4 million parameters. Flags take one change out each.

    previous: how many earlier events are embedded beside the newest one; tied: the embedding of the
    newest event is the output matrix too; activation: ``squared_relu`` or ``swiglu``.
    """

    architecture = "modern_decoder"
    state_type = Past

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
        super().__init__(arguments(locals()))
        if width % (4 * heads) or activation not in ("squared_relu", "swiglu"):
            rule = "activation squared_relu or swiglu"
            raise ValueError(f"width must be a multiple of four times heads, {rule}")
        self.head_width, self.rotary = width // heads, rotary
        # A table for each of the last events; the last row stands for one before the song's first.
        tables = (nn.Embedding(vocabulary_size + 1, width) for _ in range(1 + previous))
        self.embeddings = nn.ModuleList(tables)
        sizes = width, heads, feed_forward, dropout, qk_norm, late_keys, activation
        self.blocks = nn.ModuleList(Block(*sizes) for _ in range(layers))
        # Tied: what is copied from the past is predicted without learning each event twice.
        self.output = None if tied else nn.Embedding(vocabulary_size + 1, width)
        self.dropout = nn.Dropout(dropout)
        for table in (*self.embeddings, *([] if tied else [self.output])):
            nn.init.normal_(table.weight, 0.0, 0.02)
        for block in self.blocks:
            for matrix in (block.query, block.key, block.value, block.inner):
                nn.init.normal_(matrix.weight, 0.0, width**-0.5)
            for matrix in (block.output, block.outer):
                nn.init.normal_(matrix.weight, 0.0, 0.02)

    def hidden(self, ids, past: Past | None = None, *, memory_length: int | None = None):
        check_ids(ids, self.vocabulary_size)
        memory_length = self.memory_length if memory_length is None else memory_length
        batch, time = ids.shape
        if past is None:
            no_ids = ids.new_full((batch, len(self.embeddings) - 1), _ABSENT)
            past = Past([None] * len(self.blocks), 0, 0, ids.new_zeros(batch), no_ids)
        remembered = min(past.length + time, memory_length)
        history = torch.cat([past.ids, ids], 1)  # (batch, previous + time)
        x = self.dropout(self.embed(history, time))  # (batch, time, width)
        angles = None
        if self.rotary:
            position = torch.arange(time, device=ids.device, dtype=torch.float64)
            angles = rotary_angles(past.position + position, self.head_width)
        mask = memory_mask(time, past.valid, past.length).unsqueeze(1)  # (batch, 1, time, keys)
        layers = []
        for block, before in zip(self.blocks, past.layers, strict=True):
            x, (key, value, late) = block(x, before, angles, mask)
            newest = (part[:, :, part.shape[2] - remembered :] for part in (key, value))
            layers.append(tuple(part.detach().contiguous() for part in (*newest, late)))
        valid = (past.valid + time).clamp_max(remembered)
        after = Past(layers, remembered, past.position + time, valid, history[:, time:])
        return normalised(x), after

    def embed(self, history: Tensor, time: int) -> Tensor:
        """Sum of the embeddings of the newest and the earlier events: (batch, time, width).

        history: int64 (batch, previous + time), the last ``time`` events and those before them.
        """
        rows = history.where(history >= 0, self.vocabulary_size)
        newest_first = reversed(rows.unfold(1, time, 1).unbind(1))  # each (batch, time)
        x = sum(table(ids) for table, ids in zip(self.embeddings, newest_first, strict=True))
        x = x * x.shape[-1] ** 0.5
        # Under autocast the sums from block to block stay in its precision, too.
        device = x.device.type
        return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x

    def logits(self, hidden):
        return F.linear(hidden, self.output_weight)

    @property
    def output_weight(self) -> Tensor:
        """(vocabulary, width): the output matrix, without the row that stands for no event."""
        return (self.embeddings[0] if self.output is None else self.output).weight[:-1]

    def restart(self, state: Past | None, fresh: Tensor) -> Past | None:
        if state is None:
            return None
        ids = state.ids.masked_fill(fresh.unsqueeze(1), _ABSENT)
        begun = fresh.view(-1, 1, 1, 1)
        layers = [(key, value, late.masked_fill(begun, 0)) for key, value, late in state.layers]
        return state._replace(layers=layers, valid=state.valid.masked_fill(fresh, 0), ids=ids)
