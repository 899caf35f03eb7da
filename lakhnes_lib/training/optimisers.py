"""Optimisers and learning-rate schedules, by the names that profiles use.

Paper: §5 (Adam, cosine decay). Notebook: 05_training.
An optimiser turns gradients into new weights. *Adam* divides each weight's gradient by the size
that it usually has, so that every weight moves by about the learning rate. *AdamW* also pulls all
weights a little towards zero at each step (weight decay).
Differences from the paper: *Muon* (Jordan et al., 2024) is offered for matrices. It takes a matrix
as a whole: it keeps a running sum of its gradients (momentum) and moves the matrix by the nearest
matrix that stretches all directions alike, so that no few directions take the whole step. And a
schedule is offered that stays constant, then falls in a straight line.
"""

from math import cos, pi

import torch
from torch import nn

from lakhnes_lib.models.fast import is_on, muon
from lakhnes_lib.profiles import Training

MOMENTUM = 0.95
"""Share of Muon's running sum of gradients that is kept at each step."""


def build_optimisers(model: nn.Module, settings: Training) -> list[torch.optim.Optimizer]:
    """The optimisers of a profile.

    Each parameter group's ``lr`` is its highest learning rate, which is kept as ``highest`` too.
    Muon takes the matrices of linear layers; AdamW, without decay, takes all the rest: vectors, and
    embedding tables, whose rows are looked up one by one and belong together no more than vectors.
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "muon":
        modules = list(model.modules())
        tables = {module.weight for module in modules if isinstance(module, nn.Embedding)}
        linear = {module.weight for module in modules if isinstance(module, nn.Linear)}
        linear -= tables  # the output weights may be one of the tables
        matrices = [weight for weight in model.parameters() if weight in linear]
        rest = [weight for weight in model.parameters() if weight not in linear]
        kind = muon.Muon if is_on() else torch.optim.Muon
        options = dict(lr=settings.matrix_learning_rate, weight_decay=decay, momentum=MOMENTUM)
        of_matrices = kind(matrices, **options)
        optimisers = [of_matrices, torch.optim.AdamW(rest, lr=rate, weight_decay=0.0)]
    else:
        kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        optimisers = [kind(model.parameters(), lr=rate, weight_decay=decay)]
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["highest"] = group["lr"]
    return optimisers


def learning_rate_share(step: float, settings: Training) -> float:
    """The learning rate of a step (counted from 0) as a share of the highest.

    It rises in a straight line for ``warmup`` steps; then it goes by the schedule.
    """
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    if settings.schedule == "cosine":
        done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
        return 0.5 * (1 + cos(pi * done))
    if settings.schedule == "linear":
        return min(1.0, (settings.steps - step) / max(1.0, settings.decay_share * settings.steps))
    return 1.0
