"""The checks of the notebooks' exercises accept the solutions, and nothing near them."""

import exercises_00_01
import exercises_02_03
import exercises_04_05_06
import exercises_07_08
import exercises_09
import exercises_10
import exercises_11
import pytest

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
