"""A lead sheet (melody and chords) becomes a chiptune for P1, P2, TR and NO.

Paper: §3 (what the four voices usually do). Notebook: 01_nes_ensemble.
Differences from the paper: it has no arranger; this one serves the songbook, the music that works
without a download.

P1 plays the melody, P2 a texture that changes from phrase to phrase, TR a bass pattern, NO drums.
As in a game's sound engine, everything starts and ends on a frame of 1/60 s (735 ticks), and
loudness falls within a note frame by frame.
"""

import numpy as np

from lakhnes_lib.errors import BadScore
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import NOTE, TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.songbook import accompaniment
from lakhnes_lib.songbook.accompaniment import DRUMS, STYLES, TEXTURES, fitting
from lakhnes_lib.songbook.sheets import EIGHTH, FRAMES_PER_SECOND, LeadSheet

FRAME = nes.TICKS_PER_SECOND // FRAMES_PER_SECOND
"""Ticks of a frame."""

DUTIES = {nes.P1: (2, 1), nes.P2: (1, 2, 0)}
"""Timbre of a pulse in each pass, in turn."""

DECAY = {nes.P1: (6, 1, 10), nes.P2: (4, 1, 4), nes.NO: (1, 2, 1)}
"""Frames between two steps of loudness, size of a step, lowest loudness. The triangle has none."""


def arrange(
    sheet: LeadSheet, *, style: str = "", textures=TEXTURES[:4], passes=(0,), name: str = ""
) -> Score:
    """Score for four voices: the lead sheet once for each pass, then its last note held.

    style: a name of STYLES whose patterns fit the first bar, or nothing for the usual one of each
    metre. textures: names of TEXTURES, a phrase of 8 bars each, in turn; every pass begins with the
    next one. The last two fit few tunes. passes: transposition of each pass in semitones. Raises
    BadScore for an unknown name, a style of another metre, no pass, or a sheet without melody or
    chords.
    """
    called = name or "lead sheet"
    if not passes or not len(sheet.melody) or not sheet.chords:
        raise BadScore(f"{called}: needs a pass, a melody and a chord")
    patterns, bar = STYLES.get(style), sheet.bars[0]
    if style and fitting(patterns, bar) is not patterns:
        raise BadScore(f"{called}: no style {style!r} for bars of {bar.count} eighth notes")
    for texture in set(textures or [""]) - set(TEXTURES):
        raise BadScore(f"{called}: no texture {texture!r}, only {', '.join(TEXTURES)}")

    parts = {voice: [] for voice in range(len(nes.VOICES))}
    length = sheet.bars[-1].end
    for number, semitones in enumerate(passes):
        shift = number * length
        first = number % len(textures)
        rotated = [*textures[first:], *textures[:first]]
        for voice, rows in _one_pass(sheet.up(semitones), patterns, rotated).items():
            parts[voice] += [(start + shift, end + shift, *rest) for start, end, *rest in rows]

    last, _, top, _ = parts[nes.P1][-1]
    end = max(len(passes) * length, last + 4 * EIGHTH)
    chord = sheet.chords[-1][1].up(passes[-1])
    noise_type, frames, velocity = DRUMS["C"]
    held = {
        nes.P2: (last, end, chord.below(top - 3), 12),
        nes.TR: (last, end, chord.bass_pitch(), 1),
        nes.NO: (last, last + frames * sheet.frame, noise_type, velocity),
    }
    for voice, row in held.items():
        parts[voice] = [other for other in parts[voice] if other[0] < last] + [row]

    notes = []
    for voice, rows in parts.items():
        gate = fitting(patterns, bar).gate if voice == nes.P1 else 1
        notes += [(voice, *row) for row in _in_frames(rows, sheet.frame, gate)]
    notes = np.array(notes, NOTE)
    ticks = max(round(end / sheet.frame) * FRAME, int(notes["end"].max()))
    pass_starts = [round(n * length / sheet.frame) * FRAME for n in range(len(passes))]
    return Score.build(notes, ticks, _expression(notes, pass_starts), name)


def _one_pass(sheet, style, textures) -> dict[int, list[tuple]]:
    """Rows (start, end, pitch, velocity) of each voice, in units."""
    return {
        nes.P1: [(*note, 14) for note in sheet.melody.tolist()],
        nes.P2: accompaniment.inner_voice(sheet, textures),
        nes.TR: accompaniment.bass(sheet, style),
        nes.NO: accompaniment.drums(sheet, style),
    }


def _in_frames(rows: list[tuple], frame: float, gate: float) -> list[tuple]:
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


def _expression(notes: np.ndarray, pass_starts: list[int]) -> list[tuple]:
    """Controls: the pulses' timbre in each pass, and loudness that falls within a note."""
    controls = [
        (voice, tick, TIMBRE_CHANGE, duties[number % len(duties)])
        for voice, duties in DUTIES.items()
        for number, tick in enumerate(pass_starts)
    ]
    for voice, (frames, fall, lowest) in DECAY.items():
        for _, start, end, _, velocity in notes[notes["voice"] == voice].tolist():
            ticks = range(start + frames * FRAME, end, frames * FRAME)
            levels = range(velocity - fall, lowest - 1, -fall)
            controls += [
                (voice, tick, VELOCITY_CHANGE, level)
                for tick, level in zip(ticks, levels, strict=False)
            ]
    return controls
