"""Attention whose scores stay in the cache of a CPU's core, or within a fused kernel on a GPU.

Gain, measured on one core of an x86 server with the shipped models (training: batch of 16 segments
of 256; evaluation: 16 segments of 128 behind 896): a training step of transformer_xl is 1.2 times
as fast in float32 and 1.5 times in bfloat16, of mini 1.3 and 1.6 times; evaluation 1.4 and 1.1.
Paper: §4.1; the letters are those of "Transformer-XL" (arXiv 1901.02860), §3.3. Differences from
the readable versions (``transformer_xl.relative_attention``, ``modern_block.attention``): none in
the numbers. There each step makes a matrix (batch, heads, time, keys) as a whole, and writing and
reading these through memory takes longer than the arithmetic. Here a CPU takes some rows of the
batch, some heads and some queries at a time, small enough for the cache, and goes through all
steps with these before it takes the next. Autograd goes back through them in the same way.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SCORES_AT_A_TIME = 2**19
"""As many scores as fit in the second-level cache of a core: 1 MB in bfloat16."""
QUERIES_AT_A_TIME = 256
"""The fewer queries, the fewer scores are computed for keys ahead of them, which the mask hides."""
ROWS_AT_A_TIME = 4
"""Rows of the batch that ``masked_attention`` takes at a time."""
MANY_SCORES = 2**20
"""Of one row and head. With more of them PyTorch's fused kernel is the faster one on a CPU too."""


def relative_attention(
    query: Tensor, key: Tensor, value: Tensor, r: Tensor, u: Tensor, v: Tensor, mask: Tensor
) -> Tensor:
    """The same as ``transformer_xl.relative_attention``, with the same arguments."""
    scale = query.shape[-1] ** -0.5
    if query.device.type != "cpu":
        # PyTorch's fused kernel computes terms a and c; terms b and d enter as a bias.
        bias = _shift((query + v) @ r.transpose(-1, -2)) * scale + mask.unsqueeze(1)
        bias = bias.to(query.dtype)
        return F.scaled_dot_product_attention(query + u, key, value, attn_mask=bias, scale=scale)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value, u, v = (x.to(dtype) for x in (query, key, value, u, v))
    mask = mask.to(query.dtype).unsqueeze(1).expand(len(query), -1, -1, -1)
    # Every block adds to the gradient of r, and 16 bits would round each sum.
    r = r.to(torch.promote_types(r.dtype, torch.float32))
    return _blocks((query + u) * scale, (query + v) * scale, key, value, r, mask)


def _blocks(content, position, key, value, r, mask) -> Tensor:
    """Attention as a whole, block by block: (batch, heads, time, head width).

    content, position: (q + u) / √(head width) and (q + v) / √(head width), each
    (batch, heads, time, head width); mask: (batch, 1, time, keys).
    """
    heads, time = content.shape[1:3]
    # Else each product would copy its part.
    content, position, key, value = (x.contiguous() for x in (content, position, key, value))
    # Some heads at a time; if all heads of a row fit in the cache, some rows as well.
    blocks = max(1, SCORES_AT_A_TIME // (min(time, QUERIES_AT_A_TIME) * key.shape[2]))
    some_heads, some_rows = min(heads, blocks), max(1, blocks // heads)
    by_head = zip(*(x.split(some_heads, 1) for x in (content, position, key, value)), strict=True)
    out = []
    for parts, r_of_heads in zip(by_head, r.split(some_heads), strict=True):
        by_row = zip(*(x.split(some_rows) for x in (*parts, mask)), strict=True)
        out.append(torch.cat([_attention_of_block(*block, r_of_heads) for block in by_row]))
    return torch.cat(out, 1)


def _attention_of_block(content, position, key, value, mask, r) -> Tensor:
    """The same of some rows and heads: (rows, heads, time, head width)."""
    time, keys, out = content.shape[2], key.shape[2], []
    r = r.to(position.dtype)
    for first in range(0, time, QUERIES_AT_A_TIME):
        last = min(first + QUERIES_AT_A_TIME, time)
        seen = keys - time + last  # these queries see no key after this one
        distance = position[:, :, first:last] @ r[:, keys - seen :].transpose(-1, -2)
        scores = content[:, :, first:last] @ key[:, :, :seen].transpose(-1, -2)
        scores = _AddShifted.apply(scores, distance).add_(mask[:, :, first:last, :seen])
        out.append(scores.softmax(-1) @ value[:, :, :seen])
    return torch.cat(out, 2)


def stay_uncompiled() -> None:
    """From now on ``torch.compile`` leaves the blocks as they are.

    It would write out each block of each layer, and take minutes to compile them.
    """
    global _blocks
    _blocks = torch.compiler.disable(_blocks)


class _AddShifted(torch.autograd.Function):
    """Adds relative_shift(distance) to scores, in place and without a shifted copy.

    scores, distance: (rows, heads, time, keys); distance: as a matrix product leaves it in memory.

    The relative shift moves row i by time - 1 - i columns to the left. The same numbers, read in
    rows of keys - 1 from column time - 1 of the first row on, are already shifted. What then runs
    over the end of a row belongs to a key ahead of the query, which the mask hides.
    """

    @staticmethod
    def forward(ctx, scores: Tensor, distance: Tensor) -> Tensor:
        rows, heads, time, keys = distance.shape
        strides = heads * time * keys, time * keys, keys - 1, 1
        ctx.mark_dirty(scores)
        return scores.add_(distance.as_strided(distance.shape, strides, time - 1))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        # The way back: with time - 1 zeros in front and one behind, rows of keys + 1 are unshifted.
        # At keys ahead of its query a gradient is 0, so nothing of it runs into another row.
        *blocks, time, keys = gradient.shape
        padded = F.pad(gradient.flatten(-2), (time - 1, 1)).view(*blocks, time, keys + 1)
        return gradient, padded[..., :keys]


def _shift(scores: Tensor) -> Tensor:
    """``transformer_xl.relative_shift``, which cannot be imported here: it imports this module."""
    *batch, time, keys = scores.shape
    padded = F.pad(scores, (1, 0)).view(*batch, keys + 1, time)
    return padded[..., 1:, :].reshape(*batch, time, keys)


def masked_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """The same as ``modern_block.attention``, with the same arguments."""
    mask = mask.to(query.dtype)
    time, keys = query.shape[2], key.shape[2]
    if query.device.type != "cpu" or time == 1 or time * keys > MANY_SCORES:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    wholes = query * query.shape[-1] ** -0.5, key, value, mask.expand(len(query), -1, -1, -1)
    parts = zip(*(whole.split(ROWS_AT_A_TIME) for whole in wholes), strict=True)
    return torch.cat([(q @ k.transpose(-1, -2) + m).softmax(-1) @ v for q, k, v, m in parts])
