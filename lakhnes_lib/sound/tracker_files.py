"""Files for trackers: a Score as text that FamiStudio or FamiTracker imports, to go on from there.

Paper: none. Notebook: 09_composing. Sources: the importers themselves, FamiStudio's
``FamistudioTextFile.cs`` and Dn-FamiTracker's ``TextExporter.cpp``. Dn-FamiTracker saves what it
has imported as a module, which Furnace opens.

A tracker changes the chip once a frame, 60.0988 times a second on an NTSC console. NES-MDB's songs
were recorded from such frames, of 733.79 ticks; many VGM files have frames of 735. Of these two
the length is taken that a song's notes keep to better, and the frames are counted from where
most notes begin. Every note, volume and timbre then moves to the nearest frame, by at most 8.3 ms;
where a volume or timbre changes twice on a frame, the last counts.
Names of notes are the trackers' own: A-3 is 440 Hz on a pulse and 220 Hz on the triangle.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from lakhnes_lib.errors import BadAudio
from lakhnes_lib.files import write_file
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound import chip
from lakhnes_lib.sound.timeline import in_force, settings

FRAME_TICKS = (29_780.5 * nes.TICKS_PER_SECOND / chip.CLOCK, nes.TICKS_PER_SECOND / 60)
"""Ticks of a frame: 29,780.5 CPU cycles, or a sixtieth of a second."""
SHORTEST = 184
"""Ticks from which on a note gets a whole frame: a quarter of one, the chip's own shortest step."""
PATTERN, PATTERNS = 256, 256
"""Frames of a pattern, and the most patterns that a tracker's song can have."""
LOWEST_KEY, HIGHEST_KEY = (24, 24, 12, 1), 95
"""The pitch of each voice that is key 0, and the last key (B-7)."""
NAMES = ("C-", "C#", "D-", "D#", "E-", "F-", "F#", "G-", "G#", "A-", "A#", "B-")
GRID = 8
"""Frames of a note on FamiStudio's grid, which only guides the eye: times are in frames."""

_SAME, _STOP = -1, -2
_CHANNELS = ("Square1", "Square2", "Triangle", "Noise")


class FrameSong(NamedTuple):
    """A song in frames.

    voices: for each voice its events in order of time: (frame, key, frames, volume, timbre). The
    key is that of the note that begins, counted from LOWEST_KEY; or -1 if none does, or -2 if the
    voice falls silent. Then come the note's frames, its volume (0-15) and its timbre (0-3); the
    last two are -1 where they do not change. left_out: the number of notes that no frame can hold,
    by kind.
    """

    name: str
    frames: int
    voices: list[list[tuple[int, int, int, int, int]]]
    left_out: dict[str, int]


def write(score: Score, path, form: str, loop: bool = False) -> dict[str, int]:
    """Writes a form of FORMS, ".famistudio.txt" or ".famitracker.txt".

    loop: whether the song begins again after its end. Returns what was left out, as in FrameSong,
    with no entry for what was not. Raises BadAudio for a song longer than 65,535 frames (18
    minutes), LakhnesError if the file cannot be written.

    >>> import tempfile
    >>> import lakhnes_lib as nes
    >>> song = nes.read("assets/songbook/greensleeves.abc")
    >>> write(song, tempfile.mkdtemp() + "/song.txt", ".famistudio.txt")
    {}
    """
    song = on_frames(score)
    write_file(path, FORMS[form](song, loop))
    return song.left_out


def on_frames(score: Score) -> FrameSong:
    """The score in frames. A note shorter than a frame is left out if another one begins on its
    frame or it is shorter than SHORTEST: such notes come from pitches that are set in two steps."""
    frame_of, left_out = _clock(score.notes["start"]), Counter()
    voices = [_events(score, number, frame_of, left_out) for number in range(len(nes.VOICES))]
    ends = [voice[-1][0] for voice in voices if voice]
    frames = max(1, int(frame_of(score.length)), *ends)
    name = " ".join(score.name.replace('"', "'").split()) or "song"
    if frames >= PATTERN * PATTERNS:
        rule = f"its {frames:,} frames are more than the {PATTERN * PATTERNS - 1:,} of a tracker"
        raise BadAudio(f"{name}: {rule}")
    return FrameSong(name, frames, voices, dict(+left_out))


def _clock(starts):
    """The function that gives the frame (int64) of ticks, in a song whose notes start so."""
    sums = {length: np.exp(2j * np.pi * starts / length).sum() for length in FRAME_TICKS}
    length = max(FRAME_TICKS, key=lambda length: abs(sums[length]))
    first = np.angle(sums[length]) / (2 * np.pi) * length
    return lambda ticks: np.maximum(np.rint((ticks - first) / length), 0).astype(np.int64)


def _events(score, number, frame_of, left_out) -> list[tuple]:
    notes = score.voice(number)
    key = notes["pitch"].astype(np.int64) - LOWEST_KEY[number]
    start, end = frame_of(notes["start"]), frame_of(notes["end"])
    end = np.maximum(end, start + (notes["end"] - notes["start"] >= SHORTEST))
    high = np.count_nonzero(key > HIGHEST_KEY)
    heard = np.flatnonzero((key <= HIGHEST_KEY) & (end > start))
    heard = heard[np.diff(start[heard], append=_SAME) != 0]  # of the notes of a frame, the last
    left_out["notes above B-7"] += high
    left_out["notes shorter than a frame"] += len(notes) - high - len(heard)
    key, start, end = key[heard], start[heard], end[heard]
    (when, velocity), (timbre_when, timbre) = settings(score, number)
    when, timbre_when = frame_of(when), frame_of(timbre_when)
    moments = np.unique(np.concatenate([start, end, when, timbre_when]))
    until = in_force(start, end, moments, 0)
    sounds = moments < until
    volume = in_force(when, velocity, moments, 0) * (15 // nes.HIGHEST_VELOCITY[number])
    volume = _changes(volume, sounds, before=_SAME)
    timbre = in_force(timbre_when, timbre, moments, 0)
    timbre = _changes(timbre, sounds, before=0 if number == nes.TR else _SAME)
    begins, ends = np.isin(moments, start), np.isin(moments, end)
    key = np.select([begins, ends], [in_force(start, key, moments, _SAME), _STOP], _SAME)
    table = np.stack([moments, key, until - moments, volume, timbre], axis=1)
    happens = (np.stack([key, volume, timbre]) != _SAME).any(axis=0)
    return list(map(tuple, table[happens].tolist()))


def _changes(values, sounds, before) -> np.ndarray:
    """The values where the voice sounds and they differ from the last such value, -1 elsewhere."""
    changes, heard = np.full(len(values), _SAME), values[sounds]
    changes[sounds] = np.where(np.diff(heard, prepend=before) != 0, heard, _SAME)
    return changes


def famitracker_text(song: FrameSong, loop: bool = False) -> str:
    """FamiTracker's text export: a row a frame. On the sample channel effect C00 ends the song, in
    the row after the last; of a loop B00 in the last row goes on with the first."""
    patterns = song.frames // PATTERN + 1
    rows = [["... .. . ..."] * 5 for _ in range(patterns * PATTERN)]
    for voice, events in enumerate(song.voices):
        for frame, key, _, volume, timbre in events:
            if key < 0:
                note = "--- .." if key == _STOP else "... .."
            elif voice == nes.NO:
                note = f"{key:X}-# {voice:02X}"
            else:
                note = f"{NAMES[key % 12]}{key // 12} {voice:02X}"
            loudness = "." if volume == _SAME else f"{volume:X}"
            effect = "..." if timbre == _SAME else f"V{timbre:02X}"
            rows[frame][voice] = f"{note} {loudness} {effect}"
    if loop:  # what ends with the song is stopped in its first row, unless a note begins there
        pairs = zip(rows[0], rows[song.frames], strict=True)
        rows[0] = [end if first.startswith("...") else first for first, end in pairs]
    rows[song.frames - loop][-1] = "... .. . B00" if loop else "... .. . C00"
    name = song.name[:31]  # the most that a title of FamiTracker holds
    lines = ["# FamiTracker text export 0.4.2", f'TITLE "{name}"', "MACHINE 0", "FRAMERATE 0"]
    for number, title in enumerate(nes.VOICE_TITLES):
        lines.append(f'INST2A03 {number} -1 -1 -1 -1 -1 "{title}"')
    lines += [f'TRACK {PATTERN} 1 150 "{name}"', "COLUMNS : 1 1 1 1 1"]
    lines += [f"ORDER {n:02X} :" + f" {n:02X}" * 5 for n in range(patterns)]
    for number, row in enumerate(rows):
        if number % PATTERN == 0:
            lines.append(f"PATTERN {number // PATTERN:02X}")
        lines.append(f"ROW {number % PATTERN:02X} : " + " : ".join(row))
    return "\n".join(lines) + "\n"


def famistudio_text(song: FrameSong, loop: bool = False) -> str:
    """FamiStudio's text. It names no version, so that every version takes it; the last pattern ends
    with the song, at the next line of the grid, or of a loop at the frame itself."""
    patterns, step = -(-song.frames // PATTERN), 1 if loop else GRID
    rest = -(-(song.frames - PATTERN * (patterns - 1)) // step)
    grid = {"NoteLength": GRID, "BeatLength": 4, "Groove": GRID, "GroovePaddingMode": "Middle"}
    size = {"Length": patterns, "LoopPoint": 0 if loop else -1, "PatternLength": PATTERN // GRID}
    lines = [_line("Project", TempoMode="FamiStudio", Name=song.name)]
    lines += [_line("Instrument", Name=title) for title in nes.VOICE_TITLES]
    lines.append(_line("Song", Name=song.name, **size, **grid))
    grid |= {"NoteLength": step, "Groove": step}
    lines.append(_line("PatternCustomSettings", Time=patterns - 1, Length=rest, **grid))
    for voice, events in enumerate(song.voices):
        lines.append(_line("Channel", Type=_CHANNELS[voice]))
        begun = []
        for moment, key, frames, volume, timbre in events:
            if key == _STOP:  # which the note's duration says
                continue
            pattern, frame = divmod(moment, PATTERN)
            if pattern not in begun[-1:]:
                begun.append(pattern)
                lines.append(_line("Pattern", Name=pattern))
            what = {"Volume": volume, "DutyCycle": timbre}
            what = {name: value for name, value in what.items() if value != _SAME}
            if key >= 0:
                # FamiStudio counts C0 as 1, and takes four bits of that number on the noise.
                key += 31 if voice == nes.NO else 0
                what["Value"] = NAMES[key % 12].strip("-") + str(key // 12)
                what["Duration"], what["Instrument"] = frames, nes.VOICE_TITLES[voice]
            lines.append(_line("Note", Time=frame, **what))
        lines += [_line("PatternInstance", Time=n, Pattern=n) for n in begun]
    return "\n".join(lines) + "\n"


def _line(kind: str, **attributes) -> str:
    return kind + "".join(f' {name}="{value}"' for name, value in attributes.items())


FORMS = {".famistudio.txt": famistudio_text, ".famitracker.txt": famitracker_text}
