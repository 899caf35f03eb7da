"""Reads tunes in ABC notation, bar by bar, and writes their repeats out.

Paper: none. Notebook: 01_nes_ensemble. The songbook is written in ABC, as folk tunes are. Read is
one voice of the ABC standard 2.1 (2011): of several voices the first, of a chord of notes the
highest. Grace notes, decorations, words and jumps (D.C., D.S.) are passed over.

Lengths are exact fractions of a whole note. A bar is what stands between two bar lines, whatever
the metre says; ``tunes.py`` decides what is a pickup.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from lakhnes_lib.errors import BadScore
from lakhnes_lib.files import read_bytes
from lakhnes_lib.songbook.abc_fields import Signature, semitones
from lakhnes_lib.songbook.sheets import NATURALS, Chord, chord_named

MOST_CHARACTERS = 250_000
"""Of one tune; the longest of the songbook has 1,500."""
TUPLETS = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
"""How many notes' time so many notes take. Of 5, 7 and 9 the metre decides."""

DOUBLE_BAR, REPEAT = 1, 2
"""Where a repeat begins. A double bar counts where no sign opens the repeat."""

FIELD = re.compile(r"(?P<field>[A-Za-z+]:(?![|:]).*)")
"""A line that is a field."""
TOKEN = re.compile(
    r"""
    \[(?P<field>[A-Za-z]:[^\]]*)\]
    | "(?P<text>[^"]*)"
    | (?P<bar>\[?[|:][|:\]]*)
    | \[?(?P<ending>[1-9]\d?(?:[,.-]\d{1,2})*)
    | (?P<tuplet>\((?P<several>[2-9])(?::(?P<time>\d?)(?::(?P<scope>\d?))?)?)
    | (?P<note>
        (?:(?P<pitch>(?P<sign>[_^=]*)(?P<letter>[A-Ga-g])(?P<octaves>[,']*))
          |(?P<rest>[xzXZ])|\[(?P<chord>[^\]|:"]+)\])
        (?P<over>\d{0,4})(?:(?P<slashes>/{1,6})(?P<under>(?:[1-9]\d{0,3})?))?)
    | (?P<link>-|>{1,3}|<{1,3})
    | (?:!\S*?!|\+\S*?\+|\{[^}]*\}|&[^|]*|[\s\\`$!~.()*;?@\#yH-Wh-w])
    """,
    re.VERBOSE,
)
"""One sign of a line of music. The group that matches is the name of the method that reads it;
signs without one are passed over. Of two voices in one bar (``&``) the first is read."""


@dataclass
class Note:
    """pitch: None for a rest. chord: the chord symbol that stands before it, if any."""

    pitch: int | None
    length: Fraction
    chord: Chord | None
    tied: bool


class WrittenBar(NamedTuple):
    """What stands between two bar lines, and the signature at its end.

    endings: in which turns of its section the bar is played, empty for all.
    """

    notes: list[Note]
    signature: Signature
    endings: set[int]


@dataclass
class Section:
    """Bars that are played so many times. opens: the sign before them, DOUBLE_BAR, REPEAT or 0."""

    opens: int = 0
    times: int = 1
    bars: list[WrittenBar] = field(default_factory=list)


def split(path) -> list[list[tuple[int, str]]]:
    """The lines of each tune of a file with their numbers; L:, M: and Q: before all are for all.

    The text is UTF-8, with or without its mark. In another encoding only words are lost, which are
    not read. Raises BadScore as ``files.read_bytes`` does.
    """
    text, tunes = read_bytes(path, BadScore).decode("utf-8-sig", errors="replace"), [[]]
    for number, line in enumerate(text.splitlines() or [""], start=1):
        if line.startswith("X:"):
            tunes.append([row for row in tunes[0] if row[1][:2] in ("L:", "M:", "Q:")])
        tunes[-1].append((number, line))
    return tunes[1:] or tunes


def read(lines: list[tuple[int, str]], path) -> list[Section]:
    """The sections of a tune in the order of writing.

    lines: one tune of ``split``. Raises BadScore, which names file and line.
    """
    reader, first = _Reader(), f"{path}: line {lines[0][0]}"
    if sum(len(line) for _, line in lines) > MOST_CHARACTERS:
        raise BadScore(f"{first}: a tune of over {MOST_CHARACTERS:,} characters")
    for number, line in lines:
        if reader.in_body and not line.strip():
            break  # an empty line ends the tune
        try:
            reader.line(re.sub(r"(?<!\\)%.*", "", line).strip())
        except ValueError as error:
            raise BadScore(f"{path}: line {number}: {error}") from None
    if not reader.in_body:
        raise BadScore(f"{first}: no key (K:), which ends the head of a tune in ABC")
    reader.end_bar()
    return reader.sections


def played(sections: list[Section]) -> Iterator[WrittenBar]:
    """The bars in the order of playing: repeats and endings are written out."""
    for section in sections:
        for turn in range(1, section.times + 1):
            yield from (bar for bar in section.bars if turn in (bar.endings or {turn}))


class _Reader:
    """The sections so far, and what the next note depends on."""

    def __init__(self):
        self.sections, self.notes, self.endings, self.opens = [Section()], [], set(), 0
        self.signature, self.in_body = Signature(), False
        self.accidentals, self.carried, self.next_chord = {}, {}, None
        self.shares, self.broken = [], Fraction(1)  # of the notes of a tuplet, and after > or <
        self.first_voice = self.voice = None

    def line(self, line: str):
        """A field, or a line of music. Raises ValueError."""
        head, position = FIELD.match(line), 0
        if head:
            self.field(head)
        while self.in_body and not head and position < len(line):
            token = TOKEN.match(line, position)
            if not token:
                raise ValueError(f"{line[position:][:8]!r} is no music in ABC")
            position, kind = token.end(), token.lastgroup
            if kind == "field" or (kind and self.voice == self.first_voice):
                getattr(self, kind)(token)

    def field(self, token: re.Match):
        letter, value = token["field"][0], token["field"][2:].strip()
        if letter == "V":
            self.voice = value.split(" ")[0]
            self.first_voice = self.first_voice or self.voice
        elif letter in "KLMQ" and self.voice == self.first_voice:
            self.signature = self.signature.changed(letter, value)
        elif letter == "P" and not self.in_body and re.fullmatch(r"[A-Z0-9().]{2,}", value):
            raise ValueError(f"an order of parts (P:{value[:20]}) cannot be played; write it out")
        if letter == "K" and not self.in_body:
            self.signature, self.in_body = self.signature.completed(), True
            self.voice = self.first_voice

    def text(self, token: re.Match):
        self.next_chord = chord_named(token["text"]) or self.next_chord

    def ending(self, token: re.Match):
        self.end_bar()
        ranges = re.findall(r"(\d+)(?:-(\d+))?", token["ending"])
        self.endings = {n for a, b in ranges for n in range(int(a), int(b or a) + 1)}
        if self.sections[-1].times > 1:
            self.sections[-1].times = max([self.sections[-1].times, *self.endings])

    def tuplet(self, token: re.Match):
        several = int(token["several"])
        time = TUPLETS.get(several, 2 if self.signature.beat == Fraction(1, 4) else 3)
        share = Fraction(int(token["time"] or time), several)
        self.shares = [share] * int(token["scope"] or several)

    def link(self, token: re.Match):
        """A tie, or one of the signs that lengthen one of two notes and shorten the other."""
        if not self.notes:
            raise ValueError(f"{token[0]!r} has no note before it in its bar")
        if token[0] == "-":
            self.notes[-1].tied = True
            return
        less = Fraction(1, 2 ** len(token[0]))
        before, self.broken = (2 - less, less) if token[0][0] == ">" else (less, 2 - less)
        self.notes[-1].length *= before

    def note(self, token: re.Match):
        """A note, a rest, or a chord, of which the highest note and the first length count."""
        inside = [note for note in TOKEN.finditer(token["chord"] or token[0]) if note["pitch"]]
        length = _length(token) * (_length(inside[0]) if token["chord"] and inside else 1)
        if token[0][0] in "XZ":  # counts bars
            length *= Fraction(*self.signature.metre)
        else:
            length *= self.signature.unit * self.broken * (self.shares.pop() if self.shares else 1)
            self.broken = Fraction(1)
        pitch = max(map(self.pitch, inside), default=None)
        self.notes.append(Note(pitch, length, self.next_chord, "-" in (token["chord"] or "")))
        self.next_chord, self.carried = None, {}

    def pitch(self, note: re.Match) -> int:
        """An accidental counts for its letter in all octaves, up to the bar line or under a tie."""
        name = note["letter"].upper()
        octave = note["letter"].islower() + note["octaves"].count("'") - note["octaves"].count(",")
        if note["sign"]:
            self.accidentals[name] = semitones(note["sign"])
        alters = self.signature.alters | self.carried | self.accidentals
        return 60 + NATURALS[name] + 12 * octave + alters[name]

    def bar(self, token: re.Match):
        marks = token["bar"].strip("[]")
        begins = len(marks) - len(marks.rstrip(":"))
        ends = marks.count(":") - begins
        if begins == len(marks):  # one belongs to a bar line near it, two end and begin a repeat
            ends, begins = begins // 2 or bool(self.notes), begins // 2 or not self.notes
        self.carried = self.accidentals if self.notes and self.notes[-1].tied else {}
        self.accidentals = {}
        self.end_bar()
        if ends:
            self.sections[-1].times = max(self.sections[-1].times, ends + 1)
        if token["bar"] != "|":
            self.endings = set()
            self.opens = max(self.opens, REPEAT if begins else DOUBLE_BAR)

    def end_bar(self):
        """Adds the bar, if there is anything in it, to the last section or to a new one."""
        if self.notes:
            section = self.sections[-1]
            is_over = section.times > 1 or self.opens >= max(section.opens, 1)
            if is_over and not self.endings:
                section = Section(self.opens)
                self.sections.append(section)
            section.bars.append(WrittenBar(self.notes, self.signature, self.endings))
            self.notes, self.opens = [], 0


def _length(note: re.Match) -> Fraction:
    """In unit notes."""
    return Fraction(int(note["over"] or 1), int(note["under"] or 2 ** len(note["slashes"] or "")))
