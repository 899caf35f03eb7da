"""A lead sheet (melody and chords) becomes a chiptune for P1, P2, TR and NO.

Paper: §3 (what the four voices usually do). Notebook: 01_nes_ensemble.
Differences from the paper: it has no arranger; this one serves the songbook, the music that works
without a download.

P1 plays the melody, P2 a texture that changes from phrase to phrase, TR a bass pattern, NO drums.
Patterns of one bar are in ``tables.yaml``. A part is a list of rows [start, end, pitch, velocity]
by start, times in the lead sheet's units. As in a game's sound engine, everything then starts and
ends on a frame of 1/60 s (735 ticks), and loudness falls within a note frame by frame.
"""

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.songbook.sheets import (
    EIGHTH,
    FRAMES_PER_SECOND,
    TABLES,
    Bar,
    Chord,
    LeadSheet,
    Step,
    sounding,
)

FRAME = nes.TICKS_PER_SECOND // FRAMES_PER_SECOND
"""Ticks of a frame."""
STYLES, DRUMS = TABLES["styles"], TABLES["drums"]
USUAL_STYLES = {(4, 2): "polka", (6, 2): "waltz", (12, 2): "waltz", (3, 3): "etude"}
"""By the eighth notes of a bar and of a beat; of other bars a jig's patterns or a march's."""
TEXTURES = ("thirds", "arpeggio", "chop", "counter", "echo", "canon")
PHRASE = 8
"""Bars after which P2's texture changes; the last of them has a fill of drums."""
LOWEST_INNER = 50
BASS_STEPS = {"r": range(1), "3": range(3, 6), "5": range(6, 10), "8": range(0)}
"""Semitones above the bass that a character of a bass pattern may stand for, rather than 12."""
DUTIES = {nes.P1: (2, 1), nes.P2: (1, 2, 0)}
"""Timbre of a pulse in each pass, in turn."""
DECAY = {nes.P1: (6, 1, 10), nes.P2: (4, 1, 4), nes.NO: (1, 2, 1)}
"""Frames between two steps of loudness, size of a step, lowest loudness. The triangle has none."""


def arrange(
    sheet: LeadSheet, *, style: str = "", textures=TEXTURES[:4], passes=(0,), name: str = ""
) -> Score:
    """Score for four voices: the lead sheet once for each pass, then its last note held.

    style: a name of STYLES, or nothing for the usual one of each metre. textures: names of
    TEXTURES, a phrase of 8 bars each, in turn; every pass begins with the next one. The last two
    fit few tunes. passes: transposition of each pass in semitones. Raises BadScore for a melody
    that P1 cannot play.
    """
    parts, length = [[], [], [], []], sheet.bars[-1].end
    for number, semitones in enumerate(passes):
        own, first = sheet.up(semitones), number % len(textures)
        voices = (
            [[*note, 14] for note in own.melody.tolist()],
            inner_voice(own, [*textures[first:], *textures[:first]], style),
            bass(own, style),
            drums(own, style),
        )
        for part, rows in zip(parts, voices, strict=True):
            part += [(a + number * length, b + number * length, *rest) for a, b, *rest in rows]

    last, _, top, _ = parts[nes.P1][-1]
    end = max(len(passes) * length, last + 4 * EIGHTH)
    chord = sheet.chords[-1][1].up(passes[-1])
    noise_type, frames, velocity = DRUMS["C"]
    held = {
        nes.P2: (last, end, chord.octave_below(top - 3)[-1], 12),
        nes.TR: (last, end, chord.bass_pitch(), 1),
        nes.NO: (last, last + frames * sheet.frame, noise_type, velocity),
    }
    for voice, row in held.items():
        parts[voice] = [other for other in parts[voice] if other[0] < last] + [row]

    notes = []
    for voice, rows in enumerate(parts):
        gate = fitting(style, sheet.bars[0])["gate"] if voice == nes.P1 else 1
        notes += [(voice, *row) for row in _in_frames(rows, sheet.frame, gate)]
    ticks = max(round(end / sheet.frame) * FRAME, max(note[2] for note in notes))
    pass_starts = [round(n * length / sheet.frame) * FRAME for n in range(len(passes))]
    return Score.build(notes, ticks, _expression(notes, pass_starts), name)


def fitting(style: str, bar: Bar) -> dict:
    """The patterns of a style if they fit the bar, otherwise those of the usual one of its metre.

    They are repeated in a longer bar, and cut in a shorter one.
    """
    if style in STYLES and len(STYLES[style]["bass"][0]) == bar.count:
        return STYLES[style]
    usual = "jig" if bar.beat == 3 else "march"
    return STYLES[USUAL_STYLES.get((bar.count, bar.beat), usual)]


def inner_voice(sheet: LeadSheet, textures: list[str], style: str) -> list[list]:
    """P2; textures: one for each phrase, in turn."""
    rows, last = [], None  # last: the pitch that the counter-voice was on
    for step in sheet.steps():
        bar, times = step.bar, (step.start, step.end)
        texture = textures[max(step.number, 0) // PHRASE % len(textures)]
        if texture in ("thirds", "echo", "canon"):
            rows += _follow_melody(sheet, step, texture)
        elif step.chord:
            # Below the melody, but never down in the bass.
            melody_bottom = int(sounding(sheet.melody, bar)[:, 2].min(initial=84))
            top = max(melody_bottom - 3, LOWEST_INNER + 11)
            tones = step.chord.octave_below(top)
            pattern = fitting(style, bar).get(texture, "x")
            symbol = pattern[step.index % len(pattern)]
            if texture == "arpeggio":
                up_and_down = tones + tones[-2:0:-1]
                middle = (step.start + step.end) // 2
                for part, times in enumerate([(step.start, middle), (middle, step.end)]):
                    tone = up_and_down[(2 * step.index + part) % len(up_and_down)]
                    rows.append([*times, tone, 10])
            elif symbol == "x":
                # A chord as a game's engine plays it on one voice: every second frame another tone.
                for part, tone in enumerate(tones[:3]):
                    rows.append([step.start + 2 * part * sheet.frame, step.end, tone, 11])
            elif symbol == "-" and rows and not step.new:
                rows[-1][1] = step.end
            elif symbol != ".":
                last = _nearest_other(tones, last or top - 4)
                rows.append([*times, last, 10])
    return sorted(rows)


def _nearest_other(tones: list[int], last: int) -> int:
    """The tone nearest to the last one, but rather one up to three semitones away than the same."""
    return min(tones, key=lambda tone: (abs(tone - last) or 4, tone))


def _follow_melody(sheet: LeadSheet, step: Step, texture: str) -> list[list]:
    """P2 follows the melody: a third or more below it, or as the melody itself, later."""
    eighths, velocity = {
        "thirds": (0, 11),
        "echo": (1, 5),
        "canon": (2 * step.bar.count, 11),
    }[texture]
    delay = round(eighths * step.bar.eighth)
    limits = np.searchsorted(sheet.melody[:, 0], (step.start - delay, step.end - delay))
    rows = (sheet.melody[slice(*limits)] + (delay, delay, 0)).tolist()
    if texture == "thirds":
        chord = step.chord
        rows = [(*times, chord.octave_below(top - 3)[-1]) for *times, top in rows if chord]
    return [[*row, velocity] for row in rows]


def bass(sheet: LeadSheet, style: str) -> list[list]:
    """TR. A new chord is always struck with its root."""
    rows = []
    for step in sheet.steps():
        patterns = fitting(style, step.bar)["bass"]
        pattern = patterns[step.number % len(patterns)]
        symbol = "r" if step.new else pattern[step.index % len(pattern)]
        if symbol == "-" and rows and rows[-1][1] == step.start:
            rows[-1][1] = step.end
        elif step.chord and symbol != ".":
            pitch = _bass_pitch(step.chord, symbol, sheet.chord(step.bar.end))
            rows.append([step.start, step.end, pitch, 1])
    return rows


def _bass_pitch(chord: Chord, symbol: str, next_bar: Chord) -> int:
    root, goal = chord.bass_pitch(), next_bar.bass_pitch()
    if symbol == "a":
        return goal + 2 if goal <= root else goal - 1
    steps = sorted({0, *((tone - chord.bass) % 12 for tone in chord.tones)})
    return root + next((step for step in steps if step in BASS_STEPS.get(symbol, range(1))), 12)


def drums(sheet: LeadSheet, style: str) -> list[list]:
    """NO; the noise type stands in the pitch's stead. The bars before the first chord are fills."""
    rows = []
    for step in sheet.steps(parts=2):
        patterns = fitting(style, step.bar)
        is_fill = step.number < 0 or step.number % PHRASE == PHRASE - 1
        turn = step.number % len(patterns["drums"])
        pattern = patterns["fill"] if is_fill else patterns["drums"][turn]
        symbol = pattern[step.index % len(pattern)]
        if symbol != ".":
            noise_type, frames, velocity = DRUMS[symbol]
            rows.append([step.start, step.start + frames * sheet.frame, noise_type, velocity])
    return rows


def _in_frames(rows: list, frame: float, gate: float) -> list[tuple]:
    """Rows of one voice with start and end in ticks, on frames.

    frame: units in a frame. gate: the share of a note that sounds. Where there is room a note ends
    a frame or more before the next one, so that a repeated pitch is struck again.
    """
    starts = [round(start / frame) for start, *_ in rows]
    out = []
    for start, following, row in zip(starts, [*starts[1:], 1 << 60], rows, strict=True):
        _, end, pitch, velocity = row
        stop = start + max(round((round(end / frame) - start) * gate), 1)
        stop = min(stop, following - 1 if following - start > 2 else following)
        if stop > start:
            out.append((start * FRAME, stop * FRAME, pitch, velocity))
    return out


def _expression(notes: list[tuple], pass_starts: list[int]) -> list[tuple]:
    """Controls: the pulses' timbre in each pass, and loudness that falls within a note."""
    controls = [
        (voice, tick, TIMBRE_CHANGE, duties[number % len(duties)])
        for voice, duties in DUTIES.items()
        for number, tick in enumerate(pass_starts)
    ]
    for voice, start, end, _, velocity in notes:
        frames, fall, lowest = DECAY.get(voice, (1 << 30, 1, 1))
        ticks = range(start + frames * FRAME, end, frames * FRAME)
        levels = range(velocity - fall, lowest - 1, -fall)
        for tick, level in zip(ticks, levels, strict=False):
            controls.append((voice, tick, VELOCITY_CHANGE, level))
    return controls
