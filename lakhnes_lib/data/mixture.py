"""Two corpora as one: fine-tuning that keeps a share of what pre-training heard.

Paper: §5.1 (its fine-tuning reads NES-MDB alone). Notebook: 05_training. Differences from the paper: this option.
"""

from hashlib import sha256

import numpy as np

from lakhnes_lib.data.corpus import Corpus
from lakhnes_lib.data.packed import Packed
from lakhnes_lib.errors import DataNotFound

EPOCHS_APART = 1000
"""Epochs of the second split from one epoch of a mixture to the next: more than it ever uses."""


class MixedSplit:
    """An epoch of one split and, of another, so many songs that they hold ``share`` of all notes (0 to below 1)."""

    def __init__(self, own: Packed, other: Packed, share: float):
        self.own, self.other, self.share = own, other, share
        self.fingerprint = sha256(
            f"{own.fingerprint}{other.fingerprint}{share}".encode()
        ).hexdigest()

    def packed(self, epoch: int, seed: int, draws: str):
        """Notes, offsets and lengths. Raises DataNotFound if the other split has no notes."""
        parts = [self.own.packed(epoch, seed, draws)]
        missing, place = self.share / (1 - self.share) * len(parts[0][0]), epoch * EPOCHS_APART
        while missing > 0:
            notes, offsets, lengths = self.other.packed(place, seed, draws)
            if not len(notes):
                raise DataNotFound("the corpus to mix in has no notes")
            songs = np.random.default_rng([seed, place]).permutation(
                len(lengths)
            )  # not the same first ones each epoch
            ends = np.append(0, np.cumsum(np.diff(offsets)[songs]))
            songs = songs[: np.searchsorted(ends, missing)]
            heard = np.concatenate([notes[offsets[song] : offsets[song + 1]] for song in songs])
            parts.append((heard, ends[: len(songs) + 1], lengths[songs]))
            missing, place = missing - len(heard), place + 1
        notes, offsets, lengths = zip(*parts, strict=True)
        sizes = np.concatenate([np.diff(borders) for borders in offsets])
        return np.concatenate(notes), np.append(0, np.cumsum(sizes)), np.concatenate(lengths)


def mix(own: Corpus, other: Corpus, share: float) -> Corpus:
    """``own`` with a training split that holds this share of ``other``'s; its other splits stay as they are."""
    mixed = {"train": MixedSplit(own["train"], other["train"], share)}
    return Corpus(own.folder, own.manifest, own.splits | mixed)
