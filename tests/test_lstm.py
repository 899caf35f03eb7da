"""The LSTM against its equations, written out gate by gate, in NumPy and float64."""

import numpy as np
import pytest
import torch
from dropouts import shapes_of_dropout

from lakhnes_lib.errors import BadCheckpoint, BadEvents
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.generation import sampling
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.lstm import LSTM
from lakhnes_lib.music import events


def small_model(seed: int = 0, **settings) -> LSTM:
    """A small model in float64 whose parameters, biases too, are far from their start."""
    model = LSTM(**{"vocabulary_size": 11, "embedding": 3, "units": 5} | settings).double().eval()
    draw = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.data = torch.from_numpy(draw.normal(0.0, 0.7, parameter.shape))
    return model


def song(*shape, size: int = 11) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(len(shape)).integers(0, size, shape))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def oracle(model, ids) -> np.ndarray:
    """Log-probabilities (time, vocabulary) of one song, event by event."""
    values = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    layers, units = model.config["layers"], model.config["units"]
    h, c, rows = [np.zeros(units)] * layers, [np.zeros(units)] * layers, []
    for event in ids.tolist():
        x = values["embedding.weight"][event]
        for k in range(layers):
            W, U = values[f"recurrent.weight_ih_l{k}"], values[f"recurrent.weight_hh_l{k}"]
            b = values[f"recurrent.bias_ih_l{k}"] + values[f"recurrent.bias_hh_l{k}"]
            i, f, g, o = np.split(W @ x + U @ h[k] + b, 4)
            c[k] = sigmoid(f) * c[k] + sigmoid(i) * np.tanh(g)
            h[k] = x = sigmoid(o) * np.tanh(c[k])
        logits = values["output.weight"] @ x + values["output.bias"]
        rows.append(logits - np.log(np.exp(logits).sum()))
    return np.stack(rows)


def assert_close(actual, expected):
    np.testing.assert_allclose(np.asarray(actual.detach()), np.asarray(expected), rtol=0, atol=1e-9)


def test_the_defaults_are_the_papers_size():
    table, gates, output = 631 * 64, 4 * 3072 * (64 + 3072 + 2), 631 * (3072 + 1)
    with torch.device("meta"):
        model = LSTM()
    assert model.parameter_count() == table + gates + output == 40_539_191


@pytest.mark.parametrize("layers", [1, 2])
def test_log_probs_are_the_equations(layers):
    model, ids = small_model(layers=layers), song(3, 9)
    log_probs, _ = model.log_probs(ids)
    for row in range(3):
        assert_close(log_probs[row], oracle(model, ids[row]))
    targets = song(3, 9).roll(1, 1)
    targets[1, 4] = -1
    scores, _ = model.target_log_probs(ids, targets)
    expected = (
        log_probs.gather(-1, targets.clamp_min(0).unsqueeze(-1))
        .squeeze(-1)
        .masked_fill(targets < 0, 0)
    )
    np.testing.assert_allclose(scores.detach(), expected.detach(), atol=1e-5)  # computed in float32


@pytest.mark.parametrize("cuts", [(0, 4, 5), (0, 1, 2, 3, 4, 5, 6, 7, 8)])
def test_segments_are_one_pass(cuts):
    model, ids = small_model(), song(2, 9)
    parts, state = [], None
    for start, stop in zip(cuts, (*cuts[1:], 9), strict=True):
        log_probs, state = model.log_probs(ids[:, start:stop], state)
        parts.append(log_probs)
    assert_close(torch.cat(parts, 1), model.log_probs(ids)[0].detach())


def test_select_and_restart():
    model, ids = small_model(layers=2), song(3, 6)
    _, state = model.log_probs(ids)
    rows = torch.tensor([2, 0, 2, 1])
    actual, _ = model.log_probs(ids[rows], model.select(state, rows))
    expected, _ = model.log_probs(ids, state)
    assert_close(actual, expected[rows].detach())
    fresh, _ = model.log_probs(ids)
    some, _ = model.log_probs(ids, model.restart(state, torch.tensor([False, True, False])))
    assert_close(some, torch.stack([expected[0], fresh[1], expected[2]]).detach())
    assert model.select(None, rows) is None and model.restart(None, rows > 0) is None


def test_a_state_is_kept_and_read_back():
    model, ids = small_model(), song(2, 6)
    _, state = model.train().log_probs(ids)
    assert not state.h.requires_grad and not state.c.requires_grad
    back = model.state_from(model.state_tree(state), torch.device("cpu"))
    assert_close(model.log_probs(ids, back)[0], model.log_probs(ids, state)[0].detach())


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_falls_on_what_enters_and_leaves_the_layers(layers, both_ways):
    model, ids = small_model(layers=layers, dropout=0.5), song(2, 9)
    assert shapes_of_dropout(model, ids) == [(2, 9, 3), (2, 9, 5)]
    assert model.dropout.p == 0.5
    assert model.recurrent.dropout == (0.5 if layers == 2 else 0.0)
    assert small_model(dropout=0.0).dropout.p == 0.0


def test_memory_length_has_no_effect():
    model, ids = small_model(), song(2, 9)
    _, state = model.log_probs(ids, memory_length=0)
    twice, _ = model.log_probs(torch.cat([ids, ids], 1))
    assert_close(model.log_probs(ids, state)[0], twice[:, 9:].detach())


def test_it_learns_a_pattern():
    torch.manual_seed(0)
    model, ids = (
        LSTM(vocabulary_size=11, embedding=8, units=32),
        torch.arange(88).remainder(11).view(4, 22),
    )
    optimiser, state = torch.optim.Adam(model.parameters(), 0.02), None
    for _ in range(60):
        scores, state = model.target_log_probs(ids, (ids + 1) % 11, state)
        optimiser.zero_grad()
        (-scores.mean()).backward()
        optimiser.step()
    assert -scores.mean() < 0.05 < np.log(11)


def test_it_is_saved_measured_and_composes(tmp_path):
    torch.manual_seed(0)
    model = LSTM(embedding=4, units=8, layers=2, dropout=0.1)
    checkpoints.save(model, tmp_path / "model")
    back = checkpoints.load(tmp_path / "model")
    assert back.config == model.config and not back.training
    songs = [
        np.append(0, np.random.default_rng(n).integers(1, 631, n)).astype(np.uint16)
        for n in (40, 9, 17, 200)
    ]
    alone, together = (
        perplexity.exact(back, songs, batch=batch, segment=16, progress=False) for batch in (1, 4)
    )
    for one, other in zip(alone.songs, together.songs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    whole = -back.log_probs(torch.from_numpy(songs[2][None].astype(np.int64)))[0].detach()
    expected = [float(whole[0, position, event]) for position, event in enumerate(songs[2][1:])]
    np.testing.assert_allclose(-together.songs[2], expected, atol=1e-5)
    for ids in sampling.sample(back, n=2, length=60, seed=3):
        events.decode(ids)


def test_bad_input(tmp_path):
    with pytest.raises(BadEvents, match="0-10"):
        small_model().log_probs(torch.tensor([[3, 11]]))
    with pytest.raises(BadCheckpoint, match="lstm"):
        checkpoints.build("lstm", heads=8)
