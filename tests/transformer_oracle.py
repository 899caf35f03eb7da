"""A slow, obvious Transformer-XL, as its paper has it (arXiv 1901.02860, §3), for tests.

It computes in float64 and has no memory, no relative shift, no mask and no batch: it loops over the
events of one song, and over those that each may look back to.
"""

import math

import numpy as np
import torch

from lakhnes_lib.models.transformer_xl import TransformerXL

CLOSE = 1e-9


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
