"""The modern decoder against a slow restatement of its formulas, and its memory against one long pass."""

import math

import pytest
import torch

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.modern_block import ROTARY_BASE
from lakhnes_lib.models.modern_decoder import ModernDecoder

SMALL = dict(vocabulary_size=30, layers=2, width=32, heads=2, feed_forward=48, memory_length=64)


def small(seed: int = 0, **changes) -> ModernDecoder:
    """A small model in float64, none of whose nets is still the identity."""
    torch.manual_seed(seed)
    model = ModernDecoder(**SMALL | changes).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    return model


def norm(x):
    return [
        value / math.sqrt(sum(v * v for v in x) / len(x) + torch.finfo(torch.float64).eps)
        for value in x
    ]


def product(matrix, x):
    return [sum(w * v for w, v in zip(row, x, strict=True)) for row in matrix.tolist()]


def turned(x, place):
    quarter = len(x) // 4
    out = list(x)
    for pair in range(quarter):
        angle = place * ROTARY_BASE ** -(pair / (quarter - 1))
        a, b = x[pair], x[pair + quarter]
        out[pair] = a * math.cos(angle) - b * math.sin(angle)
        out[pair + quarter] = b * math.cos(angle) + a * math.sin(angle)
    return out


def by_hand(model: ModernDecoder, ids: list[int]) -> torch.Tensor:
    """Log-probabilities (time, vocabulary), one position, head and number at a time."""
    settings, tables = model.config, [table.weight.tolist() for table in model.embeddings]
    heads, width = settings["heads"], settings["width"] // settings["heads"]
    rows = []
    for place in range(len(ids)):
        x = [0.0] * settings["width"]
        for back, table in enumerate(tables):
            event = ids[place - back] if place >= back else model.vocabulary_size
            x = [
                value + more * settings["width"] ** 0.5
                for value, more in zip(x, table[event], strict=True)
            ]
        rows.append(x)
    for block in model.blocks:
        queries, keys, values = [], [], []
        for place, x in enumerate(rows):
            q, k, v = (
                torch.tensor(product(matrix.weight, norm(x)), dtype=torch.float64)
                .view(heads, width)
                .tolist()
                for matrix in (block.query, block.key, block.value)
            )
            if settings["qk_norm"]:
                sharp = block.sharpness.flatten().tolist()
                q = [
                    [value * by for value in norm(head)] for head, by in zip(q, sharp, strict=True)
                ]
                k = [norm(head) for head in k]
            if model.rotary:
                q, k = [turned(head, place) for head in q], [turned(head, place) for head in k]
            queries.append(q), keys.append(k), values.append(v)
        if settings["late_keys"]:
            half = width // 2
            before = [[[0.0] * width] * heads, *keys[:-1]]
            keys = [
                [now[:half] + late[half:] for now, late in zip(*pair, strict=True)]
                for pair in zip(keys, before, strict=True)
            ]
        for place, x in enumerate(rows):
            attended = []
            for head in range(heads):
                scores = [
                    sum(a * b for a, b in zip(queries[place][head], keys[j][head], strict=True))
                    / math.sqrt(width)
                    for j in range(place + 1)
                ]
                weights = torch.tensor(scores, dtype=torch.float64).softmax(0).tolist()
                attended += [
                    sum(w * values[j][head][i] for j, w in enumerate(weights)) for i in range(width)
                ]
            x = [
                value + more
                for value, more in zip(x, product(block.output.weight, attended), strict=True)
            ]
            inner = product(block.inner.weight, norm(x))
            if block.activation == "swiglu":
                half = len(inner) // 2
                inner = [
                    g / (1 + math.exp(-g)) * u
                    for g, u in zip(inner[:half], inner[half:], strict=True)
                ]
            else:
                inner = [max(value, 0.0) ** 2 for value in inner]
            rows[place] = [
                a + b for a, b in zip(x, product(block.outer.weight, inner), strict=True)
            ]
    return torch.tensor(
        [product((model.output or model.embeddings[0]).weight[:-1], norm(x)) for x in rows],
        dtype=torch.float64,
    ).log_softmax(-1)


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
    torch.testing.assert_close(
        model.log_probs(ids)[0][0], by_hand(model, ids[0].tolist()), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("cuts", [[1] * 20, [7, 1, 12], [19, 1]])
def test_segments_with_memory_are_one_long_pass(cuts):
    model, ids = small(), torch.randint(0, 30, (3, 20))
    whole, state, parts = model.log_probs(ids)[0], None, []
    for part in ids.split(cuts, 1):
        log_probs, state = model.log_probs(part, state)
        parts.append(log_probs)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-10, rtol=0)


def test_memory_reaches_as_far_as_its_length():
    """The old events' ids stay out of reach once they are older than memory, layers and the embeddings' history."""
    model = small()
    model.memory_length = 2
    ids = torch.randint(0, 30, (1, 40))
    other = ids.clone()
    other[0, 0] = (ids[0, 0] + 1) % 30

    def last(ids):
        state = None
        for part in ids.split(1, 1):
            log_probs, state = model.log_probs(part, state)
            assert state.length <= model.memory_length
        return log_probs

    assert torch.equal(last(ids), last(other))
    model.memory_length = 64
    assert not torch.equal(last(ids), last(other))


def test_rows_start_afresh_and_are_picked():
    model, ids = small(), torch.randint(0, 30, (3, 12))
    _, state = model.log_probs(ids[:, :5])
    fresh = model.restart(state, torch.tensor([False, True, False]))
    after = model.log_probs(ids[:, 5:], fresh)[0]
    torch.testing.assert_close(after[1:2], model.log_probs(ids[1:2, 5:])[0], atol=1e-10, rtol=0)
    torch.testing.assert_close(after[:1], model.log_probs(ids[:1])[0][:, 5:], atol=1e-10, rtol=0)
    picked = model.log_probs(ids[[2, 0, 2], 5:], model.select(state, torch.tensor([2, 0, 2])))[0]
    torch.testing.assert_close(
        picked, model.log_probs(ids[[2, 0, 2]])[0][:, 5:], atol=1e-10, rtol=0
    )
    again = model.state_from(model.state_tree(state), "cpu")
    assert torch.equal(model.log_probs(ids[:, 5:], again)[0], model.log_probs(ids[:, 5:], state)[0])


def test_an_empty_memory_is_none():
    model, ids = small(memory_length=16), torch.randint(0, 30, (2, 12))
    log_probs, state = model.log_probs(ids, model.empty(2, torch.float64))
    torch.testing.assert_close(log_probs, model.log_probs(ids)[0], atol=1e-10, rtol=0)
    assert state.length == 16 and state.valid.tolist() == [12, 12]


def test_a_new_model_knows_nothing_and_learns():
    torch.manual_seed(0)
    model = ModernDecoder(**SMALL)
    ids = torch.randint(0, 30, (4, 33))
    log_probs, _ = model.log_probs(ids)
    assert (log_probs - math.log(1 / 30)).abs().max() < 0.5
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        loss = -model.target_log_probs(ids[:, :-1], ids[:, 1:])[0].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.5


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
    assert ModernDecoder().parameter_count() < 6_000_000
