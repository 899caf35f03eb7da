"""What the answers of a listening test say, and how surely.

Paper: §7, Figures 4 and 5. Notebook: 08_user_study.
As published: the share of pairs in which the real clip was found, or of comparisons that a method
won, with standard errors, and a t-test with normal approximation between methods.
Differences from the paper: beside it stand Wilson's intervals, exact tests, Holm's correction for
many tests, and how many judgements a test needs; ``bradley_terry`` has a model of preference.
All of these take judgements as independent of one another.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import stats

from lakhnes_lib.errors import BadStudy
from lakhnes_lib.study.answers import Answers, Judgement
from lakhnes_lib.study.designs import CONTROL, real_first

CONFIDENCE = 0.95


class Share(NamedTuple):
    """``hits`` of ``n`` judgements. share: hits / n; standard_error: as published, the square root
    of share (1 - share) / n; low, high: Wilson's 95 % interval; p: exact binomial test against one
    half; p_holm: p after Holm's correction."""

    name: str
    hits: int
    n: int
    share: float
    standard_error: float
    low: float
    high: float
    p: float
    p_holm: float


class Comparison(NamedTuple):
    """Two methods. difference: of their shares; wins, n: of the first, when they met; p_normal: the
    published test, of the two shares (turing) or of the wins (preference); p_exact: Fisher's of the
    shares, or binomial of the wins."""

    first: str
    second: str
    difference: float
    wins: int
    n: int
    p_normal: float
    p_exact: float
    p_normal_holm: float
    p_exact_holm: float


def methods_of(answers: Answers) -> list[str]:
    """What was compared: all methods of judgements that are no controls; real music first."""
    judgements = compared_judgements(answers)
    return real_first({name for judgement in judgements for name in judgement[2:]})


def shares(answers: Answers) -> list[Share]:
    """Turing: in how many of a method's pairs the real clip was found (low is good). Preference:
    how many of its comparisons a method won."""
    counts = _hits(answers)
    tests = [stats.binomtest(hits, n) for hits, n in counts.values()]
    corrected = holm([test.pvalue for test in tests])
    rows = []
    for name, test, p_holm in zip(counts, tests, corrected, strict=True):
        error = np.sqrt(test.statistic * (1 - test.statistic) / test.n)
        interval = test.proportion_ci(CONFIDENCE, method="wilson")
        numbers = (test.statistic, error, *interval, test.pvalue, p_holm)
        rows.append(Share(name, test.k, test.n, *map(float, numbers)))
    return rows


def compare(answers: Answers) -> list[Comparison]:
    """Every two methods that can be compared."""
    counts, table, methods = _hits(answers), wins(answers), methods_of(answers)
    rows = []
    for first, second in combinations(counts, 2):
        (a, n), (b, m) = counts[first], counts[second]
        p, q = a / n, b / m
        i, j = methods.index(first), methods.index(second)
        won, lost = int(table[i, j]), int(table[j, i])
        if answers.kind == "turing":
            normal = _normal_test(p - q, p * (1 - p) / n + q * (1 - q) / m)
            exact = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
        elif met := won + lost:
            # The shares of two methods that met are not independent; what they won against each
            # other is.
            share = won / met
            normal = _normal_test(share - 0.5, share * (1 - share) / met)
            exact = stats.binomtest(won, met).pvalue
        else:
            continue
        rows.append((first, second, p - q, won, won + lost, normal, float(exact)))
    normal, exact = (holm([row[column] for row in rows]).tolist() for column in (5, 6))
    corrected = zip(normal, exact, strict=True)
    return [Comparison(*row, *pair) for row, pair in zip(rows, corrected, strict=True)]


def wins(answers: Answers) -> np.ndarray:
    """int64 (methods, methods): how often the row's method was chosen over the column's, in
    ``methods_of``'s order."""
    return wins_by_listener(answers).sum(0)


def wins_by_listener(answers: Answers) -> np.ndarray:
    """int64 (listeners, methods, methods): the same for each listener who judged anything but
    controls."""
    judgements, methods = compared_judgements(answers), methods_of(answers)
    listeners = list(dict.fromkeys(judgement.listener for judgement in judgements))
    tables = np.zeros((len(listeners), len(methods), len(methods)), int)
    for listener, _, chosen, other in judgements:
        tables[listeners.index(listener), methods.index(chosen), methods.index(other)] += 1
    return tables


def holm(p) -> np.ndarray:
    """Holm's step-down correction: p-values that may be held against one level however many tests
    there are."""
    p = np.asarray(p, float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def power(n: int, p: float, q: float) -> float:
    """Probability that the published test, with ``n`` judgements of each, tells shares ``p`` and
    ``q`` apart at the level of 5 %."""
    difference = abs(p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / n)  # in standard errors
    border = stats.norm.isf((1 - CONFIDENCE) / 2)
    return float(stats.norm.sf(border - difference) + stats.norm.cdf(-border - difference))


def needed(p: float, q: float) -> int:
    """Judgements of each of two methods that give the published test a power of 80 %, as is usual:
    four of five such studies find the difference. Raises BadStudy for equal shares."""
    if p == q or not (0 <= p <= 1 and 0 <= q <= 1):
        raise BadStudy(f"no number of judgements tells a share of {p:g} from one of {q:g}")
    errors = stats.norm.isf((1 - CONFIDENCE) / 2) + stats.norm.ppf(0.8)
    return max(1, int(np.ceil(errors**2 * (p * (1 - p) + q * (1 - q)) / (p - q) ** 2)))


def compared_judgements(answers: Answers) -> list[Judgement]:
    """The judgements of pairs that are no controls. Raises BadStudy if there are none."""
    judgements = [each for each in answers.judgements if CONTROL not in (each.chosen, each.other)]
    if not judgements:
        raise BadStudy("there are answers to control pairs alone, so nothing was compared")
    return judgements


def _hits(answers: Answers) -> dict[str, tuple[int, int]]:
    """hits and n of each method, as ``shares`` has them."""
    table = wins(answers)
    met = table + table.T
    hits, totals = table.sum(1), met.sum(1)
    if answers.kind == "turing":
        hits, totals = table[0], met[0]  # of real music, the first, with each other method
    counts = zip(hits.tolist(), totals.tolist(), strict=True)
    return {name: pair for name, pair in zip(methods_of(answers), counts, strict=True) if pair[1]}


def _normal_test(difference: float, variance: float) -> float:
    """Two-sided p-value of a difference with this variance, by the normal approximation."""
    if variance == 0:
        return float(difference == 0)
    return float(2 * stats.norm.sf(abs(difference) / np.sqrt(variance)))
