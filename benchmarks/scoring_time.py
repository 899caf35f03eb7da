"""What averages at scoring time gain: of twelve keys, and of several checkpoints.

python benchmarks/scoring_time.py [--only NAME] [--split valid] [--write]

A song is read in twelve keys, or by several shipped models, and the probabilities that each event
gets are averaged. Nothing is trained, and composing gains nothing by it: these numbers say how much
of a model's doubt is chance. An event is scored by nothing but its own past: a key in which a note
leaves the voice's range gives that note no probability, and does not count from then on.

Exact protocol, memory 896, float32, on all of test, and on every fifth song of valid. What a model
gave in a key is kept in runs/scoring_time, so that a run that was stopped goes on where it was.
With --write the numbers go to results/scoring_time.json, after each row.
"""

import time

import numpy as np
from _shared import arguments, corpus_at_hand, earlier, keep

from lakhnes_lib import profiles
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.files import replacing
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import events, nes

SETTINGS = {"segment": 128, "memory_length": 896}
EVERY = {"valid": 5, "test": 1}
KEYS = (0, *range(-6, 0), *range(1, 6))
"""Semitones by which all pitched voices move: every key once, by the shortest way."""
ROWS = {
    # name: (models of assets/pretrained, keys in which each of them reads)
    "mini": (("mini",), (0,)),
    "mini, twelve keys": (("mini",), KEYS),
    "transformer_xl": (("transformer_xl",), (0,)),
    "paper_size": (("paper_size",), (0,)),
    "mini and paper_size": (("mini", "paper_size"), (0,)),
    "mini, transformer_xl and paper_size": (("mini", "transformer_xl", "paper_size"), (0,)),
}


def transposed(semitones: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each event its id in another key, and whether it has one: uint16 and bool (631,).

    Noise has no pitch. An event without one keeps its id.
    """
    ids = np.arange(len(events.VOCABULARY))
    is_pitched = events.IS_NOTE_ON & (events.VOICE_OF != nes.NO)
    voice, pitch = events.VOICE_OF[is_pitched], events.PITCH_OF[is_pitched].astype(int) + semitones
    is_in_range = nes.has_pitch(voice, pitch)
    has_one = np.ones(len(ids), bool)
    has_one[is_pitched] = is_in_range
    ids[is_pitched] = np.where(is_in_range, ids[is_pitched] + semitones, ids[is_pitched])
    return ids.astype(np.uint16), has_one


def log_probs(name: str, semitones: int, split: str, songs: list[np.ndarray]) -> list[np.ndarray]:
    """What a shipped model gives to the events of songs in another key: float32 (targets,) each."""
    folder = profiles.root() / "runs" / "scoring_time"
    file = folder / f"{name}_{semitones:+d}_{split}.npy"
    lengths = [len(song) - 1 for song in songs if len(song) >= perplexity.SHORTEST]
    if not file.exists():
        ids, _ = transposed(semitones)
        model = checkpoints.load(profiles.root() / "assets" / "pretrained" / name)
        scored = perplexity.exact(model, [ids[song] for song in songs], **SETTINGS)
        with replacing(file) as unfinished:
            np.save(unfinished, np.concatenate(scored.songs))
    return np.split(np.load(file), np.cumsum(lengths)[:-1])


def averaged(parts: list[list[np.ndarray]], keys: list[int], songs: list[np.ndarray]) -> list:
    """The logarithm of the mean probability of each song's events: float64 (targets,) each.

    parts: of each reading its log-probabilities by song; keys: the semitones of each reading.
    """
    mean = []
    long_enough = [song for song in songs if len(song) >= perplexity.SHORTEST]
    for song, *rows in zip(long_enough, *parts, strict=True):
        total, readings = np.zeros(len(song) - 1), np.zeros(len(song) - 1)
        for row, semitones in zip(rows, keys, strict=True):
            _, has_one = transposed(semitones)
            is_in_range = has_one[song[1:]]
            counts = np.append(True, np.logical_and.accumulate(is_in_range)[:-1])
            total += np.exp(row, dtype=np.float64) * (counts & is_in_range)
            readings += counts
        mean.append(np.log(total / readings))
    return mean


def measure(models: tuple[str, ...], keys: tuple[int, ...], split: str, songs: list) -> dict:
    """A row's perplexity and nats on a split, with the events scored and the minutes it took."""
    began = time.monotonic()
    readings = [(name, key) for name in models for key in keys]
    parts = [log_probs(name, key, split, songs) for name, key in readings]
    scores = perplexity.Scores(averaged(parts, [key for _, key in readings], songs))
    return {
        "exact": scores.perplexity,
        "nats": scores.nats,
        "songs": len(scores.songs),
        "targets": scores.targets,
        "readings": len(readings),
        "minutes": (time.monotonic() - began) / 60,
    }


def main() -> None:
    parser = arguments("scoring_time", __doc__)
    parser.add_argument("--only", action="append", choices=ROWS, help="repeatable")
    parser.add_argument("--split", action="append", choices=EVERY, help="repeatable")
    chosen = parser.parse_args()
    corpus = corpus_at_hand()
    rows = earlier("scoring_time", corpus.fingerprint).get("rows", {})
    for split in chosen.split or EVERY:
        songs = corpus[split].framed()[:: EVERY[split]]
        for name in chosen.only or ROWS:
            measured = measure(*ROWS[name], split, songs)
            rows[name] = rows.get(name, {}) | {split: measured}
            values = SETTINGS | {"every": EVERY, "rows": rows}
            shown = {name: {split: measured}}
            keep("scoring_time", values, chosen.write, shown=shown, corpus=corpus)


if __name__ == "__main__":
    main()
