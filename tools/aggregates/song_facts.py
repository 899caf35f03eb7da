"""The facts of ``songs.json``: ten songs in numbers, and musical metrics of valid and test."""

import numpy as np

from lakhnes_lib.companions import agreement
from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.music import events, nes

SECONDS = 30
"""Length of the excerpts that are measured, from the beginning of songs at least so long."""
SONGS = 10
SHARES = (5, 10, 25, 50, 75, 90, 95)
"""Percent."""
TONICS = (
    ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
    ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"),
)
"""As they are usually called, in major and in minor."""


def excerpts(split) -> list:
    """The first seconds of every song that is long enough."""
    scores = (split.score(index) for index in range(len(split)))
    return [score.excerpt(0, SECONDS) for score in scores if score.seconds >= SECONDS]


def metrics(splits: dict) -> dict:
    """One fact: quantiles of every metric over the excerpts of each split."""
    by_split = {}
    for name, split in splits.items():
        parts = excerpts(split)
        measured = musical_metrics.measure(parts)
        rows = {metric: np.nanpercentile(values, SHARES) for metric, values in measured.items()}
        by_split[name] = {"excerpts": len(parts), "quantiles": rows}
    return {
        "description": "Quantiles of the musical metrics over the first 30 seconds of every song "
        "that lasts as long: what a composed piece of 30 seconds may be compared with.",
        "seconds": SECONDS,
        "quantiles_percent": SHARES,
        "titles": {name: musical_metrics.METRICS[name] for name in rows},
        "splits": by_split,
    }


def key_of(score) -> str | None:
    """The key that fits best, as "A minor"; None where nothing tells."""
    fitting = agreement.keys(score)
    if np.isnan(fitting).any():
        return None
    mode, tonic = divmod(int(fitting.argmax()), 12)
    return f"{TONICS[mode][tonic]} {('major', 'minor')[mode]}"


def chosen(split) -> list[int]:
    """Ten songs of the split, evenly taken from those with four voices that last long enough."""
    fit = [
        index
        for index in range(len(split))
        if (score := split.score(index)).seconds >= SECONDS
        and len(np.unique(score.notes["voice"])) == len(nes.VOICES)
    ]
    return [fit[position] for position in np.linspace(0, len(fit) - 1, SONGS).round().astype(int)]


def song(score) -> dict:
    """What numbers say of one song."""
    measured = musical_metrics.measure([score])
    return {
        "name": score.name,
        "seconds": score.seconds,
        "events": len(events.encode(score)),
        "notes": {name: len(score.voice(voice)) for voice, name in enumerate(nes.VOICES)},
        "median_pitch": {
            nes.VOICES[voice]: np.median(score.voice(voice)["pitch"]) for voice in nes.MELODIC
        },
        "key": key_of(score),
        "metrics": {
            metric: None if np.isnan(values[0]) else values[0]
            for metric, values in measured.items()
        },
    }


def all_facts(nesmdb) -> tuple[dict, dict]:
    """Every fact of this module by name, and nothing else for the file's head."""
    splits = {name: nesmdb[name] for name in ("valid", "test")}
    facts = {
        "ten_songs": {
            "description": "Ten songs of valid in numbers, evenly taken from those in which all "
            "four voices play for 30 seconds or more; the metrics are of the whole song.",
            "songs": [song(splits["valid"].score(index)) for index in chosen(splits["valid"])],
        },
        "metrics_of_30_seconds": metrics(splits),
    }
    return facts, {}
