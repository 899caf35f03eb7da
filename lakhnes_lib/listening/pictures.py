"""Figures that show themselves in a notebook, and the look that all plots share.

Paper: none. Notebooks: all. The colours are Okabe and Ito's (2008), which the colour-blind can tell
apart.
"""

import io

from matplotlib.figure import Figure

VOICE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
"""P1 blue, P2 orange, TR green, NO purple: used by every plot and by the player."""

MODEL_COLOURS = "#D55E00 #56B4E9 #333333 #9A8B00 #882255 #999999 #117733 #CC6677".split()
"""For models, and whatever else is no voice: none of them is a voice's."""

INK, FAINT = "#333333", "#D9D9D9"


class Picture(Figure):
    """A matplotlib figure that a notebook shows by itself, and that pyplot does not know."""

    def __init__(self, width: float = 9.0, height: float = 3.4):
        super().__init__(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")

    def png(self) -> bytes:
        """The picture as the bytes of a PNG file."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()

    _repr_png_ = png


def axes(ax, **size):
    """Axes to draw into and what to hand back: the caller's axes, or a new picture."""
    if ax is not None:
        return ax, ax
    picture = Picture(**size)
    return picture.add_subplot(), picture


def finish(ax, title: str, x: str = "", y: str = "", grid: str | None = "y"):
    """What all plots end with: a title at the left, labels of the axes, where there are some, two
    spines, quiet ticks, and a faint grid along one axis ("x" or "y") or "both" behind the data."""
    if x:
        ax.set_xlabel(x, loc="left", color=INK)
    if y:
        ax.set_ylabel(y, color=INK)
    # As plain text: a dollar sign in a song's name starts no formula.
    ax.set_title(title, loc="left", fontsize=11, color=INK, parse_math=False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#999999")
    ax.tick_params(colors=INK, labelsize=9)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis=grid, color=FAINT, linewidth=0.6)


def legend(ax, location: str, anchor=None, **look):
    """A legend without a frame; ``anchor``: where its corner ``location`` is put, in axes."""
    if anchor:
        look = {"bbox_to_anchor": anchor, "borderaxespad": 0} | look
    ax.legend(loc=location, frameon=False, fontsize=9, **look)


def colour_scale(image, label: str):
    """A colour bar beside the image's axes."""
    bar = image.axes.figure.colorbar(image, ax=image.axes, pad=0.01, aspect=30)
    bar.set_label(label, color=INK)
    bar.outline.set_visible(False)
