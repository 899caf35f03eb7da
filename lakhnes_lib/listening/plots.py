"""Pictures of music and sound: piano roll and spectrogram.

Paper: Figure 1 is of the first kind. Notebooks: 01_nes_ensemble, 02_event_representation.
Differences from the paper: ours in look; it shows one voice's roll, these all four.

Every function draws into ``ax`` and returns it; without ``ax`` it makes a figure of its own and
returns that. Such a figure shows itself as the last line of a cell, and pyplot never hears of it,
so none stays behind.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch

from lakhnes_lib.listening.pictures import VOICE_COLOURS, axes, colour_scale, finish, legend
from lakhnes_lib.music import nes

_IN_AN_OCTAVE = "C C# D D# E F F# G G# A A# B".split()
PITCH_NAMES = tuple(f"{name}{octave - 1}" for octave in range(11) for name in _IN_AN_OCTAVE)
"""Names of MIDI pitches; 60 is C4."""

_NOTE_HEIGHT = np.array([1.2, 0.7, 1.2, 1.0])
_STRIP_GAP = 2.5


class Roll(NamedTuple):
    """Where everything of a piano roll stands, in seconds and rows; a row is a semitone.

    floor, high: the lowest and the highest row. labels: names of rows. bars: of each voice heard,
    float (notes, 5): start and end, lower and upper edge, opacity; stronger is higher velocity. A
    bar ends a little before the voice's next note begins, so that a repeated note is seen as two.
    """

    floor: float
    high: int
    labels: dict[float, str]
    bars: dict[int, np.ndarray]


def roll(score) -> Roll:
    """What a piano roll shows of a Score. The noise types 1-16 have their own strip below the
    pitches; where both pulses play one pitch, P2 is the thin bar inside P1's."""
    melodic = score.notes[score.notes["voice"] != nes.NO]
    has_strip = len(melodic) < len(score.notes)
    # Notes that are too brief to be seen, of at most 220 ticks (5 ms), need no rows.
    pitches = melodic["pitch"][melodic["end"] - melodic["start"] > min(score.length // 2000, 220)]
    low = int(pitches.min(initial=60)) - 2
    high = int(pitches.max(initial=72)) + 2 if len(melodic) or not has_strip else low - 1
    # Noise type n stands at row n above the strip's floor; row 16 is _STRIP_GAP under the lowest
    # pitch. Noise alone has no rows for pitches.
    floor = low - (_STRIP_GAP + 16) * has_strip
    bars = {}
    for voice in (nes.TR, nes.P1, nes.P2, nes.NO):
        if not len(ours := score.voice(voice)):
            continue
        start, end = ours["start"] / nes.TICKS_PER_SECOND, ours["end"] / nes.TICKS_PER_SECOND
        gap = np.minimum((end - start) / 3, score.seconds / 400)  # where a note is repeated
        end = np.minimum(end, np.append(start[1:], np.inf) - gap)
        middle = ours["pitch"] + (floor if voice == nes.NO else 0.0)
        half = _NOTE_HEIGHT[voice] / 2
        opacity = 0.5 + 0.5 * ours["velocity"] / nes.HIGHEST_VELOCITY[voice]
        bars[voice] = np.stack([start, end, middle - half, middle + half, opacity], axis=1)
    step = 12 if high - low > 40 else 6 if high - low > 18 else 3
    labels = {floor + n: f"noise {n}" for n in (1, 8, 16) if has_strip}
    labels |= {row: PITCH_NAMES[row] for row in range(low + 2, high + 1) if row % step == 0}
    return Roll(floor, high, labels, bars)


def piano_roll(score, ax=None, *, title: str | None = None):
    """Notes over seconds in four voice colours, as ``roll`` says.

    score: Score. title: the score's name if None. Returns the Axes given, or a Picture.
    """
    ax, made = axes(ax)
    shown = roll(score)
    for voice, bars in shown.bars.items():
        start, end, below, above, opacity = bars.T
        corners = [start, below, end, below, end, above, start, above]
        look = dict(facecolors=VOICE_COLOURS[voice], alpha=opacity, linewidths=0)
        ax.add_collection(PolyCollection(np.stack(corners, 1).reshape(-1, 4, 2), **look))
    if nes.NO in shown.bars:
        ax.axhspan(shown.floor + 0.2, shown.floor + 16.8, color="#F4F1F4", linewidth=0, zorder=0)
    ax.set(xlim=(0, max(score.seconds, 1e-3)), ylim=(shown.floor, shown.high))
    ax.set_yticks(list(shown.labels), list(shown.labels.values()))
    finish(ax, score.name if title is None else title, "seconds")
    if shown.bars:
        heard = sorted(shown.bars)
        patches = [Patch(color=VOICE_COLOURS[v], label=nes.VOICE_TITLES[v]) for v in heard]
        look = dict(ncols=4, handlelength=1.0, columnspacing=1.4)
        legend(ax, "upper right", (1, -0.09), handles=patches, **look)
    return made


def spectrogram(samples, rate: int, ax=None, *, title: str = ""):
    """Power over time and frequency, in decibels below a full-scale sine; 46 ms windows (Hann).

    samples: float (samples,) in [-1, 1]; rate: samples a second. Returns the Axes given, or a
    Picture.
    """
    ax, made = axes(ax, height=3.2)
    samples = np.asarray(samples, np.float32)
    width = max(64, 1 << round(np.log2(rate * 0.046)))
    hop = min(width, max(1, len(samples) // 400))
    # Half a window of silence before and after: the first and last window lie around the ends. One
    # sample more, and even no sound at all has more than one window.
    padded = np.pad(samples, width // 2 + 1)
    look = dict(cmap="magma", vmin=-90, vmax=-15, interpolation="nearest")
    look["xextent"] = (0, max(len(samples), 1) / rate)
    with np.errstate(divide="ignore"):  # silence is minus infinity
        # A sine of amplitude 1 has magnitude 0.5 in its one-sided bin, so twice the samples.
        transform = dict(NFFT=width, Fs=rate, noverlap=width - hop, mode="magnitude", scale="dB")
        *_, image = ax.specgram(2 * padded, **transform, **look)
    ax.set(ylim=(0, rate / 2), facecolor=image.get_cmap()(0.0))  # silence is not drawn
    ax.yaxis.set_major_formatter(lambda hertz, _: f"{hertz / 1000:g}")
    colour_scale(image, "dB")
    finish(ax, title, "seconds", "kHz", grid=None)
    return made
