"""What the fields of a tune in ABC say: metre, unit of length, tempo and key.

Paper: none. Notebook: 01_nes_ensemble. ``abc_reader.py`` reads the notes between them. The fields
are those of the ABC standard 2.1 (2011); lengths are exact fractions of a whole note.
"""

import re
from fractions import Fraction
from typing import NamedTuple

BEATS_PER_MINUTE = 120
"""Where a tune has no tempo."""
FIFTHS = "FCGDAEB"
"""Letters in the order in which key signatures sharpen them."""
MODES = {"m": -3, "min": -3, "aeo": -3, "dor": -2, "phr": -4, "loc": -5, "lyd": 1, "mix": -1}
"""Sharps more than in the major key on the same tonic. Any other word stands beside major."""
METRES = {"C": "4/4", "C|": "2/2", "": "4/4", "none": "4/4"}
"""Metres that are not two numbers. Music without a metre is counted as 4/4."""


class Signature(NamedTuple):
    """What counts for the notes that follow.

    metre: its two numbers. unit: length of a note without a number. tempo: quarter notes a minute.
    tonic: a letter. alters: the semitones by which the key raises each letter. unit and tempo are
    None until a field says them.
    """

    metre: tuple[int, int] = (4, 4)
    unit: Fraction | None = None
    tempo: Fraction | None = None
    tonic: str = "C"
    alters: dict[str, int] = dict.fromkeys(FIFTHS, 0)

    @property
    def beat(self) -> Fraction:
        """Length of a beat: three eighths in 3/8, 6/8, 9/8 and 12/8, otherwise a quarter."""
        over, under = self.metre
        return Fraction(3, under) if under >= 8 and over % 3 == 0 else Fraction(1, 4)

    def completed(self) -> "Signature":
        """With a unit by the metre, and a tempo, where no field said them."""
        unit = self.unit or Fraction(1, 16 if Fraction(*self.metre) < Fraction(3, 4) else 8)
        return self._replace(unit=unit, tempo=self.tempo or 4 * BEATS_PER_MINUTE * self.beat)

    def changed(self, letter: str, value: str) -> "Signature":
        """After a field K:, L:, M: or Q:. Raises ValueError for a value that is none.

        >>> Signature().changed("K", "A dorian").alters["F"]
        1
        """
        if letter == "Q":
            return self._replace(**_tempo(value, self.beat))
        return self._replace(**{"K": _key, "L": _unit, "M": _metre}[letter](value))


def _key(value: str) -> dict:
    """Bagpipe music (HP, Hp) has the sharps of D; K:none or a clef alone changes nothing."""
    key = re.match(r"([A-G])([#b]?)\s*([A-Za-z]*)", re.sub("^H[Pp]", "D", value))
    if not key:
        return {}
    tonic, accidental, mode = key.groups()
    sharps = FIFTHS.index(tonic) - 1 + {"#": 7, "b": -7, "": 0}[accidental]
    sharps += MODES.get(mode if len(mode) == 1 else mode[:3].lower(), 0)
    if mode == "exp":
        sharps = 0
    alters = {letter: (sharps + 6 - index) // 7 for index, letter in enumerate(FIFTHS)}
    clefless = re.sub(r"\b[a-z]{4,}=\S+", "", value)
    for sign, letter in re.findall(r"([_^=]+)([A-Ga-g])", clefless):
        alters[letter.upper()] = semitones(sign)
    return {"tonic": tonic, "alters": alters}


def _unit(value: str) -> dict:
    match = re.fullmatch(r"0*([1-9]\d{0,3})(?:/0*([1-9]\d{0,3}))?", value)
    if not match:
        raise ValueError(f"{value[:20]!r} is no length such as 1/8")
    return {"unit": Fraction(int(match[1]), int(match[2] or 1))}


def _metre(value: str) -> dict:
    value = METRES.get(value, value)
    match = re.search(r"(?<!\d)(\d{1,3}(?:\s*\+\s*\d{1,3})*)\)?/([1248]|16|32)(?!\d)", value)
    over = sum(map(int, match[1].split("+"))) if match else 0
    if not match or not int(match[2]) <= 8 * over <= 32 * int(match[2]):
        raise ValueError(f"{value[:20]!r} is no metre from 1/8 to 4/1 (M:)")
    return {"metre": (over, int(match[2]))}


def _tempo(value: str, beat: Fraction) -> dict:
    """A number without a length counts beats of the metre; words alone change nothing."""
    value = re.sub(r'"[^"]*"', "", value)
    number = re.search(r"(?:^|=)\s*(\d{1,9}(?:\.\d{1,9})?)\s*$", value)
    if not number:
        return {}
    beats = sum(_unit(text)["unit"] for text in re.findall(r"\d+/\d+", value)) or beat
    tempo = 4 * beats * Fraction(number[1])
    if not 10 <= tempo <= 1000:
        raise ValueError("a tempo is 10 to 1,000 quarter notes a minute (Q:)")
    return {"tempo": tempo}


def semitones(sign: str) -> int:
    """Of an accidental: ^ sharp, _ flat, = natural, doubled for double sharp and flat."""
    return sign.count("^") - sign.count("_")
