"""The songbook for a band: MIDI files for many instruments, as Lakh's are, so that there is something to map.

Paper: stands in for Lakh MIDI (§4.2.1) where that is not at hand. Notebook: 03_lakh_to_nes.
Differences from the paper: a band by code. Flute, trumpet, clarinet and bass play one note at a time; guitar, piano and
strings play chords; the oboe doubles the flute; bells ring above every voice of the NES; the drums have two tracks, in
one of which hits overlap.
"""

from pathlib import Path

import symusic

from lakhnes_lib.files import write_file
from lakhnes_lib.songbook import accompaniment
from lakhnes_lib.songbook.accompaniment import DRUMS, EIGHTH, STYLES
from lakhnes_lib.songbook.tunes import Piece, lead_sheet

DRUM_PITCHES = {"K": 36, "S": 38, "h": 42, "H": 46, "T": 45, "C": 49}
TAMBOURINE, SHAKER = 54, 70


def write(piece: Piece, path) -> Path:
    """Writes a piece of the songbook for the band, once through, as MIDI; returns the path. Raises OutOfSpace."""
    sheet, style = lead_sheet(piece.path).up(piece.passes[0]), STYLES[piece.style]
    frame = sheet.quarters_per_minute * 2 * EIGHTH / (60 * 60)
    melody = [(start, end, pitch, 90) for start, end, pitch in sheet.melody.tolist()]
    chords = [
        (place * EIGHTH, chord) for place, chord in enumerate(sheet.chords) if chord is not None
    ]
    beats = [(start, chord) for start, chord in chords if start % (sheet.beat * EIGHTH) == 0]
    bars = [(start, chord) for start, chord in chords if start % (sheet.bar * EIGHTH) == 0]
    pitches = {DRUMS[key][0]: pitch for key, pitch in DRUM_PITCHES.items()}
    kit = [
        (start, end, pitches[kind], 8 * loud)
        for start, end, kind, loud in accompaniment.drums(sheet, style, frame)
    ]
    kit += [(start, start + EIGHTH, TAMBOURINE, 40 + start % 23) for start, _ in beats]
    parts = [
        ("Flute", 73, melody),
        (
            "Oboe",
            68,
            [(start, (start + end + 1) // 2, pitch, 60) for start, end, pitch, _ in melody],
        ),
        (
            "Trumpet",
            56,
            [(*row[:3], 80) for row in accompaniment.inner_voice(sheet, ["thirds"], frame)],
        ),
        (
            "Clarinet",
            71,
            [(*row[:3], 70) for row in accompaniment.inner_voice(sheet, ["counter"], frame)],
        ),
        (
            "Guitar",
            25,
            [(a, a + EIGHTH, 48 + tone, 70) for a, chord in beats for tone in chord.tones],
        ),
        (
            "Piano",
            0,
            [
                (a, a + 2 * EIGHTH, low + tone, 60)
                for a, c in bars
                for low in (48, 60)
                for tone in c.tones
            ],
        ),
        (
            "Strings",
            48,
            [
                (a, a + sheet.bar * EIGHTH, 60 + tone, 45)
                for a, chord in bars
                for tone in chord.tones
            ],
        ),
        (
            "Bells",
            14,
            [(start, start + EIGHTH, 109 + (chord.tones[0] - 1) % 12, 30) for start, chord in bars],
        ),
        ("Bass", 33, [(a, b, pitch, 100) for a, b, pitch, _ in accompaniment.bass(sheet, style)]),
        ("Drums", None, kit),
        ("Shaker", None, [(start, start + EIGHTH // 2, SHAKER, 50) for start, _ in chords]),
    ]
    song = symusic.Score(2 * EIGHTH)
    song.tempos.append(symusic.Tempo(0, sheet.quarters_per_minute))
    for name, program, rows in parts:
        track = symusic.Track(name, program or 0, program is None)
        for start, end, pitch, velocity in rows:
            track.notes.append(
                symusic.Note(round(start), max(1, round(end - start)), pitch, velocity)
            )
        song.tracks.append(track)
    write_file(path, song.dumps_midi())
    return Path(path)
