"""Dropout that draws sixteen random bits a value, not a random number: on a CPU PyTorch's own costs a tenth of a step.

Paper: §5 (Transformer-XL's settings). Notebook: 05_training.
Differences from the paper: none; the share is a multiple of 2^-16.
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
        kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= round(self.p * 2**16) - 2**15
        return x * kept.to(x.dtype).mul_(1 / (1 - self.p))
