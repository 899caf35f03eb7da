"""Works out all of Lakh from what results/lakh.json measured on a part: the tables of
docs/scaling.md."""

import textwrap

from filling import fill, replaced, value

from lakhnes_lib.data.lakh import SONGS_A_PART
from lakhnes_lib.listening import results

ALL_FILES = 176_581
"""Files of LMD-full, by its page."""
PAPER_EVENTS = 400_000 * 30 * 512
"""Steps, rows and events of a segment (§5, and the name of the checkpoint)."""


def hours(values: dict, cores: int) -> tuple[float, float, float]:
    """Seconds to map all of Lakh on so many cores, by what results/lakh.json holds: the workers'
    share of it, the coordinator's, and in all.

    The cores share all work evenly, but the coordinator is one process.
    """
    work = ALL_FILES / values["files_a_second_and_worker"]
    coordinator = ALL_FILES / values["files_a_second_of_coordinator"]
    return work / cores, coordinator, max((work + coordinator) / cores, coordinator)


def page(text: str) -> str:
    """The page with its section made anew. Raises LakhnesError if it has no marks for it."""
    result = results.read("lakh")
    values = result["values"]
    all_measured = value("all_of_lakh.mapping")
    same = [name for name, equal in values["same_bytes"].items() if equal is True]
    section = fill(
        "scaling.md.jinja",
        command=result["command"],
        cpu=result["hardware"]["cpu"],
        values=values,
        all_files=ALL_FILES,
        times=ALL_FILES / values["files"]["seen"],
        hours=[(cores, *hours(values, cores)) for cores in (1, 16, 256)],
        all_measured=all_measured,
        as_worked_out=hours(values, all_measured["workers"])[-1] if all_measured else None,
        same=same,
        trials=len(values["same_bytes"]) - 1,
        songs_a_part=SONGS_A_PART,
        paper_events=PAPER_EVENTS,
    )
    blocks = section.strip().split("\n\n")
    paragraphs = [block if block[0] in "|#" else _wrapped(block) for block in blocks]
    return replaced(text, "scaling", "\n\n".join(paragraphs))


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, 120, break_on_hyphens=False)
