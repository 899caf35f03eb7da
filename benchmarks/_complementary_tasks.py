"""Complementary tracks: what a run learns from, pieces of piano and bass of Lakh or NES-MDB."""

from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lakhnes_lib import profiles
from lakhnes_lib.companions import band_parts
from lakhnes_lib.companions.band_parts import BASS, PIANO, BandPairs
from lakhnes_lib.companions.paired_parts import NesPairs
from lakhnes_lib.data.corpus import split_of
from lakhnes_lib.errors import BadMidi

LAKH = profiles.root() / "data" / "lmd_full_5"
PIECES_A_FILE = 6  # at most


def task_of(name: str, settings: dict, corpus, runs: Path):
    """What a run learns from; runs: the folder of ``runs_of``."""
    kind, way = name.split("_")
    mended = way == "mended"
    if kind == "nes":
        return NesPairs(corpus, settings["seconds"], settings["tokens"], mended)
    pieces, tokenizer = band_data(settings["bars"], runs)
    target = {"bass": BASS, "piano": PIANO}[kind]
    return BandPairs(pieces, tokenizer, settings["bars"], target, mended)


def runs_of(profile: str) -> Path:
    """The folder of a profile's runs."""
    return profiles.root() / "runs" / profile / "complementary_tracks"


def band_data(bars: int, runs: Path) -> tuple[dict, object]:
    """Pieces of piano and bass by split, and the trained tokenizer; made once in ``runs``."""
    import miditok

    file, learned = runs / f"band_{bars}.npz", runs / f"band_{bars}.json"
    if not (file.exists() and learned.exists()):
        pieces = {"train": [], "valid": []}
        for path in tqdm(sorted(LAKH.rglob("*.mid")), desc="piano and bass of Lakh"):
            with suppress(BadMidi):
                cut = band_parts.snippets(band_parts.parts_of(path), bars)
                pieces[split_of(path.stem)] += cut[:: max(1, -(-len(cut) // PIECES_A_FILE))]
        runs.mkdir(parents=True, exist_ok=True)
        arrays = {}
        for split, some in pieces.items():
            parts = [part.astype(np.int32) for piece in some for part in piece]
            arrays |= {split: np.concatenate(parts), f"{split}_ends": np.cumsum([*map(len, parts)])}
        np.savez(file, **arrays)
        band_parts.trained(pieces["train"]).save(learned)
    return unpacked(file), miditok.REMI(params=learned)


def unpacked(file) -> dict:
    """The pieces that ``band_data`` has packed."""
    pieces = {}
    with np.load(file) as arrays:
        for split in ("train", "valid"):
            parts = np.split(arrays[split], arrays[f"{split}_ends"][:-1])
            pieces[split] = [parts[at : at + 2] for at in range(0, len(parts), 2)]
    return pieces
