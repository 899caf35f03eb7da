"""Transformer-XL against a slow, obvious implementation of its formulas (arXiv 1901.02860, §3).

The oracle computes in float64 and has no memory, no relative shift, no mask and no batch: it loops
over the events of one song, and over those that each may look back to. Whatever the library does
with segments, memories and rows must come out as if it did that, with ``models/fast`` or without.
"""

import math

import numpy as np
import pytest
import torch
from dropouts import shapes_of_dropout

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.models.transformer_xl import TransformerXL, sinusoids

CLOSE = 1e-9
pytestmark = pytest.mark.usefixtures("both_ways")


def small_model(seed: int = 0, **settings) -> TransformerXL:
    """A small model of random sizes in float64, every parameter of which is far from its start."""
    draw = np.random.default_rng(seed)
    sizes = dict(
        vocabulary_size=int(draw.integers(5, 30)),
        layers=int(draw.integers(1, 4)),
        width=int(2 * draw.integers(2, 8)),
        heads=int(draw.integers(1, 5)),
        head_width=int(draw.integers(1, 6)),
        feed_forward=int(draw.integers(1, 20)),
        dropout=0.0,
        memory_length=100,
    )
    model = TransformerXL(**sizes | settings).double().eval()
    for parameter in model.parameters():
        parameter.data = torch.from_numpy(draw.normal(0.0, 0.5, parameter.shape))
    return model


def song(model, seed: int, *shape) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, model.vocabulary_size, shape))


def position(distance: int, width: int) -> np.ndarray:
    """R of a distance."""
    angles = [distance * 10_000 ** (-2 * k / width) for k in range(width // 2)]
    return np.array([*map(math.sin, angles), *map(math.cos, angles)])


def layer_norm(x, norm):
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    return (x - x.mean()) / math.sqrt(x.var() + norm.eps) * weight + bias


def oracle(model, ids, first) -> np.ndarray:
    """Log-probabilities (time, vocabulary) of one song; event i looks at events first[i] … i."""
    embedding = model.embedding.weight.detach().numpy()
    width, heads = model.width, model.config["heads"]
    u, v = model.u.detach().numpy(), model.v.detach().numpy()
    h = [embedding[i] * math.sqrt(width) for i in ids.tolist()]
    for layer in model.layers:
        W_q, W_kR, W_o = (
            x.weight.detach().numpy() for x in (layer.query, layer.position, layer.output)
        )
        W_kE, W_v = np.split(layer.key_value.weight.detach().numpy(), 2)
        seen = [layer_norm(x, layer.attention_norm) for x in h] if layer.pre_norm else h
        h_next = []
        for i, x in enumerate(h):
            attended = []
            for head in range(heads):
                own = slice(head * layer.head_width, (head + 1) * layer.head_width)
                scores = []
                for j in range(first[i], i + 1):
                    R = position(i - j, width)
                    a = (W_q @ seen[i])[own] @ (W_kE @ seen[j])[own]
                    b = (W_q @ seen[i])[own] @ (W_kR @ R)[own]
                    c = u[head] @ (W_kE @ seen[j])[own]
                    d = v[head] @ (W_kR @ R)[own]
                    scores.append((a + b + c + d) / math.sqrt(layer.head_width))
                weights = np.exp(np.array(scores) - max(scores))
                weights /= weights.sum()
                values = [(W_v @ seen[j])[own] for j in range(first[i], i + 1)]
                attended += list(sum(w * value for w, value in zip(weights, values, strict=True)))
            x = x + W_o @ np.array(attended)
            if not layer.pre_norm:
                x = layer_norm(x, layer.attention_norm)
            inner = layer_norm(x, layer.feed_forward_norm) if layer.pre_norm else x
            inner = np.maximum(
                layer.inner.weight.detach().numpy() @ inner + layer.inner.bias.detach().numpy(), 0
            )
            x = x + layer.outer.weight.detach().numpy() @ inner + layer.outer.bias.detach().numpy()
            h_next.append(x if layer.pre_norm else layer_norm(x, layer.feed_forward_norm))
        h = h_next
    if model.layers[0].pre_norm:
        h = [layer_norm(x, model.norm) for x in h]
    logits = np.stack(h) @ embedding.T + model.output_bias.detach().numpy()
    highest = logits.max(1, keepdims=True)
    return logits - highest - np.log(np.exp(logits - highest).sum(1, keepdims=True))


def horizon(cuts, total: int, memory_length: int) -> list[int]:
    """The oldest event that each of ``total`` events sees if segments start at ``cuts``."""
    return [max(0, max(cut for cut in cuts if cut <= i) - memory_length) for i in range(total)]


def in_segments(model, ids, cuts, state=None) -> torch.Tensor:
    parts = []
    for start, stop in zip(cuts, [*cuts[1:], ids.shape[1]], strict=True):
        log_probs, state = model.log_probs(ids[:, start:stop], state)
        parts.append(log_probs.detach())
    return torch.cat(parts, 1)


def assert_close(actual, expected, tolerance=CLOSE):
    np.testing.assert_allclose(
        np.asarray(actual.detach().cpu()), np.asarray(expected), rtol=0, atol=tolerance
    )


# The whole model


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


# Rows of a batch


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


# What attention sees


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


# The model as a language model


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
