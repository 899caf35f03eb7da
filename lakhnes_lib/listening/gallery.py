"""Saves composed pieces as MIDI, TX1 text, VGM and WAV, with a page that plays all of a folder.

Paper: §8 (its sound examples are such a page). Notebook: 09_composing.
Differences from the paper: none.
"""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from lakhnes_lib.files import write_file
from lakhnes_lib.listening.plots import piano_roll
from lakhnes_lib.listening.templates import HERE, render
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound.song_files import write_song

ENDINGS = ("mid", "tx1.txt", "vgm", "wav")
"""The forms in which every piece is saved."""


class PieceDescription(BaseModel):
    """What the gallery says of a piece, as NAME.json beside it. seconds: the whole piece's."""

    title: str
    caption: str
    seconds: float


def save_piece(score: Score, folder, name: str, caption: str = "") -> None:
    """Writes ``folder/name`` in every form, and a picture and a description for the gallery.

    Raises LakhnesError if the folder cannot be written, OutOfSpace.
    """
    folder = Path(folder)
    for ending in ENDINGS:
        write_song(score, folder / f"{name}.{ending}")
    beginning = score.excerpt(0, 20) if score.seconds > 20 else score
    write_file(folder / f"{name}.png", piano_roll(beginning, title="").png())
    about = PieceDescription(title=score.name, caption=caption, seconds=score.seconds)
    write_file(folder / f"{name}.json", about.model_dump_json())


def write_gallery(folder, title: str = "Composed pieces") -> Path:
    """Writes ``folder/index.html``, which shows and plays all pieces of the folder by name, and
    returns its path.

    A JSON file beside a MIDI file that ``save_piece`` has not written, or that is damaged, is left
    out; the page says so. Raises LakhnesError if the page cannot be written.
    """
    folder, pieces, left_out = Path(folder), [], []
    for path in sorted(folder.glob("*.json")):
        if not path.with_suffix(".mid").exists():
            continue
        try:
            about = PieceDescription.model_validate_json(path.read_bytes())
            pieces.append({"name": path.stem, **about.model_dump()})
        except (OSError, ValidationError):
            left_out.append(f"{path.name} is left out: it does not describe a piece.")
    page = render(
        HERE / "gallery.html", title=title, pieces=pieces, left_out=left_out, endings=ENDINGS
    )
    write_file(folder / "index.html", page)
    return folder / "index.html"
