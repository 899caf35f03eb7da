"""The published LakhNES and our models song by song: a picture, and the songs that differ most.

The published perplexities are those of results/known_answers.json, ours those of
results/per_song.json (``benchmarks/per_song.py``); both list the songs by name.
"""

import re
from typing import NamedTuple

import numpy as np
from scipy import stats

from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.listening import diagnostic_plots, reproduction, results
from lakhnes_lib.listening.pictures import Picture

MOST = 10
"""Songs in each list."""
SHORTEST_DRAWN, SHORTEST_LISTED = 10, 100
"""Events of a song; what shorter ones differ by says little."""
LONG = 500
"""Events from which on a song counts as long."""


def measured() -> dict[str, dict]:
    """Our models by name: perplexity over all songs, and of each song."""
    try:
        return results.read("per_song")["values"]["models"]
    except DataNotFound:
        return {}


def published() -> tuple[list[str], np.ndarray, np.ndarray]:
    """The test songs' names, their targets int64 (songs,), and perplexities under the published
    LakhNES, float64 (songs,)."""
    songs = reproduction.known_answers()["song_by_song"]["songs"]
    rows = np.array([songs[name] for name in sorted(songs)])
    return sorted(songs), rows[:, 0].astype(np.int64) - 1, rows[:, 2]


def best() -> str | None:
    """The model of ours with the least perplexity over all songs."""
    models = measured()
    return min(models, key=lambda name: models[name]["perplexity"], default=None)


def total() -> float:
    """Perplexity of the published LakhNES over all songs, as its authors print it."""
    known = reproduction.known_answers()
    model = known["song_by_song"]["model"]
    return next(row["per_song"] for row in known["published"] if row["name"] == model)


def picture(title: str) -> Picture:
    """A panel for each model of ours: each song's perplexity over that under LakhNES.

    The shortest songs are left out: a perplexity of thousands would press the others into a corner.
    """
    models = measured()
    _, targets, known = published()
    long = targets >= SHORTEST_DRAWN
    drawn = Picture(5.6 * len(models), 5.4)
    note = f"{long.sum()} songs; a dot's area is its song's number of events"
    drawn.suptitle(f"{title}\n{note}", fontsize=10)
    for column, (name, entry) in enumerate(models.items(), 1):
        ours = np.array(entry["songs"])
        one, other = [(targets[long], np.log(each[long])) for each in (known, ours)]
        axes = drawn.add_subplot(1, len(models), column)
        heading = f"{name}: {entry['perplexity']:.3f} over all, LakhNES {total():.3f}"
        diagnostic_plots.songs("published LakhNES", one, name, other, axes, title=heading)
    return drawn


class Ahead(NamedTuple):
    """Songs in which a model of ours has a lower perplexity than LakhNES, of how many: all, those
    of ``LONG`` events and more, shorter ones; p of a sign test of all; and the game that its lead
    owes most to, with songs and share of the events, ours and LakhNES without it."""

    songs: tuple[int, int]
    long: tuple[int, int]
    short: tuple[int, int]
    p: float
    game: str
    songs_of_game: int
    share_of_game: float
    without_game: tuple[float, float]


def ahead(name: str) -> Ahead:
    """How a model of ours stands beside LakhNES, song by song."""
    names, targets, known = published()
    ours = np.array(measured()[name]["songs"])
    lower, long = ours < known, targets >= LONG
    parts = np.ones_like(long), long, ~long
    counts = [(int(lower[part].sum()), int(part.sum())) for part in parts]
    games = np.array([re.match(r"\d+_[^_]+", each)[0] for each in names])
    gains = targets * np.log(known / ours)  # nats of each song
    game = max(set(games), key=lambda one: gains[games == one].sum())
    others = games != game
    weights = targets[others] / targets[others].sum()
    without = [float(np.exp((weights * np.log(each[others])).sum())) for each in (ours, known)]
    return Ahead(
        *counts,
        stats.binomtest(*counts[0]).pvalue,
        game.split("_")[1],
        int((~others).sum()),
        targets[~others].sum() / targets.sum(),
        tuple(without),
    )


def furthest(name: str) -> dict[str, list[tuple[str, ...]]]:
    """The songs where a model of ours does best beside LakhNES, and where worst, each below what it
    does there: name, events, perplexity under LakhNES and under ours, ours over LakhNES."""
    names, targets, known = published()
    ours = np.array(measured()[name]["songs"])
    ratio = ours / known
    order = [n for n in np.argsort(ratio) if targets[n] >= SHORTEST_LISTED]
    lists = order[:MOST], order[::-1][:MOST]
    best, worst = (ratio[list(numbers)] for numbers in lists)
    said = {0: "comes nearest to LakhNES", MOST: "is furthest ahead of LakhNES"}
    titles = (
        said.get(int((best < 1).sum()), "is ahead of LakhNES, or comes nearest to it"),
        "falls furthest behind" if worst[-1] > 1 else "is least ahead, or falls furthest behind",
    )
    return {
        title: [
            (names[n], f"{targets[n]:,}", f"{known[n]:.2f}", f"{ours[n]:.2f}", f"{ratio[n]:.2f}")
            for n in numbers
        ]
        for title, numbers in zip(titles, lists, strict=True)
    }
