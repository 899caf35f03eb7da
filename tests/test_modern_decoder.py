"""The modern decoder against its formulas, written out slowly, and its memory against one pass."""

import math

import numpy as np
import pytest
import torch
from dropouts import shapes_of_dropout

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.modern_block import ROTARY_BASE
from lakhnes_lib.models.modern_decoder import ModernDecoder

SMALL = dict(vocabulary_size=30, layers=2, width=16, heads=2, feed_forward=20, memory_length=64)
pytestmark = pytest.mark.usefixtures("both_ways")


def small(seed: int = 0, **changes) -> ModernDecoder:
    """A small model in float64, none of whose nets is still the identity."""
    torch.manual_seed(seed)
    model = ModernDecoder(**SMALL | changes).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    return model


def assert_close(actual, expected, tolerance=1e-10):
    np.testing.assert_allclose(actual.detach(), expected.detach(), rtol=0, atol=tolerance)


def norm(x):
    return x / np.sqrt((x * x).mean() + np.finfo(np.float64).eps)


def turned(x, position):
    quarter = len(x) // 4
    out = x.copy()
    for pair in range(quarter):
        angle = position * ROTARY_BASE ** -(pair / (quarter - 1))
        a, b = x[pair], x[pair + quarter]
        out[pair] = a * math.cos(angle) - b * math.sin(angle)
        out[pair + quarter] = b * math.cos(angle) + a * math.sin(angle)
    return out


def numbers(module) -> np.ndarray:
    return module.weight.detach().numpy()


def by_hand(model: ModernDecoder, ids: list[int]) -> np.ndarray:
    """Log-probabilities (time, vocabulary), one event and one head at a time."""
    config, tables = model.config, [numbers(table) for table in model.embeddings]
    heads, width, half = config["heads"], model.head_width, model.head_width // 2
    root = config["width"] ** 0.5
    rows = []
    for i in range(len(ids)):
        events = [ids[i - back] if i >= back else 30 for back in range(len(tables))]
        rows.append(sum(table[event] * root for table, event in zip(tables, events, strict=True)))
    for block in model.blocks:
        queries, keys, values = [], [], []
        for i, x in enumerate(rows):
            q, k, v = (
                (numbers(net) @ norm(x)).reshape(heads, width)
                for net in (block.query, block.key, block.value)
            )
            for head in range(heads):
                if config["qk_norm"]:
                    q[head] = norm(q[head]) * block.sharpness[head].item()
                    k[head] = norm(k[head])
                if config["rotary"]:
                    q[head], k[head] = turned(q[head], i), turned(k[head], i)
            queries.append(q)
            keys.append(k)
            values.append(v)
        if config["late_keys"]:
            before = [np.zeros((heads, width)), *keys[:-1]]
            keys = [
                np.concatenate([now[:, :half], late[:, half:]], 1)
                for now, late in zip(keys, before, strict=True)
            ]
        for i, x in enumerate(rows):
            attended = []
            for head in range(heads):
                scores = [queries[i][head] @ keys[j][head] / math.sqrt(width) for j in range(i + 1)]
                weights = np.exp(scores) / np.exp(scores).sum()
                attended.append(sum(weights[j] * values[j][head] for j in range(i + 1)))
            x = x + numbers(block.output) @ np.concatenate(attended)
            inner = numbers(block.inner) @ norm(x)
            if config["activation"] == "swiglu":
                gate, inner = np.split(inner, 2)
                inner = gate / (1 + np.exp(-gate)) * inner
            else:
                inner = np.maximum(inner, 0) ** 2
            rows[i] = x + numbers(block.outer) @ inner
    output = numbers(model.embeddings[0] if config["tied"] else model.output)[:-1]
    logits = np.stack([output @ norm(x) for x in rows])
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rotary": False},
        {"qk_norm": False},
        {"late_keys": False},
        {"tied": False},
        {"activation": "swiglu"},
        {"previous": 0},
    ],
    ids=str,
)
def test_equals_its_formulas(changes):
    model = small(**changes)
    ids = torch.randint(0, 30, (1, 9))
    expected = by_hand(model, ids[0].tolist())
    assert_close(model.log_probs(ids)[0][0], torch.from_numpy(expected), 1e-9)


@pytest.mark.parametrize("cuts", [[1] * 20, [7, 1, 12], [19, 1]])
def test_segments_with_memory_are_one_long_pass(cuts):
    model, ids = small(), torch.randint(0, 30, (3, 20))
    whole, state, parts = model.log_probs(ids)[0], None, []
    for part in ids.split(cuts, 1):
        log_probs, state = model.log_probs(part, state)
        parts.append(log_probs)
    assert_close(torch.cat(parts, 1), whole)


def test_memory_reaches_as_far_as_its_length():
    """An old event has no effect once memory, layers and embeddings of earlier events reach it no
    more."""
    model = small()
    ids = torch.randint(0, 30, (1, 20))
    other = ids.clone()
    other[0, 0] = (ids[0, 0] + 1) % 30

    def last(ids, memory_length):
        state = None
        for part in ids.split(1, 1):
            log_probs, state = model.log_probs(part, state, memory_length=memory_length)
            assert state.length <= (64 if memory_length is None else memory_length)
        return log_probs

    # Two layers of two events, a late key, three earlier events in an embedding.
    assert torch.equal(last(ids, 2), last(other, 2))
    assert not torch.equal(last(ids[:, :8], 2), last(other[:, :8], 2))
    assert not torch.equal(last(ids, 64), last(other, 64))
    assert torch.equal(last(ids, None), last(ids, 64)) and model.memory_length == 64


def test_no_gradient_reaches_the_memory():
    model = small(previous=0).train()
    ids = torch.arange(4).view(1, 4)
    _, state = model.hidden(ids[:, :2])
    hidden, _ = model.hidden(ids[:, 2:], state)
    hidden.pow(2).sum().backward()
    moved = model.embeddings[0].weight.grad.abs().sum(1) > 0
    assert moved.tolist()[:4] == [False, False, True, True]


@pytest.mark.parametrize("activation", ["squared_relu", "swiglu"])
def test_dropout_falls_on_what_is_added(activation):
    model, ids = small(dropout=0.5, activation=activation), torch.randint(0, 30, (2, 5))
    assert shapes_of_dropout(model, ids) == [(2, 5, 16)] * 5  # the embedding, two nets a block
    assert model.dropout.p == model.blocks[1].dropout.p == 0.5


def test_rows_start_afresh_and_are_picked():
    model, ids = small(), torch.randint(0, 30, (3, 12))
    _, state = model.log_probs(ids[:, :5])
    fresh = model.restart(state, torch.tensor([False, True, False]))
    after = model.log_probs(ids[:, 5:], fresh)[0]
    assert_close(after[1:2], model.log_probs(ids[1:2, 5:])[0])
    assert_close(after[:1], model.log_probs(ids[:1])[0][:, 5:])
    picked = model.log_probs(ids[[2, 0, 2], 5:], model.select(state, torch.tensor([2, 0, 2])))[0]
    assert_close(picked, model.log_probs(ids[[2, 0, 2]])[0][:, 5:])
    again = model.state_from(model.state_tree(state), "cpu")
    assert torch.equal(model.log_probs(ids[:, 5:], again)[0], model.log_probs(ids[:, 5:], state)[0])


def test_an_empty_memory_is_none():
    model, ids = small(memory_length=16), torch.randint(0, 30, (2, 12))
    log_probs, state = model.log_probs(ids, model.empty(2))
    assert_close(log_probs, model.log_probs(ids)[0])
    assert state.length == 16 and state.valid.tolist() == [12, 12]


def test_a_new_model_knows_nothing_and_learns():
    torch.manual_seed(0)
    model = ModernDecoder(**SMALL)
    ids = torch.randint(0, 30, (4, 33))
    log_probs, _ = model.log_probs(ids)
    assert (log_probs - math.log(1 / 30)).abs().max() < 0.5
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(30):
        loss = -model.target_log_probs(ids[:, :-1], ids[:, 1:])[0].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 1.5


def test_kept_and_loaded(tmp_path):
    ids = torch.randint(0, 30, (1, 8))
    whole = ModernDecoder(layers=1, width=32, heads=2, feed_forward=32)
    checkpoints.save(whole, tmp_path / "whole")
    loaded = checkpoints.load(tmp_path / "whole")
    assert loaded.config == whole.config
    assert torch.equal(loaded.log_probs(ids)[0], whole.eval().log_probs(ids)[0])


def test_foreign_ids_are_refused():
    with pytest.raises(BadEvents):
        small().log_probs(torch.tensor([[30]]))


def test_size_of_the_defaults():
    with torch.device("meta"):
        assert ModernDecoder().parameter_count() < 6_000_000
