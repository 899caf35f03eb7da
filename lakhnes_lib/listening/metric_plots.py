"""A picture of musical metrics: how close sets of pieces come to real music.

Paper: none. Notebook: 09_composing. It shows what
``lakhnes_lib.evaluation.musical_metrics.measure`` found in sets of pieces.
"""

from itertools import cycle
from textwrap import fill

import numpy as np

from lakhnes_lib.evaluation.musical_metrics import METRICS
from lakhnes_lib.listening.pictures import FAINT, INK, MODEL_COLOURS, Picture, finish

_COLUMNS = 3
_KEY = """bar: the middle half of the pieces
thin line: to the outermost
pieces from 10 to 90 %
thick line: the median
band: the bar of real music"""


def metrics_picture(measured: dict[str, dict[str, np.ndarray]], *, real: str) -> Picture:
    """A panel a metric, a row a set: the middle half of its pieces as a bar, the median as a thick
    line, and a thin one to the outermost pieces between 10 and 90 %.

    measured: set -> ``measure`` of it. The grey band is the middle half of the real set. A metric
    with one value everywhere has no panel.
    """
    of_all = {
        name: np.concatenate([values[name] for values in measured.values()]) for name in METRICS
    }
    shown = [name for name, values in of_all.items() if len(np.unique(values)) > 1]
    lines = len(shown) // _COLUMNS + 1
    picture = Picture(11, lines * (0.9 + 0.3 * len(measured)))
    panels = picture.subplots(lines, _COLUMNS, squeeze=False, sharey=True).ravel()
    others = [name for name in measured if name != real]
    others_look = cycle(colour for colour in MODEL_COLOURS if colour != INK)
    colours = dict(zip(others, others_look, strict=False))
    for panel, figure in zip(panels, shown, strict=False):
        known = [values[figure][~np.isnan(values[figure])] for values in measured.values()]
        shape = dict(whis=(10, 90), widths=0.6, showfliers=False, showcaps=False)
        look = dict(orientation="horizontal", patch_artist=True, manage_ticks=False)
        drawn = panel.boxplot(known, **shape, **look)
        for bar, median, name in zip(drawn["boxes"], drawn["medians"], measured, strict=True):
            bar.set(facecolor=colours.get(name, INK), alpha=0.6, linewidth=0)
            median.set(color=colours.get(name, INK), linewidth=3)
        real_values = measured[real][figure]
        if not np.isnan(real_values).all():
            panel.axvspan(*np.nanquantile(real_values, (0.25, 0.75)), color=FAINT, zorder=0)
        finish(panel, fill(METRICS[figure], 30), grid="x")
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(1, len(measured) + 1), measured)
    panels[0].set_ylim(len(measured) + 0.6, 0.4)
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    look = dict(va="top", fontsize=9, color=INK, linespacing=1.6)
    panels[len(shown)].text(0, 0.95, _KEY, transform=panels[len(shown)].transAxes, **look)
    return picture
