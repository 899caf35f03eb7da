"""A block of the modern decoder: attention with rotary positions and late keys, then a net.

Paper: none; ``modern_decoder.py`` says where each part comes from.
Notebook: 07_quantitative_analysis.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lakhnes_lib.models import fast
from lakhnes_lib.models.fast import attention as fast_attention

ROTARY_BASE = 1024.0
"""The slowest pair turns by a full circle in 2 pi times as many events, the fastest in 2 pi."""


def rotary_angles(position: Tensor, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles at these positions, float64 (time,).

    Each float64 (time, head width / 4): a column for each pair of values that turns.
    """
    exponent = torch.linspace(0, 1, head_width // 4, device=position.device, dtype=torch.float64)
    angle = torch.outer(position, ROTARY_BASE**-exponent)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """The rotary embedding in the first half of each head; the second half stays as it is.

    x: (…, time, head width). The values i and i + head width / 4 are one point of a plane, which
    turns by its position's angle. A product of a query and a key then depends on their distance.
    """
    a, b, still = x.split([x.shape[-1] // 4, x.shape[-1] // 4, x.shape[-1] // 2], -1)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine, still], -1)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """softmax(query · key / √(head width) + mask) · value: (batch, heads, time, head width).

    query: (batch, heads, time, head width); key, value: (batch, heads, keys, head width);
    mask: (batch or 1, 1, time, keys), 0 or -inf.
    """
    if fast.is_on():
        return fast_attention.masked_attention(query, key, value, mask)
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return (scores + mask).softmax(-1) @ value


def activated(inner: Tensor, activation: str) -> Tensor:
    """The feed-forward net's units: ``squared_relu``, or ``swiglu``: one half gates the other."""
    if activation == "swiglu":
        gate, inner = inner.chunk(2, -1)
        return F.silu(gate) * inner
    return F.relu(inner).square()


def normalised(x: Tensor) -> Tensor:
    """Each vector along the last dimension, divided by the root of its mean square."""
    return F.rms_norm(x, x.shape[-1:])


class Block(nn.Module):
    """Attention, then a feed-forward net; each reads normalised inputs and is added to them.

    sharpness: (heads, 1, 1), the logit scale of normalised queries and keys. Their product alone
    lies between -√(head width) and √(head width) and could not be sharp; each head learns its own
    factor.
    """

    def __init__(self, width, heads, feed_forward, dropout, qk_norm, late_keys, activation):
        super().__init__()
        self.heads, self.late_keys, self.activation = heads, late_keys, activation
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.sharpness = nn.Parameter(torch.full((heads, 1, 1), 2.0)) if qk_norm else None
        self.output = nn.Linear(width, width, bias=False)
        units = 2 * feed_forward if activation == "swiglu" else feed_forward
        self.inner = nn.Linear(width, units, bias=False)
        self.outer = nn.Linear(feed_forward, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def split(self, x: Tensor) -> Tensor:
        """(batch, time, width) -> (batch, heads, time, head width)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def project(self, x: Tensor, angles, late: Tensor | None) -> tuple[Tensor, ...]:
        """Query, key and value of x (batch, time, width): (batch, heads, time, head width) each.

        late: half a key, (batch, heads, 1, head width / 2), which the event before x hands on, or
        None. The half key that x hands on to the next event is returned as the fourth tensor.
        """
        x = normalised(x)
        query, key, value = (self.split(net(x)) for net in (self.query, self.key, self.value))
        if self.sharpness is not None:
            query = normalised(query) * self.sharpness.to(query.dtype)
            key = normalised(key)
        if angles is not None:
            cosine, sine = (part.to(query.dtype) for part in angles)
            query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        turning, still = key.chunk(2, -1)  # each (batch, heads, time, head width / 2)
        if self.late_keys:
            # The half that does not turn is the one of the event before.
            first = torch.zeros_like(still[:, :, :1]) if late is None else late.to(still.dtype)
            key = torch.cat([turning, torch.cat([first, still[:, :, :-1]], 2)], -1)
        return query, key, value, still[:, :, -1:]

    def forward(self, x: Tensor, past: tuple | None, angles, mask: Tensor):
        """x: (batch, time, width); past: this block's part of a ``Past``; angles: as of
        ``rotary_angles``, or None; mask: as of ``attention``.

        Returns the block's output, of x's shape, and (key, value, late) of past and x together.
        """
        query, key, value, late = self.project(x, angles, past[2] if past else None)
        if past:
            key = torch.cat([past[0].to(key.dtype), key], 2)  # (batch, heads, keys, head width)
            value = torch.cat([past[1].to(value.dtype), value], 2)
        attended = attention(query, key, value, mask).transpose(1, 2)
        x = x + self.dropout(self.output(attended.flatten(-2)))  # (batch, time, width)
        inner = activated(self.inner(normalised(x)), self.activation)
        return x + self.dropout(self.outer(inner)), (key, value, late)
