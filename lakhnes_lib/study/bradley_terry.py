"""Bradley and Terry's model of preference: one number a method, from who was chosen over whom.

Paper: none. Notebook: 08_user_study.
Source: Bradley and Terry, Rank analysis of incomplete block designs, Biometrika 1952.
Differences from the paper: §7 counts the comparisons that each method won (``study_statistics``).
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats
from scipy.special import expit

from lakhnes_lib.study.answers import Answers
from lakhnes_lib.study.study_statistics import (
    CONFIDENCE,
    compared_judgements,
    count_wins,
    methods_of,
    wins,
)

FEW_LISTENERS = 10
"""With fewer, the bootstrap draws single judgements instead of listeners."""
RIDGE = 0.001
"""Keeps the strength of a method that always or never won finite; beside real numbers of judgements
it is nothing."""


@dataclass(frozen=True)
class Strengths:
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
    methods, table, listeners = methods_of(answers), wins(answers), defaultdict(list)
    for judgement in compared_judgements(answers):
        listeners[judgement.listener].append(judgement)
    if len(listeners) >= FEW_LISTENERS:
        unit, count = "listeners", len(listeners)
        units = np.stack([count_wins(theirs, methods) for theirs in listeners.values()])
        probabilities = np.full(count, 1 / count)
    else:
        unit, count = "judgements", int(table.sum())
        units = np.eye(table.size).reshape(-1, *table.shape)  # a single win of each kind
        probabilities = table.ravel() / count
    times = np.random.default_rng(seed).multinomial(count, probabilities, size=draws)
    tables = np.tensordot(times, units, 1)  # (draws, units) · (units, methods, methods)
    return Strengths(methods, fit(table), fit(tables), unit, count)


def fit(table) -> np.ndarray:
    """Strengths of most likelihood: float (..., methods), mean 0, of wins of row over column (...,
    methods, methods).

    P(row over column) = 1 / (1 + exp(strength of column - strength of row)). Many tables are fitted
    as one problem.
    """
    table = np.asarray(table, float)
    shape = table.shape[:-1]
    table = table.reshape(-1, *table.shape[-2:])
    met = table + table.transpose(0, 2, 1)

    def loss(x):
        strength = x.reshape(len(table), -1)
        ahead = strength[:, :, None] - strength[:, None, :]
        nats = (table * np.logaddexp(0, -ahead)).sum() + RIDGE / 2 * (strength**2).sum()
        gradient = (met * expit(ahead) - table).sum(2) + RIDGE * strength
        return nats, gradient.ravel()

    options = {"gtol": 1e-6, "ftol": 1e-15, "maxiter": 2000, "maxfun": 4000}
    start = np.zeros(table.shape[0] * table.shape[1])
    fit = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    strength = fit.x.reshape(shape)
    return strength - strength.mean(-1, keepdims=True)
