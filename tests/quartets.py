"""Small songs in which all four voices play, for listening tests."""

import numpy as np
from songs import tune

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score


def quartet(seed: int, beats: int = 40) -> Score:
    """``tune`` with P2 a fifth below P1: ten seconds, the same for the same seed."""
    song = tune(seed, beats)
    notes = song.voice(nes.P1).copy()
    notes["voice"], notes["pitch"] = nes.P2, notes["pitch"] - 7
    return Score.build(np.concatenate([song.notes, notes]), song.length, name=song.name)
