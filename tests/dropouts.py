"""Where a model's dropout falls: the shapes it is given, in order, and that its result is used."""

import torch


def shapes_of_dropout(model, ids) -> list[tuple[int, ...]]:
    """Shape of each tensor that goes through dropout while the model trains.

    Fails if the model's output does not depend on one of these tensors.
    """
    modules = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    shapes: list[tuple[int, ...]] = []
    silenced = None  # number of the dropout whose result is replaced by zeros

    def hook(module, inputs, output):
        shapes.append(tuple(inputs[0].shape))
        return torch.zeros_like(output) if len(shapes) - 1 == silenced else output

    handles = [module.register_forward_hook(hook) for module in modules]
    shares = [module.p for module in modules]
    for module in modules:
        module.p = 0.0
    whole = model.train().hidden(ids)[0].detach()
    recorded = list(shapes)
    for silenced in range(len(recorded)):
        shapes.clear()
        without = model.hidden(ids)[0].detach()
        assert not torch.allclose(whole, without), f"dropout {silenced} of {recorded} has no effect"
    for module, share in zip(modules, shares, strict=True):
        module.p = share
    for handle in handles:
        handle.remove()
    return recorded
