"""MIDI-Sandwich2: its NES pieces beside LakhNES' own."""

import time
from pathlib import Path

import numpy as np
import torch
from _sandwich_metrics import plain
from _sandwich_phrases import as_dense, evenly, phrases_of, piece
from _sandwich_stages import COMPLETE, in_batches, load, restored

from lakhnes_lib import profiles
from lakhnes_lib.companions.piano_rolls import BAR, BEAT, Rolls
from lakhnes_lib.evaluation import musical_metrics, perplexity
from lakhnes_lib.generation import auditions, sampling
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import events
from lakhnes_lib.music.score import Score

MINI = profiles.root() / "assets" / "pretrained" / "mini"
PIECES = 40  # of 16 seconds, for the musical metrics
AS_PUBLISHED = {"temperature": 0.95, "top_k": 32, "memory_length": 512, "precision": "int8"}


def without_faults(seed: int) -> list[Score]:
    """Pieces of mini as the library draws them, of which those with a fault are left out."""
    drawing, settings = profiles.Sampling(), {"n": PIECES, "seconds": 16.0, "choices": 1}
    settings |= {"temperature": drawing.temperature, "top_k": drawing.top_k or None}
    settings |= {"top_p": drawing.top_p, "memory_length": drawing.memory_length}
    *_, audition = auditions.compose(MINI, seed=seed, precision="int8", **settings)
    return audition.pieces


def of_nes(rolls: Rolls, home: Path, seed: int) -> dict:
    """NES pieces of 16 seconds beside LakhNES' in the metrics of notebook 09, likelihood of the
    same music, and speed."""
    torch.manual_seed(seed)
    windows = rolls.unpack(evenly(phrases_of(rolls.splits["test"]), PIECES))
    real = [piece(window) for window in windows]
    sets, speed = {"real": real}, {}
    for title, name in COMPLETE.items():
        model, _ = load(home, name)
        began = time.perf_counter()
        drawn = torch.randn(4 * PIECES, model.config["sizes"]["fusion_latent"])
        made = phrases_of(in_batches(model.compose, drawn))
        speed[title] = 4 * PIECES * BAR / BEAT / (time.perf_counter() - began)
        sets[f"{title}, generator"] = [piece(each) for each in made]
        sets[f"{title}, generator, as dense as real"] = [
            piece(each) for each in as_dense(made, windows)
        ]
        x = torch.from_numpy(windows).float().flatten(0, 1)
        sets[f"{title}, reducer"] = [piece(each) for each in phrases_of(restored(model, x))]
    began = time.perf_counter()
    ids = sampling.sample(MINI, n=PIECES, length=2000, seconds=16.0, seed=seed, **AS_PUBLISHED)
    made = [events.decode(each) for each in ids]
    speed["mini"] = sum(score.seconds for score in made) / (time.perf_counter() - began)
    of_mini = {"mini, as published": made, "mini": without_faults(seed)}
    sets |= {n: [s.excerpt(0, min(16.0, s.seconds)) for s in each] for n, each in of_mini.items()}
    measures = {name: musical_metrics.measure(scores) for name, scores in sets.items()}
    framed = [events.frame(events.encode(score)) for score in real]
    scores = perplexity.exact(checkpoints.load(MINI), framed, progress=False)
    seconds = sum(real[index].seconds for index in scores.indices)  # each with its ends
    return {
        "music": {
            name: {
                "medians": plain({metric: [np.nanmedian(v) if (v == v).any() else np.nan]
                                  for metric, v in each.items()}),
                "distances": plain({metric: [v] for metric, v in
                                    musical_metrics.distances(each, measures["real"]).items()}),
            }
            for name, each in measures.items()
        },
        "seconds_of_music_a_second": speed,
        "mini_bits_a_second": scores.nats * scores.targets / np.log(2) / seconds,
    }  # fmt: skip
