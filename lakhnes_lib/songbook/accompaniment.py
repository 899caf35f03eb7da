"""What P2, TR and NO play under a melody: textures, bass patterns and drum patterns from its chords.

Paper: §3 (what the voices usually do). Notebook: 01_nes_ensemble.
Differences from the paper: it has no arranger; this one serves the songbook, the music that works without a download.
"""

from dataclasses import dataclass

import numpy as np

EIGHTH = 240
"""Lead sheets count time in units of 1/480 of a quarter note."""


@dataclass(frozen=True)
class Chord:
    """bass: pitch class 0-11; tones: pitch classes of the chord, ascending."""

    bass: int
    tones: tuple[int, ...]

    def up(self, semitones: int) -> "Chord":
        """The chord transposed."""
        return Chord(
            (self.bass + semitones) % 12,
            tuple(sorted((tone + semitones) % 12 for tone in self.tones)),
        )

    def below(self, pitch: int) -> int:
        """The highest pitch of the chord's tones at or below this one."""
        return max(pitch - (pitch - tone) % 12 for tone in self.tones)

    def bass_pitch(self) -> int:
        """The bass between 36 and 47: low, and still above what the console's output filter takes away."""
        return LOWEST_BASS + (self.bass - LOWEST_BASS) % 12


@dataclass(frozen=True, eq=False)
class LeadSheet:
    """One voice of melody with chords, repeats written out.

    melody: int64 (notes, 3), rows start, end, pitch; start and end in units, sorted, not overlapping.
    chords: one Chord or None (no chord yet) for each eighth note of the piece.
    bar, beat: length in eighth notes (beat 3 in 6/8, otherwise 2); the piece is a whole number of bars long.
    quarters_per_minute: tempo.
    """

    melody: np.ndarray
    chords: tuple[Chord | None, ...]
    bar: int
    beat: int
    quarters_per_minute: float

    def up(self, semitones: int) -> "LeadSheet":
        """The lead sheet transposed."""
        chords = tuple(chord and chord.up(semitones) for chord in self.chords)
        return LeadSheet(
            self.melody + (0, 0, semitones), chords, self.bar, self.beat, self.quarters_per_minute
        )

    @property
    def lead_in(self) -> int:
        """Bars before the first chord (those of a pickup)."""
        return (
            next((place for place, chord in enumerate(self.chords) if chord is not None), 0)
            // self.bar
        )

    def bars(self):
        """Number (negative in the lead-in) and first eighth of every bar."""
        return (
            (first // self.bar - self.lead_in, first)
            for first in range(0, len(self.chords), self.bar)
        )


@dataclass(frozen=True)
class Style:
    """Patterns of one bar, taken in turn.

    bass: a character for each eighth: r root, 3 third, 5 fifth, 8 octave, a step towards the next bar's root,
    ``-`` the note goes on, ``.`` silence. drums: a character for each sixteenth: a key of DRUMS or ``.`` nothing.
    fill: drums of the lead-in and of every eighth bar. gate: the share of a melody note that sounds.
    """

    bass: tuple[str, ...]
    drums: tuple[str, ...]
    fill: str
    gate: float


STYLES = {
    "march": Style(
        ("r.5.r.5.", "r.5.r.5.", "r.5.r.5.", "r.3.5.a."),
        ("K.h.S.h.K.h.S.hh",),
        "K.h.S.h.K.SSSSSS",
        0.85,
    ),
    "pop": Style(
        ("rr8rrr8r", "rr8rr85a"), ("K.h.S.h.KKh.S.h.", "K.h.S.hKK.h.S.H."), "K.h.S.h.S.S.TTTT", 0.9
    ),
    "folk": Style(("r---5---", "r---5-a-"), ("K..hS.h.K..hS.hh",), "K..hS.h.K.TTS.S.", 0.9),
    "ballad": Style(("r-5-8-5-",), ("K...h...S...h.h.",), "K...h...S...T.T.", 0.96),
    "polka": Style(("r.5.", "r.5.", "r.5.", "r.5a"), ("K.S.K.S.", "K.S.K.SS"), "K.SSSSSS", 0.8),
    "waltz": Style(("r---..", "5---.."), ("K...h...h...",), "K...S.S.S...", 0.92),
    "minuet": Style(("r-3-5-", "r---a-"), ("K...h.h.h...",), "K...S...S.S.", 0.85),
    "jig": Style(("r-.5-.", "r-.5-a"), ("K.h.h.S.h.h.",), "K.h.h.S.SSSS", 0.85),
    "lilt": Style(("r--5--", "r--8--"), ("K...h.S...h.",), "K...h.S.T.T.", 0.95),
    "etude": Style(("r-5", "r-8"), ("K...h.", "h...h."), "K.h.S.", 0.95),
}

DRUMS = {
    "K": (4, 6, 15),
    "S": (10, 8, 13),
    "h": (16, 2, 6),
    "H": (15, 7, 8),
    "T": (6, 7, 14),
    "C": (12, 24, 13),
}
"""Bass drum, snare, closed and open hi-hat, tom, crash: noise type, frames, first velocity."""

TEXTURES = ("thirds", "arpeggio", "chop", "counter", "echo", "canon")
PHRASE = 8
"""Bars after which P2's texture changes."""

LOWEST_BASS, LOWEST_INNER = 36, 50


def inner_voice(sheet: LeadSheet, textures: list[str], frame: float) -> list[tuple]:
    """P2: rows start, end (units), pitch, velocity, by start.

    textures: one for each phrase, in turn. frame: units in 1/60 s.
    """
    starts, ends, pitches = sheet.melody.T
    rows, held = [], None
    for number, first in sheet.bars():
        texture = textures[max(number, 0) // PHRASE % len(textures)]
        start, end = first * EIGHTH, (first + sheet.bar) * EIGHTH
        if texture in ("thirds", "echo", "canon"):
            rows += _shadow(sheet, start, end, texture)
            continue
        # Below the melody, but never down in the bass.
        lowest = pitches[(starts < end) & (ends > start)].min(initial=84)
        top = max(int(lowest) - 3, LOWEST_INNER + 11)
        for eighth in range(first, first + sheet.bar):
            chord = sheet.chords[eighth]
            if chord is None:
                continue
            start, ladder = eighth * EIGHTH, sorted(top - (top - tone) % 12 for tone in chord.tones)
            if texture == "arpeggio":
                up_and_down = ladder + ladder[-2:0:-1]
                for sixteenth in (2 * (eighth - first), 2 * (eighth - first) + 1):
                    at = (2 * first + sixteenth) * EIGHTH // 2
                    rows.append(
                        (at, at + EIGHTH // 2, up_and_down[sixteenth % len(up_and_down)], 10)
                    )
            elif texture == "chop" and _off_beat(sheet, eighth - first):
                # The chord as a game's engine plays it on one voice: a tone every second frame, the last one stays.
                for place, pitch in enumerate(ladder[:3]):
                    rows.append((start + 2 * place * frame, start + EIGHTH, pitch, 11))
            elif texture == "counter" and _moves(sheet, first, eighth):
                near = held or top - 4
                held = min(ladder, key=lambda pitch, near=near: (abs(pitch - near) or 4, pitch))
                until = eighth + 1
                while until < first + sheet.bar and not _moves(sheet, first, until):
                    until += 1
                rows.append((start, until * EIGHTH, held, 10))
    return sorted(rows)


def _off_beat(sheet: LeadSheet, eighth: int) -> bool:
    """Where the accompaniment answers the bass: on 2 and 3 of a waltz, otherwise on the last eighth of a beat."""
    if sheet.bar == 6 and sheet.beat == 2:
        return eighth in (2, 4)
    return eighth % sheet.beat == sheet.beat - 1


def _moves(sheet: LeadSheet, first: int, eighth: int) -> bool:
    """Where the counter-voice takes another tone: with the bar, half a bar of two or four beats, and a new chord."""
    half = sheet.bar // 2 if sheet.bar % (2 * sheet.beat) == 0 else sheet.bar
    return (eighth - first) % half == 0 or sheet.chords[eighth] != sheet.chords[eighth - 1]


def _shadow(sheet: LeadSheet, start: int, end: int, texture: str) -> list[tuple]:
    """P2 from start to end follows the melody: a chord tone a third or more below it, or the melody again, later."""
    delay = {"thirds": 0, "echo": EIGHTH, "canon": 2 * sheet.bar * EIGHTH}[texture]
    velocity = {"thirds": 11, "echo": 5, "canon": 11}[texture]
    heard = sheet.melody + (delay, delay, 0)
    rows = []
    for at, until, pitch in heard[(heard[:, 0] >= start) & (heard[:, 0] < end)].tolist():
        chord = sheet.chords[at // EIGHTH]
        if delay:
            rows.append((at, until, pitch, velocity))
        elif chord is not None:
            rows.append((at, until, chord.below(pitch - 3), velocity))
    return rows


def bass(sheet: LeadSheet, style: Style) -> list[tuple]:
    """TR: rows start, end (units), pitch, velocity. A new chord is always struck with its root."""
    rows = []
    for number, first in sheet.bars():
        coming = sheet.chords[min(first + sheet.bar, len(sheet.chords) - 1)]
        for place, symbol in enumerate(style.bass[number % len(style.bass)]):
            eighth = first + place
            chord, start = sheet.chords[eighth], eighth * EIGHTH
            changed = eighth > 0 and chord != sheet.chords[eighth - 1]
            if chord is None or (symbol == "." and not changed):
                continue
            if symbol == "-" and not changed and rows and rows[-1][1] == start:
                rows[-1] = (rows[-1][0], start + EIGHTH, *rows[-1][2:])
                continue
            pitch = _bass_pitch(chord, "r" if changed or symbol in "-." else symbol, coming)
            rows.append((start, start + EIGHTH, pitch, 1))
    return rows


def _bass_pitch(chord: Chord, symbol: str, coming: Chord) -> int:
    root, goal = chord.bass_pitch(), coming.bass_pitch()
    above = sorted((tone - chord.bass) % 12 for tone in chord.tones)
    match symbol:
        case "3":
            return root + next((step for step in above if 3 <= step <= 5), 12)
        case "5":
            return root + next((step for step in above if 6 <= step <= 9), 12)
        case "8":
            return root + 12
        case "a":
            return goal + 2 if goal <= root else goal - 1
    return root


def drums(sheet: LeadSheet, style: Style, frame: float) -> list[tuple]:
    """NO: rows start, end (units), noise type, velocity. frame: units in 1/60 s."""
    rows = []
    for number, first in sheet.bars():
        fill = number < 0 or number % PHRASE == PHRASE - 1
        pattern = style.fill if fill else style.drums[number % len(style.drums)]
        for place, symbol in enumerate(pattern):
            if symbol != ".":
                kind, frames, velocity = DRUMS[symbol]
                start = first * EIGHTH + place * EIGHTH // 2
                rows.append((start, start + frames * frame, kind, velocity))
    return rows
