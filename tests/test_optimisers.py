"""Optimisers and learning-rate schedules, by the names that profiles use."""

from dataclasses import replace

import pytest
import torch

from lakhnes_lib.models import checkpoints
from lakhnes_lib.profiles import Training
from lakhnes_lib.training.optimisers import build_optimisers, learning_rate_share

SETTINGS = Training(steps=100, batch=2, segment=16, learning_rate=0.01, optimizer="muon")


def test_learning_rates():
    settings = replace(SETTINGS, warmup=10)
    assert [learning_rate_share(step, settings) for step in (0, 4, 9)] == [0.1, 0.5, 1.0]
    cosine = [learning_rate_share(step, settings) for step in (10, 55, 100)]
    assert cosine == pytest.approx([1.0, 0.5, 0.0])
    linear = replace(settings, schedule="linear", decay_share=0.4)
    assert [learning_rate_share(step, linear) for step in (10, 60, 80, 99)] == pytest.approx(
        [1, 1, 0.5, 1 / 40]
    )
    constant = replace(settings, schedule="constant")
    assert {learning_rate_share(step, constant) for step in range(10, 100)} == {1.0}


def test_muon_takes_matrices_and_adamw_the_rest_each_once():
    model = checkpoints.build(
        "transformer_xl", layers=2, width=16, heads=2, head_width=8, feed_forward=32
    )
    muon, adamw = build_optimisers(model, SETTINGS)
    assert isinstance(muon, torch.optim.Muon) and isinstance(adamw, torch.optim.AdamW)
    names = {parameter: name for name, parameter in model.named_parameters()}
    matrices, rest = (
        [names[p] for g in o.param_groups for p in g["params"]] for o in (muon, adamw)
    )
    assert sorted(matrices + rest) == sorted(names.values())
    assert all(
        name.startswith("layers.") and name.endswith("weight") and "norm" not in name
        for name in matrices
    )
    assert "embedding.weight" in rest and len(matrices) == 2 * 6
