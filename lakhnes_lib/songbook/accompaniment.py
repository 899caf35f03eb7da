"""What P2, TR and NO play under a melody: textures, bass patterns and drum patterns.

Paper: §3 (what the voices usually do). Notebook: 01_nes_ensemble.
Differences from the paper: it has no arranger; this one serves the songbook, the music that works
without a download.

A part is a list of rows (start, end, pitch, velocity) by start, times in the lead sheet's units.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from lakhnes_lib.songbook.sheets import Bar, Chord, LeadSheet, Step, sounding


@dataclass(frozen=True)
class Style:
    """Patterns of one bar, taken in turn; ``styles.yaml`` holds them and says what they mean.

    fill: drums of every eighth bar and of the bars before the first chord.
    """

    bass: list[str]
    drums: list[str]
    fill: str
    gate: float


_TABLES = yaml.safe_load(Path(__file__).with_name("styles.yaml").read_text(encoding="utf-8"))
STYLES = {name: Style(**patterns) for name, patterns in _TABLES["styles"].items()}
USUAL_STYLES = {(4, 2): "polka", (8, 2): "march", (6, 2): "waltz", (6, 3): "jig", (3, 3): "etude"}
"""By the eighth notes of a bar and of a beat."""

DRUMS = _TABLES["drums"]
"""Bass drum, snare, closed and open hi-hat, tom, crash: noise type, frames, first velocity."""

TEXTURES = ("thirds", "arpeggio", "chop", "counter", "echo", "canon")
PHRASE = 8
"""Bars after which P2's texture changes."""
LOWEST_INNER = 50


def fitting(style: Style | None, bar: Bar) -> Style:
    """The style itself if it fits the bar, otherwise the usual one of the bar's metre."""
    if style and len(style.bass[0]) == bar.count:
        return style
    return _usual_style(bar.count, bar.beat)


@cache
def _usual_style(count: int, beat: int) -> Style:
    """Where none is named, beats of root and fifth in turn, on bass drum and snare."""
    if (count, beat) in USUAL_STYLES:
        return STYLES[USUAL_STYLES[count, beat]]
    bass = "".join(tone.ljust(beat, ".") for tone in "r5" * count)
    drums = "".join(drum + "." + "h." * (beat - 1) for drum in "KS" * count)
    return Style([bass[:count]], [drums[: 2 * count]], drums[: 2 * count], gate=0.85)


def inner_voice(sheet: LeadSheet, textures: list[str]) -> list[tuple]:
    """P2; textures: one for each phrase, in turn."""
    rows, last = [], None  # last: the pitch that the counter-voice was on
    for number, bar in sheet.numbered_bars():
        texture = textures[max(number, 0) // PHRASE % len(textures)]
        if texture in ("thirds", "echo", "canon"):
            rows += _follow_melody(sheet, bar, texture)
            continue
        top = _inner_top(sheet, bar)
        for step in sheet.steps(bar):
            if step.chord is None:
                continue
            tones = step.chord.octave_below(top)
            if texture == "arpeggio":
                up_and_down = tones + tones[-2:0:-1]
                middle = (step.start + step.end) // 2
                for part, times in enumerate([(step.start, middle), (middle, step.end)]):
                    tone = up_and_down[(2 * step.index + part) % len(up_and_down)]
                    rows.append((*times, tone, 10))
            elif texture == "chop" and _off_beat(bar, step.index):
                # A chord as a game's engine plays it on one voice: every second frame another tone.
                for part, tone in enumerate(tones[:3]):
                    rows.append((step.start + 2 * part * sheet.frame, step.end, tone, 11))
            elif texture == "counter" and (_moves(bar, step) or not rows):
                last = _nearest_other(tones, last or top - 4)
                rows.append((step.start, step.end, last, 10))
            elif texture == "counter":
                rows[-1] = (rows[-1][0], step.end, *rows[-1][2:])
    return sorted(rows)


def _inner_top(sheet: LeadSheet, bar: Bar) -> int:
    """The highest pitch for P2 in a bar: below the melody, but never down in the bass."""
    melody_bottom = int(sounding(sheet.melody, bar)[:, 2].min(initial=84))
    return max(melody_bottom - 3, LOWEST_INNER + 11)


def _off_beat(bar: Bar, index: int) -> bool:
    """Where the accompaniment answers the bass.

    On 2 and 3 of a waltz, otherwise on the last eighth of a beat.
    """
    if (bar.count, bar.beat) == (6, 2):
        return index in (2, 4)
    return index % bar.beat == bar.beat - 1


def _moves(bar: Bar, step: Step) -> bool:
    """Where the counter-voice takes another tone.

    With the bar, half a bar of two or four beats, and a new chord.
    """
    half = bar.count // 2 if bar.count % (2 * bar.beat) == 0 else bar.count
    return step.index % half == 0 or step.new


def _nearest_other(tones: list[int], last: int) -> int:
    """The tone nearest to the last one, but rather one up to three semitones away than the same."""

    def distance(tone):
        return abs(tone - last) or 4, tone

    return min(tones, key=distance)


def _follow_melody(sheet: LeadSheet, bar: Bar, texture: str) -> list[tuple]:
    """P2 in one bar follows the melody.

    By chord tones a third or more below it, or as the melody itself, later.
    """
    eighths = {"thirds": 0, "echo": 1, "canon": 2 * bar.count}[texture]
    delay = round(eighths * bar.eighth)
    limits = np.searchsorted(sheet.melody[:, 0] + delay, (bar.start, bar.end))
    rows = []
    for start, end, pitch in (sheet.melody[slice(*limits)] + (delay, delay, 0)).tolist():
        chord = sheet.chord(start)
        if delay:
            rows.append((start, end, pitch, 5 if texture == "echo" else 11))
        elif chord is not None:
            rows.append((start, end, chord.below(pitch - 3), 11))
    return rows


def bass(sheet: LeadSheet, style: Style | None) -> list[tuple]:
    """TR. A new chord is always struck with its root."""
    rows = []
    for number, bar in sheet.numbered_bars():
        patterns = fitting(style, bar).bass
        goal = sheet.chord(bar.end)
        for step in sheet.steps(bar):
            symbol = "r" if step.new else patterns[number % len(patterns)][step.index]
            if step.chord is None or symbol == ".":
                continue
            if symbol == "-" and rows and rows[-1][1] == step.start:
                rows[-1] = (rows[-1][0], step.end, *rows[-1][2:])
            else:
                rows.append((step.start, step.end, _bass_pitch(step.chord, symbol, goal), 1))
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


def drums(sheet: LeadSheet, style: Style | None) -> list[tuple]:
    """NO; the noise type stands in the pitch's stead."""
    rows = []
    for number, bar in sheet.numbered_bars():
        patterns = fitting(style, bar)
        fill = number < 0 or number % PHRASE == PHRASE - 1
        pattern = patterns.fill if fill else patterns.drums[number % len(patterns.drums)]
        for sixteenth, symbol in enumerate(pattern):
            start = round(bar.first + sixteenth * bar.eighth / 2)
            if symbol != "." and bar.start <= start < bar.end:
                noise_type, frames, velocity = DRUMS[symbol]
                rows.append((start, start + frames * sheet.frame, noise_type, velocity))
    return rows
