"""Relative attention against its terms written out one by one (arXiv 1901.02860, §3.3), both ways.

The readable functions of the models are compared with the formulas, and what ``models/fast``
replaces them by is compared with them: values and all gradients.
"""

import ast
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lakhnes_lib.models import fast, modern_block, transformer_xl
from lakhnes_lib.models.fast import attention as fast_attention

CLOSE = 1e-9
NAMES = ("query", "key", "value", "r", "u", "v")
needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def assert_close(actual, expected, tolerance=CLOSE, name=""):
    actual, expected = actual.detach().cpu(), expected.detach().cpu()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance, err_msg=name)


def tensors(batch, heads, time, keys, width, device="cpu", seed=0):
    """query, key, value, r, u, v in float64, that gather gradients."""
    draw = np.random.default_rng(seed)
    shapes = [(batch, heads, time, width), (batch, heads, keys, width), (batch, heads, keys, width)]
    shapes += [(heads, keys, width), (heads, 1, width), (heads, 1, width)]
    return [
        torch.tensor(draw.normal(size=shape), device=device, requires_grad=True) for shape in shapes
    ]


def explicit(query, key, value, r, u, v, mask):
    """Terms a to d, each by itself; R is looked up by distance, not shifted."""
    time, keys = query.shape[2], key.shape[2]
    # (time, keys), below 0 ahead of the query
    distance = torch.arange(keys - time, keys)[:, None] - torch.arange(keys)
    R = r[:, keys - 1 - distance.clamp_min(0)]  # (heads, time, keys, width)
    a = torch.einsum("bhiw,bhjw->bhij", query, key)
    b = torch.einsum("bhiw,hijw->bhij", query, R)
    c = torch.einsum("hw,bhjw->bhj", u[:, 0], key).unsqueeze(2)
    d = torch.einsum("hw,hijw->hij", v[:, 0], R).unsqueeze(0)
    scores = (a + b + c + d) / math.sqrt(query.shape[-1]) + mask.unsqueeze(1)
    return scores.softmax(-1), scores.softmax(-1) @ value


def masks(batch, time, keys, device="cpu"):
    """The causal mask alone, and one by row, where rows may look back less far."""
    causal = transformer_xl.causal_mask(time, keys, device, torch.float64)
    row = torch.arange(batch, device=device)[:, None].clamp_max(keys - time)
    hidden = torch.arange(keys, device=device) < row
    return {"shared": causal, "by row": causal.masked_fill(hidden.unsqueeze(1), float("-inf"))}


def assert_same(mine, actual, theirs, expected, tolerance=CLOSE):
    """Equal results, and equal gradients of the tensors they were made of."""
    assert_close(actual, expected, tolerance)
    gradient = torch.tensor(np.random.default_rng(1).normal(size=expected.shape))
    actual.backward(gradient.to(actual))
    expected.backward(gradient.to(expected))
    for number, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        assert_close(a.grad, b.grad, tolerance, NAMES[number])


@pytest.mark.parametrize("mask", ["shared", "by row"])
@pytest.mark.parametrize(
    "shape", [(3, 2, 6, 6, 3), (2, 3, 4, 9, 2), (3, 1, 2, 8, 4), (2, 2, 1, 7, 3)]
)
def test_attention_is_the_explicit_one(shape, mask, both_ways):
    batch, _, time, keys, _ = shape
    mask = masks(batch, time, keys)[mask]
    mine, theirs = tensors(*shape), tensors(*shape)
    weights, expected = explicit(*theirs, mask)
    query, key, _, r, u, v = mine
    assert_close(transformer_xl.attention_weights(query, key, r, u, v, mask), weights)
    assert_same(mine, transformer_xl.relative_attention(*mine, mask), theirs, expected)


@pytest.mark.parametrize("mask", ["shared", "by row"])
@pytest.mark.parametrize("blocks", [1, 2, 7, 100], ids="{}_heads_at_a_time".format)
@pytest.mark.parametrize("queries", [1, 4, 256], ids="{}_queries_at_a_time".format)
def test_block_sizes_change_nothing(queries, blocks, mask, monkeypatch):
    shape = batch, _, time, keys, _ = 5, 3, 6, 10, 2
    monkeypatch.setattr(fast_attention, "QUERIES_AT_A_TIME", queries)
    monkeypatch.setattr(fast_attention, "SCORES_AT_A_TIME", blocks * min(time, queries) * keys)
    mask = masks(batch, time, keys)[mask]
    mine, theirs = tensors(*shape), tensors(*shape)
    actual = fast_attention.relative_attention(*mine, mask)
    with fast.switched(False):
        expected = transformer_xl.relative_attention(*theirs, mask)
    assert_same(mine, actual, theirs, expected)


@needs_a_gpu
@pytest.mark.parametrize("kind", ["shared", "by row"])
def test_attention_on_a_gpu_is_the_explicit_one(kind):
    shape = batch, _, time, keys, _ = 5, 3, 4, 9, 2
    mine, theirs, mask = tensors(*shape, "cuda"), tensors(*shape), masks(batch, time, keys)[kind]
    actual = transformer_xl.relative_attention(*mine, mask.cuda())
    assert_same(mine, actual, theirs, explicit(*theirs, mask)[1])


def test_gradient_is_the_difference_quotient():
    inputs = tensors(2, 2, 3, 5, 2)
    mask = masks(2, 3, 5)["by row"]
    assert torch.autograd.gradcheck(lambda *x: fast_attention.relative_attention(*x, mask), inputs)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_a_gpu)])
@pytest.mark.parametrize("kind", ["shared", "by row"])
def test_bfloat16_attention_and_its_gradient_are_near(device, kind, both_ways):
    """At the paper's head width, at which a GPU takes its fused kernels."""
    results = []
    for bf16 in (False, True):
        inputs = [x.detach().float().to(device).requires_grad_() for x in tensors(2, 4, 32, 96, 64)]
        mask = masks(2, 32, 96, device)[kind].float()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            out = transformer_xl.relative_attention(*inputs, mask)
        assert out.dtype == (torch.bfloat16 if bf16 else torch.float32)
        out.float().square().sum().backward()
        results.append([out.detach().float(), *(x.grad for x in inputs)])
    for exact, rough in zip(*results, strict=True):
        assert_close(rough, exact, 0.05 * float(exact.abs().max()))


@pytest.mark.parametrize("rows", [1, 3, 4, 9])
@pytest.mark.parametrize("time", [1, 5])
@pytest.mark.parametrize("many", [0, 2**20], ids=["fused", "written_out"])
def test_fast_masked_attention_is_the_readable_one(rows, time, many, monkeypatch):
    monkeypatch.setattr(fast_attention, "MANY_SCORES", many)
    mine, theirs = tensors(rows, 2, time, 8, 3)[:3], tensors(rows, 2, time, 8, 3)[:3]
    for mask in masks(rows, time, 8).values():
        actual = fast_attention.masked_attention(*mine, mask.unsqueeze(1))
        with fast.switched(False):
            expected = modern_block.attention(*theirs, mask.unsqueeze(1))
        assert_same(mine, actual, theirs, expected)


@pytest.mark.parametrize("time,keys", [(1, 1), (1, 6), (4, 4), (3, 8)])
def test_relative_shift_turns_distances_into_keys(time, keys):
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, time, keys)))
    shifted = transformer_xl.relative_shift(scores)
    for i in range(time):
        query = keys - time + i
        for j in range(query + 1):
            column = keys - 1 - (query - j)
            assert torch.equal(shifted[..., i, j], scores[..., i, column])


def test_causal_mask_hides_what_comes_later():
    mask = transformer_xl.causal_mask(3, 5)[0]
    for i in range(3):
        assert [x == 0 for x in mask[i].tolist()] == [j <= 2 + i for j in range(5)]
    assert mask[0, 4] == -math.inf


def test_memory_mask_hides_what_was_before_a_rows_song():
    mask = transformer_xl.memory_mask(2, torch.tensor([0, 1, 3]), 3)
    assert mask.shape == (3, 2, 5)
    for row, valid in enumerate([0, 1, 3]):
        for i in range(2):
            seen = [3 - valid <= j <= 3 + i for j in range(5)]
            assert (mask[row, i] == 0).tolist() == seen
    assert set(mask.unique().tolist()) == {0.0, -math.inf}


# The switch


def test_switching_lasts_as_long_as_it_is_meant_to(monkeypatch):
    monkeypatch.setattr(fast_attention, "relative_attention", lambda *given: "quick")
    monkeypatch.setattr(fast_attention, "masked_attention", lambda *given: "quick")

    def quick():
        relative = transformer_xl.relative_attention(
            *tensors(1, 1, 2, 3, 2), masks(1, 2, 3)["shared"]
        )
        query, key, value = tensors(1, 1, 2, 3, 2)[:3]
        masked = modern_block.attention(query, key, value, torch.zeros(1, 1, 2, 3))
        return [isinstance(result, str) for result in (relative, masked)]

    before = fast.is_on()
    with fast.switched(False):
        assert not fast.is_on() and quick() == [False, False]
        with fast.switched(True):
            assert fast.is_on() and quick() == [True, True]
        assert not fast.is_on()
        with pytest.raises(ZeroDivisionError), fast.switched(True):
            raise ZeroDivisionError
        assert not fast.is_on()
    assert fast.is_on() == before


@pytest.mark.parametrize("value, on", [("0", False), ("1", True), ("", True), (None, True)])
def test_the_environment_switches_everything_off(value, on):
    environment = {name: text for name, text in os.environ.items() if name != "LAKHNES_FAST"}
    environment |= {} if value is None else {"LAKHNES_FAST": value}
    command = "import sys; from lakhnes_lib.models import fast; print(fast.is_on())"
    command += "; assert 'torch' not in sys.modules"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", command], env=environment, cwd=root, capture_output=True, text=True
    )
    assert done.stdout == f"{on}\n", done.stderr


@pytest.mark.parametrize("name", ["__init__", "attention"])
def test_what_readable_models_import_does_not_import_them(name):
    tree = ast.parse((Path(fast.__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name for name in modules if name.startswith("lakhnes_lib")} <= {"lakhnes_lib.models"}
