"""The songs of the songbook, and songs packed as a split of a corpus."""

from lakhnes_lib.data.corpus import pack
from lakhnes_lib.songbook import tunes

SONGBOOK = tunes.scores("train")


def packed(songs):
    """Scores as a split of a corpus."""
    return pack("test", songs)


def arrays(split):
    """Its notes, the offsets of its songs in them, and the songs' lengths in ticks."""
    return split.notes, split.offsets, split.songs["length"]
