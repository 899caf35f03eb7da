"""How cost grows, and what several processes gain: the sections of docs/scaling.md on
results/growth.json, several_processes.json, all_of_lakh.json and suite.json, and the picture of the
first."""

import numpy as np
from filling import fill, value

from lakhnes_lib.listening.pictures import MODEL_COLOURS, Picture, finish, legend

PANELS = (
    ("training", "seconds", "seconds a step"),
    ("training", "megabytes", "MB of memory"),
    ("evaluation", "seconds", "seconds a segment"),
    ("evaluation", "megabytes", "MB of memory"),
)
VARIED = ("segment", "memory", "width")


def is_measured() -> bool:
    """Whether the benchmark of growth was run."""
    return value("growth") is not None


def section() -> str:
    """The text between the marks ``growth`` of docs/scaling.md."""
    return fill(
        "growth.md.jinja",
        curves=value("growth.curves") or {},
        processes=value("several_processes"),
        lakh=value("all_of_lakh"),
        versions=value("suite.rows"),
    )


def picture(title: str) -> Picture:
    """A panel for each cost of training and evaluation, one for composing and one for mapping; both
    axes logarithmic, so that a power is a straight line."""
    measured = value("growth.curves")
    drawn = Picture(13.0, 7.0)
    drawn.suptitle(title, fontsize=11)
    groups = [
        (
            f"{way}: {cost} by …",
            unit,
            {name: measured[f"{way}, {cost} by {name}"] for name in VARIED},
        )
        for way, cost, unit in PANELS
    ]
    one = {"memory": measured["composing, seconds an event by memory"]}
    groups.append(("composing: seconds an event by …", "seconds an event", one))
    workers = {
        name: measured[f"mapping, seconds by files, workers {number}"]
        for number, name in ((1, "files, one worker"), (2, "files, two workers"))
    }
    groups.append(("mapping: seconds by …", "seconds", workers))
    for position, (heading, unit, lines) in enumerate(groups, 1):
        ax = drawn.add_subplot(2, 3, position)
        for (name, line), colour in zip(lines.items(), MODEL_COLOURS, strict=False):
            sizes, costs = np.array(line["sizes"]), np.array(line["costs"])
            label = f"{name} (exponent {line['exponent']:.2f})"
            shown = sizes > 0
            look = dict(color=colour, marker="o", markersize=4, label=label)
            ax.loglog(sizes[shown], costs[shown], base=2, **look)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_major_formatter(lambda x, _: f"{x:,.0f}" if x >= 10 else f"{x:.2g}")
        drawn_costs = np.concatenate([line["costs"] for line in lines.values()])
        ax.set_yticks(np.geomspace(drawn_costs.min(), drawn_costs.max(), 5))
        legend(ax, "upper left")
        sizes = "files" if heading.startswith("mapping") else "events, or channels of the width"
        finish(ax, heading, sizes, unit, grid="both")
    return drawn
