"""docs/reproduction.md: scope, what was reproduced and what not, and what it cost, on one page."""

import textwrap
from itertools import pairwise
from typing import NamedTuple

import findings_context
import findings_table
import published_table
import scaling
import song_by_song
import trainings
from filling import fill
from perplexity_tables import NONE, compared

from lakhnes_lib.listening import aggregates, reproduction, results

NETWORKS = ("lstm", "transformer_xl", "modern_decoder")
MOST_CORES = 2
"""Of any machine without a GPU that trained a row of Table 2 or a shipped model."""
PAPERS_SIZE = 40_000_000
"""Parameters that a model of the paper's size has at least; the next smaller one has a tenth."""
UNWRAPPED = ("|", "#", "```", "- ", "1. ")
"""How a block of the page begins whose lines stay as they are."""


def page(hardware: dict) -> str:
    """The page; hardware: as of ``pages.hardware``."""
    models, test = reproduction.measured(), hardware["test"]
    _, targets, _ = song_by_song.published()
    ours, lakh = song_by_song.measured(), lakh_and_all()
    run, not_run = epochs_of_the_paper()
    text = fill(
        "reproduction.md.jinja",
        hardware=hardware,
        findings=findings_table.sentences(),
        further=findings_table.further(),
        small=findings_context.small_models(),
        seeds=findings_context.about_seeds(),
        on_all_songs=findings_context.on_all_songs(),
        networks=networks(),
        full_size=full_size(),
        lakh=lakh,
        goes=events_of_goes(lakh[0]) if lakh else [],
        paper_events=scaling.PAPER_EVENTS,
        epochs=[*run.values(), *not_run.values()],
        run=run,
        not_run=not_run,
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


class FullSize(NamedTuple):
    """A row that was trained at the paper's size: cells of its table, and what weights it is of.

    on_gpu: perplexity by the paper's protocol that the GPU measured right after training, before
    the weights were rounded; packed: whether the row was measured as a shipped model, with packed
    weights.
    """

    title: str
    paper: str
    exact: str
    streams: str
    alone: str
    heard: str
    minutes: str
    on_gpu: str
    packed: bool


def is_of_papers_size(row: reproduction.Row) -> bool:
    """Whether a row's model was trained here and has as many parameters as the paper's."""
    published = (row.name or "").startswith("published/")
    return row.ours.get("parameters", 0) >= PAPERS_SIZE and not published


def networks() -> list[tuple[str, ...]]:
    """Of each smaller network of Table 2 and each smaller shipped one: title, parameters, the
    paper's perplexity on test, ours exact and song by song, events and minutes of training."""
    rows = []
    for row in reproduction.table_2():
        if row.ours.get("architecture") in NETWORKS and not is_of_papers_size(row):
            title, _, size, paper, exact, _, _, alone, _, heard, minutes = compared(row)
            rows.append((title, size, paper, exact, alone, heard, minutes))
    return rows


def full_size() -> list[FullSize]:
    """Each row that was trained at the paper's size."""
    rows = []
    for row in filter(is_of_papers_size, reproduction.table_2()):
        title, _, _, paper, exact, streams, _, alone, _, heard, minutes = compared(row)
        measured_by = row.ours.get("measured", {}).get("command", "")
        on_gpu = trainings.on_gpu(row.name).get("test", {}).get("paper")
        rows.append(
            FullSize(
                *(title, paper, exact, streams, alone, heard, minutes),
                NONE if on_gpu is None else f"{on_gpu:.3f}",
                any(f"--only {name} " in measured_by for name in reproduction.SHIPPED),
            )
        )
    return rows


def lakh_and_all() -> tuple[dict, dict] | None:
    """How the row after Lakh was trained on a GPU, and the one without: events, seconds, goes; None
    if one of them was not."""
    rows = results.read("gpu")["values"]["rows"]
    after, without = (
        rows.get(name) for name in ("transformer_xl_lakh", "transformer_xl_augmented")
    )
    return (after, without) if after and without else None


def events_of_goes(row: dict) -> list[int]:
    """Events of NES-MDB of each go in which a row of results/gpu.json was trained. A go begins with
    a measurement of the weights that the one before has left, so at its number of events."""
    heard = [point["events"] for point in row["valid_curve"]]
    ends = [0, *(one for one, other in pairwise(heard) if one == other), row["trained"]["events"]]
    return [end - begin for begin, end in pairwise(ends)]


def epochs_of_the_paper() -> tuple[dict[str, int], dict[str, int]]:
    """For how many epochs the paper trained each network of Table 2, by title: those of which there
    is a row of its size here, and the others."""
    training = aggregates.load("paper")["facts"]["training"]
    epochs = training["epochs_until_early_stopping"]
    named = {row["name"]: row["title"] for row in reproduction.known_answers()["table_2"]}
    by_title = {named["transformer_xl_lakh"] if t == "LakhNES" else t: n for t, n in epochs.items()}
    large = {row.title for row in reproduction.table_2() if is_of_papers_size(row)}
    return tuple(
        {title: count for title, count in by_title.items() if (title in large) == is_large}
        for is_large in (True, False)
    )


def costs(models: dict, song_by_song_of: dict) -> list[tuple[str, ...]]:
    """What was run, how often, its hours of the clock and its core-hours at most. A training whose
    stages were in part on a GPU counts in both rows of trainings, with its minutes there."""
    on_cores, on_gpu = [], []
    for name, entry in trainings.each_once(models).items():
        parts = trainings.stages(name, entry)
        for minutes, on_one in ((on_cores, False), (on_gpu, True)):
            here = [stage.minutes for stage in parts if bool(stage.device) is on_one]
            minutes += [sum(here)] if here else []
    splits = [
        entry[split] for entry in models.values() for split in ("valid", "test") if split in entry
    ]
    runs = findings_table.runs()
    keys = ("valid_seconds", "test_seconds")
    scored = [run[key] for run in runs for key in keys if key in run]
    alone = [entry["seconds"] for entry in song_by_song_of.values()]
    rows = [
        ("training on all songs, on cores", on_cores, MOST_CORES),
        ("training on all songs, on one GPU", on_gpu, 0),
        ("training for the findings, Lakh included", [run["minutes"] for run in runs], 1),
        ("exact evaluation for the findings", [each / 60 for each in scored], 1),
        ("exact evaluation of the others", [each["seconds"] / 60 for each in splits], MOST_CORES),
        ("evaluation song by song", [each / 60 for each in alone], 1),
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
