"""Decoding: a language model that reads several pieces event by event and keeps in place what it needs to go on.

Paper: §8 (sampling with a memory of 512 events). Notebook: 09_composing.
``Decoding`` serves every model through ``log_probs`` and ``select``. ``RelativeDecoding`` is the Transformer-XL's: a
step reads the weights and the memory once, and writes one position. Keys and values lie in a ``Ring``: a new position
takes the oldest one's slot, nothing moves. What depends on distances is a table of two turns, of which a step reads
the window that fits its place in the ring.
Differences from the paper: none in what is computed; weights may be held in 16 or 8 bits (``products.py``).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lakhnes_lib.models.devices import without_denormals
from lakhnes_lib.models.fast.products import STEADY, linear

ROWS = 4
"""Matrix products of one to three rows, or with some threads of a few more, sum in another order on a CPU. Padded to a
multiple of this, a row's result does not depend on the rows beside it: a seed means the same notes however many pieces
are composed. It holds to the last bit for one thread and for two, as the tests check, for the precisions in STEADY."""
FIRST_SLOTS = 64
"""Slots of a ring at first; it doubles until it holds the memory."""


class Decoding:
    """Several pieces that a model reads at once; what it remembers of them is changed in place."""

    @torch.inference_mode()
    def __init__(self, model, rows: int | Tensor, state=None, memory_length: int | None = None):
        """rows: how many pieces, all of which go on from row 0 of ``state``; or int64 (pieces,), the row each goes on
        from. state: of the model's ``log_probs``, None for a fresh start."""
        self.model = model
        self.memory_length = model.memory_length if memory_length is None else memory_length
        rows = torch.zeros(rows, dtype=torch.int64) if isinstance(rows, int) else rows
        self.rows = len(rows)
        self.state = None if state is None else model.select(state, rows.to(model.device))

    @torch.inference_mode()
    def feed(self, ids: Tensor) -> Tensor:
        """The newest event of each piece, int64 (rows,), to the log-probabilities of the next, float32 (rows,
        vocabulary)."""
        kept, self.model.memory_length = self.model.memory_length, self.memory_length
        try:
            log_probs, self.state = self.model.log_probs(ids.unsqueeze(1), self.state)
        finally:
            self.model.memory_length = kept
        return log_probs[:, -1]

    @torch.inference_mode()
    def select(self, rows: Tensor) -> None:
        """Goes on with these pieces only: int64 (new rows,), any order, repeats allowed."""
        self.rows = len(rows)
        self.state = self.model.select(self.state, rows)


class Ring:
    """Keys and values of every layer for the newest positions of several pieces.

    keys: (layers, rows, heads, slots, head width) and values: (layers, rows, heads, head width, slots); so lies what a
    step's two products read one after the other. slot: of the newest position; length: slots in use, from 0 on.
    """

    def __init__(self, past: list[tuple[Tensor, Tensor]], valid: Tensor, memory_length: int):
        """past: keys and values of each layer, (rows, heads, length, head width); valid: int64 (rows,), how many of
        these positions, from the newest, a row may look back to."""
        self.most, self.slot = memory_length + 1, 0
        self.length = min(past[0][0].shape[2], memory_length)
        first = past[0][0].shape[2] - self.length
        self.keys = torch.stack([key[:, :, first:] for key, _ in past])
        self.values = torch.stack([value[:, :, first:].transpose(2, 3) for _, value in past])
        self.slots = self.length
        foreign = torch.arange(self.length, 0, -1, device=valid.device) > valid.unsqueeze(1)
        self.foreign = (
            int(foreign.sum(1).max()) if self.length else 0
        )  # slots that not every row may look at
        self.mask = (
            self.keys.new_zeros(foreign.shape).masked_fill_(foreign, float("-inf"))
            if self.foreign
            else None
        )
        self.windows: list[tuple[Tensor, Tensor]] = []

    def advance(self) -> None:
        """Makes room for one more position: in a new slot, or in the oldest one's."""
        if self.length == self.most:
            self.slot = (self.slot + 1) % self.most
        else:
            if self.length == self.slots:
                self._grow()
            self.slot, self.length, self.windows = self.length, self.length + 1, []
        if self.mask is not None:
            self.mask[:, self.slot] = 0
            if self.length == self.most and self.foreign - 1 <= self.slot < self.most - 1:
                self.mask = None
        # Views for all layers at once: for small models each one costs as much as a product.
        self.newest = list(
            zip(
                self.keys[..., self.slot, :].unbind(),
                self.values[..., self.slot].unbind(),
                strict=True,
            )
        )
        if not self.windows:
            keys, values = (
                self.keys[..., : self.length, :].transpose(-1, -2),
                self.values[..., : self.length],
            )
            self.windows = list(
                zip(keys.flatten(1, 2).unbind(), values.flatten(1, 2).unbind(), strict=True)
            )

    def _grow(self) -> None:
        room = min(self.most, max(FIRST_SLOTS, 2 * self.slots)) - self.slots
        self.slots += room
        self.keys = F.pad(self.keys, (0, 0, 0, room))
        self.values = F.pad(self.values, (0, room))
        self.mask = None if self.mask is None else F.pad(self.mask, (0, room))

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Writes the newest key and value, and returns softmax(query · keys + bias) · values.

        query (scaled), key, value: (rows, heads, head width); bias: (rows * heads, 1, length), which is written over.
        Returns (rows, heads * head width).
        """
        new_key, new_value = self.newest[layer]
        new_key.copy_(key)
        new_value.copy_(value)
        keys, values = self.windows[layer]
        # Scores are fastest as a row times a matrix; what they weigh, for many rows, as a matrix times a column.
        query = query.reshape(-1, 1, query.shape[-1])
        scores = torch.bmm(query, keys) if bias is None else bias.baddbmm_(query, keys)
        if self.mask is not None:
            scores.view(len(key), -1, self.length).add_(self.mask[:, None, : self.length])
        return torch.bmm(values, scores.softmax(-1).transpose(1, 2)).view(len(key), -1)

    def select(self, rows: Tensor) -> None:
        self.keys, self.values, self.windows = self.keys[:, rows], self.values[:, rows], []
        self.mask = None if self.mask is None else self.mask[rows]


def norm(module: torch.nn.LayerNorm) -> Callable[[Tensor], Tensor]:
    """The same normalisation without what a module's call costs, which is as much again for few rows."""
    return lambda x: torch.layer_norm(
        x, module.normalized_shape, module.weight, module.bias, module.eps
    )


class RelativeDecoding(Decoding):
    """A Transformer-XL's decoding.

    score = (q + u)·k + (q + v)·r = p·k + p·r + (v - u)·r for p = q + u, which one product makes together with key and
    value; the last term depends on the distance alone.
    """

    @torch.inference_mode()
    def __init__(self, model, rows, state=None, memory_length=None, precision: str = "fp32"):
        super().__init__(model, rows, state, memory_length)
        heads, width = model.u.shape
        nothing = model.u.new_zeros(self.rows, heads, 0, width)
        past = [(nothing, nothing)] * len(model.layers) if state is None else self.state.layers
        valid = torch.zeros(self.rows, device=model.device) if state is None else self.state.valid
        self.ring, self.state = Ring(past, valid, self.memory_length), None
        self.together = ROWS if model.device.type == "cpu" and precision in STEADY else 1
        self.parts = []
        for layer in model.layers:
            together = torch.cat([layer.query.weight * width**-0.5, layer.key_value.weight])
            bias = F.pad(model.u.flatten() * width**-0.5, (0, 2 * heads * width))
            self.parts.append(
                (
                    linear(together, bias, precision),
                    linear(layer.output.weight, layer.output.bias, precision),
                    linear(layer.inner.weight, layer.inner.bias, precision, relu=True),
                    linear(layer.outer.weight, layer.outer.bias, precision),
                    norm(layer.attention_norm),
                    norm(layer.feed_forward_norm),
                )
            )
        self.pre_norm = model.layers[0].pre_norm
        self.logits = linear(model.embedding.weight, model.output_bias, precision)
        self.r = model.u.new_zeros(len(model.layers), heads, width, 0)

    def _turn(self) -> None:
        """Makes the tables of distances for the ring's size: r, (layers, heads, head width, 2 slots), and (v - u)·r,
        (layers, heads, 1, 2 slots). Column j stands for the distance -j mod slots."""
        r = torch.stack(self.model.projected(self.ring.slots))  # distances slots - 1 … 0
        self.r = r.roll(1, 2).repeat(1, 1, 2, 1).transpose(2, 3).contiguous()
        self.shift = (self.model.v - self.model.u).unsqueeze(1) * self.r.shape[2] ** -0.5 @ self.r

    @torch.inference_mode()
    @without_denormals()
    def feed(self, ids):
        model, ring, rows = self.model, self.ring, len(ids)
        heads, width = model.u.shape
        ring.advance()
        if self.r.shape[3] != 2 * ring.slots:
            self._turn()
        window = slice(ring.slots - ring.slot, ring.slots - ring.slot + ring.length)
        tables = zip(self.r[..., window].unbind(), self.shift[..., window].unbind(), strict=True)
        more = -rows % self.together
        x = (
            F.embedding(F.pad(ids, (0, more)) if more else ids, model.embedding.weight)
            * model.width**0.5
        )
        for number, (r, shift) in enumerate(tables):
            project, output, inner, outer, attention_norm, feed_forward_norm = self.parts[number]
            parts = project(attention_norm(x) if self.pre_norm else x).view(
                rows + more, 3, heads, width
            )
            query, key, value = parts.unbind(1)
            distance = torch.baddbmm(shift, query.transpose(0, 1), r)  # (heads, rows, length)
            bias = (
                distance[:, :rows].transpose(0, 1).contiguous().view(rows * heads, 1, ring.length)
            )
            attended = ring.attend(number, query[:rows], key[:rows], value[:rows], bias)
            x = output(F.pad(attended, (0, 0, 0, more)) if more else attended).add_(x)
            if self.pre_norm:
                x = outer(inner(feed_forward_norm(x))).add_(x)
            else:
                x = attention_norm(x)
                x = feed_forward_norm(outer(inner(x)).add_(x))
        return F.log_softmax(self.logits(model.norm(x))[:rows], -1)

    @torch.inference_mode()
    def select(self, rows):
        self.rows = len(rows)
        self.ring.select(rows)
