"""Pictures of training and of attention.

Paper: Figure 3 is of the first kind. Notebooks: 04_transformer_xl, 05_training.
Differences from the paper: losses are shown in nats an event beside the perplexity.
"""

import json
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import EngFormatter

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.listening.pictures import INK, MODEL_COLOURS, axes, colour_scale, finish, legend


def loss_curve(log, ax=None, *, x: str = "events", title: str = ""):
    """Training and validation loss in nats an event, with perplexity on the right-hand scale.

    log: path of a training log in JSON lines. Of each row "train_loss" and "valid_loss" (either may
    be missing) are drawn over ``x``, "events" or "step". Returns the Axes given, or a Picture.
    Raises LakhnesError for a log in which nothing can be drawn.
    """
    try:
        lines = Path(log).read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        steps, losses = _series(rows, x, "train_loss")
        valid_steps, valid_losses = _series(rows, x, "valid_loss")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise LakhnesError(f"{log}: not a training log in JSON lines ({error})") from None
    if not len(losses) + len(valid_losses):
        keys = f"{x!r} together with 'train_loss' or 'valid_loss'"
        raise LakhnesError(f"{log}: no row of {len(rows)} has {keys}")
    ax, drawn = axes(ax, width=7.5, height=3.8)
    train, valid = MODEL_COLOURS[1], MODEL_COLOURS[0]
    if len(losses) > 200:
        window = len(losses) // 50
        mean = np.ones(window) / window
        ax.plot(steps, losses, color=train, linewidth=1.0, alpha=0.35)
        steps, losses = np.convolve(steps, mean, "valid"), np.convolve(losses, mean, "valid")
        ax.plot(steps, losses, color=train, linewidth=1.8, label=f"train (mean of {window})")
    elif len(losses):
        ax.plot(steps, losses, color=train, linewidth=1.0, label="train")
    if len(valid_losses):
        best = int(np.argmin(valid_losses))
        loss = valid_losses[best]
        label = f"valid; best: {loss:.3f} nats, perplexity {np.exp(loss):.2f}"
        dots = dict(color=valid, linewidth=1.8, marker="o", markersize=4, label=label)
        ax.plot(valid_steps, valid_losses, **dots)
        ax.plot(valid_steps[best], loss, "o", markersize=10, markerfacecolor="none", color=INK)
    ax.xaxis.set_major_formatter(EngFormatter(sep=" "))
    finish(ax, title, "events seen" if x == "events" else x, "nats an event")
    right = ax.secondary_yaxis("right", functions=(np.exp, lambda p: np.log(np.maximum(p, 1e-9))))
    low, high = np.exp(ax.get_ylim())
    ticks = [tick for tick in _PERPLEXITIES if low <= tick <= high]
    right.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    right.minorticks_off()
    right.tick_params(colors=INK, labelsize=9)
    right.spines["right"].set_visible(False)
    right.set_ylabel("perplexity", color=INK)
    legend(ax, "upper right")
    return drawn


_PERPLEXITIES = [a * 10**b for b in range(4) for a in (1, 1.5, 2, 3, 4, 5, 7)]


def _series(rows, x, y) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(row[x], row[y]) for row in rows if row.get(x) is not None and row.get(y) is not None]
    steps, losses = np.array(pairs, float).reshape(-1, 2).T
    finite = np.isfinite(losses)
    return steps[finite], losses[finite]


def attention_map(weights, ax=None, *, names=None, title: str = ""):
    """Attention weights as an image on a logarithmic scale: queries downward, keys to the right;
    zeros are left blank.

    weights: float (queries, keys), each row summing to 1. names: of the events at the ticks, where
    queries and keys are the same events. Returns the Axes given, or a Picture.
    """
    weights = np.asarray(weights, np.float64)
    rows, columns = weights.shape
    height = float(np.clip(8 * rows / columns, 2.4, 7)) + (1.0 if names else 0.4)
    ax, drawn = axes(ax, width=8.0, height=height)
    shown = np.ma.masked_equal(weights, 0).clip(1e-4)
    look = dict(norm=LogNorm(1e-4, 1), cmap="cividis", aspect="auto", interpolation="nearest")
    image = ax.imshow(shown, **look)
    ax.set_facecolor("#EFEFEF")
    colour_scale(image, "weight")
    finish(ax, title, "key", "query", grid=None)
    if names:
        small = dict(fontsize=7, parse_math=False)
        ax.set_xticks(np.arange(columns), names, rotation=90, **small)
        ax.set_yticks(np.arange(rows), names, **small)
        ax.tick_params(labelsize=7)
    return drawn
