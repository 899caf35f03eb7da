"""The answers of a listening test: read from any number of files, put together, and filtered.

Paper: §7 (its filters). Notebook: 08_user_study. ``tools/questionnaire.py`` reads the paper's own.
Differences from the paper: an answer that cannot be used is named, and costs no other answer.

An answers file is CSV, one answer a row: ``listener,design,trial,choice,time``. choice is ``a`` or
``b``, or ``undone`` in files of earlier versions, which takes back the answer before it. Of a
listener's answers to one trial the last counts.
"""

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lakhnes_lib.errors import BadStudy
from lakhnes_lib.files import read_bytes, replacing
from lakhnes_lib.study.designs import CONTROL, Design

FIELDS = ("listener", "design", "trial", "choice", "time")
UNDONE = "undone"


class Judgement(NamedTuple):
    """One listener chose one method over another."""

    listener: str
    batch: object
    chosen: str
    other: str


class Answers(NamedTuple):
    """What was judged. kind: turing or preference; pairs: how many pairs each batch has; refused: a
    sentence for each row that could not be used; replaced: answers that a later one of the same
    listener to the same trial replaced."""

    kind: str
    judgements: list[Judgement]
    pairs: dict
    refused: tuple[str, ...] = ()
    replaced: int = 0

    @property
    def listeners(self) -> list[str]:
        """Everybody who judged anything, in order of appearance."""
        return list(dict.fromkeys(judgement.listener for judgement in self.judgements))


def read(design: Design, paths: Iterable) -> Answers:
    """The answers to a design in one or several files. Raises BadStudy if none can be used."""
    rows, refused = [], []
    for path in paths:
        for line, row in read_rows(path, FIELDS):
            if fault := _fault(design, row):
                refused.append(f"{path}, line {line}: {fault}")
            else:
                rows.append((row["listener"], row["trial"], row["choice"]))
    answers = answers_of(design, rows, refused)
    if not answers.judgements:
        reason = f"; the first that cannot be used is {refused[0]}" if refused else ""
        names = ", ".join(map(str, paths))
        raise BadStudy(f"{names}: no answer to this study ({design.fingerprint}){reason}")
    return answers


def answers_of(design: Design, rows: Iterable[tuple[str, str, str]], refused=()) -> Answers:
    """Answers of rows (listener, trial, choice), in the order in which they were given."""
    trials = {trial.id: trial for trial in design.trials}
    last_choice, replaced = {}, 0
    for listener, trial, choice in rows:
        before = last_choice.pop((listener, trial), None)
        if choice != UNDONE:
            last_choice[listener, trial] = choice
            replaced += before is not None
    judgements = []
    for (listener, name), choice in last_choice.items():
        trial = trials[name]
        chosen, other = trial.methods if choice == "a" else trial.methods[::-1]
        judgements.append(Judgement(listener, trial.batch, chosen, other))
    pairs = Counter(trial.batch for trial in design.trials)
    return Answers(design.kind, judgements, dict(pairs), tuple(refused), replaced)


def merge(paths: Iterable, out) -> int:
    """One new file of all answers of several; rows that are the same are written once. Returns the
    number of rows.

    Raises BadStudy if ``out`` is there already, or a file is no answers file. Rows that are cut off
    are copied as they are, so that nothing is lost.
    """
    rows = [row for path in paths for _, row in read_rows(path, FIELDS)]
    rows = dict.fromkeys(tuple(row.get(name, "") for name in FIELDS) for row in rows)
    write(out, rows)
    return len(rows)


def filter_listeners(answers: Answers, batches=3, controls=True) -> tuple[Answers, dict[str, str]]:
    """The answers of listeners who completed so many batches and, with ``controls``, never took
    random for real.

    Returns also why each other listener was left out. Control judgements stay in. Raises BadStudy
    if nobody is left.
    """
    fooled = Counter(each.listener for each in answers.judgements if each.chosen == CONTROL)
    answered = Counter((each.listener, each.batch) for each in answers.judgements)
    complete = Counter(who for (who, batch), n in answered.items() if n >= answers.pairs[batch])
    reasons = {}
    for listener in answers.listeners:
        if complete[listener] < batches:
            reasons[listener] = f"completed {complete[listener]} of at least {batches} batches"
        elif controls and fooled[listener]:
            reasons[listener] = f"took random events for the better music {fooled[listener]} times"
    judgements = [each for each in answers.judgements if each.listener not in reasons]
    if not judgements:
        (name, reason), *_ = reasons.items()
        raise BadStudy(f"none of {len(reasons)} listeners passes the filter; {name} {reason}")
    return answers._replace(judgements=judgements), reasons


def read_rows(path, fields: tuple[str, ...]) -> list[tuple[int, dict]]:
    """Line number and fields of each row of a CSV file whose first line names at least these
    fields.

    The separator is that of the first line (a spreadsheet's is the country's). Raises BadStudy.
    """
    try:
        lines = read_bytes(path, BadStudy).decode("utf-8-sig").splitlines()
        separator = max(",;\t", key="".join(lines[:1]).count)
        reader = csv.DictReader(lines, delimiter=separator)
        if not set(fields) <= set(reader.fieldnames or ()):
            raise BadStudy(f"{path}: is no CSV file whose first line names {', '.join(fields)}")
        return [
            (reader.line_num, {k: text.strip() for k, text in row.items() if k and text})
            for row in reader
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadStudy(f"{path}: cannot be read as CSV ({error})") from None


def write(out, rows: Iterable[tuple]) -> None:
    """A new file of rows with all ``FIELDS``. Raises BadStudy if it exists."""
    if Path(out).exists():
        raise BadStudy(f"{out}: is there already, and answers are never written over")
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([FIELDS, *rows])


def _fault(design: Design, row: dict) -> str:
    """What is wrong with a row, or nothing."""
    if any(not row.get(name) for name in FIELDS):
        return "the row is cut off"
    if row["design"] != design.fingerprint:
        return f"an answer to another study ({row['design']}, not {design.fingerprint})"
    if row["trial"] not in {trial.id for trial in design.trials}:
        return f"the study has no trial {row['trial']!r}"
    if row["choice"] not in ("a", "b", UNDONE):
        return f"the choice {row['choice']!r} is neither a nor b"
    return ""
