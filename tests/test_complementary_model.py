"""The encoder-decoder for complementary tracks, against a slow one that loops over positions."""

from math import cos, exp, inf, sin, sqrt

import pytest
import torch

from lakhnes_lib import profiles
from lakhnes_lib.companions.encoder_decoder import PADDING, EncoderDecoder, RelativeAttention

SIZES = dict(width=16, layers=2, heads=2, feed_forward=24, dropout=0.0, reach=3)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = EncoderDecoder(11, 2, **SIZES).double().eval()
    for attention in (each for each in model.modules() if isinstance(each, RelativeAttention)):
        torch.nn.init.normal_(attention.distances)  # so that distances matter
    return model


def with_clock(model):
    """Tokens 4 to 6 are bars and positions, 7 waits for half a position."""
    advance, position = [0.0] * 11, [-1.0] * 11
    advance[4], position[4] = 8.0, 0.0
    position[5], position[6], advance[7] = 3.0, 6.0, 0.5
    model.clock[:] = EncoderDecoder(11, 2, **SIZES, clock=(advance, position)).clock
    return model


def slow_attention(attention, x, seen, distance):
    """Row by row and head by head. seen: (keys, width); distance: of query i and key j, a number,
    or None where i must not look at j."""
    heads, width = attention.heads, x.shape[-1]
    size = width // heads
    query, (key, value) = attention.query(x), attention.key_value(seen).chunk(2, -1)
    rows = []
    for i in range(len(x)):
        parts = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            scores = []
            for j in range(len(seen)):
                far = distance(i, j)
                if far is None:
                    scores.append(-inf)
                    continue
                column = max(-attention.reach, min(attention.reach, far)) + attention.reach
                e = attention.distances[head, column]
                scores.append(float(query[i, own] @ key[j, own] + query[i, own] @ e) / sqrt(size))
            weights = [exp(score - max(scores)) for score in scores]
            total = sum(weights)
            mixed = zip(weights, value[:, own], strict=True)
            parts.append(sum(weight / total * v for weight, v in mixed))
        rows.append(attention.output(torch.cat(parts)))
    return torch.stack(rows)


def slow_times(model, ids):
    base, offset, times = 0.0, 0.0, []
    for token in ids:
        advance, position = model.clock[:, token].tolist()
        base += advance
        offset = position if position >= 0 else offset
        times.append(base + offset)
    return times


def slow_embedding(model, ids, times):
    rows, width = [], model.config["width"]
    for token, time in zip(ids, times, strict=True):
        angles = [time * 10_000 ** (-2 * i / width) for i in range(width // 2)]
        wave = torch.tensor([*map(sin, angles), *map(cos, angles)], dtype=torch.float64)
        rows.append(model.embedding.weight[token] + wave)
    return torch.stack(rows)


def slow_logits(model, source, target):
    """Of one pair without padding."""

    def layer(part, x, own, given=None):
        x = part.norms[0](x + slow_attention(part.own, x, x, own))
        if given is not None:
            x = part.norms[2](x + slow_attention(part.given, x, *given))
        return part.norms[1](x + part.feed_forward(x))

    there, now = slow_times(model, source), slow_times(model, target)
    encoded = slow_embedding(model, source, there)
    for part in model.encoder:
        encoded = layer(part, encoded, lambda i, j: j - i)
    x = slow_embedding(model, target, now)
    for part in model.decoder:
        across = encoded, lambda i, j: round(there[j] - now[i])
        x = layer(part, x, lambda i, j: j - i if j <= i else None, across)
    return model.output(x)


SOURCES = [[4, 5, 1, 7, 6, 2, 4, 3], [4, 6, 9, 10, 5]]
TARGETS = [[11, 4, 5, 8, 7, 9], [12, 4, 4, 6, 1, 0, 2, 3]]


def padded(rows):
    longest = max(map(len, rows))
    return torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows])


@pytest.mark.parametrize("by_time", [False, True])
@torch.inference_mode()
def test_against_the_slow_one_with_padding(model, by_time):
    if by_time:
        with_clock(model)
    logits = model(padded(SOURCES), padded(TARGETS))
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        expected = slow_logits(model, source, target)
        assert torch.allclose(logits[row, : len(target)], expected, atol=1e-6)


@torch.inference_mode()
def test_loss_is_the_mean_over_tokens_that_are_there(model):
    logits = model(padded(SOURCES), padded(TARGETS)).log_softmax(-1)
    losses = []
    for row, target in enumerate(TARGETS):
        losses += [-float(logits[row, at, token]) for at, token in enumerate(target[1:])]
    loss = model.loss(padded(SOURCES), padded(TARGETS))
    assert float(loss) == pytest.approx(sum(losses) / len(losses))


@pytest.mark.parametrize("by_time", [False, True])
@torch.inference_mode()
def test_token_by_token_as_at_once(model, by_time):
    if by_time:
        with_clock(model)
    source, target = padded(SOURCES), torch.tensor([row[:6] for row in TARGETS])
    reading, state, rows = model.read(source), None, []
    for part in (target[:, :2], target[:, 2:3], target[:, 3:]):
        logits, state = model.step(reading, part, state)
        rows.append(logits)
    assert torch.allclose(torch.cat(rows, 1), model(source, target), atol=1e-10)


@torch.inference_mode()
def test_one_source_serves_many_targets(model):
    source, targets = torch.tensor(SOURCES[:1]), torch.tensor([row[:6] for row in TARGETS])
    many, _ = model.step(model.read(source), targets)
    for row in range(2):
        assert torch.allclose(many[row], model(source, targets[row : row + 1])[0], atol=1e-10)


def test_no_gradient_comes_from_the_future_or_from_padding(model):
    source, target = padded(SOURCES), padded(TARGETS)
    seen = []
    model.embedding.register_forward_hook(lambda _, __, out: seen.append(out) or out.retain_grad())
    model(source, target)[1, 3].sum().backward()
    from_source, from_target = (each.grad.abs().sum(-1) for each in seen)
    assert from_target[0].sum() == 0 and from_source[0].sum() == 0  # the other row
    assert (from_target[1] > 0).tolist() == [True] * 4 + [False] * 4
    assert (from_source[1] > 0).tolist() == [True] * 5 + [False] * 3


def test_clock_by_hand(model):
    ids = torch.tensor([[11, 7, 4, 1, 5, 2, 6, 4, 3, 7, 7]])
    assert model.times(ids).tolist() == [list(range(11))]
    times = with_clock(model).times(ids).tolist()
    assert times == [[0, 0.5, 8.5, 8.5, 11.5, 11.5, 14.5, 16.5, 16.5, 17, 17.5]]
    assert times[0] == slow_times(model, ids[0].tolist())


def test_sizes_of_the_thesis():
    """Table 1: width 256, six layers each, four heads, feed-forward 128, 500 symbols."""
    with torch.device("meta"):
        sizes = profiles.load("paper").companions["complementary_tracks"]["sizes"]
        parts = EncoderDecoder(500, 10, **sizes)
    count = sum(parameter.numel() for parameter in parts.parameters())
    attention = 4 * (256 * 256 + 256) + 4 * 3001 * 64
    feed_forward = 2 * 256 * 128 + 256 + 128
    layers = 6 * (attention + feed_forward + 2 * 512) + 6 * (2 * attention + feed_forward + 3 * 512)
    assert count == layers + 510 * 256 + 257 * 500
