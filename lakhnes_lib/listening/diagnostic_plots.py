"""Pictures of training, of where models are good, and of models beside each other.

Paper: Table 2 and Figure 3, as pictures; the rest has no counterpart in it. Notebooks: 05_training,
06_baselines, 07_quantitative_analysis. They draw what ``lakhnes_lib.evaluation.diagnostics`` and
the files in ``results/`` hold.
Differences from the paper: perplexities stand on a logarithmic scale, where equal steps are equal
nats.

Each function draws into ``ax`` and returns it; without ``ax`` it makes a Picture and returns that.
"""

import json
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from scipy.ndimage import uniform_filter1d

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.listening.pictures import FAINT, INK, MODEL_COLOURS, axes, finish, legend


def groups(models: dict, ax=None, *, title: str = ""):
    """Perplexity of each group of events, a row a group and a mark a model.

    models: name -> ``diagnostics.Groups``, all with the same labels. On the right: each group's
    share of the events, and of the last model's nats, which is where its effort goes. Groups
    without events are left out.
    """
    last = list(models.values())[-1]
    rows = np.flatnonzero(last.targets > 0)
    ax, drawn = axes(ax, width=9.0, height=1.4 + 0.36 * len(rows))
    values = {name: model.perplexity for name, model in models.items()}
    marks = [(last.labels[row], {name: p[row] for name, p in values.items()}) for row in rows]
    beside(marks, ax, title=title)
    shares = last.targets / last.targets.sum()
    beside_axes = dict(va="center", fontsize=8, color=INK, transform=ax.get_yaxis_transform())
    for height, row in enumerate(rows):
        text = f"{shares[row]:.0%} of events, {last.share[row]:.0%} of nats"
        ax.text(1.02, height, text, **beside_axes)
    return drawn


def curves(models: dict, ax=None, *, x: str, scale: str = "linear", title: str = ""):
    """Perplexity over anything: position in the song, memory, minutes of training.

    models: name -> (x, perplexities), float (points,) each; points that are not finite are left
    out. x: what is drawn to the right; scale: linear or even (every value of x as far from the
    next). Raises LakhnesError if there is no point at all.
    """
    series = {name: np.array(points, float) for name, points in models.items()}
    series = {name: points[:, np.isfinite(points).all(0)] for name, points in series.items()}
    points = np.concatenate(list(series.values()), axis=1)  # (2, points of all models)
    if not points.size:
        raise LakhnesError(f"curves: there is no point to draw over {x}")
    ax, drawn = axes(ax, width=8.0, height=3.8)
    ticks = np.unique(points[0])
    for (name, (xs, values)), colour in zip(series.items(), cycle(MODEL_COLOURS), strict=False):
        xs = np.searchsorted(ticks, xs) if scale == "even" else xs
        line = dict(color=colour, linewidth=1.8, clip_on=False, label=name)
        ax.plot(xs, values, marker="o" if len(values) <= 60 else None, markersize=4.5, **line)
    if scale == "even":
        ax.set_xticks(np.arange(len(ticks)), [f"{tick:,g}" for tick in ticks])
    _perplexity_scale(ax.yaxis, points[1])
    legend(ax, "upper left", (1.01, 1))
    finish(ax, title, x, "perplexity")
    return drawn


def loss_curve(log, ax=None, *, title: str = ""):
    """Perplexity in training and validation, on a logarithmic scale: equal steps are equal nats.

    log: path of a training log in JSON lines. Of each row "train_loss" and "valid_loss" in nats an
    event (either may be missing) are drawn over "step"; of more than 200 losses in training their
    running mean. Returns the Axes given, or a Picture. Raises LakhnesError for a
    log in which nothing can be drawn.
    """
    try:
        lines = Path(log).read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        columns = [[row.get(key) for row in rows] for key in ("step", "train_loss", "valid_loss")]
        steps, train, valid = np.array(columns, float)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise LakhnesError(f"{log}: not a training log in JSON lines ({error})") from None
    train = np.stack([steps, train])[:, np.isfinite(steps + train)]  # (2, points)
    drawn = {}
    if np.isfinite(steps + valid).any():
        loss = np.nanmin(valid)
        label = f"valid; best: {loss:.3f} nats,\nperplexity {np.exp(loss):.2f}"
        drawn[label] = steps, np.exp(valid)
    if train.size:
        window = train.shape[1] // 50 if train.shape[1] > 200 else 1
        label = f"train (mean of {window} log entries)" if window > 1 else "train"
        steps, losses = uniform_filter1d(train, window)
        drawn[label] = steps, np.exp(losses)
    if not drawn:
        keys = "'step' together with 'train_loss' or 'valid_loss'"
        raise LakhnesError(f"{log}: no row of {len(rows)} has {keys}")
    return curves(drawn, ax, x="step", title=title)


def songs(first: str, one, second: str, other, ax=None, *, title: str = ""):
    """Each song's perplexity under two models; the second is better at what is below the diagonal.

    first, second: the models' names; one, other: what ``diagnostics.per_song`` gives for each, of
    the same songs. A dot's area is the song's number of events.
    """
    (targets, nats), (_, others) = one, other
    scored = np.isfinite(nats) & np.isfinite(others)
    a, b, size = np.exp(nats[scored]), np.exp(others[scored]), targets[scored]
    ax, drawn = axes(ax, width=5.6, height=5.2)
    ax.axline((1, 1), (2, 2), color="#999999", linewidth=1, linestyle=":")
    areas = np.maximum(120 * size / size.max(), 4)
    ax.scatter(a, b, s=areas, color=MODEL_COLOURS[0], alpha=0.5, linewidths=0)
    for axis in (ax.xaxis, ax.yaxis):
        _perplexity_scale(axis, np.stack([a, b]))
    better = float((size * (b < a)).sum() / size.sum())
    share = f"{second}: better on {np.mean(b < a):.0%} of {len(a)} songs"
    note = f"{share},\n{better:.0%} of their events"
    ax.text(0.03, 0.97, note, ha="left", va="top", fontsize=9, color=INK, transform=ax.transAxes)
    finish(ax, title, f"perplexity, {first}", f"perplexity, {second}", grid="both")
    return drawn


def beside(rows: list[tuple], ax=None, *, title: str = ""):
    """Table 2 as a picture: a row a model, the paper's perplexity beside ours; the first as a ring.

    rows: (label, {what: perplexity}); what: as "paper" or "here, exact"; a missing one is left out.
    """
    ax, drawn = axes(ax, width=9.0, height=1.6 + 0.36 * len(rows))
    table = [values for _, values in rows]
    kinds = list(dict.fromkeys(kind for values in table for kind in values))
    for y, values in enumerate(table):
        ax.plot([*values.values()], [y] * len(values), color=FAINT, linewidth=4, zorder=1)
    for kind, colour in zip(kinds, ("#333333", *MODEL_COLOURS), strict=False):
        points = [(values[kind], y) for y, values in enumerate(table) if kind in values]
        look = dict(s=45, facecolors=colour, linewidths=0, zorder=2)
        if kind == kinds[0]:  # a ring, so that a point within it is seen too
            look = dict(s=120, facecolors="none", linewidths=1.6, zorder=3)
        ax.scatter(*zip(*points, strict=True), edgecolors=colour, label=kind, **look)
    ax.set_yticks(range(len(rows)), [label for label, _ in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    _perplexity_scale(ax.xaxis, [value for values in table for value in values.values()])
    if len(kinds) > 1:
        legend(ax, "upper right", (1, 0), ncols=4, borderaxespad=4)  # below the axis and its name
    finish(ax, title, "perplexity", grid="x")
    return drawn


def _perplexity_scale(axis, values):
    """A logarithmic axis with round perplexities on it, as many as there is room for."""
    low, high = np.nanmin(values), np.nanmax(values)
    limits = (low / 1.12, high * 1.12)
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": limits})
    wide = high / low > 8
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)) if wide else MaxNLocator(6))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
