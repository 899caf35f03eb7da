"""A corpus: the splits of a data set as packed notes, memory-mapped, checked when opened.

Paper: §3 (NES-MDB's splits). Notebook: 02_event_representation. Differences from the paper: it
stored event text, one file a song. Here notes are stored in ticks, and event ids are derived when
they are needed; if the times were rounded to the events' waits first, a change of speed would give
other waits for a quarter of them.

A corpus is a folder: ``corpus.json``, and for each split ``NAME.notes.npy``, ``NAME.controls.npy``,
``NAME.songs.npy`` and ``NAME.names.json``. ``corpus.json`` holds the fingerprint (sha256) of every
split, and the files that were rejected, with the reason. A corpus of candidates (``lakh.py``) is
such a folder too, with arrays of its own.
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
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import CONTROL, LONGEST_SECONDS, NOTE, Score

FORMAT = 1
SPLITS = ("train", "valid", "test")
SONG = np.dtype([("notes", "i8"), ("controls", "i8"), ("length", "i8")])
"""Where a song's notes and controls end (one after the other), and its length in ticks."""
VALID_SHARE = 10
"""Where there are no splits, one song in about so many is for valid."""


class Split(Packed):
    """The songs of one split: ``notes``, ``controls`` and ``songs``."""

    FORMAT, PARTS = FORMAT, {"notes": NOTE, "controls": CONTROL, "songs": SONG}

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 (songs + 1,): song i's notes are ``notes[offsets[i]:offsets[i + 1]]``."""
        return np.concatenate([[0], self.songs["notes"]])

    def check(self) -> None:
        """Raises an error for notes out of their voice's range or outside of their song."""
        voice, start, end, pitch, _ = (self.notes[name] for name in NOTE.names)
        lengths, longest = self.songs["length"], LONGEST_SECONDS * nes.TICKS_PER_SECOND
        length = np.repeat(lengths, np.diff(self.offsets))
        rules = (start >= 0, start < end, end <= length, nes.has_pitch(voice, pitch))
        if not all(map(np.all, (*rules, lengths >= 0, lengths <= longest))):
            raise ValueError("a note is out of its voice's range or outside of its song")

    def score(self, index: int) -> Score:
        """One song, with velocities and timbre. Raises IndexError."""
        self.check_index(index)
        notes = self.notes[self.offsets[index] : self.offsets[index + 1]]
        first_control = self.songs["controls"][index - 1] if index else 0
        controls = self.controls[first_control : self.songs["controls"][index]]
        return Score(notes, self.songs["length"][index], controls, self.names[index])

    def ids(self) -> tuple[np.ndarray, np.ndarray]:
        """Raw events of all songs: uint16 (events,), and int64 (songs + 1,) offsets. Edge waits are
        included, and there is no ``<S>``."""
        return events.encode_songs(self.notes, self.offsets, self.songs["length"])

    def packed(self, epoch: int, seed: int, draws: str):
        """Notes, offsets and lengths of all songs, the same every epoch."""
        return self.notes, self.offsets, self.songs["length"]


class Corpus:
    """An opened corpus. ``corpus["train"]`` is a Split, ``splits`` holds all of them by name, and
    ``manifest`` is the content of ``corpus.json``."""

    def __init__(self, folder: Path, manifest: dict, splits: dict[str, Split]):
        self.folder, self.manifest, self.splits = folder, manifest, splits

    def __getitem__(self, name: str) -> Split:
        if name not in self.splits:
            known = ", ".join(self.splits)
            raise DataNotFound(f"{self.folder}: has no split {name!r}, only {known}")
        return self.splits[name]

    def __contains__(self, name: str) -> bool:
        return name in self.splits

    @property
    def fingerprint(self) -> str:
        """sha256 over the fingerprints of the splits."""
        texts = (f"{name}{split.fingerprint}" for name, split in self.splits.items())
        return hashlib.sha256("".join(texts).encode()).hexdigest()


_ENDINGS = ("names.json", *(f"{array}.npy" for array in Split.PARTS | LakhSplit.PARTS))
NAMES = {"corpus.json", *(f"{split}.{ending}" for split in SPLITS for ending in _ENDINGS)}
"""Files that a corpus of either kind may hold; a folder with any other is not written over."""


def split_of(sha256) -> str:
    """The split of a song where there are none, train or valid, by its file's sha256 (hex)."""
    return "train" if int(sha256[:8], 16) % VALID_SHARE else "valid"


def pack(name: str, scores: list[Score]) -> Split:
    """A Split, in memory, of these songs."""
    songs = np.zeros(len(scores), SONG)
    songs["notes"] = np.cumsum([len(score.notes) for score in scores])
    songs["controls"] = np.cumsum([len(score.controls) for score in scores])
    songs["length"] = [score.length for score in scores]
    notes = np.concatenate([np.zeros(0, NOTE), *(score.notes for score in scores)])
    controls = np.concatenate([np.zeros(0, CONTROL), *(score.controls for score in scores)])
    return Split(name, [score.name for score in scores], notes, controls, songs)


def write_corpus(splits: dict, folder, rejected: dict | None = None, **details) -> Corpus:
    """Writes songs by split as a corpus folder, whole or not at all, and opens it.

    splits: a split's name -> its songs, a list of Score or a Packed. rejected: a file's name -> why
    it was left out. details: plain values that the manifest holds besides.
    Raises OutOfSpace, and LakhnesError if the folder holds anything but an earlier corpus.
    """
    packed = [
        songs if isinstance(songs, Packed) else pack(name, songs) for name, songs in splits.items()
    ]
    descriptions = {split.name: split.described() for split in packed}
    manifest = {"format": packed[0].FORMAT if packed else FORMAT, "splits": descriptions}
    manifest |= details | {"rejected": rejected or {}}
    with replacing(folder, folder=True, names=NAMES) as temporary:
        for split in packed:
            split.save(temporary)
        (temporary / "corpus.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return open_corpus(folder)


def open_corpus(folder) -> Corpus:
    """Opens a corpus folder.

    Raises DataNotFound if it is none, BadCorpus if a byte of it was changed.
    """
    folder = Path(folder)
    if not (folder / "corpus.json").is_file():
        how = "`lakhnes tokens` or `lakhnes map` makes one"
        raise DataNotFound(f"{folder}: is not a corpus (it holds no corpus.json); {how}")
    try:
        manifest = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        kind = {Split.FORMAT: Split, LakhSplit.FORMAT: LakhSplit}.get(manifest.get("format"))
        if kind is None:
            form = manifest.get("format")
            raise BadCorpus(f"{folder}: has the unknown format {form!r}; build the corpus anew")
        splits = {name: kind.opened(folder, name, manifest) for name in manifest["splits"]}
    except BadCorpus:
        raise
    except Exception as error:  # NumPy raises whatever it meets in a damaged file
        message = f"{folder}: is incomplete or damaged ({error}); build the corpus anew"
        raise BadCorpus(message) from None
    return Corpus(folder, manifest, splits)
