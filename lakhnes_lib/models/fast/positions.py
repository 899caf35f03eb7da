"""Projected positions of a Transformer-XL, kept from call to call of an evaluation.

Gain: TODO
Differences from ``TransformerXL.positions``: none in the numbers. Those do not depend on the music,
so they are computed once and kept until the weights change.
"""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

_kept: WeakKeyDictionary = WeakKeyDictionary()
"""Of each model: what the positions were computed with, and the positions themselves."""


def positions(model, keys: int) -> list[Tensor]:
    """Each layer's r, (heads, keys, head width), for the distances keys - 1 … 0.

    model: a ``TransformerXL``. While it trains, or a gradient is wanted, nothing is kept.
    """
    readable = model.positions.__wrapped__
    weights = [layer.position.weight for layer in model.layers]
    if model.training or torch.is_grad_enabled() or any(w.is_inference() for w in weights):
        return readable(model, keys)
    # PyTorch counts the changes of a tensor in ``_version``. The kept aliases (``detach``) see to
    # it that no new tensor can lie where an old one lay.
    device = weights[0].device.type
    autocast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device)
    made_with = [autocast, *((w.data_ptr(), w._version, w.dtype) for w in weights)]
    before, _, projected = _kept.get(model, (None, None, None))
    if before != made_with or projected[0].shape[1] < keys:
        # For twice as many keys as asked for: a song that grows event by event seldom asks anew.
        projected = readable(model, 2 * keys)
        _kept[model] = made_with, [w.detach() for w in weights], projected
    return [r[:, r.shape[1] - keys :] for r in projected]
