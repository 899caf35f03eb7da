"""The paper's six findings, each as a sentence with its numbers at the size of a laptop.

The runs are those of results/findings.json, which ``benchmarks/findings.py`` writes: rows that were
trained on a tenth of the songs with several seeds. Runs of the same seed are compared with each
other, in nats an event, by a paired t-test over the seeds. What was not run yet is said to be not
measured.
"""

import json
from dataclasses import dataclass
from math import exp

import numpy as np
from scipy import stats

from lakhnes_lib.listening import results

NGRAM, LSTM, XL = "few_5-gram", "few_lstm", "few_transformer_xl"
LSTM_AUGMENTED, XL_AUGMENTED = "few_lstm_augmented", "few_transformer_xl_augmented"
LAKH = tuple(f"after_lakh_{units}" for units in (1, 2, 4))
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
    Finding("An LSTM is below a 5-gram", (14.11, 37.25), LSTM, NGRAM),
    Finding("A Transformer-XL is below the LSTM", (3.501, 14.11), XL, LSTM),
    Finding("Augmentation lowers the LSTM", (12.64, 14.11), LSTM_AUGMENTED, LSTM),
    Finding("Augmentation lowers the Transformer-XL", (2.741, 3.501), XL_AUGMENTED, XL),
    Finding("Pre-training on Lakh lowers it further", (2.460, 2.741), LAKH[-1], XL_AUGMENTED),
    Finding("More of Lakh lowers it more", (2.460, 2.545), LAKH[-1], LAKH[0]),
)


def runs() -> list[dict]:
    """All runs that have ended."""
    path = results.path_of("findings")
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def nats(all_runs: list[dict], name: str, split: str) -> dict[int, float]:
    """Seed -> mean nats an event of a run's best weights on a split, exact protocol."""
    named = (run for run in all_runs if run["name"] == name and split in run)
    return {run["seed"]: run[split]["nats"] for run in named}


def sentence(finding: Finding, all_runs: list[dict]) -> str:
    """The finding with the paper's numbers and ours; on test as soon as both rows have it."""
    better, worse = finding.paper
    # With as many digits as the paper gives them.
    numbers = " against ".join(f"{each:.{3 if each < 10 else 2}f}" for each in finding.paper)
    claim = f"**{finding.claim}** (paper: {numbers}, {better / worse - 1:+.0%})"
    for split in ("test", "valid"):
        ours = [nats(all_runs, name, split) for name in (finding.better, finding.worse)]
        seeds = sorted(ours[0].keys() & ours[1].keys())
        if seeds:
            pairs = np.array([[each[seed] for seed in seeds] for each in ours])
            return f"{claim}: {_compared(pairs)} on {split}."
    return f"{claim}: {NOT_YET}."


def sentences() -> list[str]:
    """All six."""
    all_runs = runs()
    return [sentence(finding, all_runs) for finding in FINDINGS]


def _compared(pairs: np.ndarray) -> str:
    """pairs: nats an event, float64 (2, seeds), those of what should be better first."""
    better, worse = (_mean_and_spread(row) for row in np.exp(pairs))
    change = exp((pairs[0] - pairs[1]).mean()) - 1
    seen = "here" if change < 0 else "not seen here:"
    text = f"{seen} {better} against {worse}, {change:+.1%}"
    count = pairs.shape[1]
    if count < 2:
        return f"{text}, one seed, so no test,"
    p = stats.ttest_rel(*pairs).pvalue
    return f"{text}, {count} seeds, paired t-test p = {p:.2g},"


def _mean_and_spread(perplexities: np.ndarray) -> str:
    if len(perplexities) < 2:
        return f"{perplexities[0]:.2f}"
    return f"{perplexities.mean():.2f} ± {perplexities.std(ddof=1):.2f}"


def diminishing() -> str:
    """Whether the second step of Lakh, which is twice the first, gains less: a sentence.

    Only seeds that all three rows have count, since seeds differ by more than amounts of Lakh.
    """
    all_runs, claim = runs(), "The second step of Lakh gains less than the first"
    for split in ("test", "valid"):
        each = [nats(all_runs, name, split) for name in LAKH]
        if seeds := sorted(set.intersection(*map(set, each))):
            one, two, four = (np.mean([row[seed] for seed in seeds]) for row in each)
            seen = "seen here" if two - four < one - two else "not seen here"
            gains = f"{one - two:+.3f} and {two - four:+.3f} nats an event on {split}"
            count = f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed, which is no finding yet"
            return f"{claim}: {seen}, {gains} ({count})."
    return f"{claim}: {NOT_YET}."


def recipe() -> list[tuple[str, ...]]:
    """Rows of every run in the file: name, seeds, perplexity on valid and test, minutes."""
    all_runs, rows = runs(), []
    for name in dict.fromkeys(run["name"] for run in all_runs):
        own = [run for run in all_runs if run["name"] == name]
        cells = []
        for split in ("valid", "test"):
            values = list(nats(all_runs, name, split).values())
            cells.append(_mean_and_spread(np.exp(values)) if values else "–")
        minutes = np.median([run["minutes"] for run in own])
        events = np.mean([run["events"] for run in own])
        rows.append((name, f"{len(own)}", *cells, f"{events / 1e6:.1f} M", f"{minutes:.0f}"))
    return rows
