"""A table and a picture of musical metrics: how close sets of pieces come to real music.

Paper: none. Notebook: 09_composing. They show what
``lakhnes_lib.evaluation.musical_metrics.measure`` found in sets of pieces.
"""

import numpy as np

from lakhnes_lib.evaluation.musical_metrics import METRICS, distances
from lakhnes_lib.listening.pictures import FAINT, INK, Picture, finish
from lakhnes_lib.listening.tables import Table, table

_COLOURS = ("#D55E00", "#56B4E9", "#117733", "#882255", "#9A8B00", "#CC6677")
_COLUMNS = 4
_KEY = """bar: the middle half of the pieces
line: from 10 to 90 %
white: the median
band: the bar of real music"""


def metrics_table(
    measured: dict[str, dict[str, np.ndarray]], *, real: str, uniform: str | None = None
) -> Table:
    """Medians of every figure and set; in brackets how far a set is from the real one.

    measured: set -> ``measure`` of it; real: the set that the others are held against. The distance
    is that of the distributions, in standard deviations of the real set; with uniform, the set at
    the other end of the scale, it is a share of that set's distance: 0 % is as real music, 100 % as
    far off as the uniform model.
    """
    far = {name: distances(values, measured[real]) for name, values in measured.items()}

    def cell(name: str, figure: str) -> str:
        values = measured[name][figure]
        middle = "–" if np.isnan(values).all() else f"{np.nanmedian(values):.2f}"
        distance = far[name][figure]
        if name == real or np.isnan(distance):
            return middle
        if not uniform:
            return f"{middle} ({distance:.2f})"
        whole = far[uniform][figure]
        return f"{middle} ({distance / whole:.0%})" if whole > 0 else middle

    rows = [
        (title, *(cell(name, figure) for name in measured)) for figure, title in METRICS.items()
    ]
    return table(("figure", *measured), *rows)


def metrics_picture(
    measured: dict[str, dict[str, np.ndarray]], *, real: str, uniform: str | None = None
) -> Picture:
    """A panel a figure, a row a set: the middle half of its pieces as a bar, 10 to 90 % as a line,
    the median white.

    measured: set -> ``measure`` of it. The grey band is the middle half of the real set; the
    uniform model is grey.
    """
    lines = -(-len(METRICS) // _COLUMNS)
    picture = Picture(11, lines * (0.9 + 0.3 * len(measured)))
    panels = picture.subplots(lines, _COLUMNS, squeeze=False).ravel()
    for panel in panels[len(METRICS) :]:
        panel.set_axis_off()
        look = dict(va="top", fontsize=9, color=INK, linespacing=1.6)
        panel.text(0, 0.95, _KEY, transform=panel.transAxes, **look)
    others = [name for name in measured if name not in (real, uniform)]
    colours = {real: INK, uniform: "#999999"} | {
        name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(others)
    }
    for number, (panel, (figure, title)) in enumerate(zip(panels, METRICS.items(), strict=False)):
        known = {
            row: each[figure]
            for row, each in enumerate(measured.values())
            if not np.isnan(each[figure]).all()
        }
        width = np.ptp([np.nanquantile(values, (0.1, 0.9)) for values in known.values()] or [0])
        for row, values in known.items():
            name = list(measured)[row]
            low, first, middle, third, high = np.nanquantile(values, (0.1, 0.25, 0.5, 0.75, 0.9))
            if name == real:
                panel.axvspan(first, third, color=FAINT, alpha=0.5, linewidth=0, zorder=0)
            for ends, thickness in (((low, high), 1.5), ((first, third), 9)):
                look = dict(linewidth=thickness, solid_capstyle="butt")
                panel.plot(ends, (row, row), color=colours[name], **look)
            if third - first > 0.03 * width:
                look = dict(markersize=8, markeredgewidth=2, zorder=3)
                panel.plot(middle, row, "|", color="white", **look)
            else:  # a bar too narrow to see
                panel.plot(middle, row, "o", color=colours[name], markersize=5, zorder=4)
        panel.set_ylim(len(measured) - 0.4, -0.6)
        panel.set_yticks(
            range(len(measured)), measured if number % _COLUMNS == 0 else [""] * len(measured)
        )
        finish(panel, title, grid="x")
        panel.tick_params(axis="y", length=0)
        panel.title.set_fontsize(9.5)
    return picture
