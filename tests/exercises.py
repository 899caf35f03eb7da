"""What the tests of the notebooks' exercises share."""

from pathlib import Path

import nbformat


def code_of(path: Path) -> list[str]:
    """The code cells of a notebook, in order."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]
