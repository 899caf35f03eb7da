"""What the generated pages are made of: numbers of results put into words, Markdown tables, and places in a page.

A number stands in a text as {result.path.to.it:format}: {apu.speed.times_real_time_mean:.0f}.
"""

import re

from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.listening import results
from lakhnes_lib.listening import tables as markdown

NUMBER = re.compile(r"\{(\w+)\.([^:{}]+):?([^{}]*)\}")


def value(name: str, path: str):
    """One value of a result, by its dotted path; None if that benchmark was not run.

    Raises LakhnesError if the result lacks the value.
    """
    try:
        found = results.read(name)["values"]
    except DataNotFound:
        return None
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            raise LakhnesError(f"results/{name}.json: its values lack {path!r}")
        found = found[key]
    return found


def find(name: str, path: str, form: str = "{}") -> str | None:
    """The same in a format."""
    found = value(name, path)
    return None if found is None else form.format(found)


def fill(text: str) -> str | None:
    """The text with its numbers put in; None if a benchmark that it needs was not run. Raises as ``find``."""
    found = [find(name, path, f"{{:{form}}}") for name, path, form in NUMBER.findall(text)]
    if None in found:
        return None
    return NUMBER.sub(lambda _: found.pop(0), text)


def table(head: tuple[str, ...], rows: list[tuple]) -> str:
    """A Markdown table with its numbers put in; a row that lacks one is left out. Raises as ``find``."""
    filled = [[fill(str(cell)) for cell in row] for row in rows]
    return str(markdown.table(head, *(row for row in filled if None not in row)))


def replaced(page: str, name: str, section: str) -> str:
    """The page with what stands between its marks of this name made anew. Raises LakhnesError if it has none."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise LakhnesError(f"the page has no place for {name} ({begin} … {end})")
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{section}\n\n{end}{rest.split(end)[1]}"
