"""Tables that show themselves in a notebook.

Paper: none (its Tables 1 and 2 are shown so). Notebooks: all.
"""


class Table(str):
    """Text in Markdown that a notebook shows as a table by itself."""

    def _repr_markdown_(self) -> str:
        return str(self)


def table(*rows) -> Table:
    """A table of rows of anything; the first is the head."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return Table("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))
