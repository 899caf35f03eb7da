"""The songbook: well-known tunes in the public domain, arranged for the NES, so that there is music without a download.

Paper: stands in for the data set of §3 where that is not at hand. Notebooks: 00_start_here, 01_nes_ensemble, and all
in the smoke profile.
Differences from the paper: a few dozen arrangements by code (``lakhnes_lib.songbook.arrangement``), not game music.

``assets/songbook`` holds an ABC file for each piece (melody and chord symbols), ``songbook.yaml`` (split and choices of
arrangement) and ``SOURCES.md`` (composer, year, why it is free). ABC is read by symusic, which also plays the chord
symbols as chords: those are read back, so repeats apply to them as they do to the melody.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import symusic
import yaml

from lakhnes_lib.errors import BadScore, DataNotFound
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import arrangement
from lakhnes_lib.songbook.accompaniment import EIGHTH, STYLES, TEXTURES, Chord, LeadSheet

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "songbook"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Piece:
    """A piece of the songbook: title and composer from its ABC file, the rest from ``songbook.yaml``.

    style, textures, passes: see ``lakhnes_lib.songbook.arrangement.arrange``.
    """

    slug: str
    title: str
    composer: str
    split: str
    path: Path
    style: str
    textures: tuple[str, ...]
    passes: tuple[int, ...]


@cache
def pieces() -> tuple[Piece, ...]:
    """All pieces, in the order of ``songbook.yaml``. Raises DataNotFound where there is no songbook."""
    try:
        entries = yaml.safe_load((FOLDER / "songbook.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataNotFound(
            f"{FOLDER}: no songbook here; the library runs from a clone of its repository"
        ) from None
    return tuple(_piece(slug, **choices) for slug, choices in entries.items())


def _piece(slug: str, *, split: str, style: str, textures: list[str], passes: list[int]) -> Piece:
    path = FOLDER / f"{slug}.abc"
    text = path.read_text(encoding="utf-8")
    return Piece(
        slug,
        _field(text, "T", path),
        _field(text, "C", path),
        split,
        path,
        style,
        tuple(textures),
        tuple(passes),
    )


@cache
def score(slug: str) -> Score:
    """One piece for four voices. Raises DataNotFound for a slug that is not in the songbook."""
    for piece in pieces():
        if piece.slug == slug:
            return read(piece.path)
    raise DataNotFound(
        f"{slug}: not in the songbook, which has {', '.join(p.slug for p in pieces())}"
    )


def scores(split: str | None = None) -> list[Score]:
    """The pieces of a split (``train``, ``valid`` or ``test``), or all of them, named by slug."""
    if split is not None and split not in SPLITS:
        raise DataNotFound(f"{split}: no such split of the songbook, only {', '.join(SPLITS)}")
    return [score(piece.slug) for piece in pieces() if split in (None, piece.split)]


def read(path) -> Score:
    """An ABC file for four voices: a piece of the songbook as arranged there, others in the first style of their metre.

    Raises BadScore for a file that is no lead sheet.
    """
    path = Path(path)
    try:
        sheet = lead_sheet(path)
        style = next(
            (name for name, style in STYLES.items() if len(style.bass[0]) == sheet.bar), ""
        )
        textures, passes = TEXTURES, (0,)
        for piece in pieces() if path.resolve().parent == FOLDER else ():
            if piece.path.name == path.name:
                style, textures, passes = piece.style, piece.textures, piece.passes
        score = arrangement.arrange(
            sheet, style=style, textures=textures, passes=passes, name=str(path)
        )
    except OSError as error:
        raise BadScore(f"{path}: cannot be read ({error.strerror})") from error
    except (
        ArithmeticError,
        AttributeError,
        RuntimeError,
        ValueError,
    ) as error:  # of the ABC library, or what it gave
        raise BadScore(
            f"{path}: is no lead sheet in ABC, with a metre, a tempo and chord symbols"
        ) from error
    return score.renamed(path.stem)


def lead_sheet(path) -> LeadSheet:
    """Melody and chords of an ABC file, repeats written out.

    Every bar is a full one (a pickup is written with rests before it); chords change on eighth notes.
    Raises BadScore when the file breaks these rules, or has no melody or no chords.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    over, under = (int(number) for number in _field(text, "M", path).split("/"))
    bar = 8 * over // under
    # The library plays a chord symbol by this pattern: bass and chord together on every eighth note.
    pattern = f"%%MIDI gchord {'b' * bar}\n"
    music = symusic.Score.from_abc(re.sub(r"^(?=K:)", pattern, text, count=1, flags=re.MULTILINE))
    if len(music.tracks) != 3 or not len(music.tempos):
        raise BadScore(f"{path}: a lead sheet needs a tempo, one melody and chord symbols")
    units = [_columns(track, 2 * EIGHTH / music.tpq) for track in music.tracks]
    melody, bass, tones = units
    eighths = -(-int(max(part[:, 1].max() for part in units)) // EIGHTH)
    if eighths % bar:
        raise BadScore(f"{path}: {eighths} eighth notes are no whole number of bars of {bar}")
    chords: list[Chord | None] = [None] * eighths
    for start, _, pitch in bass.tolist():
        sounding = {p % 12 for s, _, p in tones[tones[:, 0] == start].tolist()}
        chords[start // EIGHTH] = Chord(pitch % 12, tuple(sorted(sounding)))
    compound = under == 8 and over % 3 == 0
    return LeadSheet(melody, tuple(chords), bar, 3 if compound else 2, music.tempos[0].qpm)


def _columns(track, scale: float) -> np.ndarray:
    """int64 (notes, 3): start, end, pitch of a track in units. The library starts notes one tick late: rounded away."""
    notes = track.notes.numpy()
    start, end = notes["time"] * scale, (notes["time"] + notes["duration"]) * scale
    rounded = [10 * np.round(values / 10) for values in (start, end)]
    columns = np.stack([*rounded, notes["pitch"]], axis=1).astype(np.int64)
    return columns[np.lexsort((columns[:, 2], columns[:, 0]))]


def _field(text: str, letter: str, path: Path) -> str:
    found = re.search(rf"^{letter}:\s*(.+?)\s*$", text, flags=re.MULTILINE)
    if not found:
        raise BadScore(f"{path}: has no field {letter}:")
    return found[1]
