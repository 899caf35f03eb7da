"""Saves composed pieces as MIDI, TX1 text, VGM and WAV, with a page that plays all of a folder.

Paper: §8 (its sound examples are such a page). Notebook: 09_composing.
Differences from the paper: none.
"""

import json
from itertools import count
from pathlib import Path

from pydantic import BaseModel, ValidationError

from lakhnes_lib.files import locked, write_file
from lakhnes_lib.listening.plots import piano_roll
from lakhnes_lib.listening.templates import HERE, render
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound.song_files import write_song

ENDINGS = ("mid", "tx1.txt", "vgm", "wav")
"""The forms in which every piece is saved."""


class PieceDescription(BaseModel):
    """What the gallery says of a piece, as NAME.json beside it.

    seconds: the whole piece's; join: where what was composed begins; loops: whether its end leads
    into its beginning.
    """

    title: str
    caption: str
    seconds: float
    join: float = 0.0
    loops: bool = False


def save_pieces(
    pieces: list[Score], folder, name: str, caption: str = "", join: float = 0.0, loops=False
) -> list[Path]:
    """Writes pieces as ``name_00``, ``name_01`` and so on, each in every form, with a picture.

    A name that another piece has is passed over. What is small is written first, for all pieces
    and with the folder's page, so that a full disk loses sound and pictures at most: `lakhnes
    render NAME.mid NAME.wav` makes the sound again. join, loops: as of ``PieceDescription``.
    Returns the path of each MIDI file.
    Raises LakhnesError if the folder cannot be written, OutOfSpace.
    """
    folder = Path(folder)
    numbers = (number for number in count() if not (folder / f"{name}_{number:02d}.mid").exists())
    stems = [folder / f"{name}_{next(numbers):02d}" for _ in pieces]
    for stem, piece in zip(stems, pieces, strict=True):
        about = dict(title=piece.name, caption=caption, seconds=piece.seconds)
        about |= dict(join=join, loops=loops)
        write_file(f"{stem}.json", json.dumps(about, ensure_ascii=False))
        for ending in ENDINGS[:-1]:
            write_song(piece, f"{stem}.{ending}", loop=0 if loops else None)
    write_gallery(folder)
    for stem, piece in zip(stems, pieces, strict=True):
        shown = piece.excerpt(0, join + 20) if piece.seconds > join + 20 else piece
        picture = piano_roll(shown, title="")
        if join:
            picture.axes[0].axvline(join, color="black", linestyle="--", linewidth=1)
        write_file(f"{stem}.png", picture.png())
        write_song(piece, f"{stem}.wav")
    return [Path(f"{stem}.mid") for stem in stems]


def write_gallery(folder, title: str = "Composed pieces") -> Path:
    """Writes ``folder/index.html``, which shows and plays all pieces of the folder by name, and
    returns its path.

    A JSON file beside a MIDI file that ``save_pieces`` has not written, or that is damaged, is left
    out; the page says so. Raises LakhnesError if the page cannot be written.
    """
    folder, pieces, left_out = Path(folder), [], []
    with locked(folder):  # several processes may compose into it
        for path in sorted(folder.glob("*.json")):
            if not path.with_suffix(".mid").exists():
                continue
            try:
                about = PieceDescription.model_validate_json(path.read_bytes())
                pieces.append({"name": path.stem, **about.model_dump()})
            except (OSError, ValidationError):
                left_out.append(f"{path.name} is left out: it does not describe a piece.")
        values = dict(title=title, pieces=pieces, left_out=left_out, endings=ENDINGS)
        page = render(HERE / "gallery.html", **values)
        write_file(folder / "index.html", page)
    return folder / "index.html"
