"""What P2, TR and NO play under a melody: textures, bass patterns and drum patterns.

Paper: §3 (what the voices usually do). Notebook: 01_nes_ensemble.
Differences from the paper: it has no arranger; this one serves the songbook, the music that works
without a download.

A part is a list of rows (start, end, pitch, velocity) by start, times in the lead sheet's units.
"""

from dataclasses import dataclass

from lakhnes_lib.songbook.sheets import EIGHTH, Chord, LeadSheet


@dataclass(frozen=True)
class Style:
    """Patterns of one bar, taken in turn.

    bass: a character for each eighth: r root, 3 third, 5 fifth, 8 octave, a step towards the next
        bar's root, ``-`` the note goes on, ``.`` silence.
    drums: a character for each sixteenth: a key of DRUMS or ``.`` nothing.
    fill: drums of every eighth bar and of the bars before the first chord.
    gate: the share of a melody note that sounds.
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
LOWEST_INNER = 50


def inner_voice(sheet: LeadSheet, textures: list[str]) -> list[tuple]:
    """P2; textures: one for each phrase, in turn."""
    rows, last = [], None  # last: the pitch that the counter-voice was on
    for number, first in sheet.bars():
        texture = textures[max(number, 0) // PHRASE % len(textures)]
        if texture in ("thirds", "echo", "canon"):
            rows += _follow_melody(sheet, first, texture)
            continue
        top = _inner_top(sheet, first)
        for eighth in range(first, first + sheet.bar):
            chord, start = sheet.chords[eighth], eighth * EIGHTH
            if chord is None:
                continue
            tones = chord.octave_below(top)
            if texture == "arpeggio":
                up_and_down = tones + tones[-2:0:-1]
                for sixteenth in (0, 1):
                    at = start + sixteenth * EIGHTH // 2
                    tone = up_and_down[(2 * (eighth - first) + sixteenth) % len(up_and_down)]
                    rows.append((at, at + EIGHTH // 2, tone, 10))
            elif texture == "chop" and _off_beat(sheet, eighth - first):
                # A chord as a game's engine plays it on one voice: every second frame another tone.
                for index, tone in enumerate(tones[:3]):
                    rows.append((start + 2 * index * sheet.frame, start + EIGHTH, tone, 11))
            elif texture == "counter" and _moves(sheet, first, eighth):
                last = _nearest_other(tones, last or top - 4)
                end = eighth + 1
                while end < first + sheet.bar and not _moves(sheet, first, end):
                    end += 1
                rows.append((start, end * EIGHTH, last, 10))
    return sorted(rows)


def _inner_top(sheet: LeadSheet, first: int) -> int:
    """The highest pitch for P2 in a bar: below the melody, but never down in the bass."""
    start, end = first * EIGHTH, (first + sheet.bar) * EIGHTH
    starts, ends, pitches = sheet.melody.T
    melody_bottom = int(pitches[(starts < end) & (ends > start)].min(initial=84))
    return max(melody_bottom - 3, LOWEST_INNER + 11)


def _off_beat(sheet: LeadSheet, eighth: int) -> bool:
    """Where the accompaniment answers the bass; eighth: counted from the bar's beginning.

    On 2 and 3 of a waltz, otherwise on the last eighth of a beat.
    """
    if sheet.bar == 6 and sheet.beat == 2:
        return eighth in (2, 4)
    return eighth % sheet.beat == sheet.beat - 1


def _moves(sheet: LeadSheet, first: int, eighth: int) -> bool:
    """Where the counter-voice takes another tone.

    With the bar, half a bar of two or four beats, and a new chord.
    """
    half = sheet.bar // 2 if sheet.bar % (2 * sheet.beat) == 0 else sheet.bar
    return (eighth - first) % half == 0 or sheet.new_chord(eighth)


def _nearest_other(tones: list[int], last: int) -> int:
    """The tone nearest to the last one, but rather one up to three semitones away than the same."""

    def distance(tone):
        return abs(tone - last) or 4, tone

    return min(tones, key=distance)


def _follow_melody(sheet: LeadSheet, first: int, texture: str) -> list[tuple]:
    """P2 in one bar follows the melody.

    By chord tones a third or more below it, or as the melody itself, later.
    """
    delay = {"thirds": 0, "echo": EIGHTH, "canon": 2 * sheet.bar * EIGHTH}[texture]
    velocity = 5 if texture == "echo" else 11
    heard = sheet.melody + (delay, delay, 0)
    bar = heard[:, 0] // EIGHTH // sheet.bar
    rows = []
    for start, end, pitch in heard[bar == first // sheet.bar].tolist():
        chord = sheet.chords[start // EIGHTH]
        if delay:
            rows.append((start, end, pitch, velocity))
        elif chord is not None:
            rows.append((start, end, chord.below(pitch - 3), velocity))
    return rows


def bass(sheet: LeadSheet, style: Style) -> list[tuple]:
    """TR. A new chord is always struck with its root."""
    rows = []
    for number, first in sheet.bars():
        next_bar = sheet.chords[min(first + sheet.bar, len(sheet.chords) - 1)]
        for eighth, symbol in enumerate(style.bass[number % len(style.bass)], start=first):
            chord, start = sheet.chords[eighth], eighth * EIGHTH
            if sheet.new_chord(eighth):
                symbol = "r"
            if chord is None or symbol == ".":
                continue
            if symbol == "-" and rows and rows[-1][1] == start:
                rows[-1] = (rows[-1][0], start + EIGHTH, *rows[-1][2:])
            else:
                rows.append((start, start + EIGHTH, _bass_pitch(chord, symbol, next_bar), 1))
    return rows


def _bass_pitch(chord: Chord, symbol: str, next_bar: Chord) -> int:
    root, goal = chord.bass_pitch(), next_bar.bass_pitch()
    steps = sorted((tone - chord.bass) % 12 for tone in chord.tones)
    if symbol == "3":
        return root + next((step for step in steps if 3 <= step <= 5), 12)
    if symbol == "5":
        return root + next((step for step in steps if 6 <= step <= 9), 12)
    if symbol == "8":
        return root + 12
    if symbol == "a":
        return goal + 2 if goal <= root else goal - 1
    return root


def drums(sheet: LeadSheet, style: Style) -> list[tuple]:
    """NO; the noise type stands in the pitch's stead."""
    rows = []
    for number, first in sheet.bars():
        fill = number < 0 or number % PHRASE == PHRASE - 1
        pattern = style.fill if fill else style.drums[number % len(style.drums)]
        for sixteenth, symbol in enumerate(pattern):
            if symbol != ".":
                noise_type, frames, velocity = DRUMS[symbol]
                start = first * EIGHTH + sixteenth * EIGHTH // 2
                rows.append((start, start + frames * sheet.frame, noise_type, velocity))
    return rows
