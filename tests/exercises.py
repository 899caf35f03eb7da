"""What the tests of the notebooks' exercises share.

The modules ``exercises_NN_NN`` give ``LESSONS``; ``test_exercises.py`` asks the same of all.
"""

import ast
import io
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat

FOLDER = Path(__file__).parents[1] / "notebooks"


def code_of(path: Path) -> list[str]:
    """The code cells of a notebook, in order."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def function_of(name: str, function: str) -> str:
    """The source of a function that a lesson defines."""
    for source in code_of(FOLDER / f"{name}.ipynb"):
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name == function:
                return ast.get_source_segment(source, node)
    raise LookupError(f"no function {function} in {name}")


@dataclass(frozen=True, eq=False)
class Lesson:
    """The exercises of a notebook, whose checks are run as they stand there.

    checks: for the name of each answer, the function that says whether it is right. wrong: for each
    name, wrong answers. given: the names that the checks need. functions: functions of the lesson
    that they need, too. solved_with: the names that the cells of the solutions need. says: what is
    printed for an exercise without an answer. right: for some names, answers that differ from the
    solution and are right.
    """

    name: str
    checks: dict[str, str]
    wrong: dict[str, tuple]
    given: Callable[[], dict]
    solved_with: Callable[[], dict]
    functions: tuple[str, ...] = ()
    says: str = "unanswered"
    right: dict[str, tuple] = field(default_factory=dict)

    @cached_property
    def _given(self) -> dict:
        names = self.given()
        for function in self.functions:
            exec(function_of(self.name, function), names)
        return names

    @cached_property
    def _names(self) -> dict:
        with redirect_stdout(io.StringIO()):
            return self.run_unanswered()

    def run_unanswered(self) -> dict:
        """The names after the cells of exercises have run without answers."""
        cells, names = code_of(FOLDER / f"{self.name}.ipynb"), dict(self._given)
        (first,) = (number for number, source in enumerate(cells) if "def check(" in source)
        for source in cells[first:]:
            exec(source, names)
        return names

    def accepts(self, answer: str, value: Any) -> bool:
        """Whether the lesson's check takes a value for an answer."""
        return bool(self._names[self.checks[answer]](value))

    def solution(self, answer: str) -> Any:
        """The answer of the solutions: a function or a value, from the cell that defines it."""
        for source in code_of(FOLDER / "solutions" / f"{self.name}.ipynb"):
            body = ast.parse(source).body
            for index, node in enumerate(body):
                is_function = isinstance(node, ast.FunctionDef) and node.name == answer
                is_value = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == answer
                if is_function or is_value:
                    names = self.solved_with()
                    for each in body[: index + 1]:
                        exec(ast.get_source_segment(source, each), names)
                    return names[answer]
        raise LookupError(f"no solution of {answer} in {self.name}")
