"""The songbook: well-known tunes in the public domain, so that there is music without a download.

Paper: stands in for the data set of §3 where that is not at hand. Notebooks: 00_start_here,
01_nes_ensemble, and all in the smoke profile.
Differences from the paper: a few dozen arrangements by code (``arrangement.py``), not game music.

``assets/songbook`` holds an ABC file for each piece (melody and chord symbols), ``songbook.yaml``
(split and choices of arrangement) and ``SOURCES.md`` (composer, year, why it is free). Other ABC
files are read and arranged in the same way.
"""

import sys
import textwrap
from fractions import Fraction
from functools import cache

import numpy as np
import yaml

from lakhnes_lib import profiles
from lakhnes_lib.errors import BadScore, DataNotFound
from lakhnes_lib.files import tune_of
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import abc_reader, arrangement
from lakhnes_lib.songbook.sheets import EIGHTH, Bar, LeadSheet

FOLDER = profiles.root() / "assets" / "songbook"
LONGEST, MOST_NOTES = 2000, 10_000
"""Whole notes and notes of a tune as it is played."""


@cache
def pieces() -> dict[str, dict]:
    """The songbook: each piece's slug -> its ``split``, and the ``style``, ``textures`` and
    ``passes`` that ``arrangement.arrange`` takes for it; empty where there is no songbook."""
    path = FOLDER / "songbook.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def score(slug: str) -> Score:
    """One piece for four voices. Raises DataNotFound for a slug that is not in the songbook."""
    return scores(slug=slug)[0]


def scores(split: str | None = None, slug: str | None = None) -> list[Score]:
    """The pieces of a split (``train``, ``valid`` or ``test``), one piece, or all, named by slug.

    Raises DataNotFound if there are none.
    """
    rows = pieces().items()
    asked = [own for own, row in rows if slug in (None, own) and split in (None, row["split"])]
    if not asked:
        raise DataNotFound(f"{FOLDER / 'songbook.yaml'}: has no piece or split {slug or split}")
    return [_read_once(FOLDER / f"{own}.abc") for own in asked]


def read(path) -> Score:
    """A tune of an ABC file for four voices.

    path: of a file with several tunes it may end with the number of one, from 1, or its title:
    ``book.abc#2``. Otherwise the first is read, and a line on stderr says so. A piece of the
    songbook is arranged as ``songbook.yaml`` says, others in the usual style of their metre; where
    no chords are written they are derived (``sheets.py``). Raises BadScore, which names file and
    line, for a file that cannot be read or is not ABC.

    >>> read("assets/songbook/greensleeves.abc")
    Score('greensleeves', 60.30 s, notes: P1 144, P2 162, TR 64, NO 135)
    """
    path, asked = tune_of(path)
    tunes = abc_reader.split(path)
    number = _number_of(asked, tunes, path) if asked else 0
    if not asked and len(tunes) > 1:
        advice = f"{path.name}#2 names another"
        print(f"{path}: the first of its {len(tunes):,} tunes is read; {advice}", file=sys.stderr)
    row = pieces().get(path.stem, {}) if path.resolve().parent == FOLDER else {}
    choices = {key: value for key, value in row.items() if key != "split"}
    sheet = lead_sheet(path, tunes[number])
    return arrangement.arrange(sheet, name=str(path), **choices).renamed(path.stem)


_read_once = cache(read)


def _number_of(asked: str, tunes: list, path) -> int:
    """Index of the tune of a number, from 1, or a title. Raises BadScore if there is none."""
    titles = [[text[2:].strip() for _, text in lines if text[:2] == "T:"] for lines in tunes]
    for number, names in enumerate(titles):
        if asked.casefold() in [str(number + 1), *map(str.casefold, names)]:
            return number
    known = ", ".join(f"{number} {' '.join(names[:1])}" for number, names in enumerate(titles, 1))
    raise BadScore(f"{path}: has no tune {asked!r}; it has {textwrap.shorten(known, 300)}")


def lead_sheet(path, lines: list[tuple[int, str]] | None = None) -> LeadSheet:
    """Melody, chords and bars of a tune, repeats written out.

    lines: one tune of ``abc_reader.split``, or None for the first of the file. Raises BadScore,
    which names file and line.
    """
    lines = lines or abc_reader.split(path)[0]
    melody, chords, bars, now, tied, first, count = [], [], [], Fraction(0), False, None, 0
    for notes, signature, _ in abc_reader.played(abc_reader.read(lines, path)):
        first = first or signature
        whole = 8 * EIGHTH * first.tempo / signature.tempo
        start, count = now, count + len(notes)
        for note in notes:
            begin, now = now, now + note.length * whole
            if note.chord and note.chord != (chords and chords[-1][1]):
                chords.append((round(begin), note.chord))
            if tied and melody and melody[-1][2] == note.pitch:
                melody[-1][1] = round(now)
            elif note.pitch is not None:
                melody.append([round(begin), round(now), note.pitch])
            tied = note.tied
        if now > 8 * EIGHTH * LONGEST or count > MOST_NOTES:
            most = f"{LONGEST:,} whole notes or {MOST_NOTES:,} notes with its repeats"
            raise BadScore(f"{path}: line {lines[0][0]}: a tune of over {most}")
        _add_bar(bars, start, now, signature, whole)
    if not melody:
        raise BadScore(f"{path}: line {lines[0][0]}: a tune without a note")
    bars[-1] = bars[-1]._replace(first=bars[-1].start)  # ends early rather than begins late
    tempo = 60_000_000 / (60_000_000 // first.tempo)  # of whole microseconds, as in MIDI
    sheet = LeadSheet(np.array(melody, np.int64, order="F"), chords, bars, tempo)
    if chords:
        return sheet
    return sheet._replace(chords=sheet.fitting_chords(first.tonic, first.alters))


def _add_bar(bars: list[Bar], start: Fraction, end: Fraction, signature, whole: Fraction):
    """Adds what stands between two bar lines; whole: the units of a whole note.

    The end of a bar that a repeat has cut joins its beginning; what is longer than the metre, as
    where a bar line is missing, is divided. A short bar is the end of a full one, as a pickup is.
    """
    parts = max(signature.metre[1], 8)
    count, beat = (int(length * parts) for length in (Fraction(*signature.metre), signature.beat))
    full, shape = count * whole / parts, (float(whole / parts), count, beat)
    if bars and bars[-1][3:] == shape and round(end - full) <= bars[-1].start:
        start = bars.pop().start
    while start < end:
        stop = min(start + full, end)
        bars.append(Bar(round(stop - full), round(start), round(stop), *shape))
        start += full
