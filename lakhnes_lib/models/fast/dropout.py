"""Dropout that draws sixteen random bits a value, not a random number: on a CPU PyTorch's own costs a tenth of a step.

Paper: §5 (Transformer-XL's settings). Notebook: 05_training.
Differences from the paper: none; the share is a multiple of 2^-15.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """Sets each value to 0 with probability ``p`` while training, and scales the others by 1 / (1 - p)."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not self.training or not 0 < self.p < 1:
            return F.dropout(x, self.p, self.training)
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        # All in whole numbers, which a CPU is quick with: kept values get the sign bit, it fills the number, and what
        # is let through are the bits of the scale.
        halves = bits.view(torch.int16)[: x.numel()].view(x.shape).bitwise_right_shift_(1)
        kept = halves.neg_().add_(round(self.p * 2**15) - 2**14 - 1).bitwise_right_shift_(15)
        kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
        scale = x.new_tensor(1 / (1 - self.p)).view(kind)
        return x * kept.to(kind).bitwise_and_(scale).view(x.dtype)
