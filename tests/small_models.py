"""Models so small that a test composes with them in a moment."""

import torch

from lakhnes_lib.models.transformer_xl import TransformerXL


def small_transformer() -> TransformerXL:
    """A Transformer-XL of one layer, in evaluation mode, always with the same weights."""
    torch.manual_seed(0)
    size = dict(layers=1, width=16, heads=2, head_width=8, feed_forward=16, memory_length=32)
    return TransformerXL(**size).eval()
