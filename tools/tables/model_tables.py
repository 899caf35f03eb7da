"""Tables of docs/results.md on what more could be had of the models: hours of training on a laptop,
averages at scoring time, and the modern decoder's size."""

import re
from math import log

import numpy as np
import trainings
from filling import value
from findings_table import mean_and_spread

from lakhnes_lib.listening import reproduction

NONE = "–"
LONGER = {
    "lstm_hours": ("LSTM", None),
    "transformer_xl_hours_end": ("Transformer-XL, on from the shipped one", "transformer_xl"),
    "transformer_xl_hours_augmented": ("Transformer-XL, augmented", None),
    "transformer_xl_hours_lakh": ("Transformer-XL, augmented, after Lakh", "laptop/lakh_hours"),
}
"""Runs of profile laptop that take hours -> title, and the model whose training they go on with."""


def longer() -> list[tuple[str, ...]]:
    """Of each run that took hours: title, parameters, events and minutes of training with those of
    the model before it, perplexity on valid and test, exact."""
    models, table = reproduction.measured(), []
    for name, (title, before) in LONGER.items():
        entry = models.get(f"laptop/{name}")
        if entry is None or (before and before not in models):
            continue
        parts = {each: models[each] for each in (before, f"laptop/{name}") if each}
        events = " + ".join(f"{trainings.learned(*part) / 1e6:.1f} M" for part in parts.items())
        minutes = " + ".join(trainings.minutes(*part) for part in parts.items())
        numbers = [f"{entry[x]['exact']:.3f}" if x in entry else NONE for x in ("valid", "test")]
        table.append((title, f"{entry['parameters'] / 1e6:.1f} M", events, minutes, *numbers))
    return table


def scoring_time() -> list[tuple[str, ...]]:
    """Of each way to read: its name, readings of a song, perplexity on valid and test, and by how
    many nats an event it differs on test from the best of its models alone."""
    rows = value("scoring_time.rows") or {}
    table = []
    for name, splits in rows.items():
        models = re.split(", | and ", name)
        alone = [rows[model]["test"]["nats"] for model in models if "test" in rows.get(model, {})]
        numbers = [f"{splits[x]['exact']:.3f}" if x in splits else NONE for x in ("valid", "test")]
        readings = f"{next(iter(splits.values()))['readings']}"
        gain = NONE
        if name not in models and alone and "test" in splits:
            gain = f"{splits['test']['nats'] - min(alone):+.3f}"
        table.append((name, readings, *numbers, gain))
    return table


def sizes() -> list[tuple[str, ...]]:
    """Of each size of the modern decoder: name, parameters, perplexity on valid over seeds, nats an
    event beside mini's size with the same seed, minutes of the fastest run."""
    runs = value("modern_decoder_sizes.runs") or {}
    table = []
    for name, of_seed in runs.items():
        perplexities = np.array([run["valid_perplexity"] for run in of_seed.values()])
        beside = [
            f"{log(run['valid_perplexity'] / runs['mini'][seed]['valid_perplexity']):+.3f}"
            for seed, run in of_seed.items()
            if seed in runs.get("mini", {})
        ]
        parameters = next(iter(of_seed.values()))["parameters"]
        minutes = min(run["minutes"] for run in of_seed.values())
        cells = f"{parameters / 1e6:.1f} M", mean_and_spread(perplexities)
        table.append((name, *cells, ", ".join(beside) or NONE, f"{minutes:.0f}"))
    return table
