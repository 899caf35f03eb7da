"""The songbook: well-known tunes in the public domain, so that there is music without a download.

Paper: stands in for the data set of §3 where that is not at hand. Notebooks: 00_start_here,
01_nes_ensemble, and all in the smoke profile.
Differences from the paper: a few dozen arrangements by code (``arrangement.py``), not game music.

``assets/songbook`` holds an ABC file for each piece (melody and chord symbols), ``songbook.yaml``
(split and choices of arrangement) and ``SOURCES.md`` (composer, year, why it is free). ABC is read
by symusic, which also plays the chord symbols as chords. The chords are read back from these notes,
so repeats apply to them as they do to the melody.
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
from lakhnes_lib.songbook.accompaniment import STYLES, TEXTURES
from lakhnes_lib.songbook.sheets import EIGHTH, Chord, LeadSheet

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "songbook"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Piece:
    """A piece of the songbook: title and composer of its ABC file, the rest of the YAML file.

    style, textures, passes: see ``arrangement.arrange``.
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
    """All pieces, in the order of ``songbook.yaml``.

    Raises DataNotFound if there is no songbook.
    """
    try:
        entries = yaml.safe_load((FOLDER / "songbook.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        missing = "no songbook here; the library runs from a clone of its repository"
        raise DataNotFound(f"{FOLDER}: {missing}") from None
    return tuple(_piece(slug, **choices) for slug, choices in entries.items())


def _piece(slug: str, *, split: str, style: str, textures: list[str], passes: list[int]) -> Piece:
    path = FOLDER / f"{slug}.abc"
    text = path.read_text(encoding="utf-8")
    title, composer = _field(text, "T", path), _field(text, "C", path)
    return Piece(slug, title, composer, split, path, style, tuple(textures), tuple(passes))


@cache
def score(slug: str) -> Score:
    """One piece for four voices. Raises DataNotFound for a slug that is not in the songbook."""
    for piece in pieces():
        if piece.slug == slug:
            return read(piece.path)
    known = ", ".join(piece.slug for piece in pieces())
    raise DataNotFound(f"{slug}: not in the songbook, which has {known}")


def scores(split: str | None = None) -> list[Score]:
    """The pieces of a split (``train``, ``valid`` or ``test``), or all of them, named by slug."""
    if split is not None and split not in SPLITS:
        raise DataNotFound(f"{split}: no such split of the songbook, only {', '.join(SPLITS)}")
    return [score(piece.slug) for piece in pieces() if split in (None, piece.split)]


def read(path) -> Score:
    """An ABC file for four voices.

    A piece of the songbook is arranged as ``songbook.yaml`` says, others in the first style of
    their metre. Raises BadScore for a file that is no lead sheet.
    """
    path = Path(path)
    try:
        sheet = lead_sheet(path)
        styles = [name for name, style in STYLES.items() if len(style.bass[0]) == sheet.bar]
        choices = {"style": (styles or [""])[0], "textures": TEXTURES, "passes": (0,)}
        for piece in pieces() if path.resolve().parent == FOLDER else ():
            if piece.path.name == path.name:
                choices = {name: getattr(piece, name) for name in choices}
        score = arrangement.arrange(sheet, name=str(path), **choices)
    except OSError as error:
        raise BadScore(f"{path}: cannot be read ({error.strerror})") from None
    except (ArithmeticError, AttributeError, RuntimeError, ValueError):
        # Of the ABC library, or of the calculation with what it gave.
        rule = "is no lead sheet in ABC, with a metre, a tempo and chord symbols"
        raise BadScore(f"{path}: {rule}") from None
    return score.renamed(path.stem)


def lead_sheet(path) -> LeadSheet:
    """Melody and chords of an ABC file, repeats written out.

    Every bar must be a full one (a pickup is written with rests before it), and chords change on
    eighth notes. Raises BadScore when the file breaks these rules, or has no melody or no chords.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    over, under = (int(number) for number in _field(text, "M", path).split("/"))
    bar = 8 * over // under
    # With this pattern the library plays bass and chord together on every eighth note.
    pattern = f"%%MIDI gchord {'b' * bar}\n"
    music = symusic.Score.from_abc(re.sub(r"^(?=K:)", pattern, text, count=1, flags=re.MULTILINE))
    if len(music.tracks) != 3 or not len(music.tempos):
        raise BadScore(f"{path}: a lead sheet needs a tempo, one melody and chord symbols")
    melody, bass, tones = (_rows(track, 2 * EIGHTH / music.tpq) for track in music.tracks)
    end = max(int(rows[:, 1].max()) for rows in (melody, bass, tones))
    eighths = -(-end // EIGHTH)
    if eighths % bar:
        raise BadScore(f"{path}: {eighths} eighth notes are no whole number of bars of {bar}")
    sounding = {}  # the pitch classes of the chord that starts with each unit
    for start, _, pitch in tones.tolist():
        sounding.setdefault(start, set()).add(pitch % 12)
    chords: list[Chord | None] = [None] * eighths
    for start, _, pitch in bass.tolist():
        chords[start // EIGHTH] = Chord(pitch % 12, tuple(sorted(sounding.get(start, ()))))
    compound = under == 8 and over % 3 == 0
    return LeadSheet(melody, tuple(chords), bar, 3 if compound else 2, music.tempos[0].qpm)


def _rows(track, scale: float) -> np.ndarray:
    """int64 (notes, 3): start, end and pitch of a track's notes, times in units.

    The library starts notes one of its ticks late, so times are rounded to ten units.
    """
    notes = track.notes.numpy()
    start, end = notes["time"] * scale, (notes["time"] + notes["duration"]) * scale
    rounded = [10 * np.round(times / 10) for times in (start, end)]
    rows = np.stack([*rounded, notes["pitch"]], axis=1).astype(np.int64)
    return rows[np.lexsort((rows[:, 2], rows[:, 0]))]


def _field(text: str, letter: str, path: Path) -> str:
    """The first field of an ABC file with this letter."""
    match = re.search(rf"^{letter}:\s*(.+?)\s*$", text, flags=re.MULTILINE)
    if not match:
        raise BadScore(f"{path}: has no field {letter}:")
    return match[1]
