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
_QUERIES = 256
"""Queries taken at a time: the fewer, the less is computed of what lies ahead of them."""


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


def memory_mask(
    time: int, valid: Tensor, length: int, dtype=torch.float32, by_row: bool = False
) -> Tensor:
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
    return F.scaled_dot_product_attention(
        query + u, key, value, attn_mask=bias.to(query.dtype), scale=scale
    )


def attention_weights(
    query: Tensor, key: Tensor, r: Tensor, u: Tensor, v: Tensor, mask: Tensor
) -> Tensor:
    """The weights that ``relative_attention`` gives the values: (batch, heads, time, keys), for pictures."""
    scores = (query + u) @ key.transpose(-1, -2) + relative_shift((query + v) @ r.transpose(-1, -2))
    return (scores / sqrt(query.shape[-1]) + mask.unsqueeze(1)).softmax(-1)


def _parts(batch: int, heads: int, time: int, keys: int):
    """Slices (rows, heads, queries) whose scores stay in the cache together, and how many keys these queries may see:
    none that lie ahead of the last of them."""
    for first in range(0, time, _QUERIES):
        last = min(first + _QUERIES, time)
        seen = keys - time + last
        together = max(1, _SCORES_IN_CACHE // ((last - first) * seen))
        row_step, head_step = max(1, together // heads), min(together, heads)
        for row in range(0, batch, row_step):
            for head in range(0, heads, head_step):
                yield (
                    slice(row, row + row_step),
                    slice(head, head + head_step),
                    slice(first, last),
                    seen,
                )


class _InCache(torch.autograd.Function):
    """The same on a CPU, some rows, heads and queries at a time; the weights are kept for the gradient."""

    @staticmethod
    def forward(ctx, query, key, value, r, u, v, mask):
        batch, heads, time, width = query.shape
        keys, scale, weights = key.shape[2], 1 / sqrt(width), []
        key, value, r = (
            key.contiguous(),
            value.contiguous(),
            r.contiguous(),
        )  # else each product would copy its part
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        content, position = (query + u).mul_(scale), (query + v).mul_(scale)
        kept, mask = any(ctx.needs_input_grad), mask.to(query.dtype).unsqueeze(1)
        for rows, some, queries, seen in _parts(batch, heads, time, keys):
            scores = content[rows, some, queries] @ key[rows, some, :seen].transpose(-1, -2)
            distance = position[rows, some, queries] @ r[some, keys - seen :].transpose(-1, -2)
            # The relative shift without a copy: each row starts one column later than the row below it. What runs over
            # the end of a row is ahead of the query, and masked.
            shifted = distance.as_strided(
                distance.shape,
                (*distance.stride()[:2], seen - 1, 1),
                distance.storage_offset() + distance.shape[2] - 1,
            )
            scores.add_(shifted).add_((mask[rows] if len(mask) > 1 else mask)[..., queries, :seen])
            part = torch.softmax(scores, -1, out=scores)
            out[rows, some, queries] = part @ value[rows, some, :seen]
            if kept:
                weights.append(part)
        ctx.save_for_backward(key, value, r, content, position, out, *weights)
        return out

    @staticmethod
    def backward(ctx, grad):
        key, value, r, content, position, out, *weights = ctx.saved_tensors
        (batch, heads, time, width), keys = out.shape, key.shape[2]
        scale, wide = 1 / sqrt(width), torch.promote_types(out.dtype, torch.float32)
        # Of keys, values and distances, (…, heads, width, keys): PyTorch would copy a large matrix to transpose it.
        d_key, d_value = (out.new_zeros(batch, heads, width, keys) for _ in range(2))
        d_r = out.new_zeros(heads, width, keys, dtype=wide)
        d_u, d_v = (out.new_zeros(heads, 1, width, dtype=wide) for _ in range(2))
        d_query, grad = torch.empty_like(out), grad.contiguous()
        sums = (grad * out).sum(-1, keepdim=True)
        for (rows, some, queries, seen), w in zip(
            _parts(batch, heads, time, keys), weights, strict=True
        ):
            place, count = (rows, some, queries), w.shape[2]
            g = grad[place]
            d_value[rows, some, :, :seen] += g.transpose(-1, -2) @ w
            # Behind zeros: the shift back starts before the first row, and a row one column before the row below.
            room = w.new_empty(*w.shape[:2], count + count * seen)
            room[..., :count], d_scores = 0, room[..., count:].view(w.shape)
            torch.sub(
                g @ value[rows, some, :seen].transpose(-1, -2), sums[place], out=d_scores
            ).mul_(w)
            unshifted = room.as_strided(w.shape, (*room.stride()[:2], seen + 1, 1), 1).contiguous()
            d_key[rows, some, :, :seen] += content[place].transpose(-1, -2) @ d_scores
            by_row = position[place].transpose(-1, -2) @ unshifted
            d_r[some, :, keys - seen :] += by_row.sum(0) if len(by_row) > 1 else by_row[0]
            by_content, by_distance = (
                d_scores @ key[rows, some, :seen],
                unshifted @ r[some, keys - seen :],
            )
            d_u[some] += by_content.sum((0, 2), dtype=wide).unsqueeze(1)
            d_v[some] += by_distance.sum((0, 2), dtype=wide).unsqueeze(1)
            d_query[place] = by_content.add_(by_distance).mul_(scale)
        d_key, d_value, d_r = (x.to(out.dtype).transpose(-1, -2) for x in (d_key, d_value, d_r))
        return d_query, d_key, d_value, d_r, *((x * scale).to(out.dtype) for x in (d_u, d_v)), None
