"""Relative attention against its terms written out one by one (arXiv 1901.02860, §3.3), and its gradient."""

import math

import numpy as np
import pytest
import torch

from lakhnes_lib.models.fast import attention

CLOSE = 1e-9


def assert_close(found, expected, tolerance=CLOSE):
    torch.testing.assert_close(found.detach().cpu(), expected.detach(), rtol=0, atol=tolerance)


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
    distance = torch.arange(keys - time, keys)[:, None] - torch.arange(
        keys
    )  # (time, keys), below 0 ahead of the query
    R = r[:, keys - 1 - distance.clamp_min(0)]  # (heads, time, keys, width)
    a = torch.einsum("bhiw,bhjw->bhij", query, key)
    b = torch.einsum("bhiw,hijw->bhij", query, R)
    c = torch.einsum("hw,bhjw->bhj", u[:, 0], key).unsqueeze(2)
    d = torch.einsum("hw,hijw->hij", v[:, 0], R).unsqueeze(0)
    scores = (a + b + c + d) / math.sqrt(query.shape[-1]) + mask.unsqueeze(1)
    return scores.softmax(-1), scores.softmax(-1) @ value


def masks(batch, time, keys, device="cpu"):
    """The causal mask alone, and one by row, where rows may look back less far."""
    causal = attention.causal_mask(time, keys, device, torch.float64)
    hidden = torch.arange(keys, device=device) < torch.arange(batch, device=device)[
        :, None
    ].clamp_max(keys - time)
    return {"shared": causal, "by row": causal.masked_fill(hidden.unsqueeze(1), float("-inf"))}


@pytest.mark.parametrize("mask", ["shared", "by row"])
@pytest.mark.parametrize("at_once", [1, 2, 100], ids="{}_rows_at_a_time".format)
@pytest.mark.parametrize("queries", [1, 4, 256], ids="{}_queries_at_a_time".format)
@pytest.mark.parametrize(
    "shape", [(5, 2, 6, 6, 3), (5, 3, 4, 9, 2), (3, 1, 2, 8, 4), (5, 2, 1, 7, 3)]
)
def test_attention_and_its_gradient_are_the_explicit_ones(
    shape, queries, at_once, mask, monkeypatch
):
    _, heads, time, keys, _ = shape
    monkeypatch.setattr(attention, "_SCORES_IN_CACHE", at_once * heads * min(time, queries) * keys)
    monkeypatch.setattr(attention, "_QUERIES", queries)
    check_attention(shape, mask, "cpu")


needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@needs_a_gpu
def test_attention_on_a_gpu_is_the_explicit_one():
    for mask in ("shared", "by row"):
        check_attention((5, 3, 4, 9, 2), mask, "cuda")


def check_attention(shape, mask, device):
    batch, _, time, keys, _ = shape
    mask = masks(batch, time, keys, device)[mask]
    mine, theirs = tensors(*shape, device), tensors(*shape)
    weights, expected = explicit(*theirs, mask.cpu())
    found = attention.relative_attention(*mine, mask)
    query, key, _, r, u, v = mine
    assert_close(found, expected.detach())
    assert_close(attention.attention_weights(query, key, r, u, v, mask), weights.detach())
    gradient = torch.tensor(np.random.default_rng(1).normal(size=expected.shape))
    found.backward(gradient.to(device))
    expected.backward(gradient)
    for name, a, b in zip(("query", "key", "value", "r", "u", "v"), mine, theirs, strict=True):
        np.testing.assert_allclose(a.grad.cpu(), b.grad, rtol=0, atol=CLOSE, err_msg=name)


def test_gradient_is_the_difference_quotient():
    inputs = tensors(2, 2, 3, 5, 2)
    mask = masks(2, 3, 5)["by row"]
    assert torch.autograd.gradcheck(lambda *x: attention.relative_attention(*x, mask), inputs)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_a_gpu)])
@pytest.mark.parametrize("kind", ["shared", "by row"])
def test_bfloat16_attention_and_its_gradient_are_near(device, kind):
    """At the paper's head width, at which a GPU takes its fused kernels."""
    found = []
    for bf16 in (False, True):
        inputs = [x.detach().float().to(device).requires_grad_() for x in tensors(2, 4, 32, 96, 64)]
        mask = masks(2, 32, 96, device)[kind].float()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            out = attention.relative_attention(*inputs, mask)
        assert out.dtype == (torch.bfloat16 if bf16 else torch.float32)
        out.float().square().sum().backward()
        found.append([out.detach().float(), *(x.grad for x in inputs)])
    for exact, rough in zip(*found, strict=True):
        assert_close(rough, exact, 0.05 * float(exact.abs().max()))


@pytest.mark.parametrize("time,keys", [(1, 1), (1, 6), (4, 4), (3, 8)])
def test_relative_shift_turns_distances_into_keys(time, keys):
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, time, keys)))
    shifted = attention.relative_shift(scores)
    for i in range(time):
        query = keys - time + i
        for j in range(query + 1):
            column = keys - 1 - (query - j)
            assert torch.equal(shifted[..., i, j], scores[..., i, column])


def test_causal_mask_hides_what_comes_later():
    mask = attention.causal_mask(3, 5)[0]
    for i in range(3):
        assert [x == 0 for x in mask[i].tolist()] == [j <= 2 + i for j in range(5)]
    assert mask[0, 4] == -math.inf
