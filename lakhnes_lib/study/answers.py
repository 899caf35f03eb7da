"""The answers of a listening test: written one by one, read back whatever became of the file, and filtered.

Paper: §7 (its filters; its questionnaire's files are read as well). Notebook: 08_user_study.
Differences from the paper: an answer that cannot be used is named, and costs no other answer.

An answers file is CSV, one answer a row: ``listener,design,trial,choice,time``. choice is ``a`` or ``b``, or
``undone``, which takes back the answer before it. Of a listener's answers to one trial the last counts.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from lakhnes_lib.errors import BadStudy
from lakhnes_lib.files import replacing
from lakhnes_lib.study.designs import CONTROL, REAL, Design

FIELDS = ("listener", "design", "trial", "choice", "time")
UNDONE = "undone"


class Judgement(NamedTuple):
    """One listener chose one method over another."""

    listener: str
    batch: object
    chosen: str
    other: str

    @property
    def is_control(self) -> bool:
        """Real music against random events."""
        return CONTROL in (self.chosen, self.other)


@dataclass(frozen=True)
class Answers:
    """What was judged. kind: turing or preference; pairs: how many pairs each batch has; refused: a sentence for each
    row that could not be used; replaced: answers that a later one of the same listener to the same trial replaced."""

    kind: str
    judgements: list[Judgement]
    pairs: dict
    refused: tuple[str, ...] = ()
    replaced: int = 0

    @property
    def listeners(self) -> list[str]:
        """Everybody who judged anything, in order of appearance."""
        return list(dict.fromkeys(judgement.listener for judgement in self.judgements))


def append(path, listener: str, design: Design, trial: str, choice: str) -> None:
    """Adds one answer to a file and has it on the disk before it returns; a half-written last line is closed first.

    Raises BadStudy if the file is there and is no answers file of ours, or cannot be written, and for a listener's name
    of more than letters, digits, dots and dashes.
    """
    path = Path(path)
    if not re.fullmatch(r"[\w.-]{1,40}", listener):
        raise BadStudy(
            f"{listener!r}: a listener's name is up to 40 letters, digits, dots and dashes"
        )
    line = ",".join(
        (
            listener,
            design.fingerprint,
            trial,
            choice,
            datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
    )
    head = ",".join(FIELDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.seek(0)
            first = file.readline().decode("utf-8", "replace").strip("\ufeff\r\n")
            if first and first != head:
                raise BadStudy(
                    f"{path}: nothing is added, since it does not begin with the line {head}"
                )
            begin = "" if first else head + "\n"
            if first:
                file.seek(-1, os.SEEK_END)
                begin = "" if file.read(1) == b"\n" else "\n"
            file.write(f"{begin}{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise BadStudy(f"{path}: the answer could not be kept ({error.strerror})") from error


def read(design: Design, paths: Iterable) -> Answers:
    """The answers to a design in one or several files. Raises BadStudy if none can be used."""
    rows, refused = [], []
    for path in paths:
        for line, row in _rows(path, FIELDS):
            fault = _fault(design, row)
            if fault:
                refused.append(f"{path}, line {line}: {fault}")
            else:
                rows.append((row["listener"], row["trial"], row["choice"]))
    answers = answers_of(design, rows, refused)
    if not answers.judgements:
        why = f"; the first that cannot be used is {refused[0]}" if refused else ""
        raise BadStudy(
            f"{', '.join(map(str, paths))}: no answer to this study ({design.fingerprint}){why}"
        )
    return answers


def answers_of(design: Design, rows: Iterable[tuple[str, str, str]], refused=()) -> Answers:
    """Answers of rows (listener, trial, choice), in the order in which they were given."""
    trials = {trial.id: trial for trial in design.trials}
    last, replaced = {}, 0
    for listener, trial, choice in rows:
        before = last.pop((listener, trial), None)
        if choice != UNDONE:
            last[listener, trial] = choice
            replaced += before is not None
    judgements = []
    for (listener, name), choice in last.items():
        trial = trials[name]
        a, b = trial.methods if choice == "a" else trial.methods[::-1]
        judgements.append(Judgement(listener, trial.batch, a, b))
    pairs = Counter(trial.batch for trial in design.trials)
    return Answers(design.kind, judgements, dict(pairs), tuple(refused), replaced)


def open_trials(design: Design, listener: str, path) -> list:
    """What a listener has not answered yet in this file, in order; all of the design if there is no file."""
    if not Path(path).exists():
        return list(design.trials)
    done = {}
    for _, row in _rows(path, FIELDS):
        if row.get("listener") == listener and not _fault(design, row):
            done[row["trial"]] = row["choice"] != UNDONE
    return [trial for trial in design.trials if not done.get(trial.id)]


def merge(paths: Iterable, out) -> int:
    """One new file of all answers of several; rows that are the same are kept once. Returns the number of rows.

    Raises BadStudy if ``out`` is there already, or a file is no answers file. Rows that are cut off are kept as they
    are, so that nothing is lost.
    """
    rows = dict.fromkeys(
        tuple(row.get(name) or "" for name in FIELDS)
        for path in paths
        for _, row in _rows(path, FIELDS)
    )
    _write(out, rows)
    return len(rows)


def write(
    out, design: Design, rows: Iterable[tuple[str, str, str]], time: str = "simulated"
) -> None:
    """A new file of rows (listener, trial, choice), with what ``time`` says in place of times. Raises BadStudy if it is
    there already."""
    _write(
        out,
        [(listener, design.fingerprint, trial, choice, time) for listener, trial, choice in rows],
    )


def read_questionnaire(paths: Iterable, key) -> Answers:
    """The answers of the paper's own questionnaire, as its platform gave them out.

    paths: CSV with ``WorkerId`` and, for each pair i, ``Input.pair_{i}_clip_a_url``, ``..._b_url`` and
    ``Answer.pair_{i}_pref`` (A or B); key: CSV with ``uuid,method``. A clip's uuid is its file's name.
    Its names ``real_data`` and ``control`` become ours. Raises BadStudy.
    """
    names = {"real_data": REAL, "control": CONTROL}
    methods = {
        row["uuid"]: names.get(row["method"], row["method"])
        for _, row in _rows(key, ("uuid", "method"))
    }
    judgements, refused, pairs = [], [], {}
    for path in paths:
        for line, row in _rows(path, ("WorkerId",)):
            numbers = [
                name[1]
                for name in map(re.compile(r"Input\.pair_(\d+)_clip_a_url").fullmatch, row)
                if name
            ]
            batch = f"{path}, line {line}"
            pairs[batch] = len(numbers)
            for i in numbers:
                urls = [row.get(f"Input.pair_{i}_clip_{side}_url") or "" for side in "ab"]
                pair = [methods.get(url.rsplit("/")[-1].split(".")[0]) for url in urls]
                choice = (row.get(f"Answer.pair_{i}_pref") or "").strip().lower()
                if None in pair:
                    refused.append(f"{batch}: pair {i} has a clip that {key} does not name")
                elif choice not in ("a", "b"):
                    refused.append(
                        f"{batch}: the answer to pair {i} is {choice!r}, neither A nor B"
                    )
                else:
                    judgements.append(
                        Judgement(row["WorkerId"], batch, *(pair if choice == "a" else pair[::-1]))
                    )
    if not judgements:
        raise BadStudy(
            f"{', '.join(map(str, paths))}: no answer of a questionnaire that {key} is the key to"
        )
    kind = "turing" if all(REAL in (j.chosen, j.other) for j in judgements) else "preference"
    return Answers(kind, judgements, pairs, tuple(refused))


def keep(
    answers: Answers, batches: int = 3, controls: bool = True
) -> tuple[Answers, dict[str, str]]:
    """The answers of listeners who completed so many batches and, with ``controls``, never took random for real.

    Returns also why each other listener was left out. Control judgements stay in. Raises BadStudy if nobody is left.
    """
    answered = Counter((judgement.listener, judgement.batch) for judgement in answers.judgements)
    complete = Counter(
        listener for (listener, batch), count in answered.items() if count >= answers.pairs[batch]
    )
    missed = Counter(
        judgement.listener for judgement in answers.judgements if judgement.chosen == CONTROL
    )
    dropped = {}
    for listener in answers.listeners:
        if complete[listener] < batches:
            dropped[listener] = f"completed {complete[listener]} of at least {batches} batches"
        elif controls and missed[listener]:
            dropped[listener] = f"took random events for the better music {missed[listener]} times"
    kept = [judgement for judgement in answers.judgements if judgement.listener not in dropped]
    if not kept:
        name, why = next(iter(dropped.items()))
        raise BadStudy(
            f"none of {len(dropped)} listeners passes the filter: {name}, for one, {why}"
        )
    return replace(answers, judgements=kept), dropped


def _write(out, rows) -> None:
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


def _rows(path, fields: tuple[str, ...]) -> list[tuple[int, dict]]:
    """Line number and fields of each row; the separator is that of the first line (Excel's is the country's)."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadStudy(f"{path}: cannot be read as CSV ({error})") from error
    lines = text.splitlines()
    for separator in ",;\t":
        reader = csv.DictReader(lines, delimiter=separator)
        if reader.fieldnames and set(fields) <= set(reader.fieldnames):
            try:
                return [
                    (reader.line_num, {k: v.strip() for k, v in row.items() if k and v})
                    for row in reader
                ]
            except csv.Error as error:
                raise BadStudy(
                    f"{path}, line {reader.line_num}: is no row of CSV ({error})"
                ) from error
    raise BadStudy(
        f"{path}: is no CSV file of the kind needed: its first line has to name {', '.join(fields)}"
    )
