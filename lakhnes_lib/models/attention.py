"""Attention with relative positions, as fast as a CPU or GPU allows.

Paper: §4.1; the letters are those of "Transformer-XL" (arXiv 1901.02860), §3.3:
score(i, j) = (q_i + u)·k_j  [terms a, c]  +  (q_i + v)·r_{i-j}  [terms b, d].  Notebook: 04_transformer_xl.
Differences from the paper: none in the result. On a CPU the score matrices' traffic through memory costs more than the
arithmetic, so they are made a few rows or heads at a time and used while they are in the cache; on a GPU the position
terms enter PyTorch's fused attention as a bias.
"""

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

_SCORES_IN_CACHE = 2**19
"""Scores made at a time: 1 MB in bfloat16, the second-level cache of a core."""


def relative_shift(scores: Tensor) -> Tensor:
    """From columns that count distances to columns that count keys.

    scores: (..., time, keys); column c belongs to distance keys - 1 - c. Returns the same shape: row i, column j holds
    the score of the distance from query i back to key j. Keys after their query hold values of no meaning: mask them.
    """
    *batch, time, keys = scores.shape
    padded = F.pad(scores, (1, 0)).view(*batch, keys + 1, time)
    return padded[..., 1:, :].reshape(*batch, time, keys)


def causal_mask(time: int, keys: int, device=None, dtype=torch.float32) -> Tensor:
    """(1, time, keys): 0 where a query may look, -inf at the keys after it; the last query sees every key."""
    ahead = torch.ones(time, keys, dtype=torch.bool, device=device).triu(keys - time + 1)
    return torch.zeros(1, time, keys, dtype=dtype, device=device).masked_fill(ahead, float("-inf"))


def memory_mask(time: int, valid: Tensor, length: int, dtype=torch.float32, by_row: bool = False) -> Tensor:
    """(batch or 1, time, length + time): the same behind a memory, of which a row looks back to its own beginning.

    length: positions in the memory; valid: int64 (batch,), how many of them, counted from the newest, a row may look
    back to. by_row: a mask for each row even where all rows may look back to everything.
    """
    mask = causal_mask(time, length + time, valid.device, dtype)
    if length and (by_row or bool((valid < length).any())):
        age = torch.arange(length, 0, -1, device=valid.device)
        foreign = F.pad(age > valid.unsqueeze(1), (0, time))  # (batch, keys)
        mask = mask.masked_fill(foreign.unsqueeze(1), float("-inf"))
    return mask


def relative_attention(
    query: Tensor, key: Tensor, value: Tensor, r: Tensor, u: Tensor, v: Tensor, mask: Tensor
) -> Tensor:
    """softmax(score / √(head width) + mask) · value.

    query: (batch, heads, time, head width); key, value: (batch, heads, keys, head width); r: (heads, keys, head width)
    for the distances keys - 1 … 0; u, v: (heads, 1, head width); mask: (batch or 1, time, keys), 0 or -inf.
    Returns (batch, heads, time, head width).
    """
    if query.device.type == "cpu" and query.shape[2] > 1:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
        return _InCache.apply(*(x.to(dtype) for x in (query, key, value, r, u, v)), mask)
    scale = 1 / sqrt(query.shape[-1])
    bias = relative_shift((query + v) @ r.transpose(-1, -2)) * scale + mask.unsqueeze(1)
    return F.scaled_dot_product_attention(query + u, key, value, attn_mask=bias.to(query.dtype), scale=scale)


def attention_weights(query: Tensor, key: Tensor, r: Tensor, u: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """The weights that ``relative_attention`` gives the values: (batch, heads, time, keys), for pictures."""
    scores = (query + u) @ key.transpose(-1, -2) + relative_shift((query + v) @ r.transpose(-1, -2))
    return (scores / sqrt(query.shape[-1]) + mask.unsqueeze(1)).softmax(-1)


def _transposed_product(a: Tensor, b: Tensor) -> Tensor:
    """aᵀ · b for a large and b small, as (bᵀ · a)ᵀ: PyTorch would first write a large aᵀ."""
    return (b.transpose(-1, -2) @ a).transpose(-1, -2)


class _InCache(torch.autograd.Function):
    """The same on a CPU, some rows or heads at a time; the weights are kept for the gradient."""

    @staticmethod
    def parts(batch: int, heads: int, each: int):
        """Slices of rows and of heads whose scores, ``each`` a head, stay in the cache together."""
        together = max(1, _SCORES_IN_CACHE // each)
        if together >= heads:
            step = together // heads
            return [(slice(row, row + step), slice(None)) for row in range(0, batch, step)]
        return [
            (slice(row, row + 1), slice(head, head + together))
            for row in range(batch)
            for head in range(0, heads, together)
        ]

    @staticmethod
    def forward(ctx, query, key, value, r, u, v, mask):
        batch, heads, time, width = query.shape
        keys, scale = key.shape[2], 1 / sqrt(width)
        r = r.contiguous()  # else every product below would copy its part of it once more
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        kept = any(ctx.needs_input_grad)
        weights = query.new_empty(batch, heads, time, keys) if kept else None
        mask = mask.to(query.dtype).unsqueeze(1)
        for rows, some in _InCache.parts(batch, heads, time * keys):
            q = query[rows, some]
            scores = (q + u[some]).mul_(scale) @ key[rows, some].transpose(-1, -2)
            distance = (q + v[some]).mul_(scale) @ r[some].transpose(-1, -2)
            # The relative shift without a copy: each row starts one column later than the row below it. What runs over
            # the end of a row is ahead of the query, and masked.
            shifted = distance.as_strided(
                distance.shape, (distance.stride(0), time * keys, keys - 1, 1), distance.storage_offset() + time - 1
            )
            scores.add_(shifted).add_(mask[rows] if len(mask) > 1 else mask)
            part = torch.softmax(scores, -1, out=weights[rows, some] if kept else scores)
            out[rows, some] = part @ value[rows, some]
        ctx.save_for_backward(query, key, value, r, u, v, weights, out)
        return out

    @staticmethod
    def backward(ctx, grad):
        query, key, value, r, u, v, weights, out = ctx.saved_tensors
        batch, heads, time, width = query.shape
        keys, scale = key.shape[2], 1 / sqrt(width)
        d_query, d_key, d_value = (
            torch.empty_like(x, memory_format=torch.contiguous_format) for x in (query, key, value)
        )
        wide = torch.promote_types(query.dtype, torch.float32)
        d_r, d_u, d_v = (torch.zeros_like(x, dtype=wide) for x in (r, u, v))
        sums = (grad * out).sum(-1, keepdim=True)
        parts = _InCache.parts(batch, heads, time * keys)
        # Each head's gradient of its scores, behind zeros: the shift back starts before its first row.
        room = query.new_zeros(*query[parts[0]].shape[:2], time + time * keys)
        for rows, some in parts:
            q, g, w = query[rows, some], grad[rows, some], weights[rows, some]
            d_value[rows, some] = _transposed_product(w, g)
            d_scores = room[: len(q), :, time:].view(w.shape)
            torch.sub(g @ value[rows, some].transpose(-1, -2), sums[rows, some], out=d_scores).mul_(w)
            # The shift back: a row starts one column earlier than the row below.
            unshifted = room[: len(q)].as_strided(w.shape, (*room.stride()[:2], keys + 1, 1), 1).contiguous()
            content, distance = d_scores @ key[rows, some], unshifted @ r[some]
            d_key[rows, some] = _transposed_product(d_scores, q + u[some]).mul_(scale)
            d_r[some] += _transposed_product(unshifted, q + v[some]).sum(0)
            d_u[some] += content.sum((0, 2), dtype=wide).unsqueeze(1)
            d_v[some] += distance.sum((0, 2), dtype=wide).unsqueeze(1)
            d_query[rows, some] = content.add_(distance).mul_(scale)
        d_r, d_u, d_v = ((x * scale).to(query.dtype) for x in (d_r, d_u, d_v))
        return d_query, d_key, d_value, d_r, d_u, d_v, None
