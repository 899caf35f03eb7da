"""What every packed split has: names, arrays of known types, a fingerprint, and its files.

Paper: none. Notebook: none. ``corpus.Split`` and ``lakh.LakhSplit`` build on it.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path

import numpy as np

from lakhnes_lib.errors import BadCorpus
from lakhnes_lib.music import events, nes


class Packed:
    """The songs of one split as arrays, one attribute for each of ``PARTS``; memory maps that
    cannot be written when they come from files.

    ``songs`` is one of them, with a field ``length`` in ticks. settings: how the corpus was made.
    Subclasses have ``check()``, which raises any error for arrays that make no songs;
    ``score(index)``; and ``packed(epoch, seed, draws)``, the notes, offsets and lengths that
    training reads in an epoch, as ``events.encode_songs`` takes them.
    """

    FORMAT: int | str
    PARTS: dict[str, np.dtype]

    def __init__(self, name: str, names: list[str], *arrays, settings: dict | None = None):
        self.name, self.names, self.settings = name, names, settings or {}
        for part, array in zip(self.PARTS, arrays, strict=True):
            setattr(self, part, array)

    def __len__(self) -> int:
        return len(self.songs)

    def check_index(self, index: int) -> None:
        """Raises IndexError unless there is a song with this index."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} songs, there is no song {index}")

    def framed(self) -> list[np.ndarray]:
        """What models see of the score of each song, uint16: edge waits off, ``<S>`` around it."""
        return [events.frame(events.encode(self.score(index))) for index in range(len(self))]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the names, the settings if there are any, and the packed arrays."""
        texts = [self.names, self.settings] if self.settings else self.names
        digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
        for part in self.PARTS:
            digest.update(np.ascontiguousarray(getattr(self, part)))
        return digest.hexdigest()

    @property
    def seconds(self) -> float:
        """Length of all songs together."""
        return float(self.songs["length"].sum()) / nes.TICKS_PER_SECOND

    def described(self) -> dict:
        """What ``corpus.json`` says of a split."""
        seconds = round(self.seconds, 3)
        counts = {"songs": len(self), "notes": len(self.notes), "seconds": seconds}
        return counts | {"fingerprint": self.fingerprint}

    def save(self, folder: Path) -> None:
        """Writes the split's files into an existing folder."""
        for part in self.PARTS:
            np.save(folder / f"{self.name}.{part}.npy", getattr(self, part), allow_pickle=False)
        (folder / f"{self.name}.names.json").write_text(json.dumps(self.names), encoding="utf-8")

    @classmethod
    def opened(cls, folder: Path, name: str, manifest: dict, mmap_mode="r") -> "Packed":
        """A split from its files, as memory maps, or in memory if ``mmap_mode`` is None.

        Raises BadCorpus for arrays of other types, and unless the split is as the manifest says.
        """
        text = (folder / f"{name}.names.json").read_text(encoding="utf-8")
        names = list(map(str, json.loads(text)))
        arrays = []
        for part, dtype in cls.PARTS.items():
            file = f"{name}.{part}.npy"
            array = np.load(folder / file, mmap_mode, allow_pickle=False)
            if array.dtype != dtype or array.ndim != 1:
                raise BadCorpus(f"{folder}: {file} is of another version; build the corpus anew")
            arrays.append(array)
        split = cls(name, names, *arrays, settings=manifest.get("settings"))
        if split.described() != manifest["splits"][name] or len(split) != len(names):
            raise BadCorpus(f"{folder}: the split {name} was changed; build the corpus anew")
        split.check()
        return split
