"""A player for notebooks and saved pages: hear a Score, see it, mute its voices, take it along.

Paper: §3 (the ensemble), §7 and §8 (listening). Notebook: 01_nes_ensemble; every other notebook
plays through it.
Differences from the paper: it has no player.

``listen`` and ``compare`` give one self-contained piece of HTML (``player.html``). Its base is
plain: a picture and an ``<audio>`` element that holds the library's own rendering; saved pages keep
both, and they work with scripts off. With scripts on, ``player.js`` puts a mixer, a piano roll with
a moving line, waveform, spectrogram and downloads in their place. It needs no widgets, no server
and no network; mixes other than the full one are rendered in the browser.
"""

import base64
import re
import tempfile
from pathlib import Path

import numpy as np

from lakhnes_lib.errors import BadAudio
from lakhnes_lib.files import write_file
from lakhnes_lib.listening import plots
from lakhnes_lib.listening.templates import HERE, render
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound import apu, audio, bandlimit, timeline
from lakhnes_lib.sound.song_files import write_song

PREVIEW_RATE = 22_050
"""Samples a second of the sound inside a page: half the chip's usual rate, a quarter of its size as
16-bit mono."""


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
        write_file(path, render(HERE / "page.html", title=self._description, body=self.html))
        return path


def listen(
    source, title: str | None = None, *, rate: int = 44_100, seconds: float | None = 30.0
) -> Player:
    """A player for one piece.

    source: Score, or samples, float array ``(samples,)`` in [-1, 1] at ``rate`` a second. title:
    shown as plain text; the score's name if None. seconds: a longer piece is cut there in the page,
    which says so (30 s take 1.8 MB); None keeps all of it.
        The MIDI and VGM downloads are always the whole piece.
    Raises BadAudio for samples that are not sound or a rate that is not one.

    >>> import lakhnes_lib as nes
    >>> song = nes.read("assets/songbook/greensleeves.abc")
    >>> player = nes.listen(song.excerpt(0, 2))  # the last line of a notebook's cell shows it
    >>> "<audio" in player.html
    True
    """
    return compare({title: source}, rate=rate, seconds=seconds)


def compare(pieces: dict, *, rate: int = 44_100, seconds: float | None = 30.0) -> Player:
    """One player for several pieces: a row of buttons switches between them at the same position.

    pieces: label -> Score or samples, as in ``listen``. Raises BadAudio if there are none.

    >>> import lakhnes_lib as nes
    >>> song = nes.read("assets/songbook/greensleeves.abc")
    >>> player = nes.compare({"song": song.excerpt(0, 2), "faster": nes.change_speed(song, 2)})
    >>> player.html.count("<audio")
    2
    """
    if not pieces:
        raise BadAudio("compare: no pieces were given")
    parts = [_piece(source, label, rate, seconds) for label, source in pieces.items()]
    title = f"Player: {', '.join(part['data']['title'] for part in parts)}"
    html = render(HERE / "player.html", title=title, pieces=parts, voices=nes.VOICE_TITLES)
    return Player(html, title)


def _piece(source, title, rate, seconds) -> dict:
    """What the template needs of one piece; ``data`` is what the script reads."""
    if isinstance(source, Score):
        title = source.name if title is None else title
        downloads = {ending: _file_content(ending, source, write_song) for ending in ("mid", "vgm")}
        total, rate = source.seconds, PREVIEW_RATE
        if seconds is not None and total > seconds:
            source = source.excerpt(0, seconds)
        length, samples = source.seconds, apu.render(source, sample_rate=rate)
        picture, data = plots.piano_roll(source, title=""), _score_data(source)
        roll = plots.roll(source)
    else:
        samples = _samples(source, rate)
        total, downloads = len(samples) / rate, {}
        if seconds is not None:
            samples = samples[: int(seconds * rate)]
        length, picture, data = len(samples) / rate, plots.spectrogram(samples, rate), {}
        roll = None
    title = title or "untitled"
    file_name = re.sub(r"[^\w.-]+", "_", title).strip("._")[:80] or "untitled"
    data |= {"title": title, "file": file_name, "length": length, "total": total}
    wav = _file_content("wav", np.clip(samples, -1, 1), audio.write_wav, rate)
    pictures = {"png": _base64(picture.png()), "roll": roll, "rate": rate}
    return {"data": data, "wav": wav, "downloads": downloads} | pictures


def _score_data(score: Score) -> dict:
    """What the browser needs to render other mixes of a piece."""
    filter_parts = bandlimit.filter_coefficients("console", PREVIEW_RATE)
    song = timeline.build(score)
    return {
        "voices": [_voice_data(voice, song.borders[:-1]) for voice in song.voices],
        "steps": bandlimit.step_polynomials().round(7).tolist(),
        "gain": apu.GAIN["console"],
        "filter": [part.tolist() for part in filter_parts],
    }


def _voice_data(voice: np.ndarray, starts: np.ndarray) -> list[list[int]]:
    """A voice by column: the cycle from which on the other columns hold, then those of
    ``Timeline``; a row wherever one of them changes."""
    rows = np.flatnonzero((np.diff(voice, prepend=-1) != 0).any(0))
    return np.vstack([starts, voice])[:, rows].tolist()


def _samples(source, rate) -> np.ndarray:
    try:
        samples = np.asarray(source, np.float32)
    except (TypeError, ValueError):
        kind = type(source).__name__
        raise BadAudio(f"listen: a {kind} is neither a Score nor samples") from None
    if samples.ndim != 1 or not np.isfinite(samples).all():
        shape = samples.shape
        raise BadAudio(f"listen: samples of shape {shape} are not one row of finite numbers")
    if isinstance(rate, bool) or int(rate) != rate or rate < 1:
        raise BadAudio(f"listen: a sample rate of {rate} Hz is not a positive whole number")
    return samples


def _file_content(ending: str, content, write, *options) -> str:
    """What ``write(content, path, *options)`` puts into a file, in base64."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"piece.{ending}"
        write(content, path, *options)
        return _base64(path.read_bytes())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
