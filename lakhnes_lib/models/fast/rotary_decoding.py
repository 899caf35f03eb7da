"""Decoding for a decoder with rotary positions: a step reads the weights and the memory once, and writes one position.

Paper: none (``modern_decoder.py``, whose formulas these are). Notebook: 09_composing.
Keys are remembered turned, so nothing about them changes later: the ring of ``decoding.py`` holds them as they are, and
no table of distances is needed. One product makes queries, keys and values. For few rows the number of operations is
what costs, so the two values of a pair that turns lie side by side here, as one complex number, turned by a table made
for many positions at once; the tables of the last events are one; and the √width of a root mean square is in the
weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lakhnes_lib.models.devices import without_denormals
from lakhnes_lib.models.fast.decoding import ROWS, Decoding, Ring
from lakhnes_lib.models.fast.products import STEADY, linear
from lakhnes_lib.models.modern_block import activated, turns

_POSITIONS = 1024
"""Whose angles are made at a time."""


def _pairs_side_by_side(head_width: int) -> Tensor:
    """The order of a head's values in which (i, i + head width / 4), which turn together, follow each other."""
    turning, still = torch.arange(head_width).chunk(2)
    return torch.cat([turning.view(2, -1).T.flatten(), still])


def _turns(first: int, head_width: int, device) -> Tensor:
    """What each pair of a head is multiplied with: complex64 (positions, head width / 2), position ``first`` first."""
    turning = torch.complex(*turns(first, _POSITIONS, head_width, device)).to(torch.complex64)
    return torch.cat([turning, torch.ones_like(turning)], -1)


def _length(x: Tensor) -> Tensor:
    """Of the vectors along the last dimension, which is kept as 1."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min_(1e-12)


class RotaryDecoding(Decoding):
    """The decoding of a ``ModernDecoder``, whose ``output_weight``, (vocabulary, width), makes logits."""

    @torch.inference_mode()
    def __init__(self, model, rows, state=None, memory_length=None, precision: str = "fp32"):
        super().__init__(model, rows, state, memory_length)
        block, width, table = model.blocks[0], model.head_width, model.output_weight
        order = _pairs_side_by_side(width).to(model.device)
        self.heads, self.activation, self.late_keys = block.heads, block.activation, block.late_keys
        _, _, past = model.enter(
            torch.zeros(self.rows, 0, dtype=torch.int64, device=model.device), self.state
        )
        nothing = table.new_zeros(self.rows, self.heads, 0, width)
        none = table.new_zeros(self.rows, self.heads, 1, width // 2)
        layers = (
            [(nothing, nothing, none)] * len(model.blocks) if state is None else self.state.layers
        )
        self.ring = Ring(
            [(key[..., order], value) for key, value, _ in layers], past.valid, self.memory_length
        )
        self.late = [
            still.squeeze(2) for *_, still in layers
        ]  # half keys of the event before, one for each layer
        # The last events, the newest first, as rows of one table; and the angles from a position on.
        self.history = past.ids.where(past.ids >= 0, model.vocabulary_size).flip(1)
        root = table.shape[1] ** 0.5
        self.tables = root * torch.cat([part.weight for part in model.embeddings])
        self.places = torch.arange(len(model.embeddings), device=model.device) * (
            model.vocabulary_size + 1
        )
        self.position, self.angles, self.state = past.position, None, None
        self.normalised = block.sharpness is not None
        self.together = ROWS if model.device.type == "cpu" and precision in STEADY else 1
        self.parts, self.lengths = (
            [],
            [],
        )  # lengths: of vectors that queries and keys are divided by, (2, heads, 1)
        for block in model.blocks:
            turned = (
                part.weight.unflatten(0, (self.heads, width))[:, order]
                for part in (block.query, block.key)
            )
            weights = root * torch.cat(
                [*(part.flatten(0, 1) for part in turned), block.value.weight]
            )
            others = (block.output.weight, root * block.inner.weight, block.outer.weight)
            self.parts.append([linear(weight, None, precision) for weight in (weights, *others)])
            sharpness = (
                block.sharpness.flatten(1)
                if self.normalised
                else table.new_full((self.heads, 1), width**-0.5)
            )
            unit = torch.full_like(sharpness, width**-0.5 if self.normalised else 1.0)
            self.lengths.append(torch.stack([1 / sharpness, unit]))
        self.logits = linear(root * table, None, precision)

    @torch.inference_mode()
    @without_denormals()
    def feed(self, ids):
        rows = len(ids)
        more = -rows % self.together
        self.ring.advance()
        history = torch.cat([ids.unsqueeze(1), self.history], 1)
        self.history = history[:, :-1]
        x = F.embedding(history + self.places, self.tables).sum(1)
        x = F.pad(x, (0, 0, 0, more)) if more else x
        angles = self._angles()
        for number, (project, output, inner, outer) in enumerate(self.parts):
            parts = project(x / _length(x)).view(rows + more, 3, self.heads, -1)[:rows]
            both, lengths = parts[:, :2], self.lengths[number]
            both = both / (_length(both).mul_(lengths) if self.normalised else lengths)
            if angles is not None:
                both = torch.view_as_real(
                    torch.view_as_complex(both.unflatten(-1, (-1, 2))) * angles
                ).flatten(-2)
            query, key = both.unbind(1)
            if self.late_keys:
                turned, still = key.chunk(2, -1)
                key, self.late[number] = torch.cat([turned, self.late[number]], -1), still
            attended = self.ring.attend(number, query, key, parts[:, 2])
            x = output(F.pad(attended, (0, 0, 0, more)) if more else attended).add_(x)
            x = outer(activated(inner(x / _length(x)), self.activation)).add_(x)
        return F.log_softmax(self.logits(x / _length(x))[:rows], -1)

    def _angles(self) -> Tensor | None:
        """By what this position's pairs turn, complex64 (head width / 2,); None for a model without such positions."""
        place = self.position % _POSITIONS
        if self.model.rotary and (self.angles is None or place == 0):
            self.angles = _turns(self.position - place, self.model.head_width, self.history.device)
        self.position += 1
        return None if self.angles is None else self.angles[place]

    @torch.inference_mode()
    def select(self, rows):
        self.rows = len(rows)
        self.ring.select(rows)
        self.late = [still[rows] for still in self.late]
        self.history = self.history[rows]
