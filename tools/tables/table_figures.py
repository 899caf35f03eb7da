"""The pictures of docs/results.md, drawn from results/perplexity.json and results/per_song.json."""

from functools import partial

import song_by_song

from lakhnes_lib.listening import diagnostic_plots, reproduction


def figures() -> dict:
    """Name of a picture in results/ -> its title, and what draws it; of training, Figure 3 and the
    songs once they were run."""
    rows = [(row.title, row.perplexity) for row in reproduction.table_2() if row.perplexity]
    drawn = {"table_2": ("Table 2: perplexity on test", partial(diagnostic_plots.beside, rows))}
    if lines := reproduction.training_curves("laptop"):
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
    if song_by_song.measured():
        title = "Each test song under the published LakhNES and under ours"
        drawn["song_by_song"] = (title, song_by_song.picture)
    return drawn
