"""The songbook: well-known tunes in the public domain, so that there is music without a download.

Paper: stands in for the data set of §3 where that is not at hand. Notebooks: 00_start_here,
01_nes_ensemble, and all in the smoke profile.
Differences from the paper: a few dozen arrangements by code (``arrangement.py``), not game music.

``assets/songbook`` holds an ABC file for each piece (melody and chord symbols), ``songbook.yaml``
(split and choices of arrangement) and ``SOURCES.md`` (composer, year, why it is free). Other ABC
files are read and arranged in the same way.
"""

import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from lakhnes_lib.errors import BadScore, DataNotFound
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import abc_reader, arrangement, harmony
from lakhnes_lib.songbook.sheets import EIGHTH, Bar, LeadSheet

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "songbook"
SPLITS = ("train", "valid", "test")
LONGEST = 2000
"""Whole notes of a tune as it is played."""


@dataclass(frozen=True)
class Piece:
    """A piece of the songbook and the choices of its arrangement, see ``arrangement.arrange``."""

    slug: str
    path: Path
    split: str
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
    return tuple(
        Piece(slug, FOLDER / f"{slug}.abc", **choices) for slug, choices in entries.items()
    )


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
    """The tune of an ABC file for four voices; of several the first, with a line on stderr.

    A piece of the songbook is arranged as ``songbook.yaml`` says, others in the usual style of
    their metre; where no chords are written they are derived (``harmony.py``). Raises BadScore,
    which names file and line, for a file that cannot be read or is not ABC.

    >>> read("assets/songbook/greensleeves.abc")
    Score('greensleeves', 60.30 s, notes: P1 144, P2 162, TR 64, NO 135)
    """
    path, tunes = Path(path), abc_reader.split(path)
    if len(tunes) > 1:
        print(f"{path}: the first of its {len(tunes):,} tunes is read", file=sys.stderr)
    return _arranged(path, tunes[0], path.stem)


def read_all(path) -> tuple[list[Score], list[str]]:
    """Every tune of an ABC file, numbered if there are several, and why others were left out.

    Raises BadScore for a file that cannot be read.

    >>> read_all("assets/songbook/greensleeves.abc")
    ([Score('greensleeves', 60.30 s, notes: P1 144, P2 162, TR 64, NO 135)], [])
    """
    path, tunes, songs, reasons = Path(path), abc_reader.split(path), [], []
    for number, lines in enumerate(tunes, start=1):
        try:
            name = path.stem if len(tunes) == 1 else f"{path.stem} {number}"
            songs.append(_arranged(path, lines, name))
        except BadScore as error:
            reasons.append(str(error))
    return songs, reasons


def _arranged(path: Path, lines, name: str) -> Score:
    choices = {}
    for piece in pieces() if path.resolve().parent == FOLDER else ():
        if piece.path.name == path.name:
            choices = {key: getattr(piece, key) for key in ("style", "textures", "passes")}
    return arrangement.arrange(lead_sheet(path, lines), name=str(path), **choices).renamed(name)


def lead_sheet(path, lines: list[tuple[int, str]] | None = None) -> LeadSheet:
    """Melody, chords and bars of a tune, repeats written out.

    lines: one tune of ``abc_reader.split``, or None for the first of the file. Raises BadScore,
    which names file and line.
    """
    lines = lines or abc_reader.split(path)[0]
    written = abc_reader.played(abc_reader.read(lines, path), path)
    melody, chords, spans, now, tied = [], [], [], Fraction(0), False
    for bar in written:
        whole = 8 * EIGHTH * written[0].signature.tempo / bar.signature.tempo
        start = now
        for note in bar.notes:
            begin, now = now, now + note.length * whole
            if note.chord and note.chord != (chords and chords[-1][1]):
                chords.append((round(begin), note.chord))
            if tied and melody and melody[-1][2] == note.pitch:
                melody[-1][1] = round(now)
            elif note.pitch is not None:
                melody.append([round(begin), round(now), note.pitch])
            tied = note.tied
        if now > 8 * EIGHTH * LONGEST:
            raise BadScore(f"{path}: line {lines[0][0]}: a tune of over {LONGEST:,} whole notes")
        _add_bar(spans, start, now, bar.signature.metre, whole)
    if not melody:
        raise BadScore(f"{path}: line {lines[0][0]}: a tune without a note")
    bars = tuple(_bar(*span, is_last=span is spans[-1]) for span in spans)
    rows = np.array(melody, np.int64)
    chords = chords or harmony.chords(rows, bars, written[0].signature)
    microseconds = 60_000_000 // written[0].signature.tempo  # of a quarter note, as in MIDI
    return LeadSheet(rows, tuple(chords), bars, 60_000_000 / microseconds)


def _add_bar(spans: list, start, end, metre, whole):
    """Adds what stands between two bar lines: start, end, metre, and the units of a whole note.

    The end of a bar that a repeat has cut joins its beginning; what is longer than the metre, as
    where a bar line is missing, is divided.
    """
    full = Fraction(*metre) * whole
    if spans and spans[-1][2:] == [metre, whole] and end - spans[-1][0] <= full:
        start = spans.pop()[0]
    while start < end:
        spans.append([start, min(start + full, end), metre, whole])
        start += full


def _bar(start, end, metre, whole, is_last) -> Bar:
    """A short bar is the end of a full one, as a pickup is; the last one is the beginning."""
    over, under = metre
    part = max(under, 8)
    count, eighth = over * part // under, whole / part
    first = start if is_last else end - count * eighth
    beat = 3 if under >= 8 and over % 3 == 0 else 2
    return Bar(round(first), round(start), round(end), float(eighth), count, beat)
