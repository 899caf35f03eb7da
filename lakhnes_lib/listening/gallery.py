"""Keeping pieces: each as MIDI, TX1 text, VGM and WAV, and a gallery of a folder of them.

Paper: §8 (its sound examples are such a page). Notebook: 09_composing. Differences from the paper: none.
"""

import json
from html import escape
from pathlib import Path

from lakhnes_lib.files import write_file
from lakhnes_lib.listening.player import page
from lakhnes_lib.listening.plots import piano_roll
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound.song_files import write_song

ENDINGS = ("mid", "tx1.txt", "vgm", "wav")
_STYLE = """:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
figure{margin:0 0 2.5rem}img,audio{width:100%;border-radius:4px}figcaption b{font-size:1.1rem}a{margin-right:.8rem}"""


def keep(score: Score, folder, name: str, caption: str = "") -> None:
    """Writes ``folder/name`` in every form; a picture and the caption are kept for the ``gallery``."""
    folder = Path(folder)
    for ending in ENDINGS:
        write_song(score, folder / f"{name}.{ending}")
    picture = piano_roll(score.excerpt(0, 20) if score.seconds > 20 else score, title="")
    write_file(folder / f"{name}.png", picture.png())
    said = {"title": score.name, "caption": caption, "seconds": score.seconds}
    write_file(folder / f"{name}.json", json.dumps(said))


def gallery(folder, title: str = "Composed pieces") -> Path:
    """Writes ``folder/index.html``, which shows and plays all pieces that ``keep`` has put there, by name."""
    folder, figures = Path(folder), []
    for path in sorted(path for path in folder.glob("*.json") if path.with_suffix(".mid").exists()):
        piece, name = json.loads(path.read_text()), escape(path.stem)
        links = "".join(
            f'<a href="{name}.{ending}" download>{ending.split(".")[0].upper()}</a>'
            for ending in ENDINGS
        )
        figures.append(
            f'<figure id="{name}"><figcaption><b>{escape(piece["title"] or path.stem)}</b>, {piece["seconds"]:.0f} s. '
            f'{escape(piece["caption"])}</figcaption><img src="{name}.png" alt="Piano roll of {name}" loading="lazy">'
            f'<audio controls preload="none" src="{name}.wav"></audio><div>{links}</div></figure>'
        )
    body = "\n".join([f"<h1>{escape(title)}</h1>", *figures, ""])
    write_file(folder / "index.html", page(title, body, f"<style>{_STYLE}</style>"))
    return folder / "index.html"
