"""The checks of the exercises of notebooks 07 and 08 accept the solutions, and nothing near them.

The cells of the checks are run as they stand in the lesson, the solutions as they stand in theirs.
"""

from math import ceil, comb, exp, log2, sqrt
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from exercises import code_of

from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.evaluation import diagnostics, perplexity
from lakhnes_lib.listening.player import PREVIEW_RATE
from lakhnes_lib.models.language_model import UnigramModel
from lakhnes_lib.study import answers, study_statistics
from lakhnes_lib.study.clips import make_study

FOLDER = Path(__file__).parents[1] / "notebooks"
SCORED = [np.arange(631, dtype=np.uint16)]
LISTED = np.random.default_rng(0).integers(50, 3000, (90, 2))  # events and seconds of made-up songs
NATS = np.random.default_rng(1).uniform(0.5, 2.0, 90)
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
        "design": SimpleNamespace(trials=[]),
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


@pytest.fixture(scope="module")
def lessons():
    """The names of both lessons after their cells of exercises have run unanswered."""
    namespaces = {}
    for name, given in GIVEN.items():
        namespace = {"np": np} | given
        if name.startswith("08"):
            split = prepare("songbook")["test"]
            namespace["songs"] = [split.score(number) for number in range(len(split))]
            namespace["share_of"] = share_of
        cells = code_of(FOLDER / f"{name}.ipynb")
        for source in cells:
            if "# your answer" in source or source.startswith("def check_"):
                exec(source, namespace)
            elif any(text in source for text in (*NEEDED[name], "\ndef check_", "\ndef control_")):
                exec(source, namespace)
        if "control_pairs" in namespace:
            pairs = list(namespace["control_pairs"]())
            namespace["control_pairs"] = lambda pairs=pairs: pairs
        namespaces[name] = namespace
    return namespaces


def solution_of(name: str, answer: str):
    """The solution's function, with what its notebook defines beside it."""
    namespace = dict(SOLVED_WITH) | {"border": 1.959964}
    for source in code_of(FOLDER / "solutions" / f"{name}.ipynb"):
        blocks = source.split("\n\n\n")
        for block in blocks:
            if block.startswith("def "):
                exec(block, namespace)
    return namespace[answer]


def plain_mean(targets, perplexities):
    return float(np.mean(perplexities))


def by_events(targets, nats, others, rng):
    """Wrong: single songs are not weighted by their events."""
    drawn = rng.integers(0, len(targets), (1000, len(targets)))
    return tuple(np.quantile(np.exp((others - nats)[drawn].mean(1)), [0.025, 0.975]))


def foreign_to_all(lengths, streams, segment, memory):
    return sum(min(length, memory) for length in lengths)


def by_answers(right, pairs, rng):
    drawn = rng.binomial(len(right) * pairs, right.mean() / pairs, 1000)
    return tuple(np.quantile(drawn / (len(right) * pairs), [0.025, 0.975]))


def plain_interval(hits, n):
    half = 1.959964 * sqrt(hits / n * (1 - hits / n) / n)
    return hits / n - half, hits / n + half


EXERCISES = {
    ("07_quantitative_analysis", "check_whole"): ("whole_of", plain_mean),
    ("07_quantitative_analysis", "check_bits"): ("bits_a_second", lambda p, e, s: p * e / s),
    ("07_quantitative_analysis", "check_interval"): ("interval", by_events),
    ("07_quantitative_analysis", "check_order"): ("best_order", lambda ls: list(range(len(ls)))),
    ("07_quantitative_analysis", "check_foreign"): ("foreign", foreign_to_all),
    ("08_user_study", "check_judgements"): ("judgements_for", lambda half: round(1 / half**2)),
    ("08_user_study", "check_wilson"): ("wilson_interval", plain_interval),
    ("08_user_study", "check_passing"): ("passing", lambda s, m, n: (1 - s) ** (n - m)),
    ("08_user_study", "check_bootstrap"): ("by_listeners", by_answers),
    ("08_user_study", "check_judge"): ("judge", lambda a, b: "a"),
}
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda pair: pair[1])


@each_exercise
def test_an_unanswered_exercise_says_so(exercise, lessons, capsys):
    name, check = exercise
    lessons[name][check](lambda *_: None)
    assert "is not answered yet." in capsys.readouterr().out


@each_exercise
def test_the_check_accepts_the_solution(exercise, lessons, capsys):
    name, check = exercise
    lessons[name][check](solution_of(name, EXERCISES[exercise][0]))
    assert capsys.readouterr().out.startswith("Right")


@each_exercise
def test_the_check_refuses_what_is_wrong(exercise, lessons, capsys):
    name, check = exercise
    lessons[name][check](EXERCISES[exercise][1])
    assert capsys.readouterr().out.startswith("Not yet")
