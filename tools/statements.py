"""Take the code of notebooks apart into statements, and pick those that belong together.

A statement knows the names that it reads and binds, so what a function or a value is made of can be
picked out of the cells around it.
"""

import ast
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BLOCKS = (ast.FunctionDef, ast.ClassDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
PLAIN = (*BLOCKS, ast.Assign, ast.Import, ast.ImportFrom)


@dataclass(frozen=True, eq=False)
class Statement:
    """One statement at the outer level of a cell, with the comments in front of it.

    reads: names of the outer level that it needs, also those inside of functions. binds: names that
    it gives a value.
    """

    text: str
    node: ast.stmt
    reads: frozenset[str]
    binds: frozenset[str]


def split(source: str) -> list[Statement]:
    """The statements of a cell, in order.

    >>> [sorted(each.reads) for each in split("a = b + 1\\ndef f(x):\\n    return x + a")]
    [['b'], ['a']]
    """
    lines, end, statements = source.split("\n"), 0, []
    for node in ast.parse(source).body:
        text = "\n".join(lines[end : node.end_lineno]).strip("\n")
        statements.append(Statement(text, node, *_names(text, node)))
        end = node.end_lineno
    return statements


def _outer(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a statement that are not inside of its functions, classes, comprehensions."""
    yield node
    if not isinstance(node, (*BLOCKS, *COMPREHENSIONS, ast.Lambda)):
        for part in ast.iter_child_nodes(node):
            yield from _outer(part)


def _ids(nodes: Iterable[ast.AST], context: type) -> set[str]:
    """The names that are read (``ast.Load``) or bound (``ast.Store``)."""
    names = (each for each in nodes if isinstance(each, ast.Name))
    return {each.id for each in names if isinstance(each.ctx, context)}


def _names(text: str, node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """What a statement reads of the outer level, and what it binds there."""
    parts = list(_outer(node))
    imports = [each.asname or each.name for each in parts if isinstance(each, ast.alias)]
    binds = _ids(parts, ast.Store) | {name.split(".")[0] for name in imports}
    binds |= {each.name for each in parts if isinstance(each, BLOCKS)}

    table = symtable.symtable(text, "cell", "exec")
    reads = {each.get_name() for each in table.get_symbols() if each.is_referenced()}
    # Since Python 3.12 this table lists the names that comprehensions bind for themselves, too.
    for part in parts:
        if isinstance(part, COMPREHENSIONS):
            reads -= _ids(ast.walk(part), ast.Store) - _ids(parts, ast.Load)
    inner = table.get_children()
    while inner:
        table = inner.pop()
        inner += table.get_children()
        reads |= {each.get_name() for each in table.get_symbols() if each.is_global()}
    if isinstance(node, ast.AugAssign):
        reads |= binds
    return frozenset(reads), frozenset(binds)


def needed(names: Iterable[str], earlier: list[Statement]) -> list[Statement]:
    """The statements that give names their values, and those that these need, in order.

    Of several values of a name the last one counts. Names that no statement binds are passed over:
    they are Python's own, or come from elsewhere.
    """
    asked = set(names)
    while True:
        wanted, chosen = set(asked), []
        for statement in reversed(earlier):
            if statement.binds & wanted:
                chosen.append(statement)
                if isinstance(statement.node, PLAIN):
                    wanted -= statement.binds
                wanted |= statement.reads
        # A function reads when it is called, so what it needs may stand behind it as well.
        late = {name for each in chosen if isinstance(each.node, BLOCKS) for name in each.reads}
        if late <= asked:
            return chosen[::-1]
        asked |= late


def join(statements: list[Statement]) -> str:
    """Source code of statements, with two blank lines around functions and classes."""
    parts = []
    for before, statement in zip([None, *statements[:-1]], statements, strict=True):
        if before is not None:
            apart = isinstance(before.node, BLOCKS) or isinstance(statement.node, BLOCKS)
            parts.append("\n\n\n" if apart else "\n")
        parts.append(statement.text)
    return "".join(parts)
