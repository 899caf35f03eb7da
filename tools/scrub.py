"""Make the notebooks fit for a commit: no outputs, no run counts, no metadata of widgets, papermill
or editors.

`make scrub`, or `python tools/scrub.py [NOTEBOOK ...]`. A cell tagged `keep-output` keeps what it
shows. A notebook that is clean already is not written again.
"""

import sys
from pathlib import Path

import nbformat

from lakhnes_lib.files import write_file

KEEP = "keep-output"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def scrub(notebook):
    """Clean a notebook in place and return it: of cell metadata only the tags stay."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.execution_count = None
            if KEEP not in (tags or []):
                cell.outputs = []
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
    return notebook


def main(paths: list[Path]):
    """Scrub files, by default every notebook and every solution beside this script."""
    here = Path(__file__).resolve().parents[1] / "notebooks"
    for path in paths or sorted([*here.glob("*.ipynb"), *here.glob("solutions/*.ipynb")]):
        before = path.read_text(encoding="utf-8")
        after = nbformat.writes(scrub(nbformat.reads(before, as_version=4))) + "\n"
        if after != before:
            write_file(path, after)
            print(f"scrubbed {path.name}")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
