"""Notebooks are fit for a commit and keep the skeleton; the scrubber does what it says.

The skeleton: a title with the paper's section (00 has none), what one will hear and see, the
modules; a box that says what smoke, laptop and paper take, and what is read and written; a
parameters cell; then headings Summary, Exercises, Next, in this order. Solutions open with the same
title, and lead back.
"""

import re
from pathlib import Path

import nbformat
import pytest
import run_notebooks
import scrub

ROOT = Path(run_notebooks.__file__).parents[1]
FOLDER = ROOT / "notebooks"
LESSONS = sorted(FOLDER.glob("*.ipynb"))
SOLUTIONS = sorted((FOLDER / "solutions").glob("*.ipynb"))
TAGS = {"parameters", scrub.KEEP, "nbval-check-output"}

each_notebook = pytest.mark.parametrize(
    "path", LESSONS + SOLUTIONS, ids=lambda path: f"{path.parent.name}-{path.stem}"
)
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def prose(cells) -> str:
    """The Markdown of some cells."""
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_there_are_notebooks_and_each_has_its_solutions():
    assert LESSONS
    assert [path.name for path in SOLUTIONS] == [path.name for path in LESSONS]


@each_notebook
def test_notebook_is_scrubbed(path):
    text = path.read_text(encoding="utf-8")
    clean = nbformat.writes(scrub.scrub(nbformat.reads(text, as_version=4))) + "\n"
    assert text == clean, "run `make scrub`"


@each_notebook
def test_notebook_is_valid_with_one_plain_parameters_cell(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    parameters = run_notebooks.parameters_of(notebook)
    assert parameters["profile"] == "smoke"
    assert all(isinstance(value, str | int | float | bool | None) for value in parameters.values())
    assert {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])} <= TAGS
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


@each_notebook
def test_notebook_leaves_the_interpreter_and_the_folder_alone(path):
    code = "\n".join(
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
    )
    assert not re.search(r"sys\.path|os\.chdir|^\s*[!%](?!matplotlib|config)", code, re.MULTILINE)


@each_lesson
def test_lesson_keeps_the_skeleton(path):
    cells = nbformat.read(path, as_version=4).cells
    first, box, parameters = cells[:3]
    title, *paragraphs = first.source.split("\n\n")
    assert title.startswith("# ")
    if not path.stem.startswith("00"):
        assert "§" in title, "the title names the paper's section"
    assert paragraphs[-2].startswith("**You hear and see:** ")
    assert paragraphs[-1].startswith("**Modules:** [`lakhnes_lib.")
    names, _, *rows = (line for line in box.source.splitlines() if line.startswith("|"))
    assert names == "| | smoke | laptop | paper |"
    labels = [row.split("|")[1].strip() for row in rows]
    assert labels[:2] == ["takes", "music"] and labels[-2:] == ["reads", "writes"]
    assert parameters.metadata.tags == ["parameters"]
    headings = re.findall(r"^#{2,} +(.*)$", prose(cells), re.MULTILINE)
    order = []
    for title in ("summary", "exercises", "next"):
        matches = [index for index, heading in enumerate(headings) if title in heading.lower()]
        assert matches, f"no heading {title!r}"
        order.append(matches[-1])
    assert order == sorted(order)
    assert "solutions/" in prose(cells)


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_solutions_open_with_their_lesson(path):
    lesson, solved = (
        nbformat.read(each, as_version=4).cells for each in (FOLDER / path.name, path)
    )
    title, section = re.match(r"# ([^(\n]+?)( \(.*\))?\n", lesson[0].source).groups()
    link = f"[{path.stem[:2]} {title}](../{path.name})"
    assert solved[0].source == (
        f"# {title}: solutions{section or ''}\n\n"
        f"Answers to the exercises of {link}, each followed by what proves it."
    )
    assert solved[1].metadata.tags == ["parameters"]


@each_notebook
def test_links_between_notebooks_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#\s:]+)\)", prose(nbformat.read(path, as_version=4).cells))
    assert not [target for target in targets if not (path.parent / target).exists()]


def test_scrub_takes_outputs_and_metadata_but_keeps_tagged_ones(tmp_path):
    shown = [nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=7)]
    cells = [
        nbformat.v4.new_code_cell(
            "1 + 1", outputs=shown, execution_count=7, metadata={"papermill": {"x": 1}}
        ),
        nbformat.v4.new_code_cell(
            "1 + 1", outputs=shown, execution_count=7, metadata={"tags": [scrub.KEEP]}
        ),
    ]
    path = tmp_path / "00.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"widgets": {}, "papermill": {}}), path
    )
    scrub.main([path])
    notebook = nbformat.read(path, as_version=4)
    assert (
        notebook.metadata.keys() == {"kernelspec", "language_info"}
        and notebook.metadata.kernelspec.name == "python3"
    )
    assert notebook.cells[0].outputs == [] and notebook.cells[0].metadata == {}
    assert notebook.cells[1].outputs[0].data["text/plain"] == "2"
    assert all(cell.execution_count is None for cell in notebook.cells)
    changed = path.stat().st_mtime_ns
    scrub.main([path])
    assert path.stat().st_mtime_ns == changed
