"""Read the exercises of a lesson: what each asks for, its check, and its solution.

An exercise is a title with its minutes in the text, a name that is ``None`` or a function of three
dots (the *blank*, which a student fills in), and a call that checks this name. The solutions define
the same name.
"""

import ast
import re
from dataclasses import dataclass
from functools import cached_property

import statements
from nbformat import NotebookNode
from statements import Statement

from lakhnes_lib.errors import LakhnesError

# Titles with the minutes: `1. **Title** (5 minutes)` or `**1. Title** (five minutes)`.
TITLE = re.compile(
    r"^(?:\d+\. \*\*([^*]+?)\.?\*\*|\*\*\d+\. ([^*]+?)\.?\*\*)\s+\(([^)]+)\)", re.MULTILINE
)
WORDS = {"five": 5, "ten": 10, "fifteen": 15, "twenty": 20, "twenty-five": 25, "thirty": 30}
HOURS = {"a quarter of an hour": 15, "half an hour": 30}
OPEN = "open"  # instead of the minutes: an exercise that has no right answer

# What a lesson's own check does when it finds an answer wrong, and what nbgrader needs.
PRINTS, RAISES = "return print(", "raise AssertionError("
JUDGE = """{definitions}


assert {answer} is not None, "This exercise is not answered yet."
assert {is_right}({answer}), "Not yet."
print("Right.")"""


class BadExercise(LakhnesError):
    """A notebook whose exercises cannot be read."""


@dataclass(frozen=True)
class Title:
    """What the text says of an exercise. minutes: None for an open one."""

    number: int
    words: str
    minutes: int | None


def titles(prose: str) -> list[Title]:
    """The exercises that a text describes.

    >>> titles("**1. Min-p** (five minutes). Another cut: keep the events")
    [Title(number=1, words='Min-p', minutes=5)]
    """
    described = []
    for number, match in enumerate(TITLE.finditer(prose), 1):
        duration = " ".join(match[3].split())
        word = duration.removesuffix(" minutes")
        minutes = int(word) if word.isdecimal() else HOURS.get(duration) or WORDS.get(word)
        if not minutes and duration != OPEN:
            raise BadExercise(f"exercise {number}: ({duration}) is neither minutes nor ({OPEN})")
        described.append(Title(number, match[1] or match[2], minutes))
    return described


def arguments_of(statement: Statement) -> list[str]:
    """The names that a statement gives to a function, if it is a call and nothing else."""
    call = getattr(statement.node, "value", None)
    if not isinstance(statement.node, ast.Expr) or not isinstance(call, ast.Call):
        return []
    return [each.id for each in call.args if isinstance(each, ast.Name)]


def is_empty(statement: Statement) -> bool:
    """Whether it is ``name = None``, or a function of three dots."""
    node = statement.node
    if isinstance(node, ast.FunctionDef):
        return ast.unparse(node.body[-1]) == "..."
    return isinstance(node, ast.Assign) and ast.unparse(node).endswith(" = None")


class Exercises:
    """The exercises in the cells of a lesson from their heading on, and the cells of the solutions.

    titles: as ``titles`` gives them. in_cell: the statements of a code cell, by its id. blanks and
    checks: statements of both kinds with the title that they belong to.

    Raises BadExercise if titles, blanks, checks and solutions do not fit each other.
    """

    def __init__(self, cells: list[NotebookNode], solved: list[NotebookNode]):
        self.titles = titles("\n\n".join(c.source for c in cells if c.cell_type == "markdown"))
        self.in_cell = {c.id: statements.split(c.source) for c in cells if c.cell_type == "code"}
        self.written = [each for group in self.in_cell.values() for each in group]
        code = [cell.source for cell in solved if cell.cell_type == "code"]
        self.solved = [each for source in code for each in statements.split(source)]
        called = {name for each in self.written for name in arguments_of(each)}
        blanks = [each for each in self.written if is_empty(each) and each.binds & called]
        if len(self.titles) != len(blanks) or not blanks:
            counts = f"{len(self.titles)} are described, {len(blanks)} have an answer and a check"
            raise BadExercise(f"its exercises cannot be told apart: {counts}")
        self.blanks = dict(zip(blanks, self.titles, strict=True))
        self.title_of = {min(blank.binds): title for blank, title in self.blanks.items()}
        answers = {each: self.answer_of(each) for each in self.written if each not in self.blanks}
        self.checks = {each: self.title_of[name] for each, name in answers.items() if name}
        if sorted(filter(None, answers.values())) != sorted(self.title_of):
            raise BadExercise("an answer has two checks, where one gives the points")

    def answer_of(self, statement: Statement) -> str | None:
        """The answer that a statement fills in or checks; None if it does neither."""
        if statement in self.blanks:
            return min(statement.binds)
        return next((name for name in arguments_of(statement) if name in self.title_of), None)

    def helpers_of(self, check: Statement) -> list[Statement]:
        """What a check needs of these cells besides the answer."""
        return statements.needed(check.reads - self.title_of.keys(), self.written)

    @cached_property
    def helpers(self) -> set[Statement]:
        """What all checks need of these cells besides the answers."""
        return {each for check in self.checks for each in self.helpers_of(check)}

    def check_source(self, check: Statement) -> str:
        """Code that raises an error if an answer is wrong, or runs an open exercise's answer.

        All that the check needs of these cells is in it, so that no cell in between replaces it.
        """
        answer, call, helpers = self.answer_of(check), check.node.value, self.helpers_of(check)
        if len(call.args) > 1:  # (title, answer, function): the function says whether it is right
            helpers = [each for each in helpers if call.func.id not in each.binds]
            names = {"answer": answer, "is_right": ast.unparse(call.args[-1])}
            return JUDGE.format(definitions=statements.join(helpers), **names)
        source = f"{statements.join(helpers)}\n\n\n{check.text}"
        if self.checks[check].minutes is None:
            return source
        if PRINTS not in source:
            raise BadExercise(f"{call.func.id} has no `{PRINTS}...)` for a wrong answer")
        return source.replace(PRINTS, RAISES)

    def solution_of(self, answer: str) -> str:
        """The statements of the solutions that make an answer."""
        for at, statement in enumerate(self.solved):
            if answer in statement.binds and isinstance(statement.node, statements.PLAIN):
                parts = statements.needed(statement.reads, self.solved[:at])
                return statements.join([*parts, statement])
        raise BadExercise(f"its solutions do not define {answer}")
