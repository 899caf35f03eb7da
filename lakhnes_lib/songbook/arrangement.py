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
from lakhnes_lib.music.score import TIMBRE_CHANGE, Score
from lakhnes_lib.songbook.sheets import EIGHTH, FRAMES_PER_SECOND, TABLES, Bar, LeadSheet, Step
from lakhnes_lib.sound.presets import fades

FRAME = nes.TICKS_PER_SECOND // FRAMES_PER_SECOND
"""Ticks of a frame."""
STYLES, DRUMS = TABLES["styles"], TABLES["drums"]
USUAL_STYLES = {(4, 2): "polka", (6, 2): "waltz", (12, 2): "waltz", (3, 3): "etude"}
"""By the eighth notes of a bar and of a beat; of other bars a jig's patterns or a march's."""
TEXTURES = ("thirds", "arpeggio", "chop", "counter", "echo", "canon")
FOLLOWING = {"thirds": (0, 0, 11), "echo": (0, 1, 5), "canon": (2, 0, 11)}
"""How many bars and eighth notes after the melody a texture follows it, and its loudness."""
PHRASE = 8
"""Bars after which P2's texture changes."""
LOWEST_INNER = 50
BASS_STEPS = {"r": range(1), "3": range(3, 6), "5": range(6, 10), "8": range(0)}
"""Semitones above the bass that a character of a bass pattern may stand for, rather than 12."""
DUTIES = {nes.P1: (2, 1), nes.P2: (1, 2, 0)}
"""Timbre of a pulse in each pass, in turn."""
DECAY = {nes.P1: (6 * FRAME, 1, 10), nes.P2: (4 * FRAME, 1, 4), nes.NO: (FRAME, 2, 1)}
"""Ticks between two steps of loudness, size of a step, lowest loudness. The triangle has none."""


def arrange(
    sheet: LeadSheet, *, style: str = "", textures=TEXTURES[:4], passes=(0,), name: str = ""
) -> Score:
    """Score for four voices: the lead sheet once for each pass, then its last note held.

    style: a name of STYLES, or nothing for the usual one of each metre. textures: names of
    TEXTURES, a phrase of 8 bars each, in turn; every pass begins with the next one. The last two
    fit few tunes. passes: transposition of each pass in semitones. Raises BadScore for a melody
    that P1 cannot play.
    """
    parts, controls, length = [[], [], [], []], [], sheet.bars[-1].end
    for number, semitones in enumerate(passes):
        own, start = sheet.up(semitones), number * length
        melody = [(*note, 14) for note in own.melody.tolist()]
        inner = inner_voice(own, textures, style, number)
        voices = (melody, inner, bass(own, style), drums(own, style))
        for part, rows in zip(parts, voices, strict=True):
            part += [(begin + start, end + start, *rest) for begin, end, *rest in rows]
        tick = round(start / sheet.frame) * FRAME
        for voice, duties in DUTIES.items():
            controls.append((voice, tick, TIMBRE_CHANGE, duties[number % len(duties)]))

    last, _, top, _ = parts[nes.P1][-1]
    end, chord = max(len(passes) * length, last + 4 * EIGHTH), own.chords[-1][1]
    crash, frames, velocity = DRUMS["C"]
    held = {
        nes.P2: (last, end, chord.octave_below(top - 3)[-1], 12),
        nes.TR: (last, end, chord.bass_pitch(), 1),
        nes.NO: (last, last + frames * sheet.frame, crash, velocity),
    }
    for voice, row in held.items():
        parts[voice] = [other for other in parts[voice] if other[0] < last] + [row]
    gates = {nes.P1: fitting(style, sheet.bars[0])["gate"]}
    notes = [
        (voice, *row)
        for voice, rows in enumerate(parts)
        for row in _in_frames(rows, sheet.frame, gates.get(voice, 1))
    ]
    ticks = max(round(end / sheet.frame) * FRAME, max(note[2] for note in notes))
    score = Score.build(notes, ticks, controls, name)
    fading = [fades(score.voice(voice), *how) for voice, how in DECAY.items()]
    return Score.build(score.notes, ticks, np.concatenate([score.controls, *fading]), name)


def fitting(style: str, bar: Bar) -> dict:
    """The patterns of a style if they fit the bar, otherwise those of the usual one of its metre.

    They are repeated in a longer bar, and cut in a shorter one.
    """
    if style in STYLES and len(STYLES[style]["bass"][0]) == bar.count:
        return STYLES[style]
    return STYLES[USUAL_STYLES.get((bar.count, bar.beat), "jig" if bar.beat == 3 else "march")]


def _symbol(step: Step, style: str, part: str) -> str:
    """The character of a part's pattern at a step."""
    patterns = fitting(style, step.bar)[part]
    pattern = patterns[max(step.number, -1) % len(patterns)]
    return pattern[step.index % len(pattern)]


def inner_voice(sheet: LeadSheet, textures, style: str, first: int = 0) -> list[list]:
    """P2; textures: one for each phrase, in turn, from the one of this index."""
    rows, last = [], None  # last: the pitch that the counter-voice was on
    for step in sheet.steps():
        texture = textures[(max(step.number, 0) // PHRASE + first) % len(textures)]
        if texture in FOLLOWING:
            rows += _follow_melody(sheet, step, texture)
        elif step.chord:
            symbol = _symbol(step, style, texture)
            # Below the melody, but never down in the bass.
            melody_bottom = int(sheet.sounding(step.bar)[:, 2].min(initial=84))
            top = max(melody_bottom - 3, LOWEST_INNER + 11)
            tones = step.chord.octave_below(top)
            if symbol == "u":
                up_and_down = (tones + tones[-2:0:-1]) * 2 * step.bar.count
                middle = (step.start + step.end) // 2
                one, two = up_and_down[2 * step.index :][:2]
                rows += [[step.start, middle, one, 10], [middle, step.end, two, 10]]
            elif symbol == "x":
                # A chord as a game's engine plays it on one voice: every second frame another tone.
                for part, tone in enumerate(tones[:3]):
                    rows.append([step.start + 2 * part * sheet.frame, step.end, tone, 11])
            elif symbol == "-" and rows and not step.new:
                rows[-1][1] = step.end
            elif symbol != ".":
                # The nearest tone, but rather one up to three semitones away than the same.
                goal = last or top - 4
                last = min(tones, key=lambda tone: (abs(tone - goal) or 4, tone))
                rows.append([step.start, step.end, last, 10])
    return sorted(rows)


def _follow_melody(sheet: LeadSheet, step: Step, texture: str) -> list[list]:
    """P2 follows the melody: a third or more below it, or as the melody itself, later."""
    bars, eighths, velocity = FOLLOWING[texture]
    delay = round((bars * step.bar.count + eighths) * step.bar.eighth)
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
        symbol = "r" if step.new else _symbol(step, style, "bass")
        if symbol == "-" and rows and rows[-1][1] == step.start:
            rows[-1][1] = step.end
        elif step.chord and symbol != ".":
            pitch = _bass_pitch(step.chord, symbol, sheet.chord(step.bar.end))
            rows.append([step.start, step.end, pitch, 1])
    return rows


def _bass_pitch(chord, symbol: str, next_bar) -> int:
    root, goal = chord.bass_pitch(), next_bar.bass_pitch()
    if symbol == "a":
        return goal + 2 if goal <= root else goal - 1
    steps = sorted({0, *((tone - chord.bass) % 12 for tone in chord.tones)})
    return root + next((step for step in steps if step in BASS_STEPS.get(symbol, range(1))), 12)


def drums(sheet: LeadSheet, style: str) -> list[list]:
    """NO; the noise type stands in the pitch's stead. The bars before the first chord are fills."""
    rows = []
    for step in sheet.steps(parts=2):
        symbol = _symbol(step, style, "drums")
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
