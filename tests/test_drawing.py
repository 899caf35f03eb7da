"""The draw of one event: equal to plain NumPy, by the right shares, by waits, hotter in loops."""

import numpy as np
import pytest
from draws import UNIFORM, Made, draw_by_hand

from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.generation import sampling
from lakhnes_lib.models.language_model import RandomModel
from lakhnes_lib.music import events, nes


def made(seed: int = 0, sharpness: float = 2.0) -> Made:
    """A distribution with few likely events and many unlikely ones."""
    weights = np.exp(sharpness * np.random.default_rng(seed).normal(size=len(events.VOCABULARY)))
    return Made(weights / weights.sum())


def test_each_row_is_drawn_at_its_own_temperature():
    random = np.random.default_rng(3)
    log_probs = np.log(random.dirichlet(np.full(631, 0.05), 40) + 1e-9)
    able, uniform = np.ones(log_probs.shape, bool), random.random(40)
    heat = np.where(np.arange(40) % 2, 0.7, 1.9)
    rest = dict(top_k=None, top_p=1.0)
    together = sampling.draw(log_probs, able, uniform, temperature=heat[:, None], **rest)
    for row, temperature in enumerate(heat):
        part = (each[row : row + 1] for each in (log_probs, able, uniform))
        assert sampling.draw(*part, temperature=temperature, **rest)[0] == together[row]


def test_timing_sharpens_the_choice_among_waits_and_nothing_else():
    model, n = made(seed=5, sharpness=1.5), 8_000
    options = UNIFORM | dict(n=n, length=1, masked=False)
    drawn = np.concatenate(sampling.sample(model, timing=0.5, **options))
    expected = model.row.double().exp().numpy()
    expected[events.START] = 0
    waits = np.where(events.IS_WAIT, expected**2, 0)
    expected = np.where(
        events.IS_WAIT, waits * (expected[events.IS_WAIT].sum() / waits.sum()), expected
    )
    expected *= n / expected.sum()
    counts = np.bincount(drawn, minlength=len(expected))
    likely = expected > 20
    z = (counts - expected)[likely] / np.sqrt(expected[likely])
    assert np.abs(z).max() < 5 and 0.8 < z.std() < 1.2
    plain, same = (sampling.sample(model, **options, **timing) for timing in ({}, {"timing": 1.0}))
    assert (np.concatenate(plain) == np.concatenate(same)).all()
    assert model.row.exp().sum() == pytest.approx(1), "the model's own numbers stay as they are"


class Looping(RandomModel):
    """After a wait a note, after a note a wait: two events that go round, hardly ever others."""

    def log_probs(self, ids, state=None, *, memory_length=None):
        log_probs, state = super().log_probs(ids, state, memory_length=memory_length)
        wait, note = np.flatnonzero(events.TICKS_OF == 5000)[0], events.NOTE_ON[nes.P1] + 40
        log_probs = log_probs.clone()
        log_probs[..., wait] = log_probs[..., note] = 8.0
        return log_probs.log_softmax(-1), state


def test_a_loop_is_drawn_hotter_until_it_breaks_up():
    options = UNIFORM | dict(length=800, seed=1, memory_length=8, longest_note=60.0)
    model = Looping()
    cold, hot, alone = (
        sampling.sample(model, n=n, loop_heat=heat, **options)
        for n, heat in ((2, 1.0), (2, 2.0), (1, 2.0))
    )
    assert (cold[0][:192] == hot[0][:192]).all(), "nothing is changed before a loop is heard"
    shares = [musical_metrics.loop_shares(piece[None, 200:])[0] for piece in (cold[0], hot[0])]
    assert shares[0] > 0.8 and shares[1] < 0.6
    assert (alone[0] == hot[0]).all(), "whatever is composed beside it"


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [
        (1.0, None, 1.0), (0.5, None, 1.0), (2.0, None, 1.0), (1.0, 5, 1.0), (1.0, 1000, 1.0),
        (1.0, None, 0.6), (0.7, 8, 0.8), (1.0, 1, 1.0), (0.02, None, 1.0), (1.0, None, 0.001),
        (0.95, 32, 1.0),
    ],
)  # fmt: skip
def test_draws_are_those_of_plain_numpy(temperature, top_k, top_p):
    model, n = made(), 400
    options = dict(temperature=temperature, top_k=top_k, top_p=top_p)
    drawn = sampling.sample(model, n=n, length=1, seed=9, masked=False, **options)
    probabilities = model.row.double().exp().numpy()
    probabilities[events.START] = 0
    for number, ids in enumerate(drawn):
        uniform = np.random.default_rng([9, number]).random(1)[0]
        assert ids.tolist() == [draw_by_hand(probabilities, uniform, temperature, top_k, top_p)]


def test_drawn_shares_are_the_probabilities():
    model, n = made(seed=4, sharpness=1.5), 20_000
    drawn = np.concatenate(sampling.sample(model, n=n, length=1, masked=False, **UNIFORM))
    expected = model.row.double().exp().numpy()
    expected[events.START] = 0
    expected *= n / expected.sum()
    counts = np.bincount(drawn, minlength=len(expected))
    likely = expected > 20
    z = (counts - expected)[likely] / np.sqrt(expected[likely])
    assert likely.sum() > 50 and np.abs(z).max() < 5 and 0.5 < z.std() < 1.5


def test_of_equally_likely_events_the_first_are_kept():
    pieces = sampling.sample(RandomModel(), n=50, length=1, top_k=3, temperature=1.0, masked=False)
    assert {int(ids[0]) for ids in pieces} == {1, 2, 3}
