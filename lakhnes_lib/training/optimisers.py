"""Optimisers and learning-rate schedules, by the names that profiles use.

Paper: §5 (Adam, cosine decay). Notebook: 05_training.
Differences from the paper: Muon (Jordan et al., 2024) is offered for matrices, and a schedule that stays constant, then
falls in a line.
"""

from math import cos, pi

import torch
from torch import nn

from lakhnes_lib.profiles import Training


def build_optimisers(model: nn.Module, settings: Training) -> list[torch.optim.Optimizer]:
    """The optimisers of a profile; each parameter group's ``lr`` is its highest, kept as ``highest`` too."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "muon":
        tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
        matrices = [
            module.weight
            for module in model.modules()
            if isinstance(module, nn.Linear)
            and module.weight not in tables  # tied output weights are a table too
        ]
        chosen = set(matrices)
        optimisers = [
            torch.optim.Muon(
                matrices,
                lr=settings.matrix_learning_rate,
                weight_decay=settings.weight_decay,
                momentum=0.95,
            ),
            torch.optim.AdamW(
                [p for p in parameters if p not in chosen],
                lr=settings.learning_rate,
                weight_decay=0.0,
            ),
        ]
    else:
        kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        optimisers = [
            kind(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        ]
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["highest"] = group["lr"]
    return optimisers


def learning_rate_share(step: int, settings: Training) -> float:
    """The learning rate of a step (from 0) as a share of the highest: warm-up, then the schedule."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    if settings.schedule == "cosine":
        return 0.5 * (
            1 + cos(pi * (step - settings.warmup) / max(1, settings.steps - settings.warmup))
        )
    if settings.schedule == "linear":
        return min(1.0, (settings.steps - step) / max(1.0, settings.decay_share * settings.steps))
    return 1.0
