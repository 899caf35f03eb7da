"""MIDI-Sandwich2: phrases of four bars of Lakh or of NES-MDB, as arrays and as scores."""

import hashlib
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
from _shared import at_hand
from tqdm import tqdm

from lakhnes_lib.companions import piano_rolls
from lakhnes_lib.companions.piano_rolls import BARS, LAKH, NES, Rolls
from lakhnes_lib.data import corpora, fetching
from lakhnes_lib.data.corpus import SPLITS, split_of
from lakhnes_lib.errors import BadMidi
from lakhnes_lib.music import midi

SOURCES = {"lakh": "lmd-full-5", "nes": "nesmdb-midi"}


def lakh_songs(paths, left_out: Counter):
    """Split and roll of each file, a tenth of which, by their content, is for valid; counts why
    files give nothing."""
    for path in tqdm(paths, desc="piano rolls", unit="file"):
        try:
            data = midi.read_bytes(path)
            roll = piano_rolls.lakh_roll(data, path)
        except BadMidi:
            left_out["damaged"] += 1
            continue
        left_out["not in 4/4, or longer than 500 bars"] += not len(roll[0])
        yield split_of(hashlib.sha256(data).hexdigest()), roll


def rolls_of(name: str, home: Path, most: int) -> tuple[Rolls, dict]:
    """Phrases of Lakh or of NES-MDB, and facts about them; made once, and kept in the folder."""
    kind, path, facts = {"lakh": LAKH, "nes": NES}[name], home / "rolls.npz", home / "data.json"
    if not facts.exists():
        home.mkdir(parents=True, exist_ok=True)
        began, left_out = time.perf_counter(), Counter()
        if kind is LAKH:
            folder = at_hand(fetching.fetch, SOURCES[name])
            songs = lakh_songs(sorted(folder.rglob("*.mid")), left_out)
        else:
            splits = at_hand(corpora.prepare, SOURCES[name]).splits.items()
            songs = (
                (split, piano_rolls.nes_roll(scores.score(index)))
                for split, scores in splits
                for index in range(len(scores))
            )
        rolls = piano_rolls.packed(kind, songs, most)
        np.savez_compressed(path, **rolls.splits)
        about = {"seconds_to_prepare": time.perf_counter() - began, "left_out": left_out}
        about["phrases"] = {split: len(bars) // BARS for split, bars in rolls.splits.items()}
        facts.write_text(json.dumps(about))
    with np.load(path) as file:
        rolls = Rolls(kind, {split: file[split] for split in SPLITS})
    return rolls, json.loads(facts.read_text())


def phrases_of(bars) -> np.ndarray:
    """(4 n, …) as an array (n, 4, …)."""
    return np.asarray(bars).reshape(-1, 4, *bars.shape[1:])


def evenly(rows: np.ndarray, count: int) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]


def as_dense(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Probabilities (pieces, bars, tracks, 96, pitches), of which as many cells of each track are
    above 1/2 as sound in real music: a model that is never sure would only be silent."""
    borders = [np.quantile(made[:, :, t], 1 - real[:, :, t].mean()) for t in range(made.shape[2])]
    above = made > np.array(borders)[:, None, None]
    return np.where(above, 0.5 + made / 2, 0.0)


def piece(phrase: np.ndarray):
    """The score of four bars, (4, tracks, 96, pitches): 16 seconds."""
    roll = phrase.swapaxes(0, 1).reshape(phrase.shape[1], -1, phrase.shape[-1])
    return piano_rolls.to_score(roll)
