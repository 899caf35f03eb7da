"""Pictures of training and of attention.

Paper: Figure 3 is of the first kind. Notebooks: 04_transformer_xl, 05_training.
Differences from the paper: the best loss is named in nats an event beside its perplexity.
"""

import json
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import EngFormatter

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.listening.diagnostic_plots import curves
from lakhnes_lib.listening.pictures import axes, colour_scale, finish


def loss_curve(log, ax=None, *, x: str = "events", title: str = ""):
    """Perplexity in training and validation, on a logarithmic scale: equal steps are equal nats.

    log: path of a training log in JSON lines. Of each row "train_loss" and "valid_loss" in nats an
    event (either may be missing) are drawn over ``x``, "events" or "step"; of more than 200 losses
    in training their running mean. Returns the Axes given, or a Picture. Raises LakhnesError for a
    log in which nothing can be drawn.
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
    drawn = {}
    if len(valid_losses):
        loss = valid_losses.min()
        label = f"valid; best: {loss:.3f} nats,\nperplexity {np.exp(loss):.2f}"
        drawn[label] = valid_steps, np.exp(valid_losses)
    if len(losses):
        window = len(losses) // 50 if len(losses) > 200 else 1
        steps, losses = (
            np.convolve(each, np.ones(window) / window, "valid") for each in (steps, losses)
        )
        label = f"train (mean of {window})" if window > 1 else "train"
        drawn[label] = steps, np.exp(losses)
    made = curves(drawn, ax, x="events seen" if x == "events" else x, title=title)
    (ax or made.axes[0]).xaxis.set_major_formatter(EngFormatter(sep=" "))
    return made


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
