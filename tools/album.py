"""The gallery: twelve pieces of every way to compose, by the shipped small model.

    python tools/album.py compose              compose them, into assets/gallery
    python tools/album.py show runs/gallery    make their pages, with pictures and sound

Nothing is picked by ear: the pieces are those of seeds 0 to 11; if one lasts less than a second,
as some do that are drawn as published, the seed is twelve higher. Where a tune is brought along, it
is one of the songbook's, which are in the public domain. `make reproduce` shows the gallery beside
its report.
"""

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from lakhnes_lib import profiles
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.files import is_newer, write_file
from lakhnes_lib.music import events, midi, nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import tunes

HOME = profiles.root() / "assets/gallery"
MINI = profiles.root() / "assets/pretrained/mini"
PIECES = 12
DEFAULTS = profiles.Sampling()
DRAWING = dict(temperature=DEFAULTS.temperature, top_k=DEFAULTS.top_k or None)
DRAWING |= dict(top_p=DEFAULTS.top_p, memory_length=DEFAULTS.memory_length, precision="int8")
BEGUN, SPAN, AROUND = 8.0, (6.0, 10.0), 15.0
"""Seconds of a beginning; the cuts that a span lies between; what is played of given voices."""
WAYS = {
    "from_nothing": "From nothing, as the library composes by default",
    "as_published": "From nothing, as the paper composed: 1,024 events, no audition",
    "continued": f"On from the first {BEGUN:g} seconds of a tune",
    "to_a_rhythm": "New pitches to a tune's rhythm and drums",
    "around_bass_and_drums": "Two pulse voices around a tune's triangle and noise",
    "between_two_cuts": "Seconds {:g} to {:g} of a tune composed anew".format(*SPAN),
}
"""Folder of each way, and its title."""


def last(steps):
    *_, result = steps
    return result


def compose(way: str, number: int) -> tuple[Score, str, float]:
    """Piece ``number`` of a way, its caption, and the second from which on it is composed."""
    # Slow to import, and not needed to show the pieces.
    from lakhnes_lib.generation import (
        auditions,
        continuation,
        given_voices,
        infilling,
        rhythm,
        sampling,
    )

    if way == "from_nothing":
        options = dict(n=1, seconds=DEFAULTS.seconds, seed=number)
        return last(auditions.compose(MINI, **options, **DRAWING)).pieces[0], f"seed {number}", 0.0
    if way == "as_published":
        drawing, seed, piece = DRAWING | dict(temperature=0.95, top_k=32), number, None
        while piece is None or piece.seconds < 1:  # some have hardly a wait among their events
            steps = sampling.stream(MINI, n=1, length=1024, seed=seed, **drawing)
            piece, caption = events.decode(last(sampling.grow(steps))[0]), f"seed {seed}"
            seed += PIECES
        return piece, caption, 0.0
    slugs = list(tunes.pieces())
    song = tunes.score(slugs[number * len(slugs) // PIECES])
    caption, song = song.name, song.excerpt(0, min(AROUND, song.seconds))
    if way == "continued":
        prime = continuation.cut(song, seconds=BEGUN)
        options = dict(n=1, seconds=DEFAULTS.seconds - BEGUN, seed=number)
        piece = last(auditions.compose(MINI, prime, **options, **DRAWING)).pieces[0]
        return piece, caption, events.decode(prime).seconds
    if way == "to_a_rhythm":
        ids = last(rhythm.compose(MINI, song, n=1, seed=number, **DRAWING))[0]
        return events.decode(ids), caption, 0.0
    if way == "around_bass_and_drums":
        voices = (nes.TR, nes.NO)
        piece = last(given_voices.compose(MINI, song, voices, n=1, seed=number, **DRAWING))[0]
        return events.decode(piece), caption, 0.0
    piece = last(infilling.compose(MINI, song, *SPAN, n=1, seed=number, **DRAWING))[0]
    return piece, caption, SPAN[0]


def compose_all() -> None:
    """Writes assets/gallery: a MIDI file for each piece, and captions.json. Pieces that are there
    stay, so that an interrupted run goes on."""
    path = HOME / "captions.json"
    captions = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for way in WAYS:
        for number in tqdm(range(PIECES), desc=way, unit="piece"):
            name = f"{way}/{number:02d}"
            if name not in captions:
                piece, caption, join = compose(way, number)
                (HOME / way).mkdir(parents=True, exist_ok=True)
                midi.write(piece, HOME / f"{name}.mid")
                captions[name] = {"caption": caption, "join": join}
                write_file(path, json.dumps(captions, indent=1))


def show(folder) -> dict[str, Path]:
    """Makes the pages of the gallery, and returns each way's. Those of pieces that have not changed
    since stay."""
    # Slow to import, and not needed by the report, which takes ``WAYS`` alone.
    from lakhnes_lib.listening.gallery import save_pieces, write_gallery

    pages, folder = {}, Path(folder)
    captions = json.loads((HOME / "captions.json").read_text(encoding="utf-8"))
    for name, about in tqdm(captions.items(), desc="gallery", unit="piece"):
        way, number = name.split("/")
        pages[way] = folder / way / "index.html"
        source, sound = HOME / f"{name}.mid", folder / way / f"{number}_00.wav"
        if not is_newer(sound, source):
            for old in sound.parent.glob(f"{number}_*"):  # of another piece, or cut short
                old.unlink()
            piece = midi.read(source).renamed(about["caption"])
            save_pieces([piece], folder / way, number, join=about["join"])
    for way in pages:
        write_gallery(folder / way, WAYS[way])
    return pages


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("compose", help="compose the pieces, into assets/gallery")
    commands.add_parser("show", help="make their pages").add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.command == "compose":
            compose_all()
        else:
            print(*show(arguments.folder).values(), sep="\n")
    except (LakhnesError, OSError) as error:
        print(f"album.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
