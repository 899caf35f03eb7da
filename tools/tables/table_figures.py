"""The pictures of docs/results.md, drawn from results/perplexity.json and results/per_song.json,
and the README's picture of a composed piece."""

from functools import partial

import findings_runs
import growth_section
import numpy as np
import song_by_song

from lakhnes_lib import profiles
from lakhnes_lib.listening import diagnostic_plots, plots, reproduction
from lakhnes_lib.music import midi

COMPOSED = "assets/gallery/from_nothing/06.mid"


def figures() -> dict:
    """Name of a picture in results/ -> its title, and what draws it; of training, Figure 3 and the
    songs once they were run."""
    rows = [(row.title, row.perplexity) for row in reproduction.table_2() if row.perplexity]
    drawn = {"table_2": ("Table 2: perplexity on test", partial(diagnostic_plots.beside, rows))}
    piece = midi.read(profiles.root() / COMPOSED).excerpt(0, 16)
    title = "Sixteen seconds that a model of this repository composed from nothing"
    drawn["composed"] = (title, partial(plots.piano_roll, piece))
    if lines := training_curves("laptop"):
        draw = partial(diagnostic_plots.curves, lines, x="millions of events heard")
        drawn["training"] = ("Training, profile laptop: perplexity on valid songs", draw)
    if len(lines := reproduction.figure_3()) > 1:
        draw = partial(
            diagnostic_plots.curves, lines, x="amount of pre-training on Lakh", scale="even"
        )
        drawn["figure_3"] = (
            "Figure 3: perplexity on test after pre-training and fine-tuning",
            draw,
        )
    if findings_runs.rows():
        title = "Every run of the findings: perplexity on valid songs in training"
        drawn["findings"] = (title, findings_runs.picture)
    drawn |= growth_section.pictures()
    if song_by_song.measured():
        title = "Each test song under the published LakhNES and under ours"
        drawn["song_by_song"] = (title, song_by_song.picture)
    return drawn


def training_curves(profile: str, models: dict | None = None) -> dict[str, tuple]:
    """Perplexity on NES-MDB's valid over millions of events heard, by run of a profile (but smoke),
    for ``diagnostic_plots.curves``."""
    models = reproduction.measured() if models is None else models
    lines = {}
    for name, entry in models.items():
        curve = entry.get("curve")
        # A run on Lakh has another valid split.
        if curve and profile != "smoke" and name.startswith(f"{profile}/") and "/lakh" not in name:
            millions = [point["events"] / 1e6 for point in curve]
            perplexities = np.exp([point["valid_loss"] for point in curve])
            lines[name.removeprefix(f"{profile}/")] = (millions, perplexities)
    return lines
