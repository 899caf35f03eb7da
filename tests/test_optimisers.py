"""Optimisers and learning-rate schedules, by the names that profiles use."""

import pytest
import torch

from lakhnes_lib.models import checkpoints, fast
from lakhnes_lib.models.fast import muon
from lakhnes_lib.models.fast.muon import Muon
from lakhnes_lib.profiles import Training
from lakhnes_lib.training.optimisers import build_optimisers, learning_rate_share

SETTINGS = Training(steps=100, batch=2, segment=16, learning_rate=0.01, optimizer="muon")


def test_learning_rates():
    settings = SETTINGS.model_copy(update=dict(warmup=10))
    assert [learning_rate_share(step, settings) for step in (0, 4, 9)] == [0.1, 0.5, 1.0]
    cosine = [learning_rate_share(step, settings) for step in (10, 55, 100)]
    assert cosine == pytest.approx([1.0, 0.5, 0.0])
    linear = settings.model_copy(update=dict(schedule="linear", decay_share=0.4))
    assert [learning_rate_share(step, linear) for step in (10, 60, 80, 99)] == pytest.approx(
        [1, 1, 0.5, 1 / 40]
    )
    constant = settings.model_copy(update=dict(schedule="constant"))
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


def test_muon_on_stacks_of_matrices_moves_them_as_pytorchs_does(monkeypatch):
    monkeypatch.setattr(muon, "runs_bf16", lambda device, precision: True)
    torch.manual_seed(0)
    begun = [torch.randn(shape) for shape in ((6, 9), (9, 6), (6, 9), (7, 7), (5, 3))]
    models = [[torch.nn.Parameter(x.clone()) for x in begun] for _ in range(2)]
    settings = dict(lr=0.02, weight_decay=0.1, momentum=0.95)
    pytorchs, ours = torch.optim.Muon(models[0], **settings), Muon(models[1], **settings)
    for _ in range(5):
        for one, other in zip(*models, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        models[0][-1].grad = models[1][-1].grad = None  # one that stays as it is
        pytorchs.step()
        ours.step()
        # Both compute in bfloat16, which rounds to 1 part in 256.
        for one, other, first in zip(*models, begun, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=4e-4)
            assert one.equal(first) == (one is models[0][-1])
    ours.load_state_dict(pytorchs.state_dict())  # a run may go on with the other


def test_without_matrix_units_nothing_is_computed_in_bfloat16(monkeypatch):
    """Such a CPU takes thirty times as long for it."""
    monkeypatch.setattr(muon, "runs_bf16", lambda device, precision: False)
    model = torch.nn.Sequential(torch.nn.Linear(6, 9))
    first, _ = build_optimisers(model, SETTINGS)
    assert isinstance(first, Muon if fast.is_on() else torch.optim.Muon)
    x = torch.randn(2, 6, 9)
    options = first.param_groups[0]
    moved = muon.orthogonal(x, options["ns_coefficients"], options["ns_steps"])
    assert moved.dtype == torch.float32
    exact = muon.orthogonal(x.double(), options["ns_coefficients"], options["ns_steps"])
    torch.testing.assert_close(moved.double(), exact, rtol=0, atol=1e-5)


def stepped(optimisers, gradients):
    """Gives all parameters these gradients, one step each."""
    for gradient in gradients:
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.full_like(parameter, gradient)
            optimiser.step()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_weights_decay_as_the_profile_says(optimizer):
    """Without a gradient AdamW and Muon draw weights to zero by rate times decay; tables are left
    alone by Muon. Adam adds the decay to the gradient, and so moves by the whole rate."""
    model = torch.nn.ModuleDict({"table": torch.nn.Embedding(3, 4), "net": torch.nn.Linear(4, 4)})
    settings = dict(optimizer=optimizer, weight_decay=0.5, matrix_learning_rate=0.01)
    optimisers = build_optimisers(model, SETTINGS.model_copy(update=settings))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    stepped(optimisers, [0.0])
    for name, weight in model.named_parameters():
        expected = before[name] * (1 - 0.01 * 0.5)
        if optimizer == "adam":
            expected = before[name] - 0.01 * before[name].sign()
        elif optimizer == "muon" and name != "net.weight":
            expected = before[name]
        assert torch.allclose(weight, expected, atol=1e-6), name


def test_muon_keeps_nineteen_parts_of_twenty_of_what_it_has_seen():
    """Its running sum, and that a gradient goes on acting after the next one, its opposite."""
    model = torch.nn.Linear(4, 4, bias=True)
    muon, _ = optimisers = build_optimisers(model, SETTINGS)
    stepped(optimisers, [1.0, -2.0])
    (state,) = muon.state.values()
    expected = 0.95 * (0.05 * 1.0) + 0.05 * -2.0
    assert torch.allclose(state["momentum_buffer"], torch.full((4, 4), expected), atol=1e-6)
