"""Transformer-XL: attention that remembers earlier segments and knows how far away events are.

Paper: §4.1, after Dai et al., "Transformer-XL" (arXiv 1901.02860), whose letters stand beside the
lines. Notebook: 04_transformer_xl.
Differences from the paper and its code: none in what is computed. In evaluation the memory holds
keys and values instead of each layer's inputs; rows of a batch may start afresh on their own
(``restart``); and ``pre_norm`` (off by default) moves the layer normalisations, an option that the
authors' code has too. Lines with ``fast`` swap in faster versions of the same computation.
"""

from math import sqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lakhnes_lib.models import fast
from lakhnes_lib.models.fast import attention as fast_attention
from lakhnes_lib.models.language_model import VOCABULARY_SIZE, NeuralModel, arguments, check_ids


class Memory(NamedTuple):
    """What a Transformer-XL carries from one segment to the next, without gradient.

    layers: a tuple for each layer. In training it holds the layer's earlier inputs, one tensor
    (batch, length, width), as in the paper. In evaluation it holds their keys and their values,
    each (batch, heads, length, head width): a key/value cache. A step of composing is ``log_probs``
    of one event with this state. length: events remembered. valid: int64 (batch,), how many of
    them, counted from the newest, a row may look back to: earlier ones are of another song.
    """

    layers: list[tuple[Tensor, ...]]
    length: int
    valid: Tensor


def sinusoids(keys: int, width: int, device=None, dtype=torch.float32) -> Tensor:
    """R of the distances keys - 1 … 0: (keys, width), all sines, then all cosines."""
    wide = torch.promote_types(dtype, torch.float32)
    distance = torch.arange(keys - 1, -1, -1, device=device, dtype=wide)
    frequency = 10_000 ** (-torch.arange(0, width, 2, device=device, dtype=wide) / width)
    angle = torch.outer(distance, frequency)  # (keys, width / 2)
    return torch.cat([angle.sin(), angle.cos()], -1).to(dtype)


def relative_shift(scores: Tensor) -> Tensor:
    """From columns that count distances to columns that count keys.

    scores: (…, time, keys); column c belongs to the distance keys - 1 - c. Returns the same shape:
    row i, column j holds the score of the distance from query i back to key j. What stands at keys
    after their query has no meaning and must be masked.
    """
    *batch, time, keys = scores.shape
    padded = F.pad(scores, (1, 0))  # (…, time, 1 + keys), the first column 0
    reread = padded.view(*batch, keys + 1, time)  # the same numbers in rows of another length
    return reread[..., 1:, :].reshape(*batch, time, keys)


def causal_mask(time: int, keys: int, device=None, dtype=torch.float32) -> Tensor:
    """(1, time, keys): 0 where a query may look, -inf at later keys; the last query sees all."""
    ahead = torch.ones(time, keys, dtype=torch.bool, device=device).triu(keys - time + 1)
    return torch.zeros(1, time, keys, dtype=dtype, device=device).masked_fill(ahead, -torch.inf)


def memory_mask(time: int, valid: Tensor, length: int, dtype=torch.float32) -> Tensor:
    """(batch, time, length + time): the causal mask, and -inf where a row's song had not begun.

    valid, length: as in ``Memory``.
    """
    age = torch.arange(length, 0, -1, device=valid.device)  # of the remembered events: length … 1
    before_song = F.pad(age > valid.unsqueeze(1), (0, time))  # (batch, length + time)
    mask = causal_mask(time, length + time, valid.device, dtype)
    return mask.masked_fill(before_song.unsqueeze(1), -torch.inf)


def attention_weights(
    query: Tensor, key: Tensor, r: Tensor, u: Tensor, v: Tensor, mask: Tensor
) -> Tensor:
    """How much each query takes of each key's value: (batch, heads, time, keys), rows sum to 1.

    The score of query i and key j is the sum of four terms (§3.3):
    a: q_i · k_j    b: q_i · W_kR R_{i-j}    c: u · k_j    d: v · W_kR R_{i-j}
    Arguments: as of ``relative_attention``.
    """
    content = (query + u) @ key.transpose(-1, -2)  # a + c: (batch, heads, time, keys)
    position = relative_shift((query + v) @ r.transpose(-1, -2))  # b + d, the same shape
    scores = (content + position) / sqrt(query.shape[-1])
    return (scores + mask.unsqueeze(1)).softmax(-1)


def relative_attention(
    query: Tensor, key: Tensor, value: Tensor, r: Tensor, u: Tensor, v: Tensor, mask: Tensor
) -> Tensor:
    """softmax((a + b + c + d) / √(head width) + mask) · value: (batch, heads, time, head width).

    query q: (batch, heads, time, head width); key k, value: (batch, heads, keys, head width);
    r: W_kR R for the distances keys - 1 … 0, (heads, keys, head width); u, v: (heads, 1, head
    width); mask: (batch or 1, time, keys), 0 or -inf.
    """
    if fast.is_on():
        return fast_attention.relative_attention(query, key, value, r, u, v, mask)
    return attention_weights(query, key, r, u, v, mask) @ value


class Layer(nn.Module):
    """Attention, then a feed-forward net on each event; each is added to its input and normalised.

    The normalisation comes after the sum, as in the paper. With ``pre_norm`` it comes before the
    attention and before the net instead, which trains more steadily.
    """

    def __init__(self, width, heads, head_width, feed_forward, dropout, pre_norm):
        super().__init__()
        self.head_width, self.pre_norm = head_width, pre_norm
        self.query = nn.Linear(width, heads * head_width, bias=False)  # W_q
        self.key_value = nn.Linear(width, 2 * heads * head_width, bias=False)  # W_kE above W_v
        self.position = nn.Linear(width, heads * head_width, bias=False)  # W_kR
        self.output = nn.Linear(heads * head_width, width, bias=False)
        self.attention_norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, feed_forward)
        self.outer = nn.Linear(feed_forward, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def split(self, x: Tensor) -> Tensor:
        """(…, time, heads * head width) -> (…, heads, time, head width)."""
        return x.unflatten(-1, (-1, self.head_width)).transpose(-3, -2)

    def project(self, x: Tensor, past: tuple) -> tuple[Tensor, Tensor, Tensor]:
        """Query of x (batch, time, width); key and value of what is remembered and then of x.

        past: this layer's part of a ``Memory``, () if there is none.
        """
        x = self.attention_norm(x) if self.pre_norm else x
        query = self.split(self.query(x))  # (batch, heads, time, head width)
        key_value = self.key_value(x)  # (batch, time, 2 * heads * head width)
        if len(past) == 1:  # inputs: W_kE and W_v learn from them, too (SG(h) ∘ h in §3.2)
            old = self.attention_norm(past[0]) if self.pre_norm else past[0]
            key_value = torch.cat([self.key_value(old), key_value], 1)
        key, value = self.split(key_value).chunk(2, 1)  # (batch, heads, keys, head width) each
        if len(past) == 2:  # keys and values
            key = torch.cat([past[0].to(key.dtype), key], 2)
            value = torch.cat([past[1].to(value.dtype), value], 2)
        return query, key, value

    def forward(self, x: Tensor, past: tuple, r: Tensor, u: Tensor, v: Tensor, mask: Tensor):
        """x, past: as of ``project``; the others: as of ``relative_attention``.

        Returns the layer's output, of x's shape, and its keys and values.
        """
        query, key, value = self.project(x, past)
        attended = relative_attention(query, key, value, r, u, v, mask)
        attended = attended.transpose(1, 2).flatten(-2)  # (batch, time, heads * head width)
        x = x + self.dropout(self.output(attended))
        x = x if self.pre_norm else self.attention_norm(x)
        inner = self.inner(self.feed_forward_norm(x) if self.pre_norm else x).relu_()
        x = x + self.dropout(self.outer(self.dropout(inner)))
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
        super().__init__(arguments(locals()))
        if width % 2:
            raise ValueError("width must be even")
        self.width = width
        self.embedding = nn.Embedding(vocabulary_size, width)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.u = nn.Parameter(torch.zeros(heads, head_width))
        self.v = nn.Parameter(torch.zeros(heads, head_width))
        sizes = width, heads, head_width, feed_forward, dropout, pre_norm
        self.layers = nn.ModuleList(Layer(*sizes) for _ in range(layers))
        self.norm = nn.LayerNorm(width) if pre_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                nn.init.normal_(parameter, 1.0, 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, 0.0, 0.02)

    def positions(self, keys: int) -> list[Tensor]:
        """Each layer's r, W_kR R for the distances keys - 1 … 0: (heads, keys, head width)."""
        weight = self.embedding.weight
        R = self.dropout(sinusoids(keys, self.width, weight.device, weight.dtype))
        return [layer.split(layer.position(R)) for layer in self.layers]

    def hidden(self, ids, memory: Memory | None = None, *, memory_length: int | None = None):
        check_ids(ids, self.vocabulary_size)
        memory_length = self.memory_length if memory_length is None else memory_length
        if memory is None:
            memory = Memory([()] * len(self.layers), 0, ids.new_zeros(len(ids)))
        time, keys = ids.shape[1], memory.length + ids.shape[1]
        remembered = min(keys, memory_length)
        mask = memory_mask(time, memory.valid, memory.length, self.embedding.weight.dtype)
        positions = self.positions(keys)
        x = self.dropout(self.embedding(ids) * sqrt(self.width))  # (batch, time, width)
        u, v = self.u.unsqueeze(1), self.v.unsqueeze(1)  # (heads, 1, head width)
        layers = []
        for layer, past, r in zip(self.layers, memory.layers, positions, strict=True):
            inputs = x
            x, key_value = layer(x, past, r, u, v, mask)
            if self.training:
                joined = torch.cat([*past, inputs.detach()], 1)  # (batch, keys, width)
                layers.append((joined[:, keys - remembered :].contiguous(),))
            else:
                layers.append(tuple(part[:, :, keys - remembered :] for part in key_value))
        valid = (memory.valid + time).clamp_max(remembered)
        return self.dropout(self.norm(x)), Memory(layers, remembered, valid)

    def logits(self, hidden):
        return F.linear(hidden, self.embedding.weight, self.output_bias)  # tied to the embedding

    @torch.no_grad()
    def attention(self, ids: Tensor) -> Tensor:
        """Where each head looks in ids (batch, time): (layers, batch, heads, time, time)."""
        check_ids(ids, self.vocabulary_size)
        x, time = self.embedding(ids) * sqrt(self.width), ids.shape[1]
        u, v, weights = self.u.unsqueeze(1), self.v.unsqueeze(1), []
        mask = causal_mask(time, time, ids.device, x.dtype)
        for layer, r in zip(self.layers, self.positions(time), strict=True):
            query, key, _ = layer.project(x, ())
            weights.append(attention_weights(query, key, r, u, v, mask))
            x, _ = layer(x, (), r, u, v, mask)
        return torch.stack(weights)

    def restart(self, state: Memory | None, fresh: Tensor) -> Memory | None:
        return None if state is None else state._replace(valid=state.valid.masked_fill(fresh, 0))
