"""What a machine trains with: a compiled step is taken only if its gradient is right."""

import numpy as np
import pytest
import torch
from torch import nn

from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.models import checkpoints, devices

IDS = torch.randint(0, 9, (2, 5), generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    """A step with dropout, so that it draws random numbers."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, ids, state=None):
        return nn.functional.dropout(self.table(ids), 0.1).sum(-1), state


def falsified(change):
    """A compiler whose step has the plain one's scores, and another gradient."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, scores):
            return scores.clone()

        @staticmethod
        def backward(ctx, gradient):
            return change(gradient)

    return lambda step: lambda *inputs: (Wrong.apply(step(*inputs)[0]), None)


def broken(step):
    def fails(*inputs):
        raise RuntimeError("no compiler\nand a long account of it")

    return fails


@pytest.mark.parametrize(
    "compiler, reason",
    [
        (
            falsified(lambda gradient: gradient * float("nan")),
            "the gradient of the compiled step is wrong",
        ),
        (falsified(lambda gradient: gradient * 2), "the gradient of the compiled step is wrong"),
        (falsified(lambda gradient: gradient * 0), "the gradient of the compiled step is wrong"),
        (broken, "slower: no compiler\n"),
    ],
)
def test_a_wrong_or_broken_compiled_step_is_not_taken(compiler, reason, monkeypatch, capsys):
    step, before = Plain(), torch.get_rng_state()
    monkeypatch.setattr(torch, "compile", compiler)
    assert devices.compiled(step, step, IDS) is step
    assert reason in capsys.readouterr().err
    assert step.table.weight.grad is None and torch.equal(torch.get_rng_state(), before)


def test_a_right_compiled_step_is_taken_and_leaves_no_trace(monkeypatch, capsys):
    step, before = Plain(), torch.get_rng_state()
    monkeypatch.setattr(torch, "compile", falsified(lambda gradient: gradient * 1.001))
    assert devices.compiled(step, step, IDS) is not step
    assert not capsys.readouterr().err
    assert step.table.weight.grad is None and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("has_matrix_units", [True, False])
def test_arithmetic_is_what_was_asked_for_or_what_the_processor_does_fast(
    monkeypatch, has_matrix_units
):
    cpu = torch.device("cpu")
    assert devices.runs_bf16(cpu, "bf16") and not devices.runs_bf16(cpu, "fp32")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_matrix_units)
    assert devices.runs_bf16(cpu, "auto") is has_matrix_units
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")  # a PyTorch that does not tell
    assert not devices.runs_bf16(cpu, "auto")


def flushed() -> bool:
    """Whether what is under 1e-38 counts as zero now."""
    return bool((torch.tensor([1e-20]) * 1e-20 == 0).all())


needs_flushing = pytest.mark.skipif(
    not torch.set_flush_denormal(False), reason="this CPU always computes denormals"
)


@needs_flushing
def test_denormals_are_flushed_within_and_only_there():
    with pytest.raises(ZeroDivisionError), devices.without_denormals():
        assert flushed()
        with devices.without_denormals():
            assert flushed()
        assert flushed(), "the inner block leaves the outer one as it was"
        raise ZeroDivisionError
    assert not flushed() and devices.without_denormals()(flushed)() and not flushed()


@needs_flushing
@pytest.mark.parametrize("kind", ["transformer_xl", "modern_decoder"])
def test_measuring_flushes_denormals(kind, monkeypatch):
    """Training does by the same context."""
    model = checkpoints.build(kind, layers=1, width=16, heads=2, feed_forward=16)
    seen = []
    whole = type(model).logits
    monkeypatch.setattr(
        type(model), "logits", lambda *given: seen.append(flushed()) or whole(*given)
    )
    perplexity.exact(model, [np.ones(20, np.uint16)], progress=False)
    assert seen == [True] and not flushed()
