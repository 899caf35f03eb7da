"""Tables that show themselves in a notebook.

Paper: none (its Tables 1 and 2 are shown so). Notebooks: all.
"""


class Table(str):
    """Text in Markdown that a notebook shows as a table by itself."""

    def _repr_markdown_(self) -> str:
        return str(self)


def table(head, *rows) -> Table:
    """A table of rows of anything. Outside of backticks < is escaped, so that a cell such as <S> is
    not taken for HTML."""
    lines = head, ["---"] * len(head), *rows
    parts = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines).split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]  # every other one is code
    return Table("`".join(parts))
