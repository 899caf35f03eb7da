"""The statistics of listening tests against slow, obvious ones, and against what was put in."""

import itertools
from math import comb, erfc, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate_study import simulate

from lakhnes_lib.errors import BadStudy
from lakhnes_lib.study import bradley_terry, designs, study_statistics
from lakhnes_lib.study.answers import Answers, Judgement, answers_of

STRENGTHS = {"real": 1.2, "txl": 0.4, "lstm": -0.5, "ngram": -1.1, "random": -20.0}


def judged(*counts):
    """Answers of one listener: (chosen, other, how often)."""
    return [
        Judgement("x", 0, chosen, other) for chosen, other, count in counts for _ in range(count)
    ]


def binomial(k, n):
    """Two-sided exact test of one half, by adding up."""
    return min(1.0, sum(comb(n, i) for i in range(n + 1) if comb(n, i) <= comb(n, k)) / 2**n)


def fisher(a, b, c, d):
    """Two-sided exact test of two shares: all tables of the same margins that are no likelier."""
    n, row, column = a + b + c + d, a + b, a + c
    weight = {
        x: comb(row, x) * comb(n - row, column - x)
        for x in range(max(0, row + column - n), min(row, column) + 1)
    }
    return sum(w for w in weight.values() if w <= weight[a]) / sum(weight.values())


def closed(p):
    """Holm's correction as the closed test that it is a short cut of: Bonferroni in every set of
    hypotheses."""
    sets = [s for size in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), size)]
    return [
        max(min(1, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in range(len(p))
    ]


def zermelo(wins):
    """Bradley and Terry's model by the old fixed-point iteration."""
    met, strength = wins + wins.T, np.ones(len(wins))
    for _ in range(1000):
        share = met / (strength[:, None] + strength[None])
        np.fill_diagonal(share, 0)
        strength = wins.sum(1) / share.sum(1)
        strength /= np.exp(np.log(strength).mean())
    return np.log(strength)


def test_turing_against_sums_by_hand():
    counts = [
        ("real", "a", 61),
        ("a", "real", 39),
        ("real", "b", 80),
        ("b", "real", 15),
        ("real", "random", 30),
    ]
    answers = Answers("turing", judged(*counts), {0: 225})
    a, b = study_statistics.shares(answers)
    assert (a.name, a.hits, a.n, b.hits, b.n) == ("a", 61, 100, 80, 95)
    assert a.standard_error == pytest.approx(sqrt(0.61 * 0.39 / 100))
    assert (a.p, b.p) == pytest.approx((binomial(61, 100), binomial(80, 95)))
    for row in (a, b):  # Wilson: the borders are where the score test is at its limit
        for border in (row.low, row.high):
            assert abs(row.share - border) / sqrt(border * (1 - border) / row.n) == pytest.approx(
                1.959964, abs=1e-5
            )
    (pair,) = study_statistics.compare(answers)
    error = sqrt(a.standard_error**2 + b.standard_error**2)
    assert pair.p_normal == pytest.approx(erfc(abs(a.share - b.share) / error / sqrt(2)))
    assert pair.p_exact == pytest.approx(fisher(61, 39, 80, 15))


def test_preference_by_hand():
    counts = [
        ("real", "a", 30),
        ("a", "real", 10),
        ("a", "b", 12),
        ("b", "a", 9),
        ("b", "real", 3),
        ("real", "b", 17),
    ]
    answers = Answers("preference", judged(*counts, ("real", "random", 9)), {0: 90})
    assert {row.name: (row.hits, row.n) for row in study_statistics.shares(answers)} == {
        "real": (47, 60), "a": (22, 61), "b": (12, 41)
    }  # fmt: skip
    pairs = study_statistics.compare(answers)
    assert [(row.first, row.second, row.wins, row.n) for row in pairs] == [
        ("real", "a", 30, 40), ("real", "b", 17, 20), ("a", "b", 12, 21)
    ]  # fmt: skip
    assert [row.p_exact for row in pairs] == pytest.approx(
        [binomial(30, 40), binomial(17, 20), binomial(12, 21)]
    )
    assert [row.p_exact_holm for row in pairs] == pytest.approx(
        closed([row.p_exact for row in pairs])
    )
    strengths = bradley_terry.strengths(answers, draws=50)
    assert strengths.strength == pytest.approx(zermelo(study_statistics.wins(answers)), abs=2e-3)
    assert (
        strengths.unit == "judgements"
        and (strengths.low < strengths.strength).all()
        and (strengths.strength < strengths.high).all()
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test(p):
    assert study_statistics.holm(p) == pytest.approx(closed(p))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 999), st.integers(2, 6))
def test_bradley_terry_against_the_fixed_point(seed, methods):
    random = np.random.default_rng(seed)
    tables = random.integers(3, 40, (3, methods, methods))
    for table in tables:
        np.fill_diagonal(table, 0)
    together = bradley_terry.fit(tables)
    for table, strength in zip(tables, together, strict=True):
        assert strength == pytest.approx(zermelo(table), abs=5e-3)


def test_a_method_that_always_wins_has_a_finite_strength():
    strength = bradley_terry.fit([[0, 20], [0, 0]])
    assert np.isfinite(strength).all() and strength[0] > 2


def test_power_against_simulated_studies():
    random, n, p, q = np.random.default_rng(0), 150, 0.75, 0.6
    a, b = random.binomial(n, p, 20_000) / n, random.binomial(n, q, 20_000) / n
    significant = abs(a - b) / np.sqrt((a * (1 - a) + b * (1 - b)) / n) > 1.959964
    assert study_statistics.power(n, p, q) == pytest.approx(significant.mean(), abs=0.015)
    enough = study_statistics.needed(p, q)
    assert study_statistics.power(enough, p, q) >= 0.8 > study_statistics.power(enough - 2, p, q)
    with pytest.raises(BadStudy, match="no number of judgements"):
        study_statistics.needed(0.6, 0.6)


def test_nothing_but_controls_is_no_result():
    with pytest.raises(BadStudy, match="control pairs alone"):
        study_statistics.shares(Answers("turing", judged(("real", "random", 5)), {0: 5}))


def test_simulated_listeners_choose_as_their_strengths_say():
    design = designs.plan("preference", STRENGTHS, batches=5, seed=1)
    rows = simulate(design, STRENGTHS, 400, batches=3, seed=2)
    assert len(rows) == 400 * 3 * 10
    answers = answers_of(design, rows)
    table, methods = study_statistics.wins(answers), study_statistics.methods_of(answers)
    for i, j in itertools.combinations(range(len(methods)), 2):
        wanted = 1 / (1 + np.exp(STRENGTHS[methods[j]] - STRENGTHS[methods[i]]))
        n = table[i, j] + table[j, i]
        assert abs(table[i, j] / n - wanted) < 4 * sqrt(wanted * (1 - wanted) / n)
    careless = answers_of(design, simulate(design, STRENGTHS, 300, careless=1.0, seed=3))
    wrong = [
        judgement.chosen == "random"
        for judgement in careless.judgements
        if "random" in (judgement.chosen, judgement.other)
    ]
    assert abs(np.mean(wrong) - 0.5) < 0.04


@pytest.mark.parametrize(("listeners", "unit"), [(5, "judgements"), (30, "listeners")])
def test_intervals_hold_what_was_put_in(listeners, unit):
    """100 studies: coverage of nominal 95 % intervals; benchmarks/study.py does a thousand."""
    design = designs.plan("preference", STRENGTHS, batches=6, seed=1)
    true = np.array([STRENGTHS[name] for name in ("real", "lstm", "ngram", "txl")])
    inside, estimates = [], []
    for seed in range(100):
        answers = answers_of(design, simulate(design, STRENGTHS, listeners, batches=3, seed=seed))
        strengths = bradley_terry.strengths(answers, draws=100, seed=seed)
        assert strengths.unit == unit
        inside.append(
            (strengths.low <= true - true.mean()) & (true - true.mean() <= strengths.high)
        )
        estimates.append(strengths.strength)
    assert 0.88 <= np.mean(inside) <= 0.99
    spread = np.std(estimates, axis=0) / sqrt(len(estimates))
    assert (abs(np.mean(estimates, axis=0) - (true - true.mean())) < 4 * spread + 0.03).all()
