"""Attention with relative positions, as fast as a CPU or GPU allows.

Paper: §4.1; the letters are those of "Transformer-XL" (arXiv 1901.02860), §3.3:
score(i, j) = (q_i + u)·k_j  [terms a, c]  +  (q_i + v)·r_{i-j}  [terms b, d].  Notebook: 04_transformer_xl.
Differences from the paper: none in the result. On a CPU the score matrices' traffic through memory costs more than the
arithmetic, so they are made a few rows of the batch at a time, used while they are in the cache, and made again for the
gradient; on a GPU the position terms enter PyTorch's fused attention as a bias.
"""

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

_SCORES_IN_CACHE = 2**19
"""Scores made at a time: with their gradient in float32 about 4 MB, a share of the second-level cache."""


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


class _InCache(torch.autograd.Function):
    """The same, a few rows of the batch at a time, on a CPU."""

    @staticmethod
    def scores(query, key, r, u, v, mask):
        """Masked scores of some rows, (rows, heads, time, keys) in float32 or wider."""
        time, keys = query.shape[2], key.shape[2]
        scale = 1 / sqrt(query.shape[-1])
        content = (query + u).mul_(scale) @ key.transpose(-1, -2)
        distance = (query + v).mul_(scale) @ r.transpose(-1, -2)
        # The relative shift without a copy: each row starts one column later than the row below it. What runs over the
        # end of a row is ahead of the query, and masked.
        rows, heads = distance.shape[:2]
        shifted = distance.as_strided(
            (rows, heads, time, keys), (heads * time * keys, time * keys, keys - 1, 1), time - 1
        )
        wide = torch.promote_types(content.dtype, torch.float32)
        return content.to(wide).add_(shifted).add_(mask.unsqueeze(1))

    @staticmethod
    def forward(ctx, query, key, value, r, u, v, mask):
        batch, heads, time, _ = query.shape
        step = max(1, _SCORES_IN_CACHE // (heads * time * key.shape[2]))
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        sums = query.new_empty(batch, heads, time, 1, dtype=torch.promote_types(query.dtype, torch.float32))
        for row in range(0, batch, step):
            rows = slice(row, row + step)
            scores = _InCache.scores(query[rows], key[rows], r, u, v, mask[rows] if len(mask) > 1 else mask)
            sums[rows] = scores.logsumexp(-1, keepdim=True)
            out[rows] = scores.sub_(sums[rows]).exp_().to(value.dtype) @ value[rows]
        ctx.save_for_backward(query, key, value, r, u, v, mask, out, sums)
        ctx.step = step
        return out

    @staticmethod
    def backward(ctx, grad):
        query, key, value, r, u, v, mask, out, sums = ctx.saved_tensors
        batch, heads, time, width = query.shape
        keys, scale = key.shape[2], 1 / sqrt(width)
        d_query, d_key, d_value = (
            torch.empty_like(x, memory_format=torch.contiguous_format) for x in (query, key, value)
        )
        d_r = torch.zeros_like(r, dtype=sums.dtype)
        d_u, d_v = torch.zeros_like(u, dtype=sums.dtype), torch.zeros_like(v, dtype=sums.dtype)
        # Room for the shift back: a row starts one column earlier than the row below; the first rows reach before the
        # start.
        room = query.new_zeros(min(ctx.step, batch), heads, time - 1 + time * keys)
        for row in range(0, batch, ctx.step):
            rows = slice(row, row + ctx.step)
            q, k, some = query[rows], key[rows], grad[rows]
            weights = _InCache.scores(q, k, r, u, v, mask[rows] if len(mask) > 1 else mask).sub_(sums[rows]).exp_()
            d_value[rows] = weights.to(value.dtype).transpose(-1, -2) @ some
            gain = (some @ value[rows].transpose(-1, -2)).to(weights.dtype)
            gain -= (some.to(gain.dtype) * out[rows]).sum(-1, keepdim=True)
            d_scores = room[: len(q), :, time - 1 :].view(len(q), heads, time, keys)
            d_scores.copy_(gain.mul_(weights))
            content = d_scores @ k
            d_key[rows] = (d_scores.transpose(-1, -2) @ (q + u)).mul_(scale)
            stride = room.shape[-1]
            unshifted = room.as_strided((len(q), heads, time, keys), (heads * stride, stride, keys + 1, 1))
            unshifted = unshifted.contiguous()
            distance = unshifted @ r
            d_r += (unshifted.transpose(-1, -2) @ (q + v)).sum(0)
            d_query[rows] = (content + distance).mul_(scale)
            d_u += content.sum((0, 2), dtype=d_u.dtype).unsqueeze(1)
            d_v += distance.sum((0, 2), dtype=d_v.dtype).unsqueeze(1)
        d_r, d_u, d_v = ((x * scale).to(query.dtype) for x in (d_r, d_u, d_v))
        return d_query, d_key, d_value, d_r, d_u, d_v, None
