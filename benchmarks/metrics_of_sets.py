"""Musical metrics of what the shipped model composes, beside real music; and what it copies.

python benchmarks/metrics_of_sets.py [--pieces 100] [--write]

Four sets of as many pieces of the same length in events: the beginnings of test songs and of valid
songs, evenly taken from the split; what assets/pretrained/mini composes with the published
settings; and what the uniform model composes under the grammar mask. Distances are to the test
songs. Shared runs of notes are looked for in the training split.

Needs NES-MDB (`lakhnes data fetch nesmdb-midi`, or LAKHNES_MIRROR). With --write the numbers go to
results/musical_metrics.json, and the picture to results/musical_metrics.png.
"""

import time

import numpy as np
from _copying import CopyIndex
from _shared import arguments, corpus_at_hand, keep

from lakhnes_lib import profiles
from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.files import replacing
from lakhnes_lib.generation import sampling
from lakhnes_lib.listening.metric_plots import metrics_picture
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.language_model import RandomModel
from lakhnes_lib.music import events
from lakhnes_lib.training import trainer

LENGTH, SHORTEST = 512, 200
"""Events of a piece, and of the shortest real song that is taken."""
PUBLISHED = {"temperature": 0.95, "top_k": 32, "memory_length": 512}
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)


def beginnings(split, count: int):
    """Scores of the first events of so many songs of a split, evenly taken."""
    songs = [song for song in split.framed() if len(song) >= SHORTEST]
    indices = np.linspace(0, len(songs) - 1, min(count, len(songs))).round().astype(int)
    return [events.decode(songs[index][1:-1][:LENGTH]) for index in indices]


def composed(model, count: int, **settings):
    return [
        events.decode(ids) for ids in sampling.sample(model, n=count, length=LENGTH, **settings)
    ]


def spread(values) -> dict:
    return {f"{share:.0%}": float(np.nanquantile(values, share)) for share in SHARES}


def copied(index: CopyIndex, pieces) -> dict:
    """Longest shared runs of some pieces, by notes and by figures, and the CPU time to find one."""
    begin, values = time.process_time(), {}
    for by in ("notes", "figures"):
        runs = [index.longest(piece, by=by) for piece in pieces]
        values[by] = spread([getattr(run, by) if run else 0 for run in runs])
        values[by]["most"] = max(getattr(run, by) if run else 0 for run in runs)
    return values | {"cpu_milliseconds_a_search": 500 * (time.process_time() - begin) / len(pieces)}


def main():
    parser = arguments("musical_metrics", __doc__)
    parser.add_argument("--pieces", type=int, default=100, help="pieces of each set (default 100)")
    chosen = parser.parse_args()
    corpus = corpus_at_hand()
    mini = checkpoints.load(profiles.root() / "assets/pretrained/mini", trainer.choose_device())
    sets = {
        "test": beginnings(corpus["test"], chosen.pieces),
        "valid": beginnings(corpus["valid"], chosen.pieces),
        "mini": composed(mini, chosen.pieces, progress=True, **PUBLISHED),
        "uniform": composed(RandomModel(), chosen.pieces, temperature=1.0, top_k=None),
    }
    measured = {name: musical_metrics.measure(pieces) for name, pieces in sets.items()}
    begin = time.process_time()
    index = CopyIndex(corpus["train"])
    values = {
        "pieces": chosen.pieces,
        "events": LENGTH,
        "index_cpu_seconds": time.process_time() - begin,
        "sets": {},
    }
    for name, pieces in sets.items():
        far = musical_metrics.distances(measured[name], measured["test"])
        metrics = {
            metric: spread(each) | {"distance": far[metric]}
            for metric, each in measured[name].items()
        }
        values["sets"][name] = {"figures": metrics, "copying": copied(index, pieces)}
    if path := keep(
        "musical_metrics", values, chosen.write, corpus=corpus, packages=("numpy", "scipy", "torch")
    ):
        with replacing(path.with_suffix(".png")) as temporary:
            temporary.write_bytes(metrics_picture(measured, real="test").png())


if __name__ == "__main__":
    main()
