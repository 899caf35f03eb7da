"""The songbook for a band: MIDI files of many instruments, so that there is something to map.

python tools/songbook_band.py        writes assets/band/NAME.mid, one for each piece

Paper: stands in for Lakh MIDI (§4.2.1) where that is not at hand. Notebook: 03_lakh_to_nes.
Differences from the paper: a band by code. Flute, trumpet, clarinet and bass play one note at a
time; guitar, piano and strings play chords; the oboe doubles the flute; bells ring above every
voice of the NES; the drums have two tracks, in one of which hits overlap.
"""

from pathlib import Path

import symusic

from lakhnes_lib import profiles
from lakhnes_lib.files import write_file
from lakhnes_lib.songbook.arrangement import DRUMS, bass, drums, inner_voice
from lakhnes_lib.songbook.sheets import EIGHTH, LeadSheet
from lakhnes_lib.songbook.tunes import FOLDER, lead_sheet, pieces

DRUM_PITCHES = {"K": 36, "S": 38, "h": 42, "H": 46, "T": 45, "C": 49}
TAMBOURINE, SHAKER = 54, 70


def write(slug: str, path) -> Path:
    """Writes a piece of the songbook for the band, once through, as MIDI; returns the path.

    Raises OutOfSpace.
    """
    choices = pieces()[slug]
    sheet, style = lead_sheet(FOLDER / f"{slug}.abc").up(choices["passes"][0]), choices["style"]
    bar, beat = sheet.bars[0].count, sheet.bars[0].beat
    melody = sheet.melody.tolist()
    hits = {DRUMS[key][0]: pitch for key, pitch in DRUM_PITCHES.items()}
    kit = [(*times, hits[kind], 8 * velocity) for *times, kind, velocity in drums(sheet, style)]
    bells = [(start, end, 109 + (tones[0] - 1) % 12) for start, end, tones in _chords(sheet, bar)]
    kit += [(start, end, TAMBOURINE, 40 + start % 23) for start, end, _ in _chords(sheet, beat)]
    shaker = [(start, end - EIGHTH // 2, SHAKER) for start, end, _ in _chords(sheet, 1)]
    parts = [  # name, program (None for drums), velocity unless the rows have their own, rows
        ("Flute", 73, 90, melody),
        ("Oboe", 68, 60, [(start, (start + end + 1) // 2, pitch) for start, end, pitch in melody]),
        ("Trumpet", 56, 80, inner_voice(sheet, ["thirds"], style)),
        ("Clarinet", 71, 70, inner_voice(sheet, ["counter"], style)),
        ("Guitar", 25, 70, _played(sheet, beat, 1, 48)),
        ("Piano", 0, 60, _played(sheet, bar, 2, 48, 60)),
        ("Strings", 48, 45, _played(sheet, bar, bar, 60)),
        ("Bells", 14, 30, bells),
        ("Bass", 33, 100, bass(sheet, style)),
        ("Drums", None, None, kit),
        ("Shaker", None, 50, shaker),
    ]
    song = symusic.Score(2 * EIGHTH)
    song.tempos.append(symusic.Tempo(0, sheet.quarters_per_minute))
    for name, program, velocity, rows in parts:
        track = symusic.Track(name, program or 0, program is None)
        for start, end, pitch, *own in rows:
            length = max(1, round(end - start))
            track.notes.append(symusic.Note(round(start), length, pitch, velocity or own[0]))
        song.tracks.append(track)
    write_file(path, song.dumps_midi())
    return Path(path)


def _chords(sheet: LeadSheet, every: int) -> list[tuple]:
    """An eighth note's start and end, and the chord's tones, at every so many eighths of a bar."""
    steps = [step for step in sheet.steps() if step.chord and step.index % every == 0]
    return [(step.start, step.start + EIGHTH, step.chord.tones) for step in steps]


def _played(sheet: LeadSheet, every: int, eighths: int, *lowest: int) -> list[tuple]:
    """The same chords in notes of so many eighths, by one hand above each of the lowest pitches."""
    return [
        (start, start + eighths * EIGHTH, pitch + tone)
        for start, _, tones in _chords(sheet, every)
        for pitch in lowest
        for tone in tones
    ]


if __name__ == "__main__":
    for slug in pieces():
        print(write(slug, profiles.root() / "assets/band" / f"{slug}.mid"))
