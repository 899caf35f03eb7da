"""What the answers of a listening test say, and how surely.

Paper: §7, Figures 4 and 5. Notebook: 08_user_study.
As published: the share of pairs in which the real clip was found, or of comparisons that a method won, with standard
errors, and a t-test with normal approximation between methods. Beside it: Wilson's intervals, exact tests, Holm's
correction for many tests, Bradley and Terry's model of preference (1952), and how many judgements a test needs.
All of these but the bootstrap over listeners take judgements as independent of one another.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import optimize, stats
from scipy.special import expit

from lakhnes_lib.errors import BadStudy
from lakhnes_lib.study.answers import Answers, Judgement
from lakhnes_lib.study.designs import REAL

CONFIDENCE = 0.95
FEW_LISTENERS = 10
"""With fewer, the bootstrap draws single judgements instead of listeners."""
RIDGE = 0.001
"""Keeps the strength of a method that always or never won finite; beside real numbers of judgements it is nothing."""


@dataclass(frozen=True)
class Share:
    """``hits`` of ``n`` judgements. low, high: Wilson's 95 % interval; p: exact binomial test against one half."""

    name: str
    hits: int
    n: int
    low: float
    high: float
    p: float
    p_holm: float

    @property
    def share(self) -> float:
        """hits / n."""
        return self.hits / self.n

    @property
    def error(self) -> float:
        """Standard error as published, sqrt(a (1 - a) / n)."""
        return float(np.sqrt(self.share * (1 - self.share) / self.n))


@dataclass(frozen=True)
class Comparison:
    """Two methods. difference: of their shares; wins, n: of the first, when they met; p_normal: the published test, of
    the two shares (turing) or of the wins (preference); p_exact: Fisher's of the shares, or binomial of the wins."""

    first: str
    second: str
    difference: float
    wins: int
    n: int
    p_normal: float
    p_exact: float
    p_normal_holm: float
    p_exact_holm: float


@dataclass(frozen=True)
class Strengths:
    """Bradley and Terry's model. strength: float (methods,), mean 0; drawn: float (draws, methods), the bootstrap's;
    unit: what it drew, listeners or judgements; count: how many of them there are."""

    methods: list[str]
    strength: np.ndarray
    drawn: np.ndarray
    unit: str
    count: int

    @property
    def low(self) -> np.ndarray:
        """Lower end of the 95 % intervals, float (methods,)."""
        return self.strength - self._reach(self.drawn)

    @property
    def high(self) -> np.ndarray:
        """Upper end."""
        return self.strength + self._reach(self.drawn)

    def preferred(self, method: str, to: str) -> tuple[float, float, float]:
        """Probability that one method is preferred to another, and its 95 % interval."""
        a, b = self.methods.index(method), self.methods.index(to)
        middle, reach = (
            self.strength[a] - self.strength[b],
            self._reach(self.drawn[:, a] - self.drawn[:, b]),
        )
        return tuple(expit([middle, middle - reach, middle + reach]).tolist())

    def _reach(self, drawn: np.ndarray) -> np.ndarray:
        """Half an interval: the bootstrap's standard deviation, corrected for few units, times Student's quantile."""
        free = max(self.count - 1, 1)
        return stats.t.ppf((1 + CONFIDENCE) / 2, free) * drawn.std(0) * np.sqrt(self.count / free)


def methods_of(answers: Answers) -> list[str]:
    """What was compared: all methods of judgements that are no controls; real music first."""
    found = {
        method for judgement in _judged(answers) for method in (judgement.chosen, judgement.other)
    }
    return sorted(found, key=lambda method: (method != REAL, method))


def shares(answers: Answers) -> list[Share]:
    """Turing: in how many of a method's pairs the real clip was found (low is good). Preference: how many of its
    comparisons a method won."""
    counted = _counted(answers)
    tests = [stats.binomtest(hits, n) for hits, n in counted.values()]
    corrected = holm([test.pvalue for test in tests])
    found = []
    for (name, (hits, n)), test, p_holm in zip(counted.items(), tests, corrected, strict=True):
        low, high = test.proportion_ci(CONFIDENCE, method="wilson")
        found.append(
            Share(name, hits, n, float(low), float(high), float(test.pvalue), float(p_holm))
        )
    return found


def compare(answers: Answers) -> list[Comparison]:
    """Every two methods that can be compared."""
    counted, table, methods = _counted(answers), wins(answers), methods_of(answers)
    rows = []
    for first, second in combinations(counted, 2):
        (a, n), (b, m) = counted[first], counted[second]
        p, q = a / n, b / m
        error = np.sqrt(p * (1 - p) / n + q * (1 - q) / m)
        won, lost = (
            int(table[methods.index(x), methods.index(y)])
            for x, y in ((first, second), (second, first))
        )
        if answers.kind == "turing":
            normal = 2 * stats.norm.sf(abs(p - q) / error) if error else float(p == q)
            exact = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
        elif won + lost:
            # The shares of two methods that met are not independent; what they won against each other is.
            w = won / (won + lost)
            error = np.sqrt(w * (1 - w) / (won + lost))
            normal = 2 * stats.norm.sf(abs(w - 0.5) / error) if error else float(w == 0.5)
            exact = stats.binomtest(won, won + lost).pvalue
        else:
            continue
        rows.append((first, second, p - q, won, won + lost, float(normal), float(exact)))
    corrected = (holm([row[place] for row in rows]) for place in (5, 6))
    return [
        Comparison(*row, float(x), float(y)) for row, x, y in zip(rows, *corrected, strict=True)
    ]


def wins(answers: Answers) -> np.ndarray:
    """int64 (methods, methods): how often the row's method was chosen over the column's, in ``methods_of``'s order."""
    return _wins(_judged(answers), methods_of(answers))


def strengths(answers: Answers, draws: int = 1000, seed: int = 0) -> Strengths:
    """Bradley and Terry's strengths, with a bootstrap over listeners, or over judgements if there are few listeners."""
    judged, methods = _judged(answers), methods_of(answers)
    listeners = dict.fromkeys(judgement.listener for judgement in judged)
    if by_listener := len(listeners) >= FEW_LISTENERS:
        tables = [
            _wins([j for j in judged if j.listener == listener], methods) for listener in listeners
        ]
        units, count = np.stack(tables), len(tables)  # (listeners, methods, methods)
        weights = np.full(count, 1 / count)
    else:
        units = np.eye(len(methods) ** 2).reshape(-1, len(methods), len(methods))
        weights, count = _wins(judged, methods).ravel() / len(judged), len(judged)
    drawn = np.random.default_rng(seed).multinomial(count, weights, size=draws)
    drawn = bradley_terry(np.tensordot(drawn, units, 1))  # (draws, methods)
    strength = bradley_terry(_wins(judged, methods))
    return Strengths(methods, strength, drawn, "listeners" if by_listener else "judgements", count)


def bradley_terry(table) -> np.ndarray:
    """Strengths of most likelihood: float (..., methods), mean 0, of wins of row over column (..., methods, methods).

    P(row over column) = 1 / (1 + exp(strength of column - strength of row)). Many tables are fitted as one problem.
    """
    table = np.asarray(table, float)
    if table.ndim < 2 or table.shape[-1] != table.shape[-2]:
        raise BadStudy(f"wins must be a square table of methods, not of shape {table.shape}")
    shape = table.shape[:-1]
    table = table.reshape(-1, *table.shape[-2:])
    met = table + table.transpose(0, 2, 1)

    def loss(x):
        strength = x.reshape(len(table), -1)
        ahead = strength[:, :, None] - strength[:, None, :]
        gradient = (met * expit(ahead) - table).sum(2) + RIDGE * strength
        return (table * np.logaddexp(0, -ahead)).sum() + RIDGE / 2 * (
            strength**2
        ).sum(), gradient.ravel()

    options = {"gtol": 1e-6, "ftol": 1e-15, "maxiter": 2000, "maxfun": 4000}
    found = optimize.minimize(
        loss,
        np.zeros(table.shape[0] * table.shape[1]),
        jac=True,
        method="L-BFGS-B",
        options=options,
    )
    strength = found.x.reshape(shape)
    return strength - strength.mean(-1, keepdims=True)


def holm(p) -> np.ndarray:
    """Holm's step-down correction: p-values that may be held against one level however many tests there are."""
    p = np.asarray(p, float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def power(n: int, p: float, q: float, level: float = 0.05) -> float:
    """Probability that the published test, with ``n`` judgements of each, tells shares ``p`` and ``q`` apart."""
    error = np.sqrt((p * (1 - p) + q * (1 - q)) / n)
    border = stats.norm.isf(level / 2)
    return float(
        stats.norm.sf(border - abs(p - q) / error) + stats.norm.cdf(-border - abs(p - q) / error)
    )


def needed(p: float, q: float, wanted: float = 0.8, level: float = 0.05) -> int:
    """Judgements of each of two methods that give the published test this power. Raises BadStudy for equal shares."""
    if p == q or not (0 <= p <= 1 and 0 <= q <= 1) or not level < wanted < 1:
        raise BadStudy(f"no number of judgements tells {p:g} from {q:g} with power {wanted:g}")
    n = (
        (stats.norm.isf(level / 2) + stats.norm.ppf(wanted)) ** 2
        * (p * (1 - p) + q * (1 - q))
        / (p - q) ** 2
    )
    return max(1, int(np.ceil(n)))


def _judged(answers: Answers) -> list[Judgement]:
    found = [judgement for judgement in answers.judgements if not judgement.is_control]
    if not found:
        raise BadStudy("there are answers to control pairs alone, so nothing was compared")
    return found


def _wins(judgements, methods) -> np.ndarray:
    table, place = (
        np.zeros((len(methods), len(methods)), int),
        {name: n for n, name in enumerate(methods)},
    )
    for judgement in judgements:
        table[place[judgement.chosen], place[judgement.other]] += 1
    return table


def _counted(answers: Answers) -> dict[str, tuple[int, int]]:
    """hits and n of each method."""
    methods, table = methods_of(answers), wins(answers)
    if answers.kind == "turing":
        real = methods.index(REAL)
        return {
            name: (int(table[real, i]), int(table[real, i] + table[i, real]))
            for i, name in enumerate(methods)
            if i != real
        }
    return {
        name: (int(table[i].sum()), int(table[i].sum() + table[:, i].sum()))
        for i, name in enumerate(methods)
    }
