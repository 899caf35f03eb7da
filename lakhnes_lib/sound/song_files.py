"""A Score to a file, by the file's ending: MIDI, TX1 text, VGM or WAV; ABC is only read.

Paper: §3. Notebook: 09_composing. ``data.build.read_song`` is the way back.
"""

from pathlib import Path

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.files import write_file
from lakhnes_lib.music import events, midi
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound import apu, audio, vgm

MIDI, TEXT, VGM = (".mid", ".midi"), (".tx1.txt", ".tx1", ".txt"), (".vgm", ".vgz")
ABC, WAV = (".abc",), (".wav",)
READABLE = MIDI + TEXT + VGM + ABC
WRITABLE = WAV + MIDI + TEXT + VGM
"""Endings, in small letters; what comes first counts."""


def ending(path, known: tuple[str, ...], what: str) -> str:
    """The ending of a file's name among those ``known``. Raises LakhnesError, which says ``what`` it can not be."""
    for each in known:
        if Path(path).name.lower().endswith(each):
            return each
    raise LakhnesError(
        f"{path}: its ending is none of those that can be {what} ({', '.join(known)})"
    )


def write_song(score: Score, path, sample_rate: int = 44_100) -> None:
    """Writes a score; sample_rate counts for WAV. Raises LakhnesError for another ending, OutOfSpace."""
    kind = ending(path, WRITABLE, "written")
    if kind in WAV:
        audio.write_wav(apu.blocks(score, sample_rate), path, sample_rate)
    elif kind in VGM:
        vgm.write(score, path)
    elif kind in MIDI:
        midi.write(score, path)
    else:
        write_file(path, events.to_tx1(score))
