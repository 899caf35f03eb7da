"""Reads tunes in ABC notation, bar by bar, and writes their repeats out.

Paper: none. Notebook: 01_nes_ensemble. The songbook is written in ABC, as folk tunes are. Read is
one voice of the ABC standard 2.1 (2011): of several voices the first, of a chord of notes the
highest. Grace notes, decorations, words and jumps (D.C., D.S.) are passed over.

Lengths are exact fractions of a whole note. A bar is what stands between two bar lines, whatever
the metre says; ``tunes.py`` decides what is a pickup.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lakhnes_lib.errors import BadScore
from lakhnes_lib.songbook.abc_fields import Signature, semitones
from lakhnes_lib.songbook.sheets import NATURALS, Chord, chord_named

MOST_BYTES = 16_000_000
"""In a file; the largest collections of folk tunes have a few million."""
MOST_NOTES = 10_000
"""In a tune with its repeats."""
TUPLETS = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
"""How many notes' time so many notes take. Of 5, 7 and 9 the metre decides."""

DOUBLE_BAR, REPEAT = 1, 2
"""Where a repeat begins. A double bar counts where no sign opens the repeat."""

TOKEN = re.compile(
    r"""
    \[(?P<field>[A-Za-z]:[^\]]*)\]
    | "(?P<text>[^"]*)"
    | (?P<bar>\[?[|:][|:\]]*)
    | \[?(?P<ending>\d{1,2}(?:[,.-]\d{1,2})*)
    | \((?P<tuplet>[2-9])(?::(?P<time>\d?)(?::(?P<several>\d?))?)?
    | (?:(?P<pitch>(?P<sign>[_^=]*)(?P<letter>[A-Ga-g])(?P<octaves>[,']*))
        |(?P<rest>[xzXZ])|\[(?P<chord>[^\]|:"]+)\])
      (?P<over>\d{0,4})(?:(?P<slashes>/{1,6})(?P<under>\d{0,4}))?
    | (?P<broken>>{1,3}|<{1,3})
    | (?P<tie>-)
    | (?:!\S*?!|\+\S*?\+|\{[^}]*\}|&[^|]*|[\s\\`$!~.()*;?@\#yH-Wh-w])
    """,
    re.VERBOSE,
)
"""One sign of a line of music. Of two voices in one bar (``&``) the first is read."""


@dataclass
class Note:
    """pitch: None for a rest. chord: the chord symbol that stands before it, if any."""

    pitch: int | None
    length: Fraction
    chord: Chord | None
    tied: bool


@dataclass
class WrittenBar:
    """What stands between two bar lines.

    opens: DOUBLE_BAR or REPEAT before it, otherwise 0. times: how often what ends here is played.
    endings: in which turns of its repeat the bar is played, empty for all.
    """

    notes: list[Note]
    signature: Signature
    opens: int
    endings: set[int]
    times: int = 1


def split(path) -> list[list[tuple[int, str]]]:
    """The lines of each tune of a file with their numbers; L:, M: and Q: before all are for all.

    The text is UTF-8, with or without its mark, or Latin-1. Raises BadScore for a file that cannot
    be read or is too large.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadScore(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > MOST_BYTES:
        raise BadScore(f"{path}: has more than {MOST_BYTES:,} bytes, the most for ABC")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    tunes = [[]]
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("X:"):
            tunes.append([row for row in tunes[0] if row[1][:2] in ("L:", "M:", "Q:")])
        tunes[-1].append((number, line))
    return tunes[1:] or tunes


def read(lines: list[tuple[int, str]], path) -> list[WrittenBar]:
    """The bars of a tune in the order of writing.

    lines: one tune of ``split``. Raises BadScore, which names file and line.
    """
    reader = _Reader()
    for number, line in lines:
        if reader.in_body and not line.strip():
            break  # an empty line ends the tune
        try:
            reader.line(re.sub(r"(?<!\\)%.*", "", line).strip())
        except ValueError as error:
            raise BadScore(f"{path}: line {number}: {error}") from None
    if not reader.in_body:
        number = lines[0][0] if lines else 1
        raise BadScore(f"{path}: line {number}: no key (K:), which ends the head of a tune in ABC")
    reader.end_bar()
    return reader.bars


def played(bars: list[WrittenBar], path) -> list[WrittenBar]:
    """The bars in the order of playing: repeats and endings are written out. Raises BadScore."""
    out, notes, start, turn, index = [], 0, 0, 1, 0
    while index < len(bars):
        bar = bars[index]
        opens = bar.opens and bar.opens >= bars[start].opens
        after_endings = out and out[-1].endings
        if index != start and not bar.endings and (opens or after_endings):
            start, turn = index, 1
        index += 1
        if bar.endings and turn not in bar.endings:
            continue
        out.append(bar)
        notes += len(bar.notes)
        if notes > MOST_NOTES:
            raise BadScore(f"{path}: has more than {MOST_NOTES:,} notes with its repeats")
        if bar.times > 1:
            another_ending = bar.endings and index < len(bars) and bars[index].endings
            again = turn < bar.times or another_ending
            start, index, turn = (start, start, turn + 1) if again else (index, index, 1)
    return out


class _Reader:
    """The bars so far, and what the next note depends on."""

    def __init__(self):
        self.bars, self.notes = [], []
        self.signature, self.in_body = Signature(), False
        self.opens, self.endings = 0, set()
        self.accidentals, self.carried, self.chord = {}, {}, None
        self.tuplet, self.in_tuplet, self.broken = Fraction(1), 0, Fraction(1)
        self.first_voice = self.voice = None

    def line(self, line: str):
        """A field, or a line of music. Raises ValueError."""
        if re.match(r"[A-Za-z+]:(?![|:])", line):
            self.field(line)
        elif self.in_body:
            position = 0
            while position < len(line):
                token = TOKEN.match(line, position)
                if not token:
                    raise ValueError(f"{line[position:][:8]!r} is no music in ABC")
                position = token.end()
                self.token(token)

    def field(self, text: str):
        letter, value = text[0], text[2:].strip()
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

    def token(self, token: re.Match):
        if token["field"]:
            self.field(token["field"])
        elif self.voice != self.first_voice:
            return
        elif token["text"]:
            self.chord = chord_named(token["text"]) or self.chord
        elif token["bar"]:
            self.bar_line(token["bar"])
        elif token["ending"]:
            self.end_bar()
            ranges = re.findall(r"(\d+)(?:-(\d+))?", token["ending"])
            self.endings = {n for a, b in ranges for n in range(int(a), int(b or a) + 1)}
        elif token["tuplet"]:
            several = int(token["tuplet"])
            time = TUPLETS.get(several, 2 if self.signature.beat == Fraction(1, 4) else 3)
            self.tuplet = Fraction(int(token["time"] or time), several)
            self.in_tuplet = int(token["several"] or several)
        elif token["pitch"] or token["rest"] or token["chord"]:
            self.note(token)
        elif token["tie"] or token["broken"]:
            if not self.notes:
                raise ValueError(f"{token[0]!r} has no note before it in its bar")
            self.notes[-1].tied |= token[0] == "-"
            if token["broken"]:
                less = Fraction(1, 2 ** len(token[0]))
                before, self.broken = (2 - less, less) if token[0][0] == ">" else (less, 2 - less)
                self.notes[-1].length *= before

    def note(self, token: re.Match):
        """A note, a rest, or a chord, of which the highest note and the first length count."""
        inside = [note for note in TOKEN.finditer(token["chord"] or token[0]) if note["pitch"]]
        length = _length(token) * (_length(inside[0]) if token["chord"] and inside else 1)
        if token["rest"] and token["rest"] in "XZ":  # counts bars
            length *= Fraction(*self.signature.metre)
        else:
            length *= self.signature.unit * self.broken * (self.tuplet if self.in_tuplet else 1)
            self.broken, self.in_tuplet = Fraction(1), max(self.in_tuplet - 1, 0)
        pitch = max(map(self.pitch, inside), default=None)
        self.notes.append(Note(pitch, length, self.chord, "-" in (token["chord"] or "")))
        self.chord, self.carried = None, {}

    def pitch(self, note: re.Match) -> int:
        """An accidental counts for its letter in all octaves, up to the bar line or under a tie."""
        name = note["letter"].upper()
        octave = note["letter"].islower() + note["octaves"].count("'") - note["octaves"].count(",")
        natural = 60 + NATURALS[name] + 12 * octave
        if note["sign"]:
            self.accidentals[name] = semitones(note["sign"])
        alters = self.carried | self.accidentals
        return natural + alters.get(name, self.signature.alter(name))

    def end_bar(self):
        """Ends the bar if there is anything in it."""
        if self.notes:
            self.bars.append(WrittenBar(self.notes, self.signature, self.opens, self.endings))
            self.notes, self.opens = [], 0

    def bar_line(self, text: str):
        marks = text.strip("[]")
        before = len(marks) - len(marks.lstrip(":"))
        after = len(marks) - len(marks.rstrip(":"))
        if marks == ":":  # belongs to a bar line near it
            before, after = bool(self.notes), not self.notes
        elif before == len(marks):  # ends a repeat and begins another
            before = after = len(marks) // 2
        self.carried = self.accidentals if self.notes and self.notes[-1].tied else {}
        self.accidentals = {}
        self.end_bar()
        if before and self.bars:
            self.bars[-1].times = before + 1
        if text != "|":
            self.endings = set()
            self.opens = max(self.opens, REPEAT if after else DOUBLE_BAR)


def _length(note: re.Match) -> Fraction:
    """In unit notes."""
    under = int(note["under"] or 2 ** len(note["slashes"] or ""))
    if not under:
        raise ValueError("a length is divided by zero")
    return Fraction(int(note["over"] or 1), under)
