"""The report of a listening test, from answers to p-values, as text, numbers and figures.

Paper: §7. Notebook: 08_user_study.
Differences from the paper: see ``study_statistics``.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lakhnes_lib.files import write_file
from lakhnes_lib.listening.pictures import Picture
from lakhnes_lib.listening.templates import render
from lakhnes_lib.study import bradley_terry, study_plots, study_statistics
from lakhnes_lib.study.answers import Answers, filter_listeners
from lakhnes_lib.study.bradley_terry import Strengths
from lakhnes_lib.study.study_statistics import Comparison, Share

TEMPLATE = Path(__file__).with_name("study_report.md.jinja")
PUBLISHED_BATCHES = {"turing": 3, "preference": 1}
"""Batches that a listener must have completed, as published; never more than a design has."""


class StudyReport(NamedTuple):
    """What a listening test says. answers: those that count; dropped: listener -> why theirs do
    not; text: Markdown; pictures: by name."""

    answers: Answers
    dropped: dict[str, str]
    shares: list[Share]
    comparisons: list[Comparison]
    strengths: Strengths
    text: str
    pictures: dict[str, Picture]


def analyse(answers: Answers, batches=None, controls=True, remark="") -> StudyReport:
    """Filters the answers and analyses those that are left.

    batches, controls: as in ``answers.filter_listeners``; the published ones if None and True.
    remark: a line for the text and over the figures. Raises BadStudy if nobody passes the filter.
    """
    if batches is None:
        batches = min(PUBLISHED_BATCHES[answers.kind], len(answers.pairs))
    answers, dropped = filter_listeners(answers, batches, controls)
    statistics = {
        "shares": study_statistics.shares(answers),
        "comparisons": study_statistics.compare(answers),
        "strengths": bradley_terry.strengths(answers),
    }
    pictures = {"shares": study_plots.bars(statistics["shares"], answers.kind, remark)}
    if answers.kind == "preference":
        pictures["strengths"] = study_plots.strengths(statistics["strengths"], remark)
    words = {"kind": answers.kind, "remark": remark, "needed": study_statistics.needed(0.45, 0.55)}
    filtered = {"answers": answers, "dropped": dropped, "batches": batches, "controls": controls}
    text = render(TEMPLATE, **words, **filtered, **statistics)
    return StudyReport(answers, dropped, **statistics, text=text, pictures=pictures)


def write(report: StudyReport, folder) -> Path:
    """Writes ``report.md``, ``report.json`` and a PNG of each picture into a folder, and returns
    it."""
    folder, model = Path(folder), report.strengths
    keys = ("strength", "low", "high")
    rows = np.stack([model.strength, model.low, model.high], axis=1).tolist()
    strengths = [dict(zip(keys, row, strict=True)) for row in rows]
    values = {"kind": report.answers.kind, "listeners": report.answers.listeners}
    values |= {"dropped": report.dropped, "shares": [row._asdict() for row in report.shares]}
    values |= {"comparisons": [row._asdict() for row in report.comparisons]}
    values |= {"strengths": dict(zip(model.methods, strengths, strict=True))}
    write_file(folder / "report.md", report.text)
    write_file(folder / "report.json", json.dumps(values, indent=1))
    for name, picture in report.pictures.items():
        write_file(folder / f"{name}.png", picture.png())
    return folder
