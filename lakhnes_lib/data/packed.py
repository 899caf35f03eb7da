"""What every packed split has: names, arrays of a known type, a fingerprint. The base of ``corpus`` and ``lakh``.

Paper: none. Notebook: none.
"""

import hashlib
import json
from functools import cached_property

import numpy as np

from lakhnes_lib.music import nes


class Packed:
    """The songs of one split as arrays, one attribute for each of ``PARTS``; read-only memory maps when opened.

    ``songs`` is one of them, with a field ``length`` in ticks. settings: how the corpus was made, by its manifest.
    Subclasses give ``packed(epoch, seed, draws)``, what training reads of an epoch: notes, offsets and lengths as
    ``events.encode_songs`` takes them.
    """

    FORMAT: int | str
    PARTS: dict[str, np.dtype]

    def __init__(
        self, name: str, names: list[str], *arrays: np.ndarray, settings: dict | None = None
    ):
        self.name, self.names, self.settings = name, names, settings or {}
        for part, array in zip(self.PARTS, arrays, strict=True):
            setattr(self, part, array)

    def __len__(self) -> int:
        return len(self.songs)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the names, the settings if there are any, and the packed arrays."""
        said = [self.names, self.settings] if self.settings else self.names
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        for array in (getattr(self, part) for part in self.PARTS):
            digest.update(np.ascontiguousarray(array).view(np.uint8).data if len(array) else b"")
        return digest.hexdigest()

    @property
    def seconds(self) -> float:
        """Length of all songs together."""
        return float(self.songs["length"].sum()) / nes.TICKS_PER_SECOND

    def described(self) -> dict:
        """What ``corpus.json`` says of a split."""
        return {
            "songs": len(self),
            "notes": len(self.notes),
            "seconds": round(self.seconds, 3),
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def joined(cls, name: str, parts: list) -> "Packed":
        """The songs of several splits, in order; the arrays one after the other, as they are."""
        arrays = [
            np.concatenate([np.zeros(0, dtype), *(getattr(part, array) for part in parts)])
            for array, dtype in cls.PARTS.items()
        ]
        return cls(name, [title for part in parts for title in part.names], *arrays)
