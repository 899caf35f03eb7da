"""Reads music files of every kind, and packs a folder of them into a corpus, on all cores.

Paper: §3. Notebook: 02_event_representation. Differences from the paper: none; the files' own
splits are kept.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from joblib import Parallel, delayed
from tqdm.auto import tqdm

from lakhnes_lib.data.corpus import NAMES, SPLITS, Corpus, split_of, write_corpus
from lakhnes_lib.errors import BadEvents, BadMidi, BadSetting, DataNotFound, LakhnesError
from lakhnes_lib.files import check_target, read_bytes, tune_of
from lakhnes_lib.music import events, midi
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import roles, tunes
from lakhnes_lib.sound import song_files, vgm

ENDINGS = tuple(ending for ending in song_files.READABLE if ending != ".txt")
"""Of what is taken for music in a folder; another text may lie there too."""


def read_song(path) -> Score:
    """The Score in a file of NES music, by its ending: MIDI in NES-MDB's form, VGM, TX1 or ABC.

    Of an ABC file with several tunes ``book.abc#2`` or ``book.abc#Title`` names one.
    Raises LakhnesError for another ending, BadMidi, BadAudio (VGM), BadEvents (TX1) or BadScore
    (ABC).

    >>> import lakhnes_lib as nes
    >>> nes.read("assets/songbook/greensleeves.abc")
    Score('greensleeves', 60.30 s, notes: P1 144, P2 162, TR 64, NO 135)
    """
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[Score, list[str]]:
    """The same, with a line on what was left out of the song."""
    ending = song_files.ending(tune_of(path)[0], song_files.READABLE, "read as music")
    if ending in song_files.MIDI:
        return midi.read(path), []
    if ending in song_files.ABC:
        return tunes.read(path), []
    if ending in song_files.VGM:
        return vgm.load(path)
    try:
        text = read_bytes(path, BadEvents).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadEvents(f"{path}: cannot be read as event text ({error})") from None
    return events.from_tx1(text, str(path)).renamed(path.name[: -len(ending)]), []


def read_any(path) -> Score:
    """The same; a MIDI file for other instruments is arranged by role (``songbook/roles.py``).

    Raises as ``read_song``.

    >>> import lakhnes_lib as nes
    >>> nes.read_any("assets/songbook/greensleeves.abc").seconds
    60.3
    """
    return read_with_remarks(path)[0]


def read_with_remarks(
    path, voices: str = "", seconds: float | None = None
) -> tuple[Score, list[str]]:
    """The same, with a line on everything that a listener should know of how the file was read.

    voices, seconds: as in ``roles.read``; voices, if given, arrange NES music in MIDI, too, which
    then has no changes of timbre and velocity. Raises as ``read_song``, and BadSetting for voices
    that do not exist, or of another file than MIDI.

    Example: ``score, remarks = build.read_with_remarks("band.mid", voices="P1=Lead")``
    """
    path = Path(path)
    if voices and not path.name.lower().endswith(song_files.MIDI):
        raise BadSetting(f"{path}: is no MIDI file, whose tracks could be given to voices")
    if voices:
        return roles.read(path, voices, seconds)
    try:
        score, remarks = _read(path)
    except BadMidi:  # for other instruments
        return roles.read(path, seconds=seconds)
    return (score if seconds is None else score.excerpt(0, seconds)), remarks


def music_files(folder: Path) -> list[Path]:
    """Every music file below a folder, sorted; a pipe or a broken link of such a name as well."""
    paths = sorted(folder.rglob("*"))
    return [path for path in paths if path.name.lower().endswith(ENDINGS) and not path.is_dir()]


def find_files(folder) -> dict[str, list[Path]]:
    """The music files of a folder by split.

    The folder's own ``train valid test`` folders are the splits, if it has any. Otherwise about one
    file in ten is for valid, chosen by its content. Raises DataNotFound if there is no music.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataNotFound(f"{folder}: is not a folder")
    splits = {name: music_files(folder / name) for name in SPLITS if (folder / name).is_dir()}
    if not splits:
        splits = {"train": [], "valid": []}
        for path in music_files(folder):
            content = b""
            with suppress(LakhnesError):  # which the reading names later
                content = read_bytes(path)
            splits[split_of(hashlib.sha256(content).hexdigest())].append(path)
    if not any(splits.values()):
        raise DataNotFound(f"{folder}: holds no music file ({', '.join(ENDINGS)})")
    return splits


def build_corpus(source, folder, workers: int = -1, progress: bool = True) -> Corpus:
    """Packs a folder of music, as ``read_any`` reads it.

    source: a folder, with ``train valid test`` inside or without. folder: the corpus to write.
    workers: processes, -1 for all cores. A file that cannot be read is left out, and named with
    its reason in the manifest, which also holds the remarks; nothing stops the run.
    Raises DataNotFound if there is no music, OutOfSpace, and LakhnesError if the folder holds
    anything but a corpus.

    Example: ``build_corpus("my songs", "packed")["train"].framed()``
    """
    check_target(folder, NAMES)  # before the work
    files = find_files(source)
    every = [path for paths in files.values() for path in paths]
    songs, rejected, remarks = read_all(every, source, workers, progress)
    splits = {name: [songs[path] for path in files[name] if path in songs] for name in files}
    return write_corpus(splits, folder, rejected, remarks=remarks)


def read_all(
    paths: list[Path], folder, workers: int = -1, progress: bool = True
) -> tuple[dict[Path, Score], dict[str, str], list[str]]:
    """Reads files below a folder as ``read_any`` does, on so many processes, -1 for all cores.

    Returns the songs by path, why the others cannot be read, by name in the folder, and remarks.
    """
    tasks = map(delayed(_try_to_read), paths)
    results = Parallel(workers, return_as="generator")(tasks)
    bar = tqdm(results, "reading", len(paths), unit="file", disable=not progress)
    songs, rejected, remarks = {}, {}, []
    for path, (song, lines, reason) in zip(paths, bar, strict=True):
        if reason:
            rejected[path.relative_to(folder).as_posix()] = reason
        else:
            songs[path] = song
            remarks += lines
    return songs, rejected, remarks


def _try_to_read(path: Path) -> tuple[Score | None, list[str], str]:
    """A file's song and remarks, or the reason why there is none."""
    try:
        return *read_with_remarks(path), ""
    except LakhnesError as error:
        return None, [], str(error)
