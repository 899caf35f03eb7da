"""How cost grows, and what several processes gain: the sections of docs/scaling.md on
results/growth.json, several_processes.json, all_of_lakh.json and suite.json, and a picture of each
curve of the first."""

from functools import partial
from typing import NamedTuple

import numpy as np
import scaling
from filling import fill, value
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lakhnes_lib.listening.pictures import MODEL_COLOURS, Picture, finish, legend

UNITS = {"seconds": "seconds a {step}", "megabytes": "MB of memory"}
STEPS = {"training": "step", "evaluation": "segment"}
VARIED = {
    "segment": "events of a segment",
    "memory": "events of memory",
    "width": "channels of the width",
}
WIDE = 8
"""Where the largest cost is more than so many times the smallest, the axis has fewer ticks."""


class Curve(NamedTuple):
    """Something measured at several sizes. label: what tells it from another in the same panel."""

    label: str
    sizes: np.ndarray
    costs: np.ndarray
    exponent: float

    @property
    def span(self) -> str:
        """The costs at the smallest size and at the largest, in three digits."""
        ends = self.costs[[0, -1]]
        return " to ".join(
            f"{cost:#.3g}".rstrip(".") if cost < 1000 else f"{cost:,.0f}" for cost in ends
        )


class Panel(NamedTuple):
    """Axes of a picture: what is drawn to the right and upwards, and the curves."""

    x: str
    y: str
    curves: list[Curve]


class Growth(NamedTuple):
    """A picture, and what stands beside it: its name in results/, a title, and its panels."""

    name: str
    title: str
    panels: list[Panel]


def is_measured() -> bool:
    """Whether the benchmark of growth was run."""
    return value("growth") is not None


def curve(name: str, label: str = "", times: float = 1) -> Curve:
    """A curve of results/growth.json by its name there, its costs multiplied by ``times``."""
    about = value("growth.curves")[name]
    costs = times * np.array(about["costs"])
    return Curve(label, np.array(about["sizes"]), costs, about["exponent"])


def growths() -> list[Growth]:
    """Each thing that was measured at several sizes."""
    if not is_measured():
        return []
    grown = []
    for way, step in STEPS.items():
        for varied, x in VARIED.items():
            panels = [
                Panel(x, unit.format(step=step), [curve(f"{way}, {cost} by {varied}")])
                for cost, unit in UNITS.items()
            ]
            grown.append(Growth(f"growth_{way}_{varied}", f"{way} by {varied}", panels))
    events = [curve("composing, seconds an event by memory", times=1000)]
    panel = Panel(VARIED["memory"], "milliseconds an event", events)
    grown.append(Growth("growth_composing", "composing by memory", [panel]))
    by_workers = [
        curve(f"mapping, seconds by files, workers {workers}", label)
        for workers, label in ((1, "one worker"), (2, "two workers"))
    ]
    panel = Panel("files", "seconds", by_workers)
    return [*grown, Growth("growth_mapping", "mapping by files", [panel])]


def section() -> str:
    """The text between the marks ``growth`` of docs/scaling.md."""
    lakh = value("all_of_lakh")
    return fill(
        "growth.md.jinja",
        growths=growths(),
        curves=value("growth.curves") or {},
        processes=value("several_processes"),
        lakh=lakh,
        worked_out=worked_out(lakh["mapping"]["workers"]) if lakh else None,
        versions=value("suite.rows"),
    )


def worked_out(cores: int) -> dict[str, float] | None:
    """Seconds that the rule of the page's part on hours gives for mapping all of Lakh on so many
    cores, by the clock and of processors; None if what it is made of was not measured."""
    measured = value("lakh")
    if measured is None:
        return None
    *_, clock = scaling.hours(measured, cores)
    return {"clock": clock, "processor": sum(scaling.hours(measured, 1)[:2])}


def pictures() -> dict:
    """Name of a picture in results/ -> its title, and what draws it."""
    return {
        growth.name: (growth.title.capitalize(), partial(picture, growth)) for growth in growths()
    }


def picture(growth: Growth, title: str) -> Picture:
    """Both axes of each panel are logarithmic, so that a power is a straight line. Size 0 has no
    logarithm: it stands apart, at the left edge."""
    drawn = Picture(4.6 * len(growth.panels), 3.2)
    drawn.suptitle(title, fontsize=11)
    for position, panel in enumerate(growth.panels, 1):
        ax = drawn.add_subplot(1, len(growth.panels), position)
        for one, colour in zip(panel.curves, MODEL_COLOURS, strict=False):
            _line(ax, one, colour)
        sizes = panel.curves[0].sizes
        ax.set_xscale("log", base=2)
        ax.set_xticks(_drawn_at(sizes), [f"{size:,}" for size in sizes])
        ax.xaxis.set_minor_locator(NullLocator())
        _plain_ticks(ax, np.concatenate([one.costs for one in panel.curves]))
        legend(ax, "upper left")
        finish(ax, "", panel.x, panel.y, grid="both")
    return drawn


def _line(ax, one: Curve, colour: str) -> None:
    """A curve, and a ring for size 0."""
    xs, shown = _drawn_at(one.sizes), one.sizes > 0
    label = ", ".join(filter(None, (one.label, f"exponent {one.exponent:.2f}")))
    ax.plot(xs[shown], one.costs[shown], color=colour, marker="o", markersize=4, label=label)
    ring = dict(marker="o", markersize=6, fillstyle="none", linestyle="none")
    ax.plot(xs[~shown], one.costs[~shown], color=colour, **ring)


def _drawn_at(sizes: np.ndarray) -> np.ndarray:
    """Sizes as they stand on the axis: 0 as half of the smallest other."""
    return np.where(sizes > 0, sizes, sizes[sizes > 0].min() / 2)


def _plain_ticks(ax, costs: np.ndarray) -> None:
    """A logarithmic axis of costs with round numbers on it."""
    low, high = costs.min(), costs.max()
    ax.set(yscale="log", ylim=(low / 1.2, high * 1.5))
    round_ones = (1, 2, 5) if high / low > WIDE else (1, 1.5, 2, 3, 5, 7)
    ax.yaxis.set_major_locator(LogLocator(subs=round_ones, numticks=20))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:,.10g}"))
