"""Transformer-XL: attention that carries a memory from segment to segment and knows distances, not places.

Paper: §4.1, after Dai et al., "Transformer-XL" (arXiv 1901.02860). Notebook: 04_transformer_xl. Attention:
``attention.py``. Differences from the paper and its code: none in what is computed. In evaluation the memory holds keys
and values instead of the layers' inputs (the same numbers, projected once), rows of a batch may start afresh on their
own (``restart``), and ``pre_norm`` (off by default) moves the layer normalisations, as the Transformer-XL authors' code
offers too.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lakhnes_lib.models.fast.attention import (
    attention_weights,
    causal_mask,
    memory_mask,
    relative_attention,
)
from lakhnes_lib.models.fast.decoding import RelativeDecoding
from lakhnes_lib.models.fast.dropout import Dropout
from lakhnes_lib.models.language_model import VOCABULARY_SIZE, NeuralModel, check_ids, settings


@dataclass(frozen=True)
class Memory:
    """What a Transformer-XL carries from call to call.

    layers: a tuple of tensors for each layer. While training its inputs (batch, memory, width), without gradient;
    in evaluation its keys and its values, each (batch, heads, memory, head width).
    length: positions kept. valid: int64 (batch,), how many of them, counted from the newest, a row may look back to.
    """

    layers: list[tuple[Tensor, ...]]
    length: int
    valid: Tensor


def sinusoids(keys: int, width: int, device=None, dtype=torch.float32) -> Tensor:
    """Position vectors for the distances keys - 1 … 0: (keys, width), all sines, then all cosines."""
    wide = torch.promote_types(dtype, torch.float32)
    distance = torch.arange(keys - 1, -1, -1, device=device, dtype=wide)
    frequency = 10_000 ** (-torch.arange(0, width, 2, device=device, dtype=wide) / width)
    angle = torch.outer(distance, frequency)
    return torch.cat([angle.sin(), angle.cos()], -1).to(dtype)


class Layer(nn.Module):
    """Attention, then a feed-forward net, each with a sum with its input and a layer normalisation.

    The normalisation comes after the sum, as in the paper; with ``pre_norm`` it comes before the net, which trains
    faster.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int,
        feed_forward: int,
        dropout: float,
        pre_norm: bool,
    ):
        super().__init__()
        self.head_width, self.pre_norm = head_width, pre_norm
        self.query = nn.Linear(width, heads * head_width, bias=False)
        self.key_value = nn.Linear(width, 2 * heads * head_width, bias=False)
        self.position = nn.Linear(width, heads * head_width, bias=False)
        self.output = nn.Linear(heads * head_width, width, bias=False)
        self.attention_norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, feed_forward)
        self.outer = nn.Linear(feed_forward, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def split(self, x: Tensor) -> Tensor:
        """(…, time, heads * head width) -> (…, heads, time, head width)."""
        return x.unflatten(-1, (-1, self.head_width)).transpose(-3, -2)

    def project(self, positions: Tensor) -> Tensor:
        """The position vectors (keys, width) as attention wants them: r, (heads, keys, head width)."""
        return self.split(self.position(positions))

    def forward(self, x: Tensor, past: tuple, r: Tensor, u: Tensor, v: Tensor, mask: Tensor):
        """x: (batch, time, width); past: this layer's part of a Memory, () if none; r: as of ``project``;
        u, v: (heads, head width); mask: (batch or 1, time, keys). Returns the same shape as x, and all keys and
        values."""
        new = self.attention_norm(x) if self.pre_norm else x
        key_value = self.key_value(new)
        if len(past) == 1:  # on its own: nothing needs a gradient of the memory
            before = past[0].to(x.dtype)
            before = self.key_value(self.attention_norm(before) if self.pre_norm else before)
            key_value = torch.cat([before, key_value], 1)
        key, value = self.split(key_value).chunk(
            2, 1
        )  # each (batch, heads, memory + time, head width)
        if len(past) == 2:
            key, value = (
                torch.cat([past[0].to(key.dtype), key], 2),
                torch.cat([past[1].to(value.dtype), value], 2),
            )
        attended = relative_attention(
            self.split(self.query(new)), key, value, r, u.unsqueeze(1), v.unsqueeze(1), mask
        )
        attended = self.output(attended.transpose(1, 2).flatten(-2))  # (batch, time, width)
        x = x + self.dropout(attended)
        if not self.pre_norm:
            x = self.attention_norm(x)
        inner = self.dropout(self.inner(self.feed_forward_norm(x) if self.pre_norm else x).relu_())
        x = x + self.dropout(self.outer(inner))
        return x if self.pre_norm else self.feed_forward_norm(x), (key, value)


class TransformerXL(NeuralModel):
    """The paper's model. The defaults are its size: 41,274,487 parameters."""

    architecture = "transformer_xl"
    state_type = Memory

    def __init__(
        self,
        vocabulary_size: int = VOCABULARY_SIZE,
        layers: int = 12,
        width: int = 512,
        heads: int = 8,
        head_width: int = 64,
        feed_forward: int = 2048,
        dropout: float = 0.1,
        memory_length: int = 512,
        pre_norm: bool = False,
    ):
        given = settings(locals())
        if width % 2:
            raise ValueError("width must be even")
        super().__init__(vocabulary_size, memory_length)
        self._kept: tuple | None = None
        self._config = given
        self.width = width
        self.embedding = nn.Embedding(vocabulary_size, width)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.u = nn.Parameter(torch.zeros(heads, head_width))
        self.v = nn.Parameter(torch.zeros(heads, head_width))
        self.layers = nn.ModuleList(
            Layer(width, heads, head_width, feed_forward, dropout, pre_norm) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if pre_norm else nn.Identity()
        self.dropout = Dropout(dropout)
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                nn.init.normal_(parameter, 1.0, 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, 0.0, 0.02)

    @property
    def config(self):
        return self._config | {"memory_length": self.memory_length}

    def hidden(self, ids, memory: Memory | None = None):
        check_ids(ids, self.vocabulary_size)
        batch, time = ids.shape
        if memory is None:
            memory = Memory(
                [()] * len(self.layers), 0, torch.zeros(batch, dtype=torch.int64, device=ids.device)
            )
        keys = memory.length + time
        # In training one mask for each row, whatever the rows may look back to: a compiled step keeps its shapes.
        mask = memory_mask(
            time, memory.valid, memory.length, self.embedding.weight.dtype, by_row=self.training
        )
        projected = self.projected(keys)
        x = self.dropout(self.embedding(ids) * self.width**0.5)
        kept = min(keys, self.memory_length)
        layers = []
        for layer, past, r in zip(self.layers, memory.layers, projected, strict=True):
            inputs = x
            x, (key, value) = layer(x, past, r, self.u, self.v, mask)
            if self.training:
                inputs = (
                    torch.cat([past[0], inputs.detach()], 1)
                    if past and kept > time
                    else inputs.detach()
                )
                layers.append((inputs[:, inputs.shape[1] - kept :],))
            else:
                layers.append((key[:, :, keys - kept :], value[:, :, keys - kept :]))
        return self.dropout(self.norm(x)), Memory(
            layers, kept, (memory.valid + time).clamp_max(kept)
        )

    def projected(self, keys: int) -> list[Tensor]:
        """Every layer's r for the distances keys - 1 … 0; in evaluation kept for shorter histories, and
        made for twice as long ones, so that it is seldom made anew and never for more than the songs need."""
        weight = self.embedding.weight
        fixed = not self.training and not torch.is_grad_enabled()
        kind = (weight.device, weight.dtype, torch.is_autocast_enabled(weight.device.type))
        if not (
            fixed and self._kept and self._kept[0] == kind and self._kept[1][0].shape[1] >= keys
        ):
            longest = max(keys, min(2 * keys, self.memory_length + 1)) if fixed else keys
            positions = self.dropout(sinusoids(longest, self.width, weight.device, weight.dtype))
            projected = [layer.project(positions) for layer in self.layers]
            if not fixed:
                return projected
            self._kept = kind, projected
        return [r[:, r.shape[1] - keys :] for r in self._kept[1]]

    def train(self, mode: bool = True):
        self._kept = None  # the weights may change
        return super().train(mode)

    def load_state_dict(self, *arguments, **options):
        self._kept = None
        return super().load_state_dict(*arguments, **options)

    @torch.no_grad()
    def attention(self, ids: Tensor) -> Tensor:
        """Where each layer and head looks, for one segment without memory: (layers, batch, heads, time, time)."""
        check_ids(ids, self.vocabulary_size)
        time = ids.shape[1]
        dtype = self.embedding.weight.dtype
        mask = causal_mask(time, time, ids.device, dtype)
        positions = sinusoids(time, self.width, ids.device, dtype)
        x, u, v, weights = (
            self.embedding(ids) * self.width**0.5,
            self.u.unsqueeze(1),
            self.v.unsqueeze(1),
            [],
        )
        for layer in self.layers:
            inputs = layer.attention_norm(x) if layer.pre_norm else x
            query, r = layer.split(layer.query(inputs)), layer.project(positions)
            x, (key, _) = layer(x, (), r, self.u, self.v, mask)
            weights.append(attention_weights(query, key, r, u, v, mask))
        return torch.stack(weights)

    def logits(self, hidden):
        return F.linear(
            hidden, self.embedding.weight, self.output_bias
        )  # the embedding serves as output weights too

    def select(self, state: Memory | None, rows: Tensor):
        if state is None:
            return None
        return replace(
            state,
            layers=[tuple(x[rows] for x in part) for part in state.layers],
            valid=state.valid[rows],
        )

    def decoding(self, rows, state=None, memory_length=None, precision="fp32"):
        return RelativeDecoding(self, rows, state, memory_length, precision)

    def empty(self, batch, dtype):
        place = dict(
            device=self.device, dtype=self.embedding.weight.dtype
        )  # also under autocast, by its sums
        layers = [
            (torch.zeros(batch, self.memory_length, self.width, **place),) for _ in self.layers
        ]
        return Memory(
            layers, self.memory_length, torch.zeros(batch, dtype=torch.int64, device=self.device)
        )

    def restart(self, state: Memory | None, fresh: Tensor) -> Memory | None:
        return None if state is None else replace(state, valid=state.valid.masked_fill(fresh, 0))
