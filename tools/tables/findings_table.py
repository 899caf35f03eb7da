"""The paper's six findings, each as a sentence with its numbers at the size of a laptop.

The runs are those of results/findings.json, which ``benchmarks/findings.py`` writes: rows that were
trained on a tenth of the songs with several seeds. Runs of the same seed are compared with each
other, in nats an event, by a paired t-test over the seeds. Three seeds were planned, and more were
added because these left findings open (``findings_context`` says which). What was not run yet is
said to be not measured.
"""

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import stats

from lakhnes_lib.listening import reproduction, results

NGRAM, LSTM, XL = "few_5-gram", "few_lstm", "few_transformer_xl"
LSTM_AUGMENTED, XL_AUGMENTED = "few_lstm_augmented", "few_transformer_xl_augmented"
UNITS = (1, 2, 4)
LAKH = tuple(f"after_lakh_{units}" for units in UNITS)
LONGER = "augmented_longer"
PLANNED_SEEDS = 3
FEWEST_SONGS = 112
"""Songs of the runs that ask when a model overfits."""
NOT_YET = "not measured yet"


@dataclass(frozen=True)
class Finding:
    """What the paper says: ``better`` has less perplexity than ``worse``.

    claim: the sentence's beginning; paper: perplexities on test of ``better`` and ``worse`` in the
    paper; better, worse: names of runs.
    """

    claim: str
    paper: tuple[float, float]
    better: str
    worse: str


FINDINGS = (
    Finding("The LSTM beats a back-off 5-gram", (14.11, 37.25), LSTM, NGRAM),
    Finding("The Transformer-XL beats the LSTM", (3.501, 14.11), XL, LSTM),
    Finding("Augmentation helps the LSTM", (12.64, 14.11), LSTM_AUGMENTED, LSTM),
    Finding("Augmentation helps the Transformer-XL", (2.741, 3.501), XL_AUGMENTED, XL),
    Finding(
        "Four units of Lakh help it further",
        (2.460, 2.741),
        LAKH[-1],
        XL_AUGMENTED,
    ),
    Finding("Four units of Lakh help more than one", (2.460, 2.545), LAKH[-1], LAKH[0]),
)


def runs() -> list[dict]:
    """All runs that have ended."""
    path = results.path_of("findings")
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def by_name() -> dict[str, list[dict]]:
    """The runs that have ended, by name; of a name by seed."""
    named: dict[str, list[dict]] = {}
    for run in sorted(runs(), key=lambda run: run["seed"]):
        named.setdefault(run["name"], []).append(run)
    return named


def nats(all_runs: list[dict], name: str, split: str) -> dict[int, float]:
    """Seed -> mean nats an event of a run's best weights on a split, exact protocol."""
    named = (run for run in all_runs if run["name"] == name and split in run)
    return {run["seed"]: run[split]["nats"] for run in named}


def by_seed(all_runs: list[dict], names: tuple[str, ...], split: str) -> np.ndarray:
    """The same of several runs, over the seeds that all of them have: float64 (names, seeds)."""
    each = [nats(all_runs, name, split) for name in names]
    seeds = sorted(set.intersection(*map(set, each)))
    return np.array([[row[seed] for seed in seeds] for row in each], float)


def sentence(finding: Finding, all_runs: list[dict]) -> str:
    """The finding with the paper's numbers and ours; on test as soon as both rows have it."""
    better, worse = finding.paper
    # With as many digits as the paper gives them.
    numbers = " against ".join(f"{each:.{3 if each < 10 else 2}f}" for each in finding.paper)
    claim = f"**{finding.claim}** (paper: {numbers}, {better / worse - 1:+.0%})"
    return f"{claim}: {_beside(all_runs, finding.better, finding.worse)}."


def _beside(all_runs: list[dict], better: str, worse: str) -> str:
    """Two rows compared over their common seeds, on test as soon as both have it."""
    for split in ("test", "valid"):
        if (pairs := by_seed(all_runs, (better, worse), split)).size:
            return _compared(pairs, split)
    return NOT_YET


def sentences() -> list[str]:
    """All six."""
    all_runs = runs()
    return [sentence(finding, all_runs) for finding in FINDINGS]


def _compared(pairs: np.ndarray, split: str) -> str:
    """pairs: nats an event, float64 (2, seeds), those of what should be better first.

    The percentage is of the means, so that a reader can work it out; p is of the nats, by seed.
    """
    perplexities = np.exp(pairs)
    better, worse = map(mean_and_spread, perplexities)
    change = perplexities[0].mean() / perplexities[1].mean() - 1
    seen = "here" if change < 0 else "not seen here:"
    text = f"{seen} {better} against {worse} on {split}, {change:+.1%}"
    count = pairs.shape[1]
    if count < 2:
        return f"{text}, one seed, so no test"
    lower = (pairs[0] < pairs[1]).sum()
    return f"{text}, lower with {lower} of {count} seeds ({said_p(stats.ttest_rel(*pairs).pvalue)})"


def said_p(p: float) -> str:
    """p as a reader needs it."""
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"


def mean_and_spread(values: np.ndarray, digits: int = 2) -> str:
    """Mean, and the standard deviation if there is more than one value."""
    spread = [values.std(ddof=1)] if len(values) > 1 else []
    return " ± ".join(f"{value:,.{digits}f}" for value in (values.mean(), *spread))


def p_with(finding: Finding, count: int | None = None) -> float | None:
    """p of a finding on test with the first seeds, or all that both rows have; None if there are
    fewer, or only one."""
    pairs = by_seed(runs(), (finding.better, finding.worse), "test")[:, :count]
    if pairs.shape[1] < max(count or 2, 2):
        return None
    return float(stats.ttest_rel(*pairs).pvalue)


def further(measured_only: bool = False) -> list[str]:
    """What is asked beside the six findings, a paragraph each: all, or what was measured."""
    asked = [diminishing()], [control()], overfitting()
    said = [
        [each for each in sentences if not (measured_only and each.endswith(f"{NOT_YET}."))]
        for sentences in asked
    ]
    return [" ".join(sentences) for sentences in said if sentences]


def control() -> str:
    """Whether Lakh brings more than as many events more of NES-MDB itself: a sentence."""
    claim = f"**{max(UNITS)} units of Lakh help more than as many events more of NES-MDB**"
    return f"{claim}: {_beside(runs(), LAKH[-1], LONGER)}."


def diminishing() -> str:
    """Whether each step of Lakh gains less than the one before it: sentences.

    Only seeds that all rows have count, since seeds differ by more than amounts of Lakh.
    """
    known, all_runs = reproduction.known_answers()["figure_3"], runs()
    claim, amounts = "**Each further step of Lakh gains less**", (0, *UNITS)
    papers = -np.diff(np.log(known["test"]))  # (steps,)
    gains = ", ".join(f"{gain:.3f}" for gain in papers)
    for split in ("test", "valid"):
        gained = -np.diff(by_seed(all_runs, (XL_AUGMENTED, *LAKH), split), axis=0)
        if seeds := gained.shape[1]:
            seen = "seen" if (np.diff(gained.mean(1)) < 0).all() else "not seen"
            steps = ", ".join(f"{a} to {b}" for a, b in pairwise(amounts))
            ours = ", ".join(_gain(gain) for gain in gained)
            count = f"{seeds} seeds" if seeds > 1 else "one seed, which is no finding yet"
            lost = filter(None, map(_loss, amounts, amounts[1:], gained))
            text = f"From {steps} units the paper gains {gains} nats; here {ours} on {split}"
            text = "; ".join([f"{text} ({count})", *lost])
            return f"{claim}: {seen}. {text}. {_by_unit(gained, papers)}"
    return f"{claim}: {NOT_YET}."


def _gain(gains: np.ndarray) -> str:
    """Mean of gains by seed in nats, and their standard deviation if there are several seeds."""
    spread = f" ± {gains.std(ddof=1):.3f}" if len(gains) > 1 else ""
    return f"{gains.mean():.3f}{spread}"


def _by_unit(gained: np.ndarray, papers: np.ndarray) -> str:
    """What the first unit gains beside each unit after it: a sentence.

    gained: nats by step, (steps, seeds) float64; papers: the same of the paper, (steps,).
    """
    after = UNITS[-1] - UNITS[0]
    first, each = gained[0], gained[1:].sum(0) / after  # (seeds,)
    beside = f"paper: {papers[0]:.3f} and {papers[1:].sum() / after:.3f}"
    text = f"The first unit gains {first.mean():.3f}, each of the {after} after it"
    text = f"{text} {each.mean():.3f} ({beside})"
    if len(first) > 1:
        p = stats.ttest_rel(first, each).pvalue
        text += (
            f", the later ones less with {(each < first).sum()} of {len(first)} seeds, {said_p(p)}"
        )
    return f"{text}."


def _loss(fewer: int, more: int, gains: np.ndarray) -> str:
    """What is said of a step of Lakh that makes the mean worse; gains: nats an event, by seed."""
    if gains.mean() >= 0:
        return ""
    text = f"{more} units are worse than {fewer} in {(gains < 0).sum()} of {len(gains)} seeds"
    return f"{text}, {said_p(stats.ttest_1samp(gains, 0).pvalue)}" if len(gains) > 1 else text


def overfitting() -> list[str]:
    """Of each kind of network, whether augmentation delays overfitting: sentences."""
    said = []
    for title, plain in (("LSTM", LSTM), ("Transformer-XL", XL)):
        claim = f"**Augmentation delays the {title}'s overfitting**"
        turns = [_turns(f"{name}_{FEWEST_SONGS}") for name in (f"{plain}_augmented", plain)]
        if not (seeds := sorted(turns[0].keys() & turns[1].keys())):
            said.append(f"{claim}: {NOT_YET}.")
            continue
        augmented, written = ([each[seed] for seed in seeds] for each in turns)
        pairs = zip(augmented, written, strict=True)
        later = sum(late.best > early.best for late, early in pairs)
        said.append(
            f"{claim} ({FEWEST_SONGS} songs). With it, valid "
            f"{_turning(augmented)}. Without it, valid {_turning(written)}. That is earlier "
            f"with {later} of {len(seeds)} seeds."
        )
    return said


class Turn(NamedTuple):
    """When a run was best on valid, its last step, and by how many nats it was worse there."""

    best: int
    last: int
    risen: float


def _turning(turns: list[Turn]) -> str:
    """When valid turns, in words that claim no turn where valid still falls."""
    if all(turn.best == turn.last for turn in turns):
        return f"still falls at the last step, {mean_and_spread(_array(turns, 'last')[:1], 0)}"
    best = mean_and_spread(_array(turns, "best"), digits=0)
    risen = _array(turns, "risen").mean()
    return f"is lowest after {best} steps, and {risen:.2f} nats higher at the last one"


def _array(turns: list[Turn], name: str) -> np.ndarray:
    return np.array([getattr(turn, name) for turn in turns], float)


def _turns(name: str) -> dict[int, Turn]:
    """Seed -> when a run turned."""
    turns = {}
    for run in (run for run in runs() if run["name"] == name):
        steps, losses = zip(*run["curve"], strict=True)
        best = int(np.argmin(losses))
        turns[run["seed"]] = Turn(steps[best], steps[-1], losses[-1] - losses[best])
    return turns
