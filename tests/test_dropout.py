"""Dropout by sixteen random bits a value: its share, its scale, its gradient, when it is off."""

import pytest
import torch

from lakhnes_lib.models import fast
from lakhnes_lib.models.fast.dropout import Dropout

SHAPE = 7, 101, 129  # no multiple of the four values that a drawn number serves


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_and_scale(p, both_ways):
    torch.manual_seed(0)
    y = Dropout(p)(torch.ones(SHAPE))
    gone = (y == 0).double().mean().item()
    assert abs(gone - p) < 5 * (p * (1 - p) / y.numel()) ** 0.5
    assert y[y != 0].unique().tolist() == pytest.approx([1 / (1 - p)])


def test_values_are_drawn_one_by_one():
    torch.manual_seed(0)
    kept = Dropout(0.5)(torch.ones(1000, 400)).bool().double().flatten()
    for back in (1, 2, 3, 4, 400):  # neighbours in a drawn number, in the next, in the next row
        together = (kept[back:] == kept[:-back]).double().mean().item()
        assert abs(together - 0.5) < 0.005


def test_the_gradient_passes_where_the_value_did(both_ways):
    torch.manual_seed(0)
    x = torch.randn(SHAPE, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach() / x.detach())


def test_a_seed_draws_the_same_and_a_step_draws_anew(both_ways):
    layer, x = Dropout(0.2), torch.ones(64, 64)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)


def test_switched_off_it_is_pytorchs_own():
    x, results = torch.ones(64, 64), []
    for layer, on in ((torch.nn.Dropout(0.2), True), (Dropout(0.2), False), (Dropout(0.2), True)):
        torch.manual_seed(3)
        with fast.switched(on):
            results.append(layer(x))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_off_in_evaluation_and_for_a_share_of_0(dtype, both_ways):
    x = torch.randn(SHAPE, dtype=dtype)
    assert torch.equal(Dropout(0.3).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert Dropout(0.3)(x).dtype == dtype
    assert not Dropout(1.0)(x).any()
