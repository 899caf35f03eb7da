"""From a folder of music files to a packed corpus, on all cores.

Paper: §3. Notebook: 02_event_representation. Differences from the paper: none; the files' own splits are kept.
"""

import hashlib
from pathlib import Path

from joblib import Parallel, delayed
from tqdm.auto import tqdm

from lakhnes_lib.data.corpus import (
    NAMES,
    SPLITS,
    VALID_SHARE,
    Corpus,
    Split,
    join,
    pack,
    write_corpus,
)
from lakhnes_lib.errors import BadEvents, DataNotFound, LakhnesError
from lakhnes_lib.files import check_place
from lakhnes_lib.music import events, midi
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import tunes
from lakhnes_lib.sound import song_files, vgm

ENDINGS = tuple(ending for ending in song_files.READABLE if ending != ".txt")
"""Of what is taken for music in a folder: any other text may lie there too."""
_FILES_A_TASK = 64


def read_song(path) -> Score:
    """Score of a music file, by its ending.

    Raises LakhnesError for an ending of no such file, BadMidi, BadAudio (VGM), BadEvents (TX1) or BadScore (ABC).
    """
    path, kind = Path(path), song_files.ending(path, song_files.READABLE, "read as music")
    for kinds, read in (
        (song_files.MIDI, midi.read),
        (song_files.VGM, vgm.read),
        (song_files.ABC, tunes.read),
    ):
        if kind in kinds:
            return read(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadEvents(f"{path}: cannot be read as event text ({error})") from error
    return events.from_tx1(text, str(path)).renamed(
        path.name[: -len(kind)]
    )  # messages name the whole path


def music_files(folder: Path) -> list[Path]:
    """Every music file below a folder, by name."""
    return sorted(p for p in folder.rglob("*") if p.name.lower().endswith(ENDINGS) and p.is_file())


def find_files(folder) -> dict[str, list[Path]]:
    """The music files of a folder by split: its own ``train valid test`` folders, or one in ten to valid by content."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataNotFound(f"{folder}: is not a folder")
    splits = {name: music_files(folder / name) for name in SPLITS if (folder / name).is_dir()}
    if not splits:
        splits = {"train": [], "valid": []}
        for path in music_files(folder):
            chosen = int(hashlib.sha256(path.read_bytes()).hexdigest()[:8], 16) % VALID_SHARE == 0
            splits["valid" if chosen else "train"].append(path)
    if not any(splits.values()):
        raise DataNotFound(f"{folder}: holds no music file ({', '.join(ENDINGS)})")
    return splits


def build_corpus(source, folder, workers: int = -1, progress: bool = True) -> Corpus:
    """Packs a folder of MIDI or TX1 files.

    source: folder with ``train valid test`` inside, or without; folder: the corpus to write; workers: processes, -1 for
    all cores. A file that cannot be read is left out and named with its reason in the manifest; nothing stops the run.
    Raises DataNotFound if there is no music, OutOfSpace, LakhnesError if the folder holds anything but a corpus.
    """
    check_place(folder, NAMES)  # before the work
    files = find_files(source)
    tasks = [
        (name, paths[first : first + _FILES_A_TASK])
        for name, paths in files.items()
        for first in range(0, len(paths), _FILES_A_TASK)
    ]
    songs: dict[str, list[Split]] = {name: [] for name in files}
    rejected: dict[str, str] = {}
    results = Parallel(workers, return_as="generator")(
        delayed(_pack_task)(paths) for _, paths in tasks
    )
    with tqdm(
        total=sum(map(len, files.values())), unit="song", desc="packing", disable=not progress
    ) as bar:
        for (name, paths), (part, refused) in zip(tasks, results, strict=True):
            songs[name].append(part)
            rejected |= refused
            bar.update(len(paths))
    return write_corpus(
        {name: join(name, parts) for name, parts in songs.items()}, folder, rejected
    )


def _pack_task(paths) -> tuple[Split, dict[str, str]]:
    songs, rejected = [], {}
    for path in paths:
        try:
            songs.append(read_song(path))
        except LakhnesError as error:
            rejected[path.name] = str(error)
    return pack("", songs), rejected
