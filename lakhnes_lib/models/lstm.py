"""LSTM: the recurrent baseline, whose whole past is one vector a layer.

Paper: §5.2 (one layer of 3072 units, 40 M parameters). Notebook: 06_baselines.
Differences from the paper: none known. Where it is silent, an embedding of 64 with an output layer
of its own gives its size, there is no dropout, and weights start as PyTorch draws them. Gradients
end where a segment begins.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from lakhnes_lib.models.language_model import VOCABULARY_SIZE, NeuralModel, arguments, check_ids


class Cells(NamedTuple):
    """What an LSTM carries from call to call, without gradient.

    h: output, c: cell; each (layers, batch, units).
    """

    h: Tensor
    c: Tensor


class LSTM(NeuralModel):
    """The paper's baseline; the defaults are its size: 40,539,191 parameters.

    ``memory_length`` has no effect: h and c remember what they remember.
    """

    architecture = "lstm"
    state_type = Cells

    def __init__(
        self,
        vocabulary_size: int = VOCABULARY_SIZE,
        embedding: int = 64,
        units: int = 3072,
        layers: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__(arguments(locals()))
        between = dropout if layers > 1 else 0.0  # PyTorch warns of it with a single layer
        self.embedding = nn.Embedding(vocabulary_size, embedding)
        self.recurrent = nn.LSTM(embedding, units, layers, batch_first=True, dropout=between)
        self.output = nn.Linear(units, vocabulary_size)
        self.dropout = nn.Dropout(dropout)

    def hidden(self, ids, state: Cells | None = None, *, memory_length=None):
        check_ids(ids, self.vocabulary_size)
        x = self.dropout(self.embedding(ids))  # (batch, time, embedding)
        # Autocast on a GPU would run it in float16, which is too coarse for its gradients.
        with torch.autocast("cuda", enabled=False):
            before = None if state is None else (state.h.to(x.dtype), state.c.to(x.dtype))
            x, (h, c) = self.recurrent(x, before)  # (batch, time, units)
        return self.dropout(x), Cells(h.detach(), c.detach())

    def logits(self, hidden):
        return self.output(hidden)

    def select(self, state: Cells | None, rows: Tensor):
        return tree_map_only(Tensor, lambda tensor: tensor[:, rows], state)

    def restart(self, state: Cells | None, fresh: Tensor) -> Cells | None:
        return tree_map_only(Tensor, lambda tensor: tensor.masked_fill(fresh[:, None], 0), state)
