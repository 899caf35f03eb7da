"""The pictures of docs/results.md, drawn from results/perplexity.json, results/findings.json and
results/per_song.json, and the README's pictures of a composed piece and of the findings."""

from collections import Counter
from functools import partial
from itertools import cycle

import findings_runs
import growth_section
import model_tables
import numpy as np
import perplexity_tables
import song_by_song
import trainings

from lakhnes_lib import profiles
from lakhnes_lib.listening import diagnostic_plots, plots, reproduction
from lakhnes_lib.listening.pictures import MODEL_COLOURS, Picture, finish, legend
from lakhnes_lib.music import midi

COMPOSED = "assets/gallery/from_nothing/06.mid"


def figures() -> dict:
    """Name of a picture in results/ -> its title, and what draws it; of training, Figure 3 and the
    songs once they were run."""
    rows = partial(diagnostic_plots.beside, labelled(reproduction.table_2()))
    drawn = {"table_2": ("Table 2: perplexity on test", rows)}
    piece = midi.read(profiles.root() / COMPOSED).excerpt(0, 16)
    title = "Sixteen seconds that a model of this repository composed from nothing"
    drawn["composed"] = (title, partial(plots.piano_roll, piece))
    if lines := training_curves("laptop"):
        title = "Training, profile laptop: perplexity on valid songs"
        drawn["training"] = (title, partial(training, lines))
    if lines := changes_by_lakh(reproduction.figure_3()):
        title = "Figure 3: perplexity on test after pre-training on Lakh, beside that without"
        drawn["figure_3"] = (title, partial(figure_3, lines))
    if findings_runs.rows():
        title = "Six findings of the paper: change of perplexity"
        drawn["six_findings"] = (title, findings_runs.six)
        title = "Every run of the findings: perplexity on valid songs in training"
        drawn["findings"] = (title, findings_runs.picture)
    drawn |= growth_section.pictures()
    if song_by_song.measured():
        title = "Each test song under the published LakhNES and under ours"
        drawn["song_by_song"] = (title, song_by_song.picture)
    return drawn


def labelled(rows: list[reproduction.Row]) -> list[tuple[str, dict]]:
    """Title and perplexities of every row that has some; of rows with the same title the size of
    ours as well."""
    rows = [row for row in rows if row.perplexity]
    count = Counter(row.title for row in rows)
    labels = [row.title for row in rows]
    for index, row in enumerate(rows):
        if count[row.title] > 1 and row.name:
            labels[index] += f", {perplexity_tables.compared(row)[2]}"
    return [(label, row.perplexity) for label, row in zip(labels, rows, strict=True)]


def changes_by_lakh(lines: dict[str, tuple]) -> dict[str, tuple]:
    """Lines as of ``reproduction.figure_3``, each value as its change from the line's own without
    Lakh, in per cent; of those that have one. Nothing if that is the paper's alone."""
    changes = {
        name: (amounts, 100 * (np.array(values) / values[0] - 1))
        for name, (amounts, values) in lines.items()
        if amounts[0] == 0
    }
    return changes if len(changes) > 1 else {}


def figure_3(lines: dict[str, tuple], title: str) -> Picture:
    """The changes by amount of Lakh: every amount as far from the next, the paper's line thicker
    than ours."""
    ticks = sorted({amount for amounts, _ in lines.values() for amount in amounts})
    drawn = Picture(9.0, 3.8)
    ax = drawn.add_subplot()
    for (name, (amounts, changes)), colour in zip(
        lines.items(), cycle(MODEL_COLOURS), strict=False
    ):
        width = 3.0 if name.startswith("paper") else 1.4
        xs = np.searchsorted(ticks, amounts)
        ax.plot(xs, changes, "o-", color=colour, linewidth=width, markersize=4.5, label=name)
    ax.set_xticks(np.arange(len(ticks)), [f"{tick:,g}" for tick in ticks])
    legend(ax, "upper left", (1.01, 1))
    finish(ax, title, "amount of pre-training on Lakh", "change of perplexity, %")
    return drawn


def training(lines: dict[str, tuple], title: str) -> Picture:
    """The curves of runs that took minutes, and below them of those that took hours."""
    panels = {True: {}, False: {}}
    for name, line in lines.items():
        panels["_hours" not in name and "shipped" not in name][name] = line
    shown = [panel for panel in panels.values() if panel]
    drawn = Picture(9.0, 3.8 * len(shown))
    drawn.suptitle(title, x=0.01, ha="left", fontsize=11)
    for row, panel in enumerate(shown, 1):
        ax = drawn.add_subplot(len(shown), 1, row)
        diagnostic_plots.curves(panel, ax, x="millions of events of NES-MDB heard")
    return drawn


def training_curves(profile: str, models: dict | None = None) -> dict[str, tuple]:
    """Perplexity on NES-MDB's valid over millions of its events heard, by run of a profile (but
    smoke), for ``diagnostic_plots.curves``. A run that goes on with a model of the same songs
    begins where that one ended; a shipped one is drawn too."""
    models = reproduction.measured() if models is None else models
    lines = {}
    for name, entry in models.items():
        # A run on Lakh has another valid split.
        if profile == "smoke" or not name.startswith(f"{profile}/") or "/lakh" in name:
            continue
        run, begin = name.removeprefix(f"{profile}/"), 0
        _, before = model_tables.LONGER.get(run, ("", None))
        if before in models and models[before].get("data") == entry.get("data"):
            begin = trainings.learned(before, models[before])
            lines |= {} if "/" in before else curve(f"shipped {before}", models[before])
        lines |= curve(run, entry, begin)
    return lines


def curve(label: str, entry: dict, begin: int = 0) -> dict[str, tuple]:
    """The line of a model, by its label, if it has one; begin: events heard before."""
    if not entry.get("curve"):
        return {}
    millions = [(begin + point["events"]) / 1e6 for point in entry["curve"]]
    perplexities = np.exp([point["valid_loss"] for point in entry["curve"]])
    return {label: (millions, perplexities)}
