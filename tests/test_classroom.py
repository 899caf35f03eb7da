"""The course for nbgrader: assignments with points, releases without solutions, a full round."""

import os
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path

import classroom
import lesson_exercises
import nbformat
import pytest
import statements
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI, NbGraderApp
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.preprocessors import ClearSolutions, LockCells

HERE = Path(__file__).parent
LESSONS = sorted((classroom.ROOT / "notebooks").glob("[0-9]*.ipynb"))
NAMES = [path.stem for path in LESSONS]
QUICK = ["02_event_representation", "03_lakh_to_nes"]  # the two that run in the shortest time
MODULES = [import_module(path.stem) for path in sorted(HERE.glob("exercises_*.py"))]
ANSWERED = [lesson for module in MODULES for lesson in module.LESSONS]
each_name = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The folder that the command writes."""
    folder = tmp_path_factory.mktemp("made") / "class"
    assert classroom.main([str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def nbgrader(course):
    """nbgrader as it runs in the folder, with its settings; the quick assignments are released."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(course)
        # nbgrader calls a command that is installed beside it.
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        application = NbGraderApp()
        application.initialize([])
        api = NbGraderAPI(config=application.config)
        for name in QUICK:
            done = api.generate_assignment(name)
            assert done["success"], done
        yield api


@pytest.fixture(scope="module")
def released(course, nbgrader):
    """The cells of every assignment as students get them, by its name."""
    steps = [step(config=nbgrader.config) for step in (LockCells, ClearSolutions)]
    cells = {}
    for name in NAMES:
        notebook = nbformat.read(course / "source" / name / f"{name}.ipynb", as_version=4)
        for step in steps:
            notebook, _ = step.preprocess(notebook, {})
        cells[name] = notebook.cells
    return cells


def cells_of(course: Path, name: str) -> list:
    return nbformat.read(course / "source" / name / f"{name}.ipynb", as_version=4).cells


def by_grade_id(cells: list) -> dict[str, str]:
    """The source of each cell by its name."""
    return {cell.metadata.nbgrader.grade_id: cell.source for cell in cells}


def lines_of(cells: list) -> set[str]:
    """What stands in the cells, line by line."""
    return {line.strip() for cell in cells for line in cell.source.splitlines()} - {""}


@each_name
def test_every_cell_has_a_part_and_a_name_of_its_own(course, name):
    notebook = nbformat.read(course / "source" / name / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    MetadataValidator().validate_nb(notebook)
    marks = [cell.metadata.nbgrader for cell in notebook.cells]
    assert len({each.grade_id for each in marks}) == len(notebook.cells)
    assert all(each.locked or each.solution for each in marks)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and 'profile = "smoke"' in tagged[0].source


@each_name
def test_every_exercise_has_an_answer_a_check_and_points(course, name):
    cells = cells_of(course, name)
    marks = {cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader for cell in cells}
    answers = {key.removeprefix("answer-") for key in marks if key.startswith("answer-")}
    checks = {key.removeprefix("check-") for key in marks if key.startswith("check-")}
    assert answers == checks == {str(number) for number in range(1, len(answers) + 1)}
    assert 4 <= len(answers) <= 6
    by_machine = [each.points for each in marks.values() if each.grade and not each.solution]
    by_person = [each.points for each in marks.values() if each.grade and each.solution]
    assert 4 <= len(by_machine) and all(1 <= points <= 6 for points in by_machine)
    assert by_person == [classroom.PROJECT_POINTS]
    assert f"assignment of {sum(by_machine + by_person)} points" in by_grade_id(cells)["marks"]


@each_name
def test_lesson_is_all_there_and_links_to_nothing_that_is_not(course, name):
    made = cells_of(course, name)
    lesson = nbformat.read(classroom.ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    (start,) = (n for n, cell in enumerate(lesson) if classroom.EXERCISES.search(cell.source))
    code = [cell.source for cell in lesson[:start] if cell.cell_type == "code"]
    assert code == [cell.source for cell in made if cell.cell_type == "code"][: len(code)]
    prose = "\n".join(cell.source for cell in made if cell.cell_type == "markdown")
    assert not re.findall(r"\]\((?!https?:)[^)]+\.(?:ipynb|py|md|yaml)\)", prose)
    assert "solutions/" not in prose


@each_name
def test_release_holds_no_line_of_a_solution(released, name):
    lesson, solved = (
        nbformat.read(classroom.ROOT / "notebooks" / folder / f"{name}.ipynb", as_version=4).cells
        for folder in (".", "solutions")
    )
    lines = lines_of(released[name])
    assert not lines & (lines_of(solved) - lines_of(lesson))
    assert not any("BEGIN" in line or "END SOLUTION" in line for line in lines)
    answers = [cell for cell in released[name] if cell.metadata.nbgrader.solution]
    assert all(re.search(r"YOUR (CODE|ANSWER) HERE$", cell.source) for cell in answers)


@pytest.mark.parametrize("name", QUICK)
def test_what_nbgrader_releases_is_that(course, nbgrader, released, name):
    folder = course / "release" / name
    cells = nbformat.read(folder / f"{name}.ipynb", as_version=4).cells
    assert by_grade_id(cells) == by_grade_id(released[name])
    assert (folder / "SETUP.md").is_file()


def test_a_released_lesson_may_be_changed_and_its_checks_may_not(nbgrader, released):
    assert nbgrader.config.Execute.timeout == 900
    for cells in released.values():
        for cell in cells:
            is_check = cell.metadata.nbgrader.grade and not cell.metadata.nbgrader.solution
            assert cell.metadata.get("editable", True) != is_check
            assert not cell.metadata.deletable


@pytest.mark.parametrize("lesson", ANSWERED, ids=lambda lesson: lesson.name)
def test_checks_accept_the_solutions_alone(course, released, lesson):
    """Each cell that checks is run after the answer's cell as released, and with the solution.

    Where it was rewritten, it is run after a wrong answer as well; test_exercises.py tries many.
    """
    solved = by_grade_id(cells_of(course, lesson.name))
    empty = by_grade_id(released[lesson.name])
    given = lesson.run_unanswered()
    for number, answer in enumerate(lesson.checks, 1):
        check, names = solved[f"check-{number}"], dict(given)
        exec(empty[f"answer-{number}"], names)
        with pytest.raises(AssertionError, match="not answered"):
            exec(check, names)
        exec(solved[f"answer-{number}"], names)
        exec(check, names)
        if lesson_exercises.RAISES in check:
            with pytest.raises(AssertionError, match="Not yet"):
                exec(check, names | {answer: lesson.wrong[answer][0]})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name, stage", [(QUICK[0], "source"), (QUICK[1], "source"), (QUICK[0], "release")]
)
def test_solutions_get_all_points_and_empty_answers_none(course, nbgrader, name, stage):
    """A student hands in the solutions, another one what was released."""
    shutil.copytree(course / stage / name, course / "submitted" / stage / name)
    done = nbgrader.autograde(name, stage)
    assert done["success"], done
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        for grade in book.find_submission(name, stage).notebooks[0].grades:
            to_be_read = stage == "source" and grade.name == "project-report"
            reached = grade.max_score if stage == "source" else 0
            assert grade.auto_score == (None if to_be_read else reached), grade.name
            assert grade.needs_manual_grade == to_be_read


# What cannot be read, on a small lesson

TEXT = "## Exercises\n\n1. **Double** (5 minutes). Write it.\n\n**Open project.** Triple."
CODE = """double = None  # 1


def check(name, answer, right):
    print(right(answer))


def is_double(function):
    return function(TWO) == 4


TWO = 2
check("1 double", double, is_double)"""
SOLVED = "factor = 2\n\n\ndef double(x):\n    return factor * x"


def notebook(*cells: tuple[str, str]):
    make = {"text": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    return nbformat.v4.new_notebook(cells=[make[kind](source) for kind, source in cells])


def lesson_and_solved(text=TEXT, code=CODE, solved=SOLVED):
    lesson = notebook(("text", "# Title"), ("text", text), ("code", code), ("text", "## Next"))
    return lesson, notebook(("code", solved))


def small(**changes):
    return classroom.assignment(*lesson_and_solved(**changes))


def test_small_lesson():
    made = by_grade_id(small().cells)
    assert made["answer-1"] == (
        f"double = None  # 1\n### BEGIN SOLUTION\n{SOLVED}\n### END SOLUTION"
    )
    assert made["check-1"].startswith("def is_double(function):\n    return function(TWO) == 4")
    assert "TWO = 2" in made["check-1"] and "def check" not in "".join(made.values())
    names = ["marks", "quiet", "answer-1", "check-1", "project", "project-report", "next"]
    assert [name for name in made if not name.startswith("text-")] == names
    assert made["project"] == "**Open project.** Triple."


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"text": "## Next"}, "no heading `## Exercises`"),
        ({"text": TEXT.replace("5 minutes", "soon")}, r"exercise 1: \(soon\) is neither minutes"),
        ({"text": "## Exercises\n\nNone."}, "0 are described, 1 have an answer"),
        ({"code": CODE[: CODE.rindex("check(")]}, "1 are described, 0 have"),
        ({"code": f"{CODE}\ncheck('again', double, is_double)"}, "an answer has two checks"),
        ({"solved": "twice = 2"}, "do not define double"),
        (
            {"code": "double = None\n\ndef look(f):\n    f(1)\n\nlook(double)"},
            "look has no `return",
        ),
    ],
)
def test_what_does_not_fit_is_named(changes, says):
    with pytest.raises(lesson_exercises.BadExercise, match=says):
        small(**changes)


def test_command_names_what_is_wrong(tmp_path, capsys):
    assert classroom.main([]) == 2 and "OUT=folder" in capsys.readouterr().err
    (tmp_path / "mine.txt").write_text("x")
    assert classroom.main([str(tmp_path)]) == 1
    assert "holds mine.txt" in capsys.readouterr().err


def test_the_notebook_is_named(tmp_path):
    lessons = tmp_path / "notebooks"
    (lessons / "solutions").mkdir(parents=True)

    def refused(**changes) -> str:
        nbformat.write(lesson_and_solved(**changes)[0], lessons / "00_odd.ipynb")
        with pytest.raises(lesson_exercises.BadExercise, match="^00_odd.ipynb: ") as caught:
            classroom.write_course(tmp_path / "class", lessons)
        assert not (tmp_path / "class").exists()
        return str(caught.value)

    assert "has no solutions" in refused()
    nbformat.write(lesson_and_solved()[1], lessons / "solutions" / "00_odd.ipynb")
    assert "no heading" in refused(text="## Next")
    assert "invalid syntax" in refused(code="%matplotlib inline")


# Statements

CELL = """import numpy as np

# two numbers
a, b = 1, 2
total = [a for c in range(b) if c]


@staticmethod
def f(x, total):
    def inner():
        return x + later + np.pi

    return inner
total += [b]
a = 3"""


def test_statements_know_what_they_read_and_bind():
    split = statements.split(CELL)
    binds = ["".join(sorted(each.binds)) for each in split]
    assert binds == ["np", "ab", "total", "f", "total", "a"]
    reads = [set(each.reads) for each in split]
    assert reads[2] == {"a", "b", "range"} and reads[4] == {"total", "b"}
    assert reads[3] == {"staticmethod", "later", "np"}
    assert split[1].text.startswith("# two numbers") and split[3].text.startswith("@static")


def test_needed_takes_the_last_value_and_what_changed_it():
    split = statements.split(CELL)
    assert statements.needed({"total"}, split) == [split[1], split[2], split[4]]
    assert statements.needed({"a"}, split) == [split[5]]
    assert statements.needed({"f", "unknown"}, split) == [split[0], split[3]]
    joined = statements.join(statements.needed({"f"}, split))
    assert joined.startswith("import numpy as np\n\n\n@staticmethod\ndef f")
