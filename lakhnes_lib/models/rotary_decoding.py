"""Decoding for a decoder with rotary positions: a step reads the weights and the memory once, and writes one position.

Paper: none (``modern_decoder.py``, whose formulas these are). Notebook: 09_composing.
Keys are remembered turned, so nothing about them changes later: the ring of ``decoding.py`` holds them as they are, and
no table of distances is needed. One product makes queries, keys and values, and queries and keys are normalised and
turned together. What enters the first layer, and the angles, come from the model's own ``enter``.
"""

import torch
import torch.nn.functional as F

from lakhnes_lib.models.decoding import ROWS, Decoding, Ring
from lakhnes_lib.models.modern_block import activated, turn
from lakhnes_lib.models.products import STEADY, linear


class RotaryDecoding(Decoding):
    """The decoding of a ``ModernDecoder``.

    Its ``enter(ids, past)`` turns int64 (rows, time), and the past or None, into the first layer's input (rows, time,
    width); the angles' cosines and sines, each (time, head width / 4), None if nothing is turned; and the past after
    these ids, its ``layers`` left empty. Its ``output_weight``, (vocabulary, width), makes logits.
    """

    @torch.inference_mode()
    def __init__(self, model, rows, state=None, memory_length=None, precision: str = "fp32"):
        super().__init__(model, rows, state, memory_length)
        block, width, table = model.blocks[0], model.head_width, model.output_weight
        self.heads, self.activation, self.late_keys = block.heads, block.activation, block.late_keys
        nothing = table.new_zeros(self.rows, self.heads, 0, width)
        none = table.new_zeros(self.rows, self.heads, 1, width // 2)
        layers = [(nothing, nothing, none)] * len(model.blocks) if state is None else self.state.layers
        valid = torch.zeros(self.rows, device=model.device) if state is None else self.state.valid
        self.ring = Ring([(key, value) for key, value, _ in layers], valid, self.memory_length)
        self.late = [still.squeeze(2) for *_, still in layers]  # half keys of the event before, one for each layer
        if state is not None:
            self.state.layers.clear()  # the ring has them; the list was made for this decoding by ``select``
        self.normalised = block.sharpness is not None
        self.together = ROWS if model.device.type == "cpu" and precision in STEADY else 1
        self.parts, self.scales = [], []  # scales: of queries and keys, (2, heads, 1)
        for block in model.blocks:
            weights = torch.cat([block.query.weight, block.key.weight, block.value.weight])
            others = (block.output, block.inner, block.outer)
            self.parts.append([linear(weight, None, precision) for weight in (weights, *(o.weight for o in others))])
            sharpness = block.sharpness.flatten(1) if self.normalised else table.new_ones(self.heads, 1)
            self.scales.append(torch.stack([sharpness * width**-0.5, torch.ones_like(sharpness)]))
        self.logits = linear(table, None, precision)

    @torch.inference_mode()
    def feed(self, ids):
        rows = len(ids)
        more = -rows % self.together
        self.ring.advance()
        x, angles, self.state = self.model.enter(ids.unsqueeze(1), self.state)
        x = F.pad(x[:, 0], (0, 0, 0, more)) if more else x[:, 0]
        angles = None if angles is None else [part.to(self.scales[0].dtype) for part in angles]  # (1, head width / 4)
        for number, (project, output, inner, outer) in enumerate(self.parts):
            parts = project(F.rms_norm(x, x.shape[-1:])).view(rows + more, 3, self.heads, -1)[:rows]
            both = parts[:, :2]  # queries and keys, (rows, 2, heads, head width)
            both = F.rms_norm(both, both.shape[-1:]) if self.normalised else both
            both = both if angles is None else turn(both, *angles)
            query, key = (both * self.scales[number]).unbind(1)
            if self.late_keys:
                turned, still = key.chunk(2, -1)
                key, self.late[number] = torch.cat([turned, self.late[number]], -1), still
            attended = self.ring.attend(number, query, key, parts[:, 2])
            x = output(F.pad(attended, (0, 0, 0, more)) if more else attended).add_(x)
            x = outer(activated(inner(F.rms_norm(x, x.shape[-1:])), self.activation)).add_(x)
        return F.log_softmax(self.logits(F.rms_norm(x, x.shape[-1:]))[:rows], -1)

    @torch.inference_mode()
    def select(self, rows):
        self.rows = len(rows)
        self.ring.select(rows)
        self.late = [still[rows] for still in self.late]
        self.state = self.model.select(self.state, rows)
