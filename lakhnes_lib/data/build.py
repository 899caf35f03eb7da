"""Reads music files of every kind, and packs a folder of them into a corpus, on all cores.

Paper: §3. Notebook: 02_event_representation. Differences from the paper: none; the files' own
splits are kept.
"""

import hashlib
from pathlib import Path

from joblib import Parallel, delayed
from tqdm.auto import tqdm

from lakhnes_lib.data.corpus import NAMES, SPLITS, VALID_SHARE, Corpus, write_corpus
from lakhnes_lib.errors import BadEvents, BadMidi, DataNotFound, LakhnesError
from lakhnes_lib.files import check_target
from lakhnes_lib.music import events, filters, mapping, midi, nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import tunes
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
    """The same; a MIDI file for other instruments is mapped to the NES (``music/mapping.py``).

    Raises as ``read_song``, and Rejected for a MIDI file of which no voice can be made.

    >>> import lakhnes_lib as nes
    >>> nes.read_any("assets/songbook/greensleeves.abc").seconds
    60.3
    """
    try:
        return read_song(path)
    except BadMidi:
        options = filters.MappingOptions(least_seconds=0.0)
        return read_songs(path, options=options)[0].renamed(Path(path).stem)


def read_songs(path, seed: int = 0, options=filters.PUBLISHED) -> list[Score]:
    """The same; of a MIDI file for other instruments all songs that mapping makes of it.

    seed, options: as in ``mapping.map_to_nes``.
    """
    try:
        return [read_song(path)]
    except BadMidi:
        names = {track.name.strip().lower() for track in midi.parse(path).tracks} - {""}
        if names and names <= set(nes.MIDI_NAMES):
            raise  # it is meant for the NES, and wrong
    return mapping.map_to_nes(path, seed, options)


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
    """Packs a folder of NES music.

    source: a folder, with ``train valid test`` inside or without. folder: the corpus to write.
    workers: processes, -1 for all cores. A file that cannot be read is left out, and named with
    its reason in the manifest; nothing stops the run.
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
    results = Parallel(workers, return_as="generator")(
        delayed(_read_songs)(paths) for _, paths in tasks
    )
    total = sum(map(len, files.values()))
    with tqdm(total=total, unit="song", desc="packing", disable=not progress) as bar:
        for (name, paths), (scores, reasons) in zip(tasks, results, strict=True):
            songs[name] += scores
            rejected |= reasons
            bar.update(len(paths))
    return write_corpus(songs, folder, rejected)


def _read_songs(paths: list[Path]) -> tuple[list[Score], dict[str, str]]:
    """The songs of some files, and the reasons why files were left out."""
    songs, rejected = [], {}
    for path in paths:
        try:
            songs.append(read_song(path))
        except LakhnesError as error:
            rejected[path.name] = str(error)
    return songs, rejected
