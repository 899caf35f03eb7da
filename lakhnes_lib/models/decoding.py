"""Decoding: a language model that reads several pieces event by event and keeps in place what it needs to go on.

Paper: §8 (sampling with a memory of 512 events). Notebook: 09_composing.
``Decoding`` serves every model through ``log_probs`` and ``select``. ``RelativeDecoding`` is the Transformer-XL's: a
step reads the weights and the memory once, and writes one position. Keys and values lie in a ``Ring``: a new position
takes the oldest one's slot, nothing moves. What depends on distances is a table of two turns, of which a step reads
the window that fits its place in the ring.
Differences from the paper: none in what is computed; weights may be held in 16 bits.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 4
"""Matrix products of one to three rows, or with some threads of a few more, sum in another order on a CPU. Padded to a
multiple of this, a row's result does not depend on the rows beside it: a seed means the same notes however many pieces
are composed. It holds to the last bit for one thread and for two, as the tests check."""
FIRST_SLOTS = 64
"""Slots of a ring at first; it doubles until it holds the memory."""
PRECISIONS = ("fp32", "fp16")


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

    keys: (rows, heads, slots, head width) and values: (rows, heads, head width, slots) for each layer; so lies what a
    step's two products read one after the other. slot: of the newest position; length: slots in use, from 0 on.
    """

    def __init__(self, past: list[tuple[Tensor, Tensor]], valid: Tensor, memory_length: int):
        """past: keys and values of each layer, (rows, heads, length, head width); valid: int64 (rows,), how many of
        these positions, from the newest, a row may look back to."""
        self.most, self.slot = memory_length + 1, 0
        self.length = min(past[0][0].shape[2], memory_length)
        first = past[0][0].shape[2] - self.length
        self.keys = [key[:, :, first:] for key, _ in past]
        self.values = [value[:, :, first:].transpose(2, 3) for _, value in past]
        self.slots = self.length
        foreign = torch.arange(self.length, 0, -1, device=valid.device) > valid.unsqueeze(1)
        self.mask = (
            self.keys[0].new_zeros(foreign.shape).masked_fill_(foreign, float("-inf")) if foreign.any() else None
        )

    def advance(self) -> None:
        """Makes room for one more position: in a new slot, or in the oldest one's."""
        if self.length == self.most:
            self.slot = (self.slot + 1) % self.most
            return
        if self.length == self.slots:
            room = min(self.most, max(FIRST_SLOTS, 2 * self.slots)) - self.slots
            self.slots += room
            self.keys = [F.pad(key, (0, 0, 0, room)) for key in self.keys]
            self.values = [F.pad(value, (0, room)).contiguous() for value in self.values]
            self.mask = None if self.mask is None else F.pad(self.mask, (0, room))
        self.slot, self.length = self.length, self.length + 1

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """Writes the newest key and value, and returns softmax(query · keys + bias) · values.

        query (scaled), key, value: (rows, heads, head width); bias: (rows, heads, length). Returns (rows, heads * head
        width).
        """
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self.slot] = key
        values[..., self.slot] = value
        # A column taken as a transposed row: for a column that is none MKL has no fast product.
        column = query.reshape(-1, 1, query.shape[-1]).transpose(1, 2)
        scores = torch.bmm(keys[:, :, : self.length].flatten(0, 1), column)
        scores = scores.view(bias.shape).add_(bias)
        if self.mask is not None:
            self.mask[:, self.slot] = 0
            scores += self.mask[:, None, : self.length]
        weights = scores.softmax(-1).view(-1, 1, self.length).transpose(1, 2)
        return torch.bmm(values[..., : self.length].flatten(0, 1), weights).view(len(key), -1)

    def select(self, rows: Tensor) -> None:
        self.keys, self.values = [key[rows] for key in self.keys], [value[rows] for value in self.values]
        self.mask = None if self.mask is None else self.mask[rows]


def linear(weight: Tensor, bias: Tensor | None, precision: str = "fp32") -> Callable[[Tensor], Tensor]:
    """x (rows, in) -> x · weightᵀ + bias, (rows, out), for a weight that stays as it is.

    precision: fp16 holds the weight in 16 bits. An x86 CPU then sums in float32; a GPU multiplies in float16; other
    CPUs gain nothing by it and hold it in full.
    """
    if precision == "fp16" and weight.is_cpu and torch.backends.quantized.engine in ("x86", "fbgemm"):
        packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), None if bias is None else bias.float())
        return lambda x: torch.ops.quantized.linear_dynamic_fp16(x, packed)
    if precision == "fp16" and weight.is_cuda:
        weight, bias = weight.half(), None if bias is None else bias.half()
        return lambda x: F.linear(x.half(), weight, bias).float()
    return lambda x: F.linear(x, weight, bias)


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
        self.ring, self.state, self.tables = Ring(past, valid, self.memory_length), None, []
        scale = width**-0.5
        self.products = []
        for layer in model.layers:
            together = torch.cat([layer.query.weight * scale, layer.key_value.weight])
            bias = F.pad(model.u.flatten() * scale, (0, 2 * heads * width))
            matrices = (
                (together, bias),
                *((part.weight, part.bias) for part in (layer.output, layer.inner, layer.outer)),
            )
            self.products.append([linear(weight, bias, precision) for weight, bias in matrices])
        self.logits = linear(model.embedding.weight, model.output_bias, precision)

    def _turn(self) -> None:
        """Makes the tables of distances for the ring's size: r, (heads, head width, 2 slots), and (v - u)·r."""
        shift = (self.model.v - self.model.u).unsqueeze(1) * self.model.u.shape[1] ** -0.5
        self.tables = []
        for r in self.model.projected(self.ring.slots):  # distances slots - 1 … 0
            r = r.roll(1, 1).repeat(1, 2, 1).transpose(1, 2)  # column j: distance -j mod slots
            self.tables.append((r, shift @ r))

    @torch.inference_mode()
    def feed(self, ids):
        model, ring, rows = self.model, self.ring, len(ids)
        ring.advance()
        if not self.tables or self.tables[0][0].shape[2] != 2 * ring.slots:
            self._turn()
        window = slice(ring.slots - ring.slot, ring.slots - ring.slot + ring.length)
        more = -rows % ROWS if ids.is_cpu else 0
        x = F.embedding(F.pad(ids, (0, more)), model.embedding.weight) * model.width**0.5
        for number, layer in enumerate(model.layers):
            project, output, inner, outer = self.products[number]
            r, shift = self.tables[number]
            parts = project(layer.attention_norm(x) if layer.pre_norm else x).view(rows + more, 3, *model.u.shape)
            distance = torch.baddbmm(shift[:, :, window], parts[:, 0].transpose(0, 1), r[:, :, window])
            attended = ring.attend(number, *parts[:rows].unbind(1), distance[:, :rows].transpose(0, 1))
            x = output(F.pad(attended, (0, 0, 0, more))).add_(x)
            if layer.pre_norm:
                x = outer(inner(layer.feed_forward_norm(x)).relu_()).add_(x)
            else:
                x = layer.attention_norm(x)
                x = layer.feed_forward_norm(outer(inner(x).relu_()).add_(x))
        return F.log_softmax(self.logits(model.norm(x))[:rows], -1)

    @torch.inference_mode()
    def select(self, rows):
        self.rows = len(rows)
        self.ring.select(rows)
