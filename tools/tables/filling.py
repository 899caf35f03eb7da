"""Fills the templates of the generated pages with the numbers in ``results/``.

A template takes a number by ``n("apu.speed.times_real_time_mean", ".0f")``: the result's name, the
path in its values, and a format. A line that needs a number which was not measured is left out of
the page.
"""

import re
from pathlib import Path

from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.listening import results
from lakhnes_lib.listening.templates import render

TEMPLATES = Path(__file__).parent / "templates"
NOT_MEASURED = "\0"
"""Stands in a line for a number that was not measured, until the line is left out."""


def value(path: str):
    """The value at a path such as ``apu.speed.songs``; None if that benchmark was not run.

    Raises LakhnesError if the result lacks the value.
    """
    name, *keys = path.split(".")
    try:
        entry = results.read(name)["values"]
    except DataNotFound:
        return None
    for key in keys:
        if not isinstance(entry, dict) or key not in entry:
            raise LakhnesError(f"results/{name}.json: its values lack {'.'.join(keys)!r}")
        entry = entry[key]
    return entry


def number(path: str, form: str = "") -> str:
    """The same in a format, for a template."""
    measured = value(path)
    return NOT_MEASURED if measured is None else format(measured, form)


def fill(template: str, **values) -> str:
    """A template of ``templates`` filled with these values and the numbers that it asks for. Raises
    as ``value``."""
    text = render(TEMPLATES / template, n=number, **values)
    lines = [line for line in text.split("\n") if NOT_MEASURED not in line]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def replaced(page: str, name: str, section: str) -> str:
    """The page with what stands between its marks of this name made anew: paragraphs of their own,
    or, if no empty line follows the first mark, a part of its line. Raises LakhnesError if it has
    none."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise LakhnesError(f"the page has no marks for {name} ({begin} … {end})")
    before, rest = page.split(begin)
    gap = "\n\n" if rest.startswith("\n\n") else " "
    return f"{before}{begin}{gap}{section.strip()}{gap}{end}{rest.split(end)[1]}"
