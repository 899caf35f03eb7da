"""Decoding event by event against reading whole segments: the same log-probabilities, whatever is kept of a piece."""

import numpy as np
import pytest
import torch

from lakhnes_lib.models.fast import products
from lakhnes_lib.models.lstm import LSTM
from lakhnes_lib.models.modern_decoder import ModernDecoder
from lakhnes_lib.models.transformer_xl import TransformerXL

CLOSE = 1e-4
HALF = 0.05
"""Weights of 11 bits: what they may change, in nats, where the log-probabilities span more than ten."""
EIGHTH = 0.5
"""The same for weights and inputs of 8 bits."""


def small(**settings) -> TransformerXL:
    """A small Transformer-XL with every parameter, biases and gains too, far from its start."""
    torch.manual_seed(1)
    sizes = dict(layers=2, width=32, heads=2, head_width=16, feed_forward=64, memory_length=16)
    model = TransformerXL(**sizes | settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def modern(**settings) -> ModernDecoder:
    """The same for a modern decoder."""
    torch.manual_seed(1)
    model = ModernDecoder(
        **dict(layers=2, width=32, heads=2, feed_forward=64, memory_length=16) | settings
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


MODELS = {
    "transformer_xl": small,
    "pre_norm": lambda **settings: small(pre_norm=True, **settings),
    "modern_decoder": modern,
    "modern_without": lambda **settings: modern(
        rotary=False, late_keys=False, tied=False, **settings
    ),
    "modern_otherwise": lambda **settings: modern(qk_norm=False, activation="swiglu", **settings),
}


def songs(rows: int, time: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 631, (rows, time)))


def apart(found, expected) -> float:
    assert found.dtype == torch.float32 and found.shape == expected.shape
    return float((found - expected).abs().max())


@torch.inference_mode()
def segment(model, ids, memory_length: int, state=None):
    """What the model says after each event of ids, read event by event by ``log_probs``: (rows, time, 631)."""
    model.memory_length, said = memory_length, []
    for column in ids.T:
        log_probs, state = model.log_probs(column.unsqueeze(1), state)
        said.append(log_probs[:, 0])
    return torch.stack(said, 1)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("memory_length", [0, 1, 5, 70, 1000])
@pytest.mark.parametrize("begun", [0, 3, 40])
def test_log_probs_are_those_of_the_model(make, memory_length, begun):
    """Memories shorter and longer than the piece, from nothing and from a beginning that was read before."""
    model, ids = make(memory_length=memory_length), songs(3, begun + 80)
    with torch.inference_mode():
        state = model.log_probs(ids[:, :begun])[1] if begun else None
    expected = segment(model, ids[:, begun:], memory_length, state)
    for precision, limit in zip(products.PRECISIONS, (CLOSE, HALF, EIGHTH), strict=True):
        read = model.decoding(torch.arange(3), state, precision=precision)
        gaps = [apart(read.feed(ids[:, begun + step]), expected[:, step]) for step in range(80)]
        assert max(gaps) < limit, precision


def test_one_long_segment_says_the_same():
    model, ids = small(), songs(2, 60)
    with torch.inference_mode():
        expected, _ = model.log_probs(ids)
    read = model.decoding(2, memory_length=100)
    for step in range(60):
        assert apart(read.feed(ids[:, step]), expected[:, step]) < CLOSE


@pytest.mark.parametrize(
    "model", [small(), modern(), LSTM(embedding=4, units=8)], ids=lambda model: model.architecture
)
def test_pieces_are_dropped_doubled_and_reordered(model):
    ids, rows = songs(3, 50), torch.tensor([2, 0, 2, 1, 2])
    read = model.eval().decoding(3, memory_length=12)
    for step in range(20):
        read.feed(ids[:, step])
    read.select(rows)
    other = songs(5, 30, seed=1)
    expected = segment(model, torch.cat([ids[rows, :20], other], 1), 12)[:, 20:]
    for step in range(30):
        assert apart(read.feed(other[:, step]), expected[:, step]) < CLOSE


@pytest.mark.parametrize("make", [small, modern])
@pytest.mark.parametrize("memory_length", [8, 100])
def test_pieces_that_began_at_different_times(make, memory_length):
    """Each row looks back to its own beginning, in the ring too."""
    model, ids, lengths = make(memory_length=memory_length), songs(3, 60), (30, 4, 17)
    with torch.inference_mode():
        state = None
        for place in range(30):
            fresh = torch.tensor([place == 30 - length for length in lengths])
            _, state = model.log_probs(ids[:, place : place + 1], model.restart(state, fresh))
    read = model.decoding(torch.tensor([2, 1, 0]), state)
    said = torch.stack([read.feed(ids[[2, 1, 0], step]) for step in range(30, 60)], 1)
    for found, row in zip(said, (2, 1, 0), strict=True):
        expected = segment(model, ids[row : row + 1, 30 - lengths[row] :], memory_length)[
            :, lengths[row] :
        ]
        assert apart(found[None], expected) < CLOSE


@pytest.mark.parametrize("precision", products.STEADY)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "make", [lambda **sizes: small(head_width=64, **sizes), modern], ids=["xl", "modern"]
)
def test_a_piece_does_not_depend_on_those_beside_it(make, precision, threads):
    """To the last bit, at sizes at which a matrix product of few rows takes another path than one of many."""
    model = make(width=256, heads=4, feed_forward=1024, memory_length=40)
    ids, before = songs(33, 50), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        reads = {rows: model.decoding(rows, precision=precision) for rows in (1, 2, 3, 5, 33)}
        for step in range(50):
            expected = reads[33].feed(ids[:, step])
            for rows in (1, 2, 3, 5):
                assert torch.equal(reads[rows].feed(ids[:rows, step]), expected[:rows])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("make", [small, modern])
def test_a_row_of_the_state_begins_every_piece(make):
    model, ids = make(), songs(1, 30)
    with torch.inference_mode():
        _, state = model.log_probs(ids[:, :20])
    read = model.decoding(4, state)
    expected = segment(model, ids[:, 20:], 16, state)
    for step in range(10):
        said = read.feed(ids[:, 20 + step].expand(4))
        assert all(apart(row[None], expected[:, step]) < CLOSE for row in said)
