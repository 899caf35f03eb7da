"""Bradley and Terry's model of preference: one number a method, from who was chosen over whom.

Paper: none. Notebook: 08_user_study.
Source: Bradley and Terry, Rank analysis of incomplete block designs, Biometrika 1952.
Differences from the paper: §7 counts the comparisons that each method won (``study_statistics``).
"""

from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import expit

from lakhnes_lib.study.answers import Answers
from lakhnes_lib.study.study_statistics import CONFIDENCE, methods_of, wins_by_listener

FEW_LISTENERS = 10
"""With fewer, the bootstrap draws single judgements instead of listeners."""
RIDGE = 0.001
"""Keeps the strength of a method that always or never won finite; beside real numbers of judgements
it is nothing."""
NEWTON_STEPS = 30
"""Of a method that always won, each step adds about one to the strength, up to about ten."""


class Strengths(NamedTuple):
    """Bradley and Terry's model. strength: float (methods,), mean 0; drawn: float (draws, methods),
    the bootstrap's; unit: what it drew, listeners or judgements; count: how many of them there
    are."""

    methods: list[str]
    strength: np.ndarray
    drawn: np.ndarray
    unit: str
    count: int

    @property
    def low(self) -> np.ndarray:
        """Lower end of the 95 % intervals, float (methods,)."""
        return self.strength - self._half_interval(self.drawn)

    @property
    def high(self) -> np.ndarray:
        """Upper end."""
        return self.strength + self._half_interval(self.drawn)

    def preferred(self, method: str, to: str) -> tuple[float, float, float]:
        """Probability that one method is preferred to another, and its 95 % interval."""
        a, b = self.methods.index(method), self.methods.index(to)
        difference = self.strength[a] - self.strength[b]
        half = self._half_interval(self.drawn[:, a] - self.drawn[:, b])
        return tuple(expit([difference, difference - half, difference + half]).tolist())

    def _half_interval(self, drawn: np.ndarray) -> np.ndarray:
        """The bootstrap's standard deviation, corrected for few units, times Student's quantile."""
        free = max(self.count - 1, 1)
        return stats.t.ppf((1 + CONFIDENCE) / 2, free) * drawn.std(0) * np.sqrt(self.count / free)


def strengths(answers: Answers, draws: int = 1000, seed: int = 0) -> Strengths:
    """Bradley and Terry's strengths, with a bootstrap over listeners, or over judgements if there
    are few listeners."""
    by_listener = wins_by_listener(answers)
    table = by_listener.sum(0)
    unit, units, weights = "listeners", by_listener, np.ones(len(by_listener))
    if len(by_listener) < FEW_LISTENERS:
        unit, weights = "judgements", table.ravel()
        units = np.eye(table.size).reshape(-1, *table.shape)  # a single win of each kind
    count = int(weights.sum())
    times = np.random.default_rng(seed).multinomial(count, weights / count, size=draws)
    tables = np.tensordot(times, units, 1)  # (draws, units) · (units, methods, methods)
    return Strengths(methods_of(answers), fit(table), fit(tables), unit, count)


def fit(table) -> np.ndarray:
    """Strengths of most likelihood: float (..., methods), mean 0, of wins of row over column (...,
    methods, methods).

    P(row over column) = 1 / (1 + exp(strength of column - strength of row)). By Newton's method,
    for all tables at once.
    """
    table = np.asarray(table, float)
    met = table + np.swapaxes(table, -1, -2)
    strength = np.zeros(table.shape[:-1])
    for _ in range(NEWTON_STEPS):
        chance = expit(strength[..., :, None] - strength[..., None, :])
        slope = (table - met * chance).sum(-1) - RIDGE * strength
        weight = met * chance * (1 - chance)
        curvature = (weight.sum(-1) + RIDGE)[..., None] * np.eye(table.shape[-1]) - weight
        strength += np.linalg.solve(curvature, slope[..., None])[..., 0]
    return strength - strength.mean(-1, keepdims=True)
