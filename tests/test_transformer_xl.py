"""Transformer-XL's attention and memory against a slow implementation of its formulas.

Whatever the library does with segments and memories must come out as if each event looked at its
song's past by the formulas, with ``models/fast`` or without.
"""

import math

import numpy as np
import pytest
import torch
from transformer_oracle import CLOSE, assert_close, horizon, in_segments, oracle, small_model, song

from lakhnes_lib.models.transformer_xl import sinusoids

pytestmark = pytest.mark.usefixtures("both_ways")


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_one_segment_is_the_papers_formulas(seed, pre_norm):
    model = small_model(seed, pre_norm=pre_norm)
    ids = song(model, seed, 2, 7)
    log_probs, _ = model.log_probs(ids)
    assert log_probs.dtype == torch.float64
    for row in range(2):
        assert_close(log_probs[row], oracle(model, ids[row], [0] * 7))


@pytest.mark.parametrize("mode", ["training", "evaluation", "evaluation without gradient"])
@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("memory_length", [0, 1, 6, 100])
def test_segments_with_memory_are_one_pass_as_far_as_it_reaches(memory_length, pre_norm, mode):
    model = small_model(3, layers=2, memory_length=memory_length, pre_norm=pre_norm).train(
        mode == "training"
    )
    ids, cuts = song(model, 1, 2, 13), [0, 3, 4, 6, 11]
    with torch.set_grad_enabled("without" not in mode):
        actual = in_segments(model, ids, cuts)
    for row in range(2):
        assert_close(actual[row], oracle(model, ids[row], horizon(cuts, 13, memory_length)))


def test_event_by_event_is_one_pass():
    model = small_model(4)
    ids = song(model, 2, 3, 12)
    assert_close(in_segments(model, ids, list(range(12))), model.log_probs(ids)[0].detach())


def test_memory_passes_through_layers_further_than_its_own_length():
    model = small_model(5, layers=3, memory_length=4)
    ids = song(model, 3, 1, 16)
    other = ids.clone()
    other[0, 2] = (other[0, 2] + 1) % model.vocabulary_size
    cuts = [0, 4, 8, 12]
    change = (in_segments(model, ids, cuts) - in_segments(model, other, cuts)).abs().amax(-1)[0]
    assert (change[:2] == 0).all() and (change[2:12] > 0).all()
    reach = small_model(5, layers=1, memory_length=4)
    change = (in_segments(reach, ids, cuts) - in_segments(reach, other, cuts)).abs().amax(-1)[0]
    assert (change[2:8] > 0).all() and (change[8:] == 0).all(), (
        "a single layer sees no further than its memory"
    )


@pytest.mark.parametrize("training", [False, True])
def test_memory_length_may_change_from_call_to_call(training):
    model = small_model(6, layers=2, memory_length=6).train(training)
    ids = song(model, 4, 1, 15)
    _, state = model.log_probs(ids[:, :5])
    assert state.length == 5
    targets = ids[:, 6:11]
    for score in (
        lambda **options: model.log_probs(ids[:, 5:10], state, **options),
        lambda **options: model.hidden(ids[:, 5:10], state, **options),
        lambda **options: model.target_log_probs(ids[:, 5:10], targets, state, **options),
    ):
        assert [score(memory_length=n)[1].length for n in (0, 3, 100)] == [0, 3, 10]
        assert score()[1].length == score(memory_length=None)[1].length == 6
    assert model.memory_length == 6 and model.config["memory_length"] == 6
    _, state = model.log_probs(ids[:, 5:10], state, memory_length=3)
    log_probs, _ = model.log_probs(ids[:, 10:], state)
    assert_close(log_probs[0], oracle(model, ids[0], [0] * 10 + [7] * 5)[10:])


@torch.no_grad()
def test_nothing_is_remembered_of_other_weights_or_another_precision():
    model = small_model(6, layers=2, memory_length=3)
    ids = song(model, 4, 1, 9)
    in_segments(model, ids, [0, 4])
    other = small_model(20, **model.config)
    model.load_state_dict(other.state_dict())
    for cuts in ([0, 2, 3], [0], [0, 5]):
        assert_close(in_segments(model, ids, cuts)[0], oracle(other, ids[0], horizon(cuts, 9, 3)))
    assert_close(
        in_segments(model.float(), ids, [0, 5]).double(), in_segments(other, ids, [0, 5]), 1e-4
    )
    changed = model.double()
    in_segments(changed, ids, [0, 5])
    for parameter in changed.parameters():
        parameter.mul_(0.5)
    assert_close(
        in_segments(changed, ids, [0, 5])[0], oracle(changed, ids[0], horizon([0, 5], 9, 3))
    )


def test_no_gradient_reaches_the_memory():
    model = small_model(7, layers=2).train()
    ids = torch.arange(4).view(1, 4)
    _, state = model.hidden(ids[:, :2])
    hidden, _ = model.hidden(ids[:, 2:], state)
    hidden.pow(2).sum().backward()
    moved = model.embedding.weight.grad.abs().sum(1) > 0
    assert moved.tolist()[:4] == [False, False, True, True]


@pytest.mark.parametrize("pre_norm", [False, True])
def test_weights_learn_from_the_memory_as_from_the_segment(pre_norm):
    """The gradient is the change of the result, while the remembered inputs stay as they are."""
    model = small_model(7, layers=2, pre_norm=pre_norm).train()
    ids, draw = song(model, 3, 2, 9), np.random.default_rng(0)
    _, state = model.hidden(ids[:, :5])
    targets = song(model, 4, 2, 4)

    def loss():
        log_probs, _ = model.log_probs(ids[:, 5:], state)
        return log_probs.gather(-1, targets.unsqueeze(-1)).mean()

    loss().backward()
    for name, parameter in model.named_parameters():
        step = torch.from_numpy(draw.normal(size=parameter.shape))
        change = []
        for size in (1e-6, -1e-6):
            with torch.no_grad():
                parameter.add_(step, alpha=size)
                change.append(float(loss()))
                parameter.sub_(step, alpha=size)
        expected = (change[0] - change[1]) / 2e-6
        actual = float((parameter.grad * step).sum())
        assert actual == pytest.approx(expected, rel=1e-4, abs=1e-7), name


def test_sinusoids_are_sines_then_cosines_of_falling_distances():
    exact, table = sinusoids(700, 10, dtype=torch.float64).numpy(), sinusoids(700, 10).numpy()
    assert exact.shape == table.shape == (700, 10)
    for distance in (0, 1, 7, 699):
        angles = [distance / 10_000 ** (2 * k / 10) for k in range(5)]
        expected = [math.sin(x) for x in angles] + [math.cos(x) for x in angles]
        np.testing.assert_allclose(
            table[699 - distance], expected, rtol=0, atol=1e-6 * (1 + distance / 4)
        )
        np.testing.assert_allclose(exact[699 - distance], expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_pictured_attention_is_what_the_layers_use(pre_norm):
    model = small_model(12, layers=2, heads=2, pre_norm=pre_norm).float()
    ids = song(model, 9, 2, 8)
    pictured = model.attention(ids)
    assert pictured.shape == (2, 2, 2, 8, 8) and pictured.dtype == torch.float32
    assert (
        torch.allclose(pictured.sum(-1), torch.ones(()), atol=1e-5)
        and (pictured.triu(1) == 0).all()
    )
    used = []
    for layer in model.layers:
        layer.output.register_forward_pre_hook(lambda module, inputs: used.append(inputs[0]))
    _, memory = model.hidden(ids)
    for weights, (_, value), attended in zip(pictured, memory.layers, used, strict=True):
        assert torch.allclose((weights @ value).transpose(1, 2).flatten(-2), attended, atol=1e-4)
