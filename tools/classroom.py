"""Write the course as assignments for nbgrader: `make classroom OUT=folder`.

A notebook and its solutions become `OUT/source/NAME/NAME.ipynb`. The lesson's cells are locked.
Each exercise is a cell for the answer, which holds the solution between nbgrader's marks, and a
cell that checks it for points. What a person has to read has a cell with points, too.
docs/classroom.md says how an instructor uses the folder.
"""

import re
import sys
from pathlib import Path

import jinja2
import nbformat
from lesson_exercises import BadExercise, Exercises, Title
from nbformat import NotebookNode
from statements import Statement, join

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.files import check_target, replacing, write_file

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates" / "classroom"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)
MINUTES_A_POINT, PROJECT_POINTS = 5, 10
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
QUIET = """# nbgrader gives no points where a check writes a warning.
import warnings

warnings.simplefilter("ignore")"""

EXERCISES = re.compile(r"^## +(?:\d+\. +)?Exercises$", re.MULTILINE)
NEXT = re.compile(r"^(?=## +(?:\d+\. +)?Next$)", re.MULTILINE)
PROJECT = re.compile(r"^\*\*(?:An o|O)pen project\.\*\*.*?(?=^#|\Z)", re.MULTILINE | re.DOTALL)
SOLUTIONS = re.compile(r"\s*Solutions:\s+\[[^\]]*\]\([^)]*\)\.?")
LINK = re.compile(r"\[([^\]]*)\]\((?:\.\./[^)\s]*|[^)\s]*\.ipynb)\)")

# What nbgrader's metadata says of a cell, by the part that the cell plays.
PARTS = {
    "text": {"locked": True},
    "answer": {"solution": True},
    "check": {"grade": True, "locked": True},
    "report": {"grade": True, "solution": True},
}


def template(file: str, **values) -> str:
    """A file of tools/templates/classroom with values in it."""
    return TEMPLATES.get_template(file).render(values)


def plain(markdown: str) -> str:
    """A text without links to files that students' folders do not have."""
    return LINK.sub(r"\1", SOLUTIONS.sub("", markdown)).strip()


def points_of(title: Title) -> int:
    """A point for every five minutes; an open exercise counts as much as a project."""
    return PROJECT_POINTS if title.minutes is None else max(1, title.minutes // MINUTES_A_POINT)


def total(notebook: NotebookNode) -> int:
    """The points of an assignment."""
    return sum(cell.metadata.nbgrader.get("points", 0) for cell in notebook.cells)


def make_cell(kind: str, source: str, name: str, part: str, points: int = 0) -> NotebookNode:
    """A cell of ``kind`` code or markdown, with a name that is unique in its notebook."""
    roles = {"grade": False, "solution": False, "locked": False, "task": False} | PARTS[part]
    marks = {"schema_version": 3, "grade_id": name, "cell_type": kind} | roles
    if roles["grade"]:
        marks["points"] = points
    make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
    # Marking restores a locked cell that was changed, and cannot restore one that is gone.
    return make(source, id=name, metadata={"nbgrader": marks, "deletable": False})


def text_cell(cell: NotebookNode) -> NotebookNode:
    """A cell of the lesson, as it is but for links."""
    source = plain(cell.source) if cell.cell_type == "markdown" else cell.source
    made = make_cell(cell.cell_type, source, f"text-{cell.id}", "text")
    made.metadata.tags = cell.metadata.get("tags", [])
    return made


def exercise_cells(blank: Statement, exercises: Exercises) -> list[NotebookNode]:
    """The cell for an answer, and behind it the cell that checks it.

    The answer to an open exercise is read by a person, and its check only shows something.
    """
    title, answer = exercises.blanks[blank], exercises.answer_of(blank)
    is_open, points = title.minutes is None, points_of(title)
    source = f"{blank.text}\n{BEGIN}\n{exercises.solution_of(answer)}\n{END}"
    part = "report" if is_open else "answer"
    made = [make_cell("code", source, f"answer-{title.number}", part, points)]
    (check,) = (each for each in exercises.checks if exercises.answer_of(each) == answer)
    source, part = exercises.check_source(check), "text" if is_open else "check"
    return [*made, make_cell("code", source, f"check-{title.number}", part, points)]


def code_cells(cell: NotebookNode, exercises: Exercises) -> list[NotebookNode]:
    """What a cell of code becomes: what belongs to no exercise, then the exercises asked there."""
    here = exercises.in_cell[cell.id]
    moved = exercises.blanks.keys() | exercises.checks.keys() | exercises.helpers
    rest = [each for each in here if each not in moved]
    made = [make_cell("code", join(rest), f"text-{cell.id}", "text")] if rest else []
    for blank in here:
        if blank in exercises.blanks:
            made += exercise_cells(blank, exercises)
    return made


def project_cells(cells: list[NotebookNode]) -> list[NotebookNode]:
    """What the open project asks for, and a cell for the report; none if there is no project."""
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    project = plain("\n\n".join(PROJECT.findall("\n\n".join(prose))))
    if not project:
        return []
    rubric = template("report.md.jinja", points=PROJECT_POINTS)
    report = make_cell("markdown", rubric, "project-report", "report", PROJECT_POINTS)
    return [make_cell("markdown", project, "project", "text"), report]


def section_cells(cells: list[NotebookNode], exercises: Exercises) -> list[NotebookNode]:
    """The cells of a lesson's exercises. The open project stands at their end."""
    made, project = [], project_cells(cells)
    for cell in cells:
        if cell.cell_type == "code":
            made += code_cells(cell, exercises)
            continue
        text, *after = NEXT.split(PROJECT.sub("", cell.source), maxsplit=1)
        if plain(text):
            made.append(make_cell("markdown", plain(text), f"text-{cell.id}", "text"))
        if after:
            made += [*project, make_cell("markdown", plain(after[0]), "next", "text")]
            project = []
    return made + project


def assignment(lesson: NotebookNode, solved: NotebookNode) -> NotebookNode:
    """A notebook for nbgrader, with the solutions of its exercises in it.

    Raises BadExercise if the exercises cannot be read.
    """
    starts = [at for at, cell in enumerate(lesson.cells) if EXERCISES.search(cell.source)]
    if not starts:
        raise BadExercise("it has no heading `## Exercises`")
    before, cells = lesson.cells[: starts[-1]], lesson.cells[starts[-1] :]
    exercises = Exercises(cells, solved.cells)
    first, *others = section_cells(cells, exercises)
    quiet = make_cell("code", QUIET, "quiet", "text")
    made = nbformat.v4.new_notebook(
        cells=[*map(text_cell, before), first, quiet, *others], metadata=lesson.metadata
    )
    rows = [(title, points_of(title)) for title in exercises.titles]
    project = PROJECT_POINTS if any(cell.id == "project" for cell in others) else 0
    note = template("marks.md.jinja", rows=rows, project=project, total=total(made))
    made.cells.insert(1, make_cell("markdown", note, "marks", "text"))
    return made


def write_course(out: Path, notebooks: Path = ROOT / "notebooks") -> dict[str, int]:
    """Write a course to a new or empty folder. Returns the points of each assignment by its name.

    Raises BadExercise with the name of the notebook whose exercises cannot be read.
    """
    check_target(out)
    points = {}
    with replacing(out, folder=True) as folder:
        for path in sorted(notebooks.glob("[0-9]*.ipynb")):
            solutions = path.parent / "solutions" / path.name
            if not solutions.is_file():
                raise BadExercise(f"{path.name}: it has no solutions: {solutions}")
            try:
                made = assignment(*(nbformat.read(each, 4) for each in (path, solutions)))
            except (BadExercise, SyntaxError) as error:
                raise BadExercise(f"{path.name}: {error}") from None
            points[path.stem] = total(made)
            to = folder / "source" / path.stem
            write_file(to / path.name, nbformat.writes(made) + "\n")
            write_file(to / "SETUP.md", template("setup.md.jinja", name=path.stem) + "\n")
        write_file(folder / "nbgrader_config.py", template("nbgrader_config.py.jinja") + "\n")
    return points


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not arguments[0]:
        print("name the folder to write: make classroom OUT=folder", file=sys.stderr)
        return 2
    try:
        points = write_course(Path(arguments[0]))
    except LakhnesError as error:
        print(error, file=sys.stderr)
        return 1
    for name, of_notebook in points.items():
        print(f"{name}: {of_notebook} points")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
