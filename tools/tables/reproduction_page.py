"""docs/reproduction.md: scope, what was reproduced and what not, and what it cost, on one page."""

import textwrap

import findings_table
import published_table
import song_by_song
from filling import fill
from perplexity_tables import NONE, compared

from lakhnes_lib.listening import reproduction, results

NETWORKS = ("lstm", "transformer_xl", "modern_decoder")
MOST_CORES = 2
"""Of any machine without a GPU that trained a row of Table 2 or a shipped model."""
GPU_PROFILE = "paper"
"""What was trained by this profile was trained on a GPU."""
UNWRAPPED = ("|", "#", "```", "- ", "1. ")
"""How a block of the page begins whose lines stay as they are."""


def page(hardware: dict) -> str:
    """The page; hardware: as of ``pages.hardware``."""
    models, test = reproduction.measured(), hardware["test"]
    _, targets, _ = song_by_song.published()
    ours = song_by_song.measured()
    text = fill(
        "reproduction.md.jinja",
        hardware=hardware,
        findings=findings_table.sentences(),
        diminishing=findings_table.diminishing(),
        networks=networks(),
        full_size=full_size(),
        lakh=lakh_and_all(),
        songs=len(targets),
        targets=int(targets.sum()),
        per_song_targets=next(iter(ours.values()))["targets"] if ours else None,
        lakhnes=song_by_song.total(),
        published=published_table.measured_rows(),
        heading=published_table.HEADING,
        unscored=test["paper_unscored"] / test["targets"],
        costs=costs(models, ours),
    )
    return "\n\n".join(map(_wrapped, text.strip().split("\n\n"))) + "\n"


def networks() -> list[tuple[str, ...]]:
    """Of each network of Table 2 and each shipped one: title, the paper's perplexity on test, ours
    exact and song by song, events of training."""
    rows = []
    for row in reproduction.table_2():
        if row.ours.get("architecture") in NETWORKS:
            title, _, _, paper, exact, _, _, alone, _, heard, _ = compared(row)
            rows.append((title, paper, exact, alone, heard))
    return rows


def full_size() -> list[tuple[str, ...]]:
    """Of each row that was trained at the paper's size: title, the paper's perplexity on test, ours
    exact and by its protocol, events and minutes of training."""
    rows = []
    for row in reproduction.table_2():
        if row.name and row.name.startswith(f"{GPU_PROFILE}/"):
            title, _, _, paper, exact, streams, _, _, _, heard, minutes = compared(row)
            rows.append((title, paper, exact, streams, heard, minutes))
    return rows


def lakh_and_all() -> tuple[dict, dict] | None:
    """How the row after Lakh was trained on a GPU, and the one without: events, seconds, goes; None
    if one of them was not."""
    rows = results.read("gpu")["values"]["rows"]
    after, without = (
        rows.get(name) for name in ("transformer_xl_lakh", "transformer_xl_augmented")
    )
    return (after, without) if after and without else None


def costs(models: dict, song_by_song_of: dict) -> list[tuple[str, ...]]:
    """What was run, how often, its hours of the clock and its core-hours at most."""
    # The same weights may be measured under two names.
    trained = {entry["weights"]: entry for entry in models.values() if "minutes" in entry}
    minutes = {True: [], False: []}  # on a GPU, on cores
    for entry in trained.values():
        minutes["device" in entry or entry.get("profile") == GPU_PROFILE].append(entry["minutes"])
    splits = [
        entry[split] for entry in models.values() for split in ("valid", "test") if split in entry
    ]
    runs = findings_table.runs()
    rows = [
        ("training on all songs", minutes[False], MOST_CORES),
        ("the same on one GPU", minutes[True], 0),
        ("training for the findings", [run["minutes"] for run in runs], 1),
        ("exact evaluation", [split["seconds"] / 60 for split in splits], MOST_CORES),
        (
            "evaluation song by song",
            [entry["seconds"] / 60 for entry in song_by_song_of.values()],
            1,
        ),
    ]
    hours = [(what, len(minutes), sum(minutes) / 60, cores) for what, minutes, cores in rows]
    cells = [
        (what, f"{count}", f"{clock:.1f}", f"{clock * cores:.1f}" if cores else NONE)
        for what, count, clock, cores in hours
    ]
    clock, whole = sum(row[2] for row in hours), sum(row[2] * row[3] for row in hours)
    return [*cells, ("in all", NONE, f"{clock:.1f}", f"{whole:.1f}")]


def _wrapped(block: str) -> str:
    if block.startswith(UNWRAPPED):
        return block
    return textwrap.fill(block, 120, break_on_hyphens=False)
