"""Complementary tracks: what a model composes to a part, and how densely it was asked to."""

from collections import defaultdict

import numpy as np

from lakhnes_lib.companions import accompanying
from lakhnes_lib.companions.band_parts import BandPairs
from lakhnes_lib.companions.paired_parts import CELL_TICKS, STARTS, NesPairs, start_of
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score

LONGEST = 400  # tokens that are composed at most
HEARD = 2  # pieces whose notes go to the results
DRAWING = {
    "thesis": dict(top_k=3, masked=False),
    "mended": dict(top_p=0.95, masked=True),
}


def notes_of(score: Score) -> np.ndarray:
    """The notes of P1, P2 and TR as a part of ``band_parts``."""
    notes = score.only(nes.MELODIC).notes
    time, end = (notes[name] // CELL_TICKS for name in ("start", "end"))
    return np.stack([time, end - time, notes["pitch"], notes["velocity"]], 1).astype(int)


def notes_in(task, target) -> int:
    """How many notes a target has, those of noise as well."""
    if isinstance(task, BandPairs):
        return len(task.part(target))
    return len(events.decode(target[1:]).notes)


def usual_density(task, split="valid", count=200) -> dict:
    """For each target voice the number of the start that asks for the density most often met."""
    random, met = np.random.default_rng(0), defaultdict(list)
    for _ in range(count):
        _, target = task.draw(split, random)
        voice = (target[0] - task.vocabulary) // STARTS
        met[voice].append(start_of(notes_in(task, target), task.bars))
    return {voice: int(np.bincount(starts).argmax()) for voice, starts in met.items()}


def start_for(task, voice: int, usual: dict) -> int:
    density = usual.get(voice, 0) if task.mended else 0
    return task.vocabulary + voice * STARTS * isinstance(task, NesPairs) + density


def drawn(task, count: int) -> list:
    """The first pairs of valid that an unmended task draws: the same for both ways."""
    random, was, task.mended = np.random.default_rng(7), task.mended, False
    try:
        return [task.draw("valid", random) for _ in range(count)]
    finally:
        task.mended = was


def composed(model, task, pairs, drawing: dict, usual: dict, seed: int) -> list[list[int]]:
    made = []
    for first in range(0, len(pairs), 50):
        some = pairs[first : first + 50]
        voices = [(target[0] - task.vocabulary) // STARTS for _, target in some]
        starts = [start_for(task, voice, usual) for voice in voices]
        sources = [source for source, _ in some]
        options = dict(length=LONGEST, seed=seed * 1000 + first) | drawing
        made += accompanying.compose(model, task, sources, starts, **options)
    return made


def when_asked(model, task, seed: int, count: int = 40) -> list[float]:
    """Notes a bar that are composed when each of the densities is asked for, in turn."""
    pairs = drawn(task, count)
    notes = []
    for density in range(1, STARTS):
        usual = dict.fromkeys(range(4), density)
        made = composed(model, task, pairs, DRAWING["mended"], usual, seed)
        notes.append(float(np.mean([notes_in(task, target) for target in made]) / task.bars))
    return notes
