"""A block of the modern decoder: attention with rotary positions and late keys, then a feed-forward net.

Paper: none; ``modern_decoder.py`` says where each part comes from. Notebook: 07_quantitative_analysis.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lakhnes_lib.models.fast.dropout import Dropout

ROTARY_BASE = 1024.0
"""The slowest turn of a pair that turns takes 2 pi times so many events."""
_TOGETHER = 4
"""Rows whose scores are made and used together, so that they stay in a core's cache."""


def turns(first: int, time: int, head_width: int, device=None) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles, from position ``first`` on: each float64 (time, head width / 4)."""
    place = torch.arange(first, first + time, device=device, dtype=torch.float64)
    angle = torch.outer(
        place,
        ROTARY_BASE ** -torch.linspace(0, 1, head_width // 4, device=device, dtype=place.dtype),
    )
    return angle.cos(), angle.sin()


def turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """x (…, time, head width): pairs (i, i + head width / 4) of its first half turned by their positions' angles."""
    a, b, still = x.split([x.shape[-1] // 4, x.shape[-1] // 4, x.shape[-1] // 2], -1)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine, still], -1)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """softmax(query · key / √(head width) + mask) · value, (batch, heads, time, head width); mask (… , time, keys).

    On a CPU the product is written out, for a few rows at a time: for short segments it beats the fused kernel there.
    """
    mask = mask.to(query.dtype)
    if query.device.type == "cpu" and 1 < query.shape[2] <= 2**20 // key.shape[2]:
        wholes = query * query.shape[-1] ** -0.5, key, value, mask.expand(len(query), -1, -1, -1)
        parts = zip(*(whole.split(_TOGETHER) for whole in wholes), strict=True)
        return torch.cat([(q @ k.transpose(-1, -2) + m).softmax(-1) @ v for q, k, v, m in parts])
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def activated(inner: Tensor, activation: str) -> Tensor:
    """The feed-forward net's units: squared where above zero; with "swiglu" one half, through SiLU, times the other."""
    if activation == "swiglu":
        gate, inner = inner.chunk(2, -1)
        return F.silu(gate) * inner
    return F.relu(inner).square()


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
        self.inner = nn.Linear(
            width, feed_forward * (2 if activation == "swiglu" else 1), bias=False
        )
        self.outer = nn.Linear(feed_forward, width, bias=False)
        self.dropout = Dropout(dropout)

    def project(
        self, x: Tensor, angles, before: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Query, key and value of x (batch, time, width), each (batch, heads, time, head width); then the half key that
        the event after these will hold, as ``before`` (None: none) is that of x's first: (batch, heads, 1, half)."""
        x = F.rms_norm(x, x.shape[-1:])
        query, key, value = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
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
        inner = activated(self.inner(F.rms_norm(x, x.shape[-1:])), self.activation)
        return x + self.dropout(self.outer(inner))

    def forward(self, x: Tensor, past, angles, mask: Tensor):
        """x: (batch, time, width); past: this layer's of ``Past``, or None. Returns x's shape, and past and x's."""
        query, key, value, last = self.project(x, angles, None if past is None else past[2])
        if past is not None:
            key, value = (
                torch.cat([past[0].to(key.dtype), key], 2),
                torch.cat([past[1].to(value.dtype), value], 2),
            )
        attended = attend(query, key, value, mask).transpose(1, 2).flatten(-2)
        return self.feed(x + self.dropout(self.output(attended))), (key, value, last)
