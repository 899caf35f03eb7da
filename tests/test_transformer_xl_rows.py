"""Transformer-XL's rows, states and sizes, with ``models/fast`` or without.

Rows are independent, states can be chosen and saved; sizes, first weights and
dropout are the paper's.
"""

import math

import numpy as np
import pytest
import torch
from dropouts import shapes_of_dropout
from transformer_oracle import (
    CLOSE,
    assert_close,
    horizon,
    in_segments,
    oracle,
    small_model,
    song,
)

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.models.transformer_xl import TransformerXL

pytestmark = pytest.mark.usefixtures("both_ways")


def test_rows_are_independent_and_see_nothing_ahead():
    model = small_model(8)
    ids = song(model, 5, 3, 10)
    before, _ = model.log_probs(ids)
    other = ids.clone()
    other[1, 6] = (other[1, 6] + 1) % model.vocabulary_size
    change = (model.log_probs(other)[0] - before).abs().amax(-1)
    assert (
        (change[[0, 2]] < CLOSE).all()
        and (change[1, :6] < CLOSE).all()
        and (change[1, 6:] > CLOSE).all()
    )


@pytest.mark.parametrize("training", [False, True])
def test_select_picks_rows_in_any_order_and_repeats_them(training):
    model = small_model(9, memory_length=5).train(training)
    ids = song(model, 6, 4, 14)
    rows = torch.tensor([3, 1, 1])
    _, state = model.log_probs(ids[:, :6])
    actual = in_segments(model, ids[rows, 6:], [0, 4], model.select(state, rows))
    expected = in_segments(model, ids, [0, 6, 10])[:, 6:]
    assert_close(actual, expected[rows])
    assert model.select(None, rows) is None


@pytest.mark.parametrize("training", [False, True])
def test_restart_forgets_in_some_rows_alone(training):
    model = small_model(10, layers=2, memory_length=7).train(training)
    ids, cuts = song(model, 7, 3, 16), [0, 3, 6, 10, 13]
    fresh = {6: [True, False, True], 10: [False, False, True]}
    state, parts = None, []
    for start, stop in zip(cuts, [*cuts[1:], 16], strict=True):
        state = model.restart(state, torch.tensor(fresh.get(start, [False] * 3)))
        log_probs, state = model.log_probs(ids[:, start:stop], state)
        parts.append(log_probs.detach())
    actual = torch.cat(parts, 1)
    for row in range(3):
        begun = [
            max([0, *(cut for cut, rows in fresh.items() if cut <= i and rows[row])])
            for i in range(16)
        ]
        first = np.maximum(horizon(cuts, 16, 7), begun)
        assert_close(actual[row], oracle(model, ids[row], first))


def test_state_comes_back_from_its_tree():
    model = small_model(11)
    ids = song(model, 8, 2, 9)
    _, state = model.log_probs(ids[:, :5])
    again = model.state_from(model.state_tree(state), torch.device("cpu"))
    assert torch.equal(model.log_probs(ids[:, 5:], again)[0], model.log_probs(ids[:, 5:], state)[0])


def test_probabilities_sum_to_one_and_targets_are_picked_from_them():
    model = small_model(13).float()
    ids = song(model, 10, 2, 7)
    targets = song(model, 11, 2, 7)
    targets[0, 3], targets[1, 6] = -1, -100
    log_probs, _ = model.log_probs(ids)
    assert torch.allclose(log_probs.logsumexp(-1), torch.zeros(()), atol=1e-5)
    picked, state = model.target_log_probs(ids, targets)
    assert picked[0, 3] == picked[1, 6] == 0 and picked.dtype == torch.float32
    scored = targets >= 0
    assert torch.allclose(
        picked[scored],
        log_probs.gather(-1, targets.clamp_min(0)[..., None])[..., 0][scored],
        atol=1e-5,
    )
    assert state.length == 7


@pytest.mark.parametrize(
    "ids,said",
    [
        (torch.tensor([[0, 631]]), "0-630, found 0 to 631"),
        (torch.tensor([[-1, 5]]), "0-630, found -1 to 5"),
        (torch.tensor([0, 5]), "shape (2,)"),
        (torch.tensor([[0.0, 5.0]]), "float32"),
        (torch.tensor([[0, 5]], dtype=torch.int32), "int32"),
    ],
)
def test_ids_out_of_range_are_refused(ids, said):
    model = TransformerXL(layers=1, width=4, heads=1, head_width=2, feed_forward=4)
    for method in (model.log_probs, model.hidden, model.attention):
        with pytest.raises(BadEvents) as caught:
            method(ids)
        assert said in str(caught.value)


def test_papers_size_has_41_million_parameters():
    with torch.device("meta"):
        model = TransformerXL()
    width, heads, feed_forward, layers, events = 512, 8 * 64, 2048, 12, 631
    attention_part = (
        5 * width * heads + 2 * width
    )  # query, key, value, position, output; the normalisation
    feed_forward_part = (
        width * feed_forward + feed_forward + feed_forward * width + width + 2 * width
    )
    by_hand = events * width + events + 2 * heads + layers * (attention_part + feed_forward_part)
    assert model.parameter_count() == by_hand == 41_274_487


def test_weights_start_as_the_paper_has_them():
    torch.manual_seed(0)
    model = TransformerXL(layers=2, width=64, heads=4, head_width=16, feed_forward=128)
    for name, parameter in model.named_parameters():
        mean = 1.0 if name.endswith("norm.weight") else 0.0
        spread = 0.0 if name.endswith("bias") else 0.02
        error = spread / math.sqrt(parameter.numel())
        assert abs(float(parameter.detach().mean()) - mean) <= 5 * error, name
        assert abs(float(parameter.detach().std()) - spread) <= 5 * error, name


@pytest.mark.parametrize("pre_norm", [False, True])
def test_dropout_falls_where_the_paper_has_it(pre_norm):
    model = small_model(14, layers=1, dropout=0.5, pre_norm=pre_norm)
    width, inner = model.width, model.config["feed_forward"]
    positions, x = (5, width), (2, 5, width)
    shapes = shapes_of_dropout(model, song(model, 12, 2, 5))
    assert shapes == [positions, x, x, (2, 5, inner), x, x]
    assert model.dropout.p == model.layers[0].dropout.p == 0.5


def test_an_empty_memory_is_none():
    model = small_model(15, memory_length=6).train()
    ids = song(model, 13, 2, 4)
    empty = model.empty(2)
    actual, state = model.log_probs(ids, empty)
    assert_close(actual, model.log_probs(ids)[0].detach())
    assert empty.length == state.length == 6 and state.valid.tolist() == [4, 4]
