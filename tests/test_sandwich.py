"""MIDI-Sandwich2: its equations by hand, its parts against loops, its stages and checkpoints."""

from math import exp, log, pi

import _sandwich_measured
import _sandwich_stages
import numpy as np
import pytest
import torch
from _sandwich_stages import Stage
from torch import nn
from torch.distributions import kl_divergence

from lakhnes_lib.companions import fitting, sandwich
from lakhnes_lib.companions.piano_rolls import Kind, Rolls
from lakhnes_lib.companions.sandwich import Sandwich, by_track

SIZES = dict(latent=3, intermediate=6, fusion_latent=4, channels=2)


@pytest.fixture(autouse=True)
def short_bars(monkeypatch):
    monkeypatch.setattr(sandwich, "BAR", 8)


def small(sizes=SIZES, **settings) -> Sandwich:
    torch.manual_seed(0)
    return Sandwich(3, 14, sizes, **settings).eval()


def rolls(batch=4, seed=0):
    random = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, 3, 8, 14, generator=random) < 0.2).float()


def test_divergence_of_equation_6_by_hand():
    """From the standard normal distribution, and between two, number by number."""
    mean, variance = [0.5, -1.0], [0.25, 4.0]
    q = sandwich.normal(torch.tensor([[*mean, *map(log, variance)]]))
    by_hand = sum(-(1 + log(v) - m * m - v) / 2 for m, v in zip(mean, variance, strict=True))
    assert float(kl_divergence(q, sandwich.STANDARD).sum()) == pytest.approx(by_hand)
    p = sandwich.normal(torch.tensor([[0.0, 1.0, log(1.0), log(2.0)]]))
    points = torch.linspace(-30, 30, 200_001, dtype=torch.float64)
    total = 0.0
    for m, v, m2, v2 in [(0.5, 0.25, 0.0, 1.0), (-1.0, 4.0, 1.0, 2.0)]:
        density = (-((points - m) ** 2) / (2 * v)).exp() / (2 * pi * v) ** 0.5
        ratio = ((points - m2) ** 2 / v2 - (points - m) ** 2 / v + log(v2 / v)) / 2
        total += float(torch.trapezoid(density * ratio, points))
    assert float(kl_divergence(q, p).sum()) == pytest.approx(total, rel=1e-4)


def test_normal_of_its_parameters_which_the_upper_encoder_reads():
    model, parameters = small(), torch.randn(2, 3, 6)
    q = sandwich.normal(parameters)
    assert torch.equal(q.mean, parameters[..., :3])
    assert torch.allclose(q.stddev, (parameters[..., 3:] / 2).exp())
    above = sandwich.normal(model.fusion.encode(parameters))
    assert torch.allclose(model.fuse(q).mean, above.mean, atol=1e-6)


def test_a_draw_of_equation_5_has_the_factor():
    model = small(deviation=0.01)
    q = sandwich.normal(torch.tensor([2.0, -3.0, log(4.0), log(0.25)]))
    drawn = model.narrow(q).sample((20_000,))
    assert torch.allclose(drawn.mean(0), torch.tensor([2.0, -3.0]), atol=1e-3)
    assert torch.allclose(drawn.std(0), torch.tensor([0.02, 0.005]), rtol=0.03)


def test_cross_entropy_of_equation_4_by_hand():
    logits, x = torch.randn(2, 3, 4, 5), (torch.rand(2, 3, 4, 5) < 0.3).float()
    nats = sandwich.cross_entropy(logits, x)
    for batch in range(2):
        for track in range(3):
            total = 0.0
            for step in range(4):
                for pitch in range(5):
                    p = 1 / (1 + exp(-float(logits[batch, track, step, pitch])))
                    y = float(x[batch, track, step, pitch])
                    total -= y * log(p) + (1 - y) * log(1 - p)
            assert float(nats[batch, track]) == pytest.approx(total, rel=1e-5)


def lstm_by_loop(cells: nn.LSTM, x: torch.Tensor) -> torch.Tensor:
    """(steps, inputs) -> (steps, units), step by step."""
    units = cells.hidden_size
    h, c, rows = torch.zeros(units), torch.zeros(units), []
    for step in x:
        gates = cells.weight_ih_l0 @ step + cells.bias_ih_l0
        gates = gates + cells.weight_hh_l0 @ h + cells.bias_hh_l0
        i, f, g, o = gates.chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        rows.append(h)
    return torch.stack(rows)


@torch.no_grad()
def test_vrae_against_a_loop():
    vrae, x = small().bvaes[1], rolls()[:, 1]
    q, z = vrae.encode(x), torch.randn(4, 3)
    logits = vrae.decode(z)
    for row in range(4):
        last = lstm_by_loop(vrae.encoder, x[row])[-1]
        code = vrae.code.weight @ last + vrae.code.bias
        assert torch.allclose(q[row], code, atol=1e-5)
        out = lstm_by_loop(vrae.decoder, z[row].expand(8, 3))
        assert torch.allclose(logits[row], out @ vrae.output.weight.T + vrae.output.bias, atol=1e-5)


@pytest.mark.parametrize("bend", [True, False])
@torch.no_grad()
def test_perceptrons_against_a_loop(bend):
    net, x = sandwich.Perceptron(bend, 3, 6, 4, 5), torch.randn(2, 3, 6)
    for row in range(2):
        h = torch.zeros(5)
        for track in range(3):
            matrix = net.matrices[track]
            projected = matrix.weight @ x[row, track] + matrix.bias
            h += projected.tanh() if bend else projected
        _, first, _, second = net.encoder
        h = first.weight @ h.relu() + first.bias
        code = second.weight @ h.relu() + second.bias
        assert torch.allclose(net.encode(x)[row], code, atol=1e-6)
    assert net.decode(torch.randn(2, 4)).shape == (2, 3, 6)


@pytest.mark.parametrize("strategy", sandwich.STRATEGIES)
@pytest.mark.parametrize("shared", [False, True])
def test_shapes(strategy, shared):
    model = small(strategy=strategy, shared=shared)
    x = rolls()
    assert model.encode(x).mean.shape == (4, 3, 3)
    assert model.fuse(model.encode(x)).mean.shape == (4, 4)
    shown = model.compose(torch.randn(4, 4))
    assert shown.shape == x.shape and (shown > 0).all() and (shown < 1).all()
    assert model.track_loss(x).shape == (4, 3)
    assert (
        model.fusion_loss(model.encode(x)).shape == _sandwich_measured.bound(model, x).shape == (4,)
    )
    assert len({id(bvae) for bvae in model.bvaes}) == (1 if shared else 3)


def test_the_weight_is_of_the_upper_codes_own_divergence():
    model, losses = small(), []
    q = model.encode(rolls())
    own = kl_divergence(model.fuse(q), sandwich.STANDARD).sum(-1)
    for weight in (0.0, 0.25, 1.0):
        torch.manual_seed(1)
        losses.append(model.fusion_loss(q, weight))
    assert torch.allclose(losses[1] - losses[0], 0.25 * own, atol=1e-5)
    assert torch.allclose(losses[2] - losses[0], own, atol=1e-5) and (own > 0).all()


def test_a_stage_lets_the_weight_rise(tmp_path, monkeypatch):
    weights = []

    def loss(model, x, weight=None):
        weights.append(weight)
        return sum(part.square().sum() for part in model.fusion.parameters())[None]

    monkeypatch.setitem(_sandwich_stages.LOSSES, "fusion", loss)
    rising, at_once = (Stage("fusion", "base", rising=rises) for rises in (True, False))
    of = {"base": Stage("bvaes"), "rising": rising, "at_once": at_once}
    monkeypatch.setattr(_sandwich_stages, "STAGES", of)
    settings = {"sizes": SIZES, "training": dict(batch=2, learning_rate=0.01, steps=8)}
    settings |= {"rising": 0.5, "shares": {"bvaes": 0.5, "fusion": 0.25}}
    _sandwich_stages.train(made_rolls(), tmp_path, settings, 1e9, seed=0)
    assert weights == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1] + [None] * 8


def test_tracks_are_independent_unless_they_share():
    x = rolls()
    changed = x.clone()
    changed[:, 0] = 1 - changed[:, 0]
    model = small()
    before, after = model.encode(x).mean, model.encode(changed).mean
    assert not torch.allclose(before[:, 0], after[:, 0])
    assert torch.allclose(before[:, 1:], after[:, 1:])
    shared = small(shared=True)
    twice = x[:, :1].expand(-1, 3, -1, -1)
    assert torch.allclose(shared.encode(twice).mean[:, 0], shared.encode(twice).mean[:, 2])
    assert not torch.allclose(model.encode(twice).mean[:, 0], model.encode(twice).mean[:, 2])


def test_lower_vaes_are_frozen_in_the_second_stage_and_for_the_refine_net():
    model, random = small().train(), np.random.default_rng(0)
    for part in ("fusion", "refine"):
        model.zero_grad()
        codes = _sandwich_stages.codes_of(made_rolls(), model) if part == "fusion" else None
        batch = _sandwich_stages.batches(made_rolls(), 4, codes)(random)
        _sandwich_stages.LOSSES[part](model, batch).sum().backward()
        assert all(p.grad is None for p in model.bvaes.parameters())
        weights = getattr(model, part).parameters()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)


def test_codes_computed_once_are_those_of_the_drawn_bars():
    model, made = small(), made_rolls()
    drawn = [
        _sandwich_stages.batches(made, 5, codes)(np.random.default_rng(3))
        for codes in (_sandwich_stages.codes_of(made, model), None)
    ]
    assert torch.allclose(drawn[0].mean, model.encode(drawn[1]).mean, atol=1e-6)
    assert torch.allclose(drawn[0].stddev, model.encode(drawn[1]).stddev, atol=1e-6)


def test_the_refine_net_begins_as_the_identity_and_sees_its_unit():
    """Two units of two convolutions of three steps see four steps to either side; by notes none."""
    x = torch.randn(2, 3, 20, 14)
    for unit, reach in (("bar", 4), ("note", 0)):
        model = small(unit=unit)
        assert torch.equal(by_track(model.refine, x), x)
        for parameter in model.refine.parameters():
            nn.init.uniform_(parameter, 0.1, 0.5)
        changed = x.clone()
        changed[0, 1, 10] += 1.0
        after, before = by_track(model.refine, changed), by_track(model.refine, x)
        moved = (after - before).abs().amax((0, 3)) > 1e-6
        assert not moved[[0, 2]].any(), "another track"
        assert torch.nonzero(moved[1]).flatten().tolist() == list(range(10 - reach, 11 + reach))


def test_binary_neurons():
    logits = torch.tensor([-1.0, 0.2, 4.0], requires_grad=True)
    out = sandwich.binary(logits, "deterministic")
    assert out.tolist() == [0, 1, 1]
    out.sum().backward()
    p = logits.detach().sigmoid()
    assert torch.allclose(logits.grad, p * (1 - p))
    torch.manual_seed(0)
    drawn = sandwich.binary(torch.full((40_000,), 0.5), "stochastic")
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert float(drawn.mean()) == pytest.approx(1 / (1 + exp(-0.5)), abs=0.01)


def test_loss_of_binary_neurons_counts_wrong_cells():
    model, x = small(deviation=1e-6), rolls()
    logits = model.decode(model.encode(x).mean)
    wrong = ((logits > 0).float() != x).sum((2, 3))
    assert torch.equal(model.refine_loss(x, "deterministic").round().int(), wrong.int())


@pytest.mark.parametrize("deviation", [1.0, 0.01])
@torch.no_grad()
def test_bound_of_a_model_that_ignores_its_codes(deviation):
    """Its likelihood is that of a coin a cell. The bound adds nothing but what a narrow draw of
    the upper code costs."""
    model = small(deviation=deviation)
    for parameter in [*model.bvaes.parameters(), *model.fusion.parameters()]:
        parameter.zero_()
    for bvae in model.bvaes:
        bvae.output.bias.fill_(log(0.2 / 0.8))
    x = rolls()
    cells = -(x * log(0.2) + (1 - x) * log(0.8)).sum((1, 2, 3))
    a_number = -log(deviation) + (deviation**2 - 1) / 2
    assert torch.allclose(_sandwich_measured.bound(model, x), cells + 4 * a_number, rtol=1e-5)
    assert torch.allclose(
        _sandwich_measured.bound(model, x, alone=True), cells + 9 * a_number, rtol=1e-5
    )


@torch.no_grad()
def test_bound_is_above_the_likelihood():
    """Of a model with few codes, whose likelihood is found by many draws from the prior."""
    model = small(SIZES | dict(latent=1, fusion_latent=1), deviation=1.0)
    for bvae in model.bvaes:
        nn.init.normal_(bvae.output.weight, std=1.0)
    x = rolls(batch=1)
    u = torch.randn(20_000, 1)
    z = sandwich.normal(model.fusion.decode(u)).sample()
    log_p = -sandwich.cross_entropy(model.decode(z), x.expand(20_000, -1, -1, -1)).sum(1)
    exact = -float(log_p.double().logsumexp(0) - log(20_000))
    bound = float(torch.stack([_sandwich_measured.bound(model, x) for _ in range(200)]).mean())
    assert exact < bound < exact + 20


def made_rolls(count=40):
    random = np.random.default_rng(3)
    bars = np.zeros((count, 3, 8, 14), bool)
    for n in range(count):
        for track in range(3):
            bars[n, track, :: 1 + track, random.integers(4) + 3 * track] = True
    packed = np.packbits(bars, axis=-1)
    return Rolls(Kind(("a", "b", "c"), 0, 14), {"train": packed})


def test_training_learns_and_leaves_the_other_parts_alone():
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    log = fitting.fit(
        model.bvaes,
        lambda random, done: model.track_loss(made_rolls().batch(16, random)).mean(0),
        dict(learning_rate=0.01, decay=1.0, steps=60),
    )
    losses = np.array([row["loss"] for row in log])
    assert losses.shape == (60, 3) and (losses[-5:].mean(0) < 0.8 * losses[:5].mean(0)).all()
    changed = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert changed and all(name.startswith("bvaes.") for name in changed)


@pytest.mark.parametrize("shared", [False, True])
def test_checkpoints(tmp_path, shared):
    model = small(strategy="project", unit="note", shared=shared)
    nn.init.normal_(model.refine[0][0][-1].weight)
    fitting.save(model, tmp_path, [{"loss": 1.0}])
    again, log = fitting.load(Sandwich, tmp_path)
    assert again.config == model.config and not again.training and log == [{"loss": 1.0}]
    u = torch.randn(2, 4)
    torch.manual_seed(5)
    one = model.compose(u)
    torch.manual_seed(5)
    assert torch.equal(one, again.compose(u))


def test_a_new_recurrent_autoencoder_remembers_the_first_of_96_steps():
    torch.manual_seed(0)
    x = torch.zeros(1, 96, 5, requires_grad=True)
    sandwich.VRAE(5, 96, 3, 32).encode(x).abs().sum().backward()
    by_step = x.grad[0].norm(dim=-1)
    assert by_step[0] > 1e-3 * by_step[-1]  # gates that begin half open leave less than 1e-20
