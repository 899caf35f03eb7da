"""The exercises of notebooks 07 and 08: what their checks need, and answers that are wrong.

Here a check is called with the answer, and prints what it finds.
"""

import io
from contextlib import redirect_stdout
from functools import partial
from math import ceil, comb, exp, log2, sqrt

import numpy as np
from exercises import FOLDER, Lesson, code_of

from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.evaluation import diagnostics, perplexity
from lakhnes_lib.listening.player import PREVIEW_RATE
from lakhnes_lib.models.language_model import UnigramModel
from lakhnes_lib.study import answers, study_statistics
from lakhnes_lib.study.clips import make_study
from lakhnes_lib.study.designs import Clip, Design, Trial

SCORED = [np.arange(631, dtype=np.uint16)]
LISTED = np.random.default_rng(0).integers(50, 3000, (90, 2))  # events and seconds of made-up songs
NATS = np.random.default_rng(1).uniform(0.5, 2.0, 90)


class SilentDesign(Design):
    """A listening test whose clips are two seconds of silence."""

    def sound(self, name):
        return bytes(44 + 4 * PREVIEW_RATE)


DESIGN = SilentDesign(
    kind="turing",
    seconds=2,
    seed=0,
    trials=(Trial(id="t1", batch=0, a="c1", b="c2"), Trial(id="t2", batch=0, a="c1", b="c3")),
    clips={"c1": Clip(method="real"), "c2": Clip(method="mini"), "c3": Clip(method="random")},
)
GIVEN = {
    "07_quantitative_analysis": {
        "exp": exp,
        "diagnostics": diagnostics,
        "songs": SCORED,
        "model_name": "unigram",
        "exact": {"unigram": perplexity.exact(UnigramModel(), SCORED, progress=False)},
        "listed": LISTED,
        "real_lengths": LISTED[:, 0],
        "their_nats": NATS,
        "our_nats": NATS + 0.2,
        "whole": 2.45,
        "best": "mini",
    },
    "08_user_study": {
        "sqrt": sqrt,
        "border": 1.959964,
        "answers": answers,
        "study_statistics": study_statistics,
        "PREVIEW_RATE": PREVIEW_RATE,
        "design": DESIGN,
        "make_study": make_study,
        "sound": lambda design, name: np.frombuffer(design.sound(name)[44:], "<i2") / 32767,
    },
}
NEEDED = {  # cells of the lesson that its checks call
    "07_quantitative_analysis": ("def published_streams(",),
    "08_user_study": ("def one_study(",),
}
SOLVED_WITH = {"np": np, "exp": exp, "log2": log2, "ceil": ceil, "comb": comb, "sqrt": sqrt}


def share_of(hits, n):
    """As in the lesson: one share of a toy study, by the library."""
    rows = [answers.Judgement("toy", 0, "real", "x")] * hits
    rows += [answers.Judgement("toy", 0, "x", "real")] * (n - hits)
    return study_statistics.shares(answers.Answers("turing", rows, {0: n}))[0]


class PrintingLesson(Lesson):
    """A lesson whose checks print: "Right", "Not yet", or that there is no answer."""

    def run_unanswered(self) -> dict:
        names = dict(self._given)
        for source in code_of(FOLDER / f"{self.name}.ipynb"):
            needed = (*NEEDED[self.name], "\ndef check_", "\ndef control_")
            if source.startswith("def check_") or any(text in source for text in needed):
                exec(source, names)
            elif "# your answer" in source:
                exec(source, names)
        if "control_pairs" in names:
            pairs = list(names["control_pairs"]())
            names["control_pairs"] = lambda pairs=pairs: pairs
        return names

    def accepts(self, answer, value) -> bool:
        with redirect_stdout(io.StringIO()) as printed:
            self._names[self.checks[answer]](value)
        assert printed.getvalue().startswith(("Right", "Not yet")), printed.getvalue()
        return printed.getvalue().startswith("Right")


def plain_mean(targets, perplexities):
    return float(np.mean(perplexities))


def by_events(targets, nats, others, rng):
    """Wrong: single songs are not weighted by their events."""
    drawn = rng.integers(0, len(targets), (1000, len(targets)))
    return tuple(np.quantile(np.exp((others - nats)[drawn].mean(1)), [0.025, 0.975]))


def of_nine_in_ten(targets, nats, others, rng):
    """Wrong: the middle 90 % of the draws."""
    drawn = rng.integers(0, len(targets), (1000, len(targets)))
    ratios = np.exp(((others - nats) * targets)[drawn].sum(1) / targets[drawn].sum(1))
    return tuple(np.quantile(ratios, [0.05, 0.95]))


def foreign_to_all(lengths, streams, segment, memory):
    return sum(min(length, memory) for length in lengths)


def by_answers(right, pairs, rng):
    drawn = rng.binomial(len(right) * pairs, right.mean() / pairs, 1000)
    return tuple(np.quantile(drawn / (len(right) * pairs), [0.025, 0.975]))


def drawn_twice(right, pairs, rng):
    """Wrong: the answers of each drawn listener are drawn anew, so that chance counts twice."""
    drawn = rng.binomial(pairs, rng.choice(right, (1000, len(right))) / pairs)
    return tuple(np.quantile(drawn.mean(1) / pairs, [0.025, 0.975]))


def of_92_in_100(right, pairs, rng):
    """Wrong: the middle 92 % of the draws."""
    drawn = rng.choice(right, (1000, len(right)))
    return tuple(np.quantile(drawn.mean(1) / pairs, [0.04, 0.96]))


def by_a_generator_of_its_own(right, pairs, rng):
    """Wrong: who repeats the cell gets another interval."""
    drawn = np.random.default_rng().choice(right, (1000, len(right)))
    return tuple(np.quantile(drawn.mean(1) / pairs, [0.025, 0.975]))


def plain_interval(hits, n):
    half = 1.959964 * sqrt(hits / n * (1 - hits / n) / n)
    return hits / n - half, hits / n + half


CHECKS = {
    "07_quantitative_analysis": {
        "whole_of": "check_whole",
        "bits_a_second": "check_bits",
        "interval": "check_interval",
        "best_order": "check_order",
        "foreign": "check_foreign",
    },
    "08_user_study": {
        "judgements_for": "check_judgements",
        "wilson_interval": "check_wilson",
        "passing": "check_passing",
        "by_listeners": "check_bootstrap",
        "judge": "check_judge",
    },
}
WRONG = {
    "07_quantitative_analysis": {
        "whole_of": (plain_mean, lambda targets, perplexities: float("nan")),
        "bits_a_second": (
            lambda perplexity, events, seconds: perplexity * events / seconds,
            lambda perplexity, events, seconds: round(log2(perplexity)) * events / seconds,
            lambda perplexity, events, seconds: ceil(log2(perplexity)) * events / seconds,
            lambda perplexity, events, seconds: float("nan"),
        ),
        "interval": (by_events, of_nine_in_ten),
        "best_order": (lambda lengths: list(range(len(lengths))),),
        "foreign": (foreign_to_all,),
    },
    "08_user_study": {
        "judgements_for": (
            lambda half: round(1 / half**2),
            lambda half: int(0.9 / half**2),
            lambda half: 0,
        ),
        "wilson_interval": (plain_interval,),
        "passing": (lambda s, m, n: (1 - s) ** (n - m),),
        "by_listeners": (by_answers, by_a_generator_of_its_own, drawn_twice, of_92_in_100),
        "judge": (lambda a, b: "a", lambda a, b: "A", lambda a, b: 0),
    },
}


def names_of(name: str) -> dict:
    names = {"np": np} | GIVEN[name]
    if name.startswith("08"):
        split = prepare("songbook")["test"]
        names["songs"] = [split.score(number) for number in range(len(split))]
        names["share_of"] = share_of
    return names


def solved_with(name: str) -> dict:
    """With every function that the solutions define at the beginning of a block."""
    names = SOLVED_WITH | {"border": 1.959964}
    for source in code_of(FOLDER / "solutions" / f"{name}.ipynb"):
        for block in source.split("\n\n\n"):
            if block.startswith("def "):
                exec(block, names)
    return names


LESSONS = [
    PrintingLesson(
        name,
        CHECKS[name],
        WRONG[name],
        partial(names_of, name),
        partial(solved_with, name),
        says="is not answered yet.",
    )
    for name in WRONG
]
