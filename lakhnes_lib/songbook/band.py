"""The songbook for a band: MIDI files of many instruments, so that there is something to map.

Paper: stands in for Lakh MIDI (§4.2.1) where that is not at hand. Notebook: 03_lakh_to_nes.
Differences from the paper: a band by code. Flute, trumpet, clarinet and bass play one note at a
time; guitar, piano and strings play chords; the oboe doubles the flute; bells ring above every
voice of the NES; the drums have two tracks, in one of which hits overlap.
"""

from pathlib import Path

import symusic

from lakhnes_lib.files import write_file
from lakhnes_lib.songbook import accompaniment
from lakhnes_lib.songbook.accompaniment import DRUMS, STYLES
from lakhnes_lib.songbook.sheets import EIGHTH
from lakhnes_lib.songbook.tunes import Piece, lead_sheet

DRUM_PITCHES = {"K": 36, "S": 38, "h": 42, "H": 46, "T": 45, "C": 49}
TAMBOURINE, SHAKER = 54, 70


def write(piece: Piece, path) -> Path:
    """Writes a piece of the songbook for the band, once through, as MIDI; returns the path.

    Raises OutOfSpace.
    """
    sheet, style = lead_sheet(piece.path).up(piece.passes[0]), STYLES[piece.style]
    song = symusic.Score(2 * EIGHTH)
    song.tempos.append(symusic.Tempo(0, sheet.quarters_per_minute))
    for name, program, notes in _melodic_parts(sheet, style):
        song.tracks.append(_track(name, program, False, notes))
    for name, notes in _drum_parts(sheet, style):
        song.tracks.append(_track(name, 0, True, notes))
    write_file(path, song.dumps_midi())
    return Path(path)


def _melodic_parts(sheet, style):
    """Name, program and rows (start, end, pitch, velocity) of every instrument but the drums."""
    _, _, _, _, bar, beat = sheet.bars[0]
    melody = sheet.melody.tolist()
    halves = [(start, (start + end + 1) // 2, pitch) for start, end, pitch in melody]
    bells = [
        (start, start + EIGHTH, 109 + (chord.tones[0] - 1) % 12)
        for start, chord in _chords(sheet, bar)
    ]
    hands = [_in_chords(sheet, bar, lowest, 2) for lowest in (48, 60)]
    parts = [
        ("Flute", 73, 90, melody),
        ("Oboe", 68, 60, halves),
        ("Trumpet", 56, 80, accompaniment.inner_voice(sheet, ["thirds"])),
        ("Clarinet", 71, 70, accompaniment.inner_voice(sheet, ["counter"])),
        ("Guitar", 25, 70, _in_chords(sheet, beat, 48, 1)),
        ("Piano", 0, 60, sorted(hands[0] + hands[1])),
        ("Strings", 48, 45, _in_chords(sheet, bar, 60, bar)),
        ("Bells", 14, 30, bells),
        ("Bass", 33, 100, accompaniment.bass(sheet, style)),
    ]
    return [
        (name, program, [(start, end, pitch, velocity) for start, end, pitch, *_ in rows])
        for name, program, velocity, rows in parts
    ]


def _drum_parts(sheet, style):
    """Name and rows of both drum tracks."""
    pitches = {DRUMS[key][0]: pitch for key, pitch in DRUM_PITCHES.items()}
    kit = [
        (start, end, pitches[noise_type], 8 * velocity)
        for start, end, noise_type, velocity in accompaniment.drums(sheet, style)
    ]
    for start, _ in _chords(sheet, sheet.bars[0].beat):
        kit.append((start, start + EIGHTH, TAMBOURINE, 40 + start % 23))
    shaker = [(start, start + EIGHTH // 2, SHAKER, 50) for start, _ in _chords(sheet, 1)]
    return [("Drums", kit), ("Shaker", shaker)]


def _chords(sheet, every):
    """The start and the chord of every so many eighth notes of a bar, where there is a chord."""
    steps = [step for bar in sheet.bars for step in sheet.steps(bar)]
    return [(step.start, step.chord) for step in steps if step.chord and step.index % every == 0]


def _in_chords(sheet, every, lowest, eighths):
    """Chords of notes of one length above a pitch."""
    return [
        (start, start + eighths * EIGHTH, lowest + tone)
        for start, chord in _chords(sheet, every)
        for tone in chord.tones
    ]


def _track(name, program, is_drum, rows):
    track = symusic.Track(name, program, is_drum)
    for start, end, pitch, velocity in rows:
        note = symusic.Note(round(start), max(1, round(end - start)), pitch, velocity)
        track.notes.append(note)
    return track
