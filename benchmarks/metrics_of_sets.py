"""Musical metrics of what models compose, beside real music; and what they copy.

python benchmarks/metrics_of_sets.py [--pieces 100] [--draws 100] [--write]

Sets of as many pieces of the same length in events: the beginnings of test songs and of valid
songs, evenly taken from the split; what assets/pretrained/mini and assets/pretrained/transformer_xl
(in 8 bits) and a 5-gram of the training songs compose with the published settings; the beginnings
of what mini composes by the library's defaults, with auditions; and what the uniform model composes
under the grammar mask. All are compared with the test songs: by the
Wasserstein distance, and as Yang and Lerch (2020) do, by divergence and overlapping area of the
differences between songs, with 95 % intervals of the bootstrap over the compared pieces. Shared
runs of notes are looked for in the training split.

What is composed stays in runs/metrics_of_sets, from where an interrupted run goes on. Needs NES-MDB
(`lakhnes data fetch nesmdb-midi`, or LAKHNES_MIRROR). With --write the numbers go to
results/musical_metrics.json, and the picture to results/musical_metrics.png.
"""

import json
import time

import numpy as np
from _copying import CopyIndex, sizes
from _likeness import divergence_and_overlap
from _shared import arguments, corpus_at_hand, keep
from audition_goals import chosen, without_fault

from lakhnes_lib import profiles
from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.files import replacing
from lakhnes_lib.generation import auditions, sampling
from lakhnes_lib.listening.metric_plots import metrics_picture
from lakhnes_lib.models.language_model import RandomModel
from lakhnes_lib.models.ngram import NGram
from lakhnes_lib.music import events

LENGTH, SHORTEST = 512, 200
"""Events of a piece, and of the shortest real song that is taken."""
PUBLISHED = {"temperature": 0.95, "top_k": 32, "memory_length": 512}
SHIPPED, HOME = profiles.root() / "assets/pretrained", profiles.root() / "runs/metrics_of_sets"
BATCH = 10
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)


def beginnings(split, count: int):
    """Scores of the first events of so many songs of a split, evenly taken."""
    songs = [song for song in split.framed() if len(song) >= SHORTEST]
    indices = np.linspace(0, len(songs) - 1, min(count, len(songs))).round().astype(int)
    return [events.decode(songs[index][1:-1][:LENGTH]) for index in indices]


def auditioned(count: int):
    """The first events of so many pieces that auditions took."""
    good, _, _ = without_fault(auditions.CHOICES * count)
    return [events.decode(events.encode(song)[:LENGTH]) for song in chosen(good)[:count]]


def composed(name: str, model, count: int, **settings):
    """So many pieces of a model, from ``HOME`` as far as they are there."""
    path = HOME / f"{name}.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    while len(rows) < count:
        made = sampling.sample(model, n=BATCH, length=LENGTH, first=len(rows), **settings)
        rows += [ids.tolist() for ids in made]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
    return [events.decode(ids) for ids in rows[:count]]


def likeness(values, reference, draws: int) -> dict:
    """Yang and Lerch's two numbers for one metric, each with its interval; None if undefined."""
    random = np.random.default_rng(0)
    values = values[~np.isnan(values)]
    drawn = [random.choice(values, len(values)) for _ in range(draws)] if len(values) else []
    numbers = np.array([divergence_and_overlap(each, reference) for each in [values, *drawn]])
    described = {}
    for name, (known, *others) in zip(("divergence", "overlap"), numbers.T, strict=True):
        low, high = np.quantile(others, (0.025, 0.975)) if others else (np.nan, np.nan)
        described[name] = {
            key: None if np.isnan(number) else float(number)
            for key, number in (("value", known), ("low", low), ("high", high))
        }
    return described


def spread(values) -> dict:
    return {f"{share:.0%}": float(np.nanquantile(values, share)) for share in SHARES}


def copied(index: CopyIndex, pieces) -> dict:
    """Longest shared runs of some pieces, by notes and by figures, and the CPU time to find one."""
    begin, values = time.process_time(), {}
    for by in ("notes", "figures"):
        counts = sizes([index.longest(piece, by=by) for piece in pieces], by)
        values[by] = spread(counts) | {"most": max(counts)}
    return values | {"cpu_milliseconds_a_search": 500 * (time.process_time() - begin) / len(pieces)}


def main():
    parser = arguments("musical_metrics", __doc__)
    parser.add_argument("--pieces", type=int, default=100, help="pieces of each set (default 100)")
    parser.add_argument("--draws", type=int, default=100, help="of the bootstrap (default 100)")
    wanted = parser.parse_args()
    corpus, count = corpus_at_hand(), wanted.pieces
    counted = NGram().fit(corpus["train"].framed())
    fast, even = PUBLISHED | {"precision": "int8"}, {"temperature": 1.0, "top_k": None}
    sets = {
        "test": beginnings(corpus["test"], count),
        "valid": beginnings(corpus["valid"], count),
        "mini_auditioned": auditioned(count),
        "mini": composed("mini", SHIPPED / "mini", count, **fast),
        "transformer_xl": composed("transformer_xl", SHIPPED / "transformer_xl", count, **fast),
        "5-gram": composed("5-gram", counted, count, **PUBLISHED),
        "uniform": composed("uniform", RandomModel(), count, **even),
    }
    measured = {name: musical_metrics.measure(pieces) for name, pieces in sets.items()}
    begin = time.process_time()
    index = CopyIndex(corpus["train"])
    values = {
        "pieces": wanted.pieces,
        "events": LENGTH,
        "index_cpu_seconds": time.process_time() - begin,
        "sets": {},
    }
    for name, pieces in sets.items():
        far = musical_metrics.distances(measured[name], measured["test"])
        metrics = {
            metric: spread(each)
            | {"distance": None if np.isnan(far[metric]) else far[metric]}
            | likeness(each, measured["test"][metric], wanted.draws)
            for metric, each in measured[name].items()
        }
        values["sets"][name] = {"figures": metrics, "copying": copied(index, pieces)}
    if path := keep(
        "musical_metrics", values, wanted.write, corpus=corpus, packages=("numpy", "scipy", "torch")
    ):
        with replacing(path.with_suffix(".png")) as temporary:
            temporary.write_bytes(metrics_picture(measured, real="test").png())


if __name__ == "__main__":
    main()
