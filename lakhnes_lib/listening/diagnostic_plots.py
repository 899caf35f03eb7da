"""Pictures of where models are good, and of models beside each other.

Paper: Table 2 and Figure 3, as pictures; the rest has no counterpart in it. Notebooks: 05_training, 06_baselines,
07_quantitative_analysis. They draw what ``lakhnes_lib.evaluation.diagnostics`` and the files in ``results/`` hold.
Differences from the paper: perplexities stand on a logarithmic scale, where equal steps are equal nats.

Each function draws into ``ax`` and returns it; without ``ax`` it makes a Picture and returns that.
"""

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.listening.pictures import FAINT, INK, MODEL_COLOURS, axes, finish


def groups(models: dict, ax=None, *, title: str = ""):
    """Perplexity of each group of events, a row a group and a mark a model.

    models: name -> ``diagnostics.Groups``, all with the same labels. On the right: each group's share of the
    events, and of the last model's nats, which is where its effort goes. Groups without events are left out.
    """
    last = list(models.values())[-1]
    rows = np.flatnonzero(last.targets > 0)
    ax, made = axes(ax, width=9.0, height=1.3 + 0.42 * len(rows))
    values = np.array([model.perplexity[rows] for model in models.values()])  # (models, groups)
    places = np.arange(len(rows))
    ax.hlines(places, values.min(0), values.max(0), color=FAINT, linewidth=4, zorder=1)
    for (name, _), row, colour in zip(models.items(), values, _colours(), strict=False):
        ax.scatter(row, places, s=55, color=colour, label=name, zorder=2)
    _perplexities(ax.xaxis, values)
    ax.set_yticks(places, [last.labels[row] for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    shares = last.targets / last.targets.sum()
    for place, row in zip(places, rows, strict=True):
        text = f"{shares[row]:.0%} of events, {last.share[row]:.0%} of nats"
        ax.text(
            1.02,
            place,
            text,
            va="center",
            fontsize=8,
            color=INK,
            transform=ax.get_yaxis_transform(),
        )
    if len(models) > 1:
        ax.legend(
            ncols=4,
            frameon=False,
            fontsize=9,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            borderaxespad=0,
        )
    finish(ax, title, "perplexity", grid="x")
    return made


def curves(
    models: dict, ax=None, *, x: str, scale: str = "linear", title: str = "", y: str = "perplexity"
):
    """Perplexity over anything: position in the song, memory, minutes of training.

    models: name -> (places, perplexities), float (points,) each; points that are not finite are left out.
    x: what the places are; scale: linear or log, or even (every place as far from the next, whatever its value).
    Raises LakhnesError if there is no point at all.
    """
    series = {name: np.array(points, float) for name, points in models.items()}
    series = {name: points[:, np.isfinite(points).all(0)] for name, points in series.items()}
    found = [points for points in series.values() if points.size]
    if not found:
        raise LakhnesError(f"curves: there is no point to draw over {x}")
    ax, made = axes(ax, width=8.0, height=3.8)
    ticks = np.unique(np.concatenate([points[0] for points in found]))
    for (name, (places, values)), colour in zip(series.items(), _colours(), strict=False):
        places = np.searchsorted(ticks, places) if scale == "even" else places
        many = len(values) > 60
        ax.plot(
            places, values, color=colour, linewidth=1.8, marker=None if many else "o", markersize=4.5,
            label=name, clip_on=False,
        )  # fmt: skip
    if scale == "log":
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    elif scale == "even":
        ax.set_xticks(np.arange(len(ticks)), [f"{tick:,g}" for tick in ticks])
    _perplexities(ax.yaxis, np.concatenate([points[1] for points in found]))
    ax.legend(
        frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0
    )
    finish(ax, title, x, y)
    return made


def songs(first: str, one, second: str, other, ax=None, *, title: str = ""):
    """Each song's perplexity under two models; below the diagonal the second model is the better one.

    first, second: the models' names; one, other: what ``diagnostics.per_song`` gives for each, of the same songs.
    A dot's area is the song's number of events.
    """
    (targets, nats), (_, others) = one, other
    kept = np.isfinite(nats) & np.isfinite(others)
    a, b, size = np.exp(nats[kept]), np.exp(others[kept]), targets[kept]
    ax, made = axes(ax, width=5.6, height=5.2)
    low, high = min(a.min(), b.min()) * 0.9, max(a.max(), b.max()) * 1.1
    ax.plot([low, high], [low, high], color="#999999", linewidth=1, linestyle=":")
    ax.scatter(
        a,
        b,
        s=np.maximum(120 * size / size.max(), 4),
        color=MODEL_COLOURS[0],
        alpha=0.5,
        linewidths=0,
    )
    for axis in (ax.xaxis, ax.yaxis):
        _perplexities(axis, np.array([low, high]))
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    better = float((size * (b < a)).sum() / size.sum())
    note = (
        f"{second}: better on {np.mean(b < a):.0%} of {len(a)} songs,\n{better:.0%} of their events"
    )
    ax.text(0.03, 0.97, note, ha="left", va="top", fontsize=9, color=INK, transform=ax.transAxes)
    finish(ax, title, f"perplexity, {first}", f"perplexity, {second}", grid="both")
    return made


def beside(rows: list[tuple], ax=None, *, title: str = ""):
    """Table 2 as a picture: a row a model, the paper's perplexity beside ours.

    rows: (label, {what: perplexity}); what: as "paper" or "here, exact"; a missing one is left out.
    """
    ax, made = axes(ax, width=9.0, height=1.4 + 0.36 * len(rows))
    kinds = list(dict.fromkeys(kind for _, values in rows for kind in values))
    for place, (_, values) in enumerate(rows):
        if len(values) > 1:
            ax.plot(
                [min(values.values()), max(values.values())],
                [place] * 2,
                color=FAINT,
                linewidth=4,
                zorder=1,
            )
    for kind, colour in zip(kinds, ("#333333", *MODEL_COLOURS), strict=False):
        points = np.array(
            [(values[kind], place) for place, (_, values) in enumerate(rows) if kind in values]
        )
        ring = kind == kinds[0]  # so that what lies upon it is seen too
        ax.scatter(
            *points.T, s=120 if ring else 45, facecolors="none" if ring else colour, edgecolors=colour,
            linewidths=1.6 if ring else 0, label=kind, zorder=3 if ring else 2,
        )  # fmt: skip
    ax.set_yticks(range(len(rows)), [label for label, _ in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    _perplexities(ax.xaxis, np.array([value for _, values in rows for value in values.values()]))
    ax.legend(frameon=False, fontsize=9, loc="lower right")
    finish(ax, title, "perplexity", grid="x")
    return made


def _colours():
    """Endless, so that every model has one."""
    while True:
        yield from MODEL_COLOURS


def _perplexities(axis, values):
    """A logarithmic axis with round perplexities on it, as many as there is room for."""
    low, high = np.nanmin(values), np.nanmax(values)
    steps = (
        (1, 2, 3, 5)
        if high / low > 8
        else (1, 1.5, 2, 3, 4, 5, 7)
        if high / low > 2
        else np.arange(1, 10, 0.5)
    )
    ticks = [
        a * 10.0**b for b in range(-1, 4) for a in steps if low / 1.3 <= a * 10.0**b <= high * 1.3
    ]
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    getattr(axis.axes, f"set_{axis.axis_name}lim")(low / 1.12, high * 1.12)
