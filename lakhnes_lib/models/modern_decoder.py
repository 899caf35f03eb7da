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

from lakhnes_lib.models.fast.attention import memory_mask
from lakhnes_lib.models.fast.dropout import Dropout
from lakhnes_lib.models.fast.rotary_decoding import RotaryDecoding
from lakhnes_lib.models.language_model import VOCABULARY_SIZE, NeuralModel, check_ids, settings
from lakhnes_lib.models.modern_block import Block, turns

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


class ModernDecoder(NeuralModel):
    """The defaults are the laptop's size: 5.5 million parameters. Flags take one change out, to measure its gain."""

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
        given = settings(locals())
        if width % (4 * heads) or activation not in ("squared_relu", "swiglu"):
            raise ValueError(
                "width must be a multiple of four times heads, activation squared_relu or swiglu"
            )
        super().__init__(vocabulary_size, memory_length)
        self._config = given
        self.head_width, self.rotary = width // heads, rotary
        # One table for each of the last events; its last row stands for an event before the song's first.
        self.embeddings = nn.ModuleList(
            nn.Embedding(vocabulary_size + 1, width) for _ in range(1 + previous)
        )
        self.blocks = nn.ModuleList(
            Block(width, heads, feed_forward, dropout, qk_norm, late_keys, activation)
            for _ in range(layers)
        )
        # Tied: an event copied from the past is predicted without first learning how to spell it.
        self.output = None if tied else nn.Embedding(vocabulary_size + 1, width)
        self.dropout = Dropout(dropout)
        for table in (*self.embeddings, *([] if tied else [self.output])):
            nn.init.normal_(table.weight, 0.0, 0.02)
        for block in self.blocks:
            for matrix in (block.query, block.key, block.value, block.inner):
                nn.init.normal_(matrix.weight, 0.0, width**-0.5)
            for matrix in (block.output, block.outer):
                nn.init.normal_(matrix.weight, 0.0, 0.02)

    @property
    def config(self):
        return self._config | {"memory_length": self.memory_length}

    def hidden(self, ids, past: Past | None = None):
        check_ids(ids, self.vocabulary_size)
        x, angles, ahead = self.enter(ids, past)
        batch, time = ids.shape
        valid, length = (past.valid, past.length) if past else (ids.new_zeros(batch), 0)
        # In training one mask for each row, whatever the rows may look back to: a compiled step keeps its shapes.
        mask = memory_mask(time, valid, length, by_row=self.training).unsqueeze(1)
        for block, before in zip(
            self.blocks, past.layers if past else [None] * len(self.blocks), strict=True
        ):
            x, (key, value, last) = block(x, before, angles, mask)
            newest = (part[:, :, part.shape[2] - ahead.length :].detach() for part in (key, value))
            ahead.layers.append((*newest, last.detach()))
        return F.rms_norm(x, x.shape[-1:]), ahead

    def enter(
        self, ids: Tensor, past: Past | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | None, Past]:
        """The first layer's input, (batch, time, width); the angles of ``turns``, None without rotary positions; and
        the past after these ids, but for its layers."""
        batch, time = ids.shape
        if past is None:
            nothing = ids.new_full((batch, len(self.embeddings) - 1), _ABSENT)
            past = Past([], 0, 0, ids.new_zeros(batch), nothing)
        history = torch.cat([past.ids, ids], 1)
        angles = turns(past.position, time, self.head_width, ids.device) if self.rotary else None
        kept = min(past.length + time, self.memory_length)
        ahead = Past(
            [], kept, past.position + time, (past.valid + time).clamp_max(kept), history[:, time:]
        )
        rows = history.where(
            history >= 0, self.vocabulary_size
        )  # -1 would be the table's last row, but not on a GPU
        steps = history.shape[1] - time
        x = sum(
            table(rows[:, steps - back : steps - back + time])
            for back, table in enumerate(self.embeddings)
        )
        x, device = x * x.shape[-1] ** 0.5, x.device.type
        x = x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x
        return self.dropout(x), angles, ahead

    def logits(self, hidden):
        return F.linear(hidden, self.output_weight)

    @property
    def output_weight(self) -> Tensor:
        """(vocabulary, width)."""
        return (self.embeddings[0] if self.output is None else self.output).weight[:-1]

    def select(self, state: Past | None, rows: Tensor):
        if state is None:
            return None
        layers = [tuple(part[rows] for part in layer) for layer in state.layers]
        return replace(state, layers=layers, valid=state.valid[rows], ids=state.ids[rows])

    def decoding(self, rows, state=None, memory_length=None, precision="fp32"):
        return RotaryDecoding(self, rows, state, memory_length, precision)

    def empty(self, batch, dtype):
        # Keys that are normalised are float32 on a GPU, also under autocast.
        keys = (
            torch.float32
            if self.device.type == "cuda" and self.blocks[0].sharpness is not None
            else dtype
        )
        (heads, width), length = (self.blocks[0].heads, self.head_width), self.memory_length
        kinds = ((length, width, keys), (length, width, dtype), (1, width // 2, keys))
        layers = [
            tuple(
                torch.zeros(batch, heads, *shape, dtype=kind, device=self.device)
                for *shape, kind in kinds
            )
            for _ in self.blocks
        ]
        ids = torch.full((batch, len(self.embeddings) - 1), _ABSENT, device=self.device)
        valid = torch.zeros(batch, dtype=torch.int64, device=self.device)
        return Past(layers, length, 0, valid, ids)

    def restart(self, state: Past | None, fresh: Tensor) -> Past | None:
        if state is None:
            return None
        ids = state.ids.masked_fill(fresh.unsqueeze(1), _ABSENT)
        begun = fresh.view(-1, 1, 1, 1)
        layers = [(key, value, last.masked_fill(begun, 0)) for key, value, last in state.layers]
        return replace(state, layers=layers, valid=state.valid.masked_fill(fresh, 0), ids=ids)
