"""The checks of the notebooks' exercises accept the solutions, and nothing near them."""

import ast
import sys
from collections import Counter
from pathlib import Path

import exercises_00_01
import exercises_02_03
import exercises_04_05_06
import exercises_07_08
import exercises_09
import exercises_10
import exercises_11
import nbformat
import pytest
import statements

MODULES = (
    exercises_00_01,
    exercises_02_03,
    exercises_04_05_06,
    exercises_07_08,
    exercises_09,
    exercises_10,
    exercises_11,
)
LESSONS = [lesson for module in MODULES for lesson in module.LESSONS]
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
ANSWERS = [(lesson, answer) for lesson in LESSONS for answer in lesson.checks]
each_answer = pytest.mark.parametrize(
    "lesson, answer", ANSWERS, ids=[f"{lesson.name}-{answer}" for lesson, answer in ANSWERS]
)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_unanswered_exercises_say_so(lesson, capsys):
    lesson.run_unanswered()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(lesson.checks) == len(lesson.wrong)
    assert all(lesson.says in line for line in printed)


@each_answer
def test_the_check_accepts_the_solution(lesson, answer):
    assert lesson.accepts(answer, lesson.solution(answer))


@each_answer
def test_the_check_refuses_what_is_wrong(lesson, answer):
    assert lesson.wrong[answer]
    assert not any(lesson.accepts(answer, wrong) for wrong in lesson.wrong[answer])


@pytest.mark.parametrize(
    "lesson", [each for each in LESSONS if each.right], ids=lambda each: each.name
)
def test_the_check_accepts_other_right_answers(lesson):
    for answer, others in lesson.right.items():
        assert all(lesson.accepts(answer, other) for other in others)


def test_a_check_that_counts_lines_leaves_the_trace_function_as_it_was():
    """A debugger or a measurement of coverage may be at work when a notebook's check runs."""
    (lesson,) = (each for each in LESSONS if "unshift" in each.checks)
    before, seen = sys.gettrace(), []

    def trace(frame, event, arg):
        seen.append(frame.f_code.co_name)

    answers = [lesson.solution("unshift"), *lesson.wrong["unshift"]]
    sys.settrace(trace)
    try:
        accepted = [lesson.accepts("unshift", answer) for answer in answers]
        after = sys.gettrace()
    finally:
        sys.settrace(before)
    assert after is trace and "is_unshift" in seen
    assert accepted == [True] + [False] * (len(answers) - 1)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_check_reads_is_bound_in_one_cell_alone(path):
    """A name that a later cell gives another value would mean something else to the check."""
    cells = nbformat.read(path, as_version=4).cells
    cells = [cell for cell in cells if cell.cell_type == "code" or "## Exercises" in cell.source]
    begin = next(n for n, cell in enumerate(cells) if cell.cell_type == "markdown")
    of_lesson, of_checks = (
        [statements.split(cell.source) for cell in part]
        for part in (cells[:begin], cells[begin + 1 :])
    )
    imports = ast.Import | ast.ImportFrom
    bound = Counter(
        name
        for cell in of_lesson
        for name in {n for each in cell if not isinstance(each.node, imports) for n in each.binds}
    )
    here = {name for cell in of_checks for each in cell for name in each.binds}
    read = {name for cell in of_checks for each in cell for name in each.reads} - here
    assert bound and read and not {name for name in read if bound[name] > 1}
