"""Figures 4 and 5 of the paper, and the strengths of Bradley and Terry's model.

Paper: §7, Figures 4 and 5 (bars with standard errors). Notebook: 08_user_study.
Differences from the paper: Wilson's 95 % intervals (thin) beside the standard errors (thick), and
the number of judgements under each bar.

``remark`` is written over the picture: say there whose answers it shows.
"""

import numpy as np
from matplotlib.ticker import PercentFormatter

from lakhnes_lib.listening.pictures import INK, MODEL_COLOURS, Picture, finish
from lakhnes_lib.study.bradley_terry import Strengths
from lakhnes_lib.study.designs import REAL
from lakhnes_lib.study.study_statistics import Share

LABELS = {
    "turing": ("Turing test: real clips that were found", "share of pairs (lower is better)"),
    "preference": ("Preference test: comparisons won", "higher is better; dotted: one half"),
}


def bars(shares: list[Share], kind: str, remark: str = "") -> Picture:
    """Figure 4 (turing) or 5 (preference): a bar a method, best last, as in the paper."""
    shares = sorted(shares, key=lambda row: row.share, reverse=kind == "turing")
    title, note = LABELS[kind]
    picture = Picture(width=2.2 + 1.35 * len(shares), height=3.8)
    ax = picture.add_subplot()
    for x, row in enumerate(shares):
        colour = "#999999" if row.name == REAL else MODEL_COLOURS[1]
        ax.bar(x, row.share, width=0.62, color=colour, alpha=0.75)
        ax.vlines(x, row.low, row.high, color=INK, linewidth=1)
        ax.errorbar(x, row.share, row.standard_error, color=INK, linewidth=3, capsize=6)
        ax.text(x + 0.07, row.high + 0.02, f"{row.share:.0%}", fontsize=10, color=INK)
    ax.axhline(0.5, color=INK, linestyle=":", linewidth=1)
    ax.set(ylim=(0, 1.12), xlim=(-0.6, len(shares) - 0.4))
    names = [f"{row.name}\nn = {row.n}" for row in shares]
    ax.set_xticks(range(len(shares)), names, parse_math=False)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_ylabel(note, color=INK, fontsize=9)
    finish(ax, f"{title}\n{remark}".strip())
    return picture


def strengths(model: Strengths, remark: str = "") -> Picture:
    """Strengths with their bootstrap intervals, best above."""
    order = np.argsort(model.strength)
    picture = Picture(width=8, height=1.3 + 0.45 * len(order))
    ax = picture.add_subplot()
    for y, i in enumerate(order):
        colour = "#666666" if model.methods[i] == REAL else MODEL_COLOURS[1]
        ax.hlines(y, model.low[i], model.high[i], color=colour, linewidth=3, alpha=0.5)
        ax.plot(model.strength[i], y, "o", color=colour, markersize=8)
    ax.axvline(0, color=INK, linestyle=":", linewidth=1)
    ax.set_yticks(range(len(order)), [model.methods[i] for i in order], parse_math=False)
    ax.set_ylim(-0.6, len(order) - 0.4)
    unit = "strength (one more: odds of 2.7 to 1)"
    ax.set_xlabel(f"{unit}; bar: 95 % interval by the bootstrap over {model.unit}", loc="left")
    finish(ax, f"Bradley and Terry's model\n{remark}".strip(), grid="x")
    return picture
