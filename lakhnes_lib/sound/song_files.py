"""Which endings song files have, and writing a Score to a file by its ending.

Paper: §3. Notebook: 09_composing. Songs are MIDI, TX1 text, VGM and ABC; ABC and MIDI in RIFF
(.rmi) are only read, WAV and the texts of trackers only written. ``data.build.read_song`` reads a
song by its ending.
"""

from pathlib import Path

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.files import write_file
from lakhnes_lib.music import events, midi
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound import apu, audio, tracker_files, vgm

MIDI, TEXT, VGM = (".mid", ".midi", ".rmi"), (".tx1.txt", ".tx1", ".txt"), (".vgm", ".vgz")
ABC, WAV, TRACKER = (".abc",), (".wav",), tuple(tracker_files.FORMS)
READABLE = MIDI + TEXT + VGM + ABC
WRITABLE = WAV + MIDI[:2] + TRACKER + TEXT + VGM
"""Endings in small letters. Where several fit a name, the one that comes first counts."""


def ending(path, known: tuple[str, ...], what: str) -> str:
    """The ending of a file's name among those ``known``.

    what: what such files can be, as in "written", for the message. Raises LakhnesError if the name
    has none of the endings.
    """
    for candidate in known:
        if Path(path).name.lower().endswith(candidate):
            return candidate
    names = ", ".join(known)
    fault = "its ending is" if Path(path).suffix else "has no ending, so it is"
    raise LakhnesError(f"{path}: {fault} none of those that can be {what} ({names})")


def write_song(
    score: Score, path, sample_rate: int = 44_100, loop: int | None = None
) -> dict[str, int] | None:
    """Writes a score; sample_rate counts for WAV, and loop for VGM: the tick from which players
    repeat it, None for not. A tracker's text repeats all or nothing of it; of such a text, returns
    how much of what was left out (``tracker_files.write``).

    Raises LakhnesError for an ending that cannot be written, OutOfSpace, BadAudio for a song too
    long for the form.

    >>> import lakhnes_lib as nes
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> song = nes.read("assets/songbook/greensleeves.abc")
    >>> nes.write(song, folder + "/song.mid")
    >>> nes.read(folder + "/song.mid").seconds
    60.3
    """
    kind = ending(path, WRITABLE, "written")
    if kind in WAV:
        audio.write_wav(apu.blocks(score, sample_rate), path, sample_rate)
    elif kind in VGM:
        vgm.write(score, path, loop=loop)
    elif kind in MIDI:
        midi.write(score, path)
    elif kind in TRACKER:
        return tracker_files.write(score, path, kind, loop is not None)
    else:
        write_file(path, events.to_tx1(score))
