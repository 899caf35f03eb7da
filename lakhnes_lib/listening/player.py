"""A player for notebooks and saved pages: hear a Score, see it, mute its voices, take it along.

Paper: §3 (the ensemble), §7 and §8 (listening). Notebook: 01_nes_ensemble; every other notebook plays through it.
Differences from the paper: it has no player.

``listen`` and ``compare`` give one self-contained piece of HTML. Its base is plain: a picture and an ``<audio>``
element that holds the library's own rendering; saved pages keep both, and they work with scripts off. With scripts on,
``player.js`` puts a mixer, a piano roll with a moving line, waveform, spectrogram and downloads in their place.
It needs no widgets, no server and no network; mixes other than the full one are rendered in the browser.
"""

import base64
import json
import re
import tempfile
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from lakhnes_lib.errors import BadAudio
from lakhnes_lib.files import write_file
from lakhnes_lib.listening import plots
from lakhnes_lib.music import midi, nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound import apu, audio, bandlimit, presets, vgm

PREVIEW_RATE = 22_050
"""Samples a second of the sound inside a page: half the chip's usual rate, a quarter of its size as 16-bit mono."""


class Player:
    """Self-contained HTML that plays one or several pieces; Jupyter shows it by itself.

    html: the fragment, str. ``save`` writes it as a page of its own.
    """

    def __init__(self, html: str, description: str):
        self.html, self._description = html, description

    def __repr__(self) -> str:
        return self._description

    def _repr_html_(self) -> str:
        return self.html

    def save(self, path) -> Path:
        """Writes a complete HTML page to ``path``; raises LakhnesError if it cannot be written."""
        path = Path(path)
        write_file(path, page(self._description, f"\n{self.html}\n"))
        return path


def page(title: str, body: str, head: str = "") -> str:
    """A complete HTML page; title: plain text; body, head: HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>{head}</head>\n<body>{body}</body></html>\n"
    )


def listen(
    source, title: str | None = None, *, rate: int | None = None, seconds: float | None = 30.0
) -> Player:
    """A player for one piece.

    source: Score, or samples, float array ``(samples,)`` in [-1, 1] at ``rate`` a second (44,100 if None).
    title: shown as plain text; the score's name if None.
    seconds: a longer piece is cut there in the page, which says so (30 s take 1.8 MB); None keeps all of it.
        The MIDI and VGM downloads are always the whole piece.
    Raises BadAudio for samples that are not sound or a rate that is not one.
    """
    return _player([_piece(source, title, rate, seconds)])


def compare(pieces: dict, *, rate: int | None = None, seconds: float | None = 30.0) -> Player:
    """One player for several pieces: a row of buttons switches between them at the same position.

    pieces: label -> Score or samples, as in ``listen``. Raises BadAudio if there are none.
    """
    if not pieces:
        raise BadAudio("compare: no pieces were given")
    return _player([_piece(source, label, rate, seconds) for label, source in pieces.items()])


def panel(score: Score, title: str | None = None) -> None:
    """Shows the player of a score and, under it, widgets: which seconds of it to hear, and with which dynamics.

    The player is a plain output that the widgets replace, so a saved notebook keeps sound and picture without them.
    """
    import ipywidgets  # here, so that a player needs nothing but the library
    from IPython.display import display

    end = max(score.seconds, 0.1)
    part = ipywidgets.FloatRangeSlider(
        value=(0, min(end, 30)),
        min=0,
        max=end,
        step=0.1,
        description="seconds",
        continuous_update=False,
    )
    dynamics = ipywidgets.Dropdown(
        options={"as written": None, "full": 15, "fading notes": "decay"}, description="dynamics"
    )

    def chosen() -> Player:
        start = max(0.0, min(part.value[0], score.seconds - 0.1))
        dressed = presets.dress(score, volume=dynamics.value)
        heard = dressed.excerpt(start, max(part.value[1], start + 0.1)) if score.length else dressed
        return listen(heard, title, seconds=None)

    shown = display(chosen(), display_id=True)
    for widget in (part, dynamics):
        widget.observe(lambda change: shown.update(chosen()), "value")
    display(ipywidgets.HBox([part, dynamics]))


def _piece(source, title, rate, seconds) -> dict:
    """What the page needs of one piece: sound, picture, notes, downloads."""
    if isinstance(source, Score):
        whole, shown = source, source
        if seconds is not None and source.seconds > seconds:
            shown = source.excerpt(0, seconds)
        rate, samples = PREVIEW_RATE, apu.render(shown, sample_rate=PREVIEW_RATE)
        title = source.name if title is None else title
        total, picture = whole.seconds, plots.piano_roll(shown, title="")
        data = {
            "length": shown.length / nes.TICKS_PER_SECOND,
            "notes": [
                shown.notes[name].tolist()
                for name in ("voice", "start", "end", "pitch", "velocity")
            ],
            "controls": [
                shown.controls[name].tolist() for name in ("voice", "tick", "kind", "value")
            ],
            "gain": apu.GAIN["console"],
            "filter": [
                part.tolist() for part in bandlimit.filter_coefficients("console", PREVIEW_RATE)
            ],
            "files": {
                "mid": _file(".mid", midi.write, whole),
                "vgm": _file(".vgm", vgm.write, whole),
            },
        }
    else:
        rate = 44_100 if rate is None else rate
        samples = _samples(source, rate)
        total = len(samples) / rate
        if seconds is not None:
            samples = samples[: int(seconds * rate)]
        picture = plots.waveform(samples, rate)
        data = {"length": len(samples) / rate, "files": {}}
    title = title or "untitled"
    data |= {
        "title": title,
        "file": re.sub(r"[^\w.-]+", "_", title).strip("._")[:80] or "untitled",
        "total": total,
    }
    wav = _file(
        ".wav", lambda sound, path: audio.write_wav(sound, path, rate), np.clip(samples, -1, 1)
    )
    return data | {"wav": wav, "png": _base64(picture.png())}


def _samples(source, rate) -> np.ndarray:
    try:
        samples = np.asarray(source, np.float32)
    except (TypeError, ValueError) as error:
        raise BadAudio(
            f"listen: a {type(source).__name__} is neither a Score nor samples"
        ) from error
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise BadAudio(
            f"listen: samples of shape {samples.shape} are not one row of finite numbers"
        )
    if isinstance(rate, bool) or int(rate) != rate or rate < 1:
        raise BadAudio(f"listen: a sample rate of {rate} Hz is not a positive whole number")
    return samples


def _file(ending: str, write, content) -> str:
    """What ``write(content, path)`` puts into a file, in base64."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"piece{ending}"
        write(content, path)
        return _base64(path.read_bytes())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


@cache
def asset(name: str) -> str:
    """The text of a file that stands beside this one."""
    return (files(__package__) / name).read_text(encoding="utf-8")


_SCRIPTS = ("elements.js", "sound.js", "views.js", "player.js")
_LINK_TYPES = {"mid": ("audio/midi", "MIDI"), "vgm": ("application/octet-stream", "VGM")}


def _player(pieces: list[dict]) -> Player:
    """The HTML of some pieces; every text from outside goes through ``escape``."""
    figures = []
    for piece in pieces:
        title, name = escape(piece["title"]), escape(piece["file"])
        data = {key: value for key, value in piece.items() if key not in ("files", "wav", "png")}
        links = " ".join(
            f'<a download="{name}.{ending}" href="data:{_LINK_TYPES[ending][0]};base64,{content}">'
            f"{_LINK_TYPES[ending][1]}</a>"
            for ending, content in piece["files"].items()
        )
        cut = ""
        if piece["total"] - piece["length"] > 0.05:
            cut = f"The first {piece['length']:.0f} of {piece['total']:.0f} seconds. "
        figures.append(
            f'<figure data-piece="{escape(json.dumps(data, separators=(",", ":")))}">'
            f"<figcaption>{title}</figcaption>"
            f'<img alt="{"Piano roll" if "notes" in piece else "Waveform"} of {title}" '
            f'src="data:image/png;base64,{piece["png"]}">'
            f'<audio controls preload="metadata" aria-label="{title}" '
            f'src="data:audio/wav;base64,{piece["wav"]}"></audio>'
            f'<div class="downloads">{cut}{links}</div></figure>'
        )
    heading = ", ".join(piece["title"] for piece in pieces)
    # The attribute keeps JupyterLab's one-key commands away while the player has the focus.
    html = (
        f'<div class="lakhnes-player tex2jax_ignore mathjax_ignore" role="group" aria-label="Player: {escape(heading)}"'
        f' data-lm-suppress-shortcuts="true">\n<style>{asset("player.css")}</style>\n{"".join(figures)}\n'
        f"<script>(() => {{\n{''.join(map(asset, _SCRIPTS))}}})();</script>\n</div>"
    )
    return Player(html, f"Player: {heading}")
