"""Reads music files of every kind, and packs a folder of them into a corpus, on all cores.

Paper: §3. Notebook: 02_event_representation. Differences from the paper: none; the files' own
splits are kept.
"""

import hashlib
from pathlib import Path

from joblib import Parallel, delayed
from tqdm.auto import tqdm

from lakhnes_lib.data.corpus import NAMES, SPLITS, VALID_SHARE, Corpus, write_corpus
from lakhnes_lib.errors import BadEvents, BadMidi, BadSetting, DataNotFound, LakhnesError
from lakhnes_lib.files import check_target
from lakhnes_lib.music import events, midi
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import roles, tunes
from lakhnes_lib.sound import song_files, vgm

ENDINGS = tuple(ending for ending in song_files.READABLE if ending != ".txt")
"""Of what is taken for music in a folder; another text may lie there too."""
_FILES_A_TASK = 64


def read_song(path) -> Score:
    """The Score in a file of NES music, by its ending: MIDI in NES-MDB's form, VGM, TX1 or ABC.

    Raises LakhnesError for another ending, BadMidi, BadAudio (VGM), BadEvents (TX1) or BadScore
    (ABC).

    >>> import lakhnes_lib as nes
    >>> nes.read("assets/songbook/greensleeves.abc")
    Score('greensleeves', 60.30 s, notes: P1 144, P2 162, TR 64, NO 135)
    """
    path = Path(path)
    ending = song_files.ending(path, song_files.READABLE, "read as music")
    if ending in song_files.MIDI:
        return midi.read(path)
    if ending in song_files.VGM:
        return vgm.read(path)
    if ending in song_files.ABC:
        return tunes.read(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadEvents(f"{path}: cannot be read as event text ({error})") from None
    return events.from_tx1(text, str(path)).renamed(path.name[: -len(ending)])


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
    path, remarks = Path(path), []
    if voices and not path.name.lower().endswith(song_files.MIDI):
        raise BadSetting(f"{path}: is no MIDI file, whose tracks could be given to voices")
    if voices:
        return roles.read(path, voices, seconds)
    try:
        if path.name.lower().endswith(song_files.VGM):
            recording = vgm.load(path)
            score, kinds = recording.score, recording.left_out.items()
            counts = ", ".join(f"{kind} ({count:,})" for kind, count in kinds)
            remarks = [f"{path}: left out of the song (commands): {counts}"] if kinds else []
        else:
            score = read_song(path)
    except BadMidi:  # for other instruments
        return roles.read(path, seconds=seconds)
    return (score if seconds is None else score.excerpt(0, seconds)), remarks


def music_files(folder: Path) -> list[Path]:
    """Every music file below a folder, sorted."""
    paths = sorted(folder.rglob("*"))
    return [path for path in paths if path.name.lower().endswith(ENDINGS) and path.is_file()]


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
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            is_valid = int(digest[:8], 16) % VALID_SHARE == 0
            splits["valid" if is_valid else "train"].append(path)
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
    tasks = [
        (name, paths[first : first + _FILES_A_TASK])
        for name, paths in files.items()
        for first in range(0, len(paths), _FILES_A_TASK)
    ]
    songs: dict[str, list[Score]] = {name: [] for name in files}
    rejected: dict[str, str] = {}
    remarks: list[str] = []
    results = Parallel(workers, return_as="generator")(
        delayed(_read_songs)(paths) for _, paths in tasks
    )
    total = sum(map(len, files.values()))
    with tqdm(total=total, unit="song", desc="packing", disable=not progress) as bar:
        for (name, paths), (scores, reasons, lines) in zip(tasks, results, strict=True):
            songs[name] += scores
            rejected |= reasons
            remarks += lines
            bar.update(len(paths))
    return write_corpus(songs, folder, rejected, remarks=remarks)


def _read_songs(paths: list[Path]) -> tuple[list[Score], dict[str, str], list[str]]:
    """The songs of some files, the reasons why files were left out, and remarks on the others."""
    songs, rejected, remarks = [], {}, []
    for path in paths:
        try:
            song, lines = read_with_remarks(path)
            songs.append(song)
            remarks += lines
        except LakhnesError as error:
            rejected[path.name] = str(error)
    return songs, rejected, remarks
