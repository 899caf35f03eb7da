"""A corpus: the splits of a data set as packed notes, memory-mapped, checked when opened.

Paper: §3 (NES-MDB's splits). Notebook: 02_event_representation.
Notes stay in raw ticks: after quantising, a change of speed would give other waits for a quarter of the events.
Event ids are derived when asked for. Differences from the paper: it stored event text, one file a song.

A corpus is a folder: ``corpus.json``, and for each split ``NAME.notes.npy``, ``NAME.controls.npy``, ``NAME.songs.npy``
and ``NAME.names.json``. ``corpus.json`` holds the fingerprint (sha256) of every split, and the files that were
rejected, with why. A corpus of candidates (``lakh.py``) stands in such a folder too, with arrays of its own.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path

import numpy as np

from lakhnes_lib.data.lakh import LakhSplit
from lakhnes_lib.data.packed import Packed
from lakhnes_lib.errors import BadCorpus, DataNotFound
from lakhnes_lib.files import replacing
from lakhnes_lib.music import events
from lakhnes_lib.music.score import CONTROL, NOTE, Score

FORMAT = 1
SPLITS = ("train", "valid", "test")
SONG = np.dtype([("notes", "i8"), ("controls", "i8"), ("length", "i8")])
"""Where a song's notes and controls end (one after the other), and its length in ticks."""
VALID_SHARE = 10
"""A folder without splits gives about one song in this many to valid, chosen by the file's content."""


class Split(Packed):
    """The songs of one split: ``notes``, ``controls`` and ``songs``."""

    FORMAT, PARTS = FORMAT, {"notes": NOTE, "controls": CONTROL, "songs": SONG}

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 (songs + 1,): song i's notes are ``notes[offsets[i]:offsets[i + 1]]``."""
        return np.concatenate([[0], self.songs["notes"]])

    def score(self, index: int) -> Score:
        """One song, with velocities and timbre."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} songs, there is no song {index}")
        first = self.songs["controls"][index - 1] if index else 0
        return Score(
            self.notes[self.offsets[index] : self.offsets[index + 1]],
            self.songs["length"][index],
            self.controls[first : self.songs["controls"][index]],
            self.names[index],
        )

    def ids(self) -> tuple[np.ndarray, np.ndarray]:
        """Raw events of all songs: uint16 (events,), and int64 (songs + 1,) offsets; edge waits included, no
        ``<S>``."""
        return events.encode_songs(self.notes, self.offsets, self.songs["length"])

    def framed(self) -> list[np.ndarray]:
        """What models see of each song: edge waits off, ``<S>`` before and after; uint16 each."""
        ids, offsets = self.ids()
        return [events.frame(ids[a:b]) for a, b in zip(offsets[:-1], offsets[1:], strict=True)]

    def packed(self, epoch: int, seed: int, draws: str):
        """Notes, offsets and lengths of all songs, the same every epoch."""
        return self.notes, self.offsets, self.songs["length"]


class Corpus:
    """An opened corpus: ``corpus["train"]`` is a Split; ``splits``: all by name; ``manifest``: ``corpus.json``."""

    def __init__(self, folder: Path, manifest: dict, splits: dict[str, Split]):
        self.folder, self.manifest, self.splits = folder, manifest, splits

    def __getitem__(self, name: str) -> Split:
        if name not in self.splits:
            raise DataNotFound(
                f"{self.folder}: has no split {name!r}, only {', '.join(self.splits)}"
            )
        return self.splits[name]

    def __contains__(self, name: str) -> bool:
        return name in self.splits

    @property
    def fingerprint(self) -> str:
        """sha256 over the fingerprints of the splits."""
        return hashlib.sha256(
            "".join(f"{n}{s.fingerprint}" for n, s in self.splits.items()).encode()
        ).hexdigest()


_ENDINGS = ("names.json", *(f"{array}.npy" for array in Split.PARTS | LakhSplit.PARTS))
NAMES = {"corpus.json", *(f"{split}.{ending}" for split in SPLITS for ending in _ENDINGS)}
"""Files that a corpus of either kind may hold; a folder with any other is not written over."""


def pack(name: str, scores: list[Score]) -> Split:
    """A Split, in memory, of these songs."""
    songs = np.zeros(len(scores), SONG)
    songs["notes"] = np.cumsum([len(score.notes) for score in scores])
    songs["controls"] = np.cumsum([len(score.controls) for score in scores])
    songs["length"] = [score.length for score in scores]
    notes = np.concatenate([np.zeros(0, NOTE), *(score.notes for score in scores)])
    controls = np.concatenate([np.zeros(0, CONTROL), *(score.controls for score in scores)])
    return Split(name, [score.name for score in scores], notes, controls, songs)


def join(name: str, parts: list[Split]) -> Split:
    """One Split of the songs of several, in order."""
    whole = Split.joined(name, parts)
    for array in (
        "notes",
        "controls",
    ):  # where songs end in it counts from the first part's beginning
        before = np.cumsum([0, *(len(getattr(part, array)) for part in parts)])[:-1]
        whole.songs[array] += np.repeat(before, np.array([len(part) for part in parts], int))
    return whole


def write_corpus(
    splits: dict[str, list[Score] | Packed], folder, rejected: dict[str, str] | None = None, **said
) -> Corpus:
    """Writes songs by split as a corpus folder, whole or not at all, and opens it.

    rejected: file -> why it was left out; said: what else the manifest is to say, plain values.
    Raises OutOfSpace, and LakhnesError if the folder holds anything but an earlier corpus.
    """
    packed = {
        name: songs if isinstance(songs, Packed) else pack(name, songs)
        for name, songs in splits.items()
    }
    manifest = {
        "format": next((split.FORMAT for split in packed.values()), FORMAT),
        "splits": {name: split.described() for name, split in packed.items()},
    } | (said | {"rejected": rejected or {}})
    with replacing(folder, folder=True, names=NAMES) as temporary:
        for name, split in packed.items():
            for part in split.PARTS:
                np.save(temporary / f"{name}.{part}.npy", getattr(split, part), allow_pickle=False)
            (temporary / f"{name}.names.json").write_text(json.dumps(split.names), encoding="utf-8")
        (temporary / "corpus.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return open_corpus(folder)


def open_corpus(folder) -> Corpus:
    """Opens a corpus folder. Raises DataNotFound if there is none, BadCorpus if a byte of it was changed."""
    folder = Path(folder)
    if not (folder / "corpus.json").is_file():
        raise DataNotFound(
            f"{folder}: is not a corpus (it holds no corpus.json); `lakhnes tokens` or `lakhnes map` makes one"
        )
    try:
        manifest = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        kind = {Split.FORMAT: Split, LakhSplit.FORMAT: LakhSplit}.get(manifest.get("format"))
        if kind is None:
            raise BadCorpus(
                f"{folder}: has corpus format {manifest.get('format')!r}, this version reads {FORMAT}; build it anew"
            )
        splits = {}
        for name, said in manifest["splits"].items():
            names = json.loads((folder / f"{name}.names.json").read_text(encoding="utf-8"))
            arrays = []
            for part, dtype in kind.PARTS.items():
                array = np.load(folder / f"{name}.{part}.npy", mmap_mode="r", allow_pickle=False)
                if array.dtype != dtype or array.ndim != 1:
                    raise BadCorpus(
                        f"{folder}: {name}.{part}.npy is of another version; build the corpus anew"
                    )
                arrays.append(array)
            splits[name] = kind(name, names, *arrays, settings=manifest.get("settings"))
            if splits[name].described() != said or len(splits[name]) != len(names):
                raise BadCorpus(
                    f"{folder}: the split {name} was changed since it was built; build the corpus anew"
                )
    except BadCorpus:
        raise
    except Exception as error:  # NumPy lets whatever its reading of a damaged head meets through
        raise BadCorpus(
            f"{folder}: is incomplete or damaged ({error}); build the corpus anew"
        ) from error
    return Corpus(folder, manifest, splits)
