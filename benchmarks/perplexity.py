"""Perplexity, by both protocols, of the shipped model and the simplest baselines on NES-MDB's valid and test splits.

python benchmarks/perplexity.py [--write]

Needs NES-MDB (`lakhnes data fetch nesmdb-midi`, or LAKHNES_MIRROR). With --write the numbers go to
results/perplexity.json. The shipped model is read as it is stored (bfloat16) and computes in float32.
"""

import argparse
import json
import time

import numpy as np
import torch

from lakhnes_lib import evaluation, profiles, results
from lakhnes_lib.data.prepare import prepare
from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.language_model import RandomModel, UnigramModel

COMMAND = "python benchmarks/perplexity.py --write"
SPLITS = ("valid", "test")


def measure(model, splits: dict) -> dict:
    """Parameters, for each split exact perplexity, songs, targets and seconds, for test also the paper's protocol."""
    found = {"parameters": model.parameter_count()}
    for name in SPLITS:
        songs, begin = splits[name].framed(), time.perf_counter()
        exact = evaluation.exact(model, songs)
        spent = time.perf_counter() - begin
        found[name] = {
            "exact": exact.perplexity,
            "songs": len(exact.songs),
            "targets": exact.targets,
            "seconds": spent,
            "events_a_second": exact.targets / spent,
        }
    streams = evaluation.paper(model, splits["test"].framed(), splits["test"].names)
    found["test"] |= {"paper": streams.perplexity, "paper_unscored": streams.unscored}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="store the numbers in results/perplexity.json")
    chosen = parser.parse_args()
    try:
        corpus = prepare("nesmdb-midi")
    except DataNotFound as error:
        parser.exit(1, f"{error}\n")
    targets = [song[1:] for song in corpus["train"].framed() if len(song) >= evaluation.SHORTEST]
    unigram = UnigramModel().fit(torch.from_numpy(np.concatenate(targets).astype(np.int64)))
    models = {"random": RandomModel(), "unigram": unigram}
    models["mini"] = checkpoints.load(profiles.root() / "assets" / "pretrained" / "mini")
    values = {"segment": 128, "memory_length": 896, "streams": 10}
    values |= {name: measure(model, corpus.splits) for name, model in models.items()}
    print(json.dumps(values, indent=1))
    if chosen.write:
        packages = ("numpy", "torch")
        print(
            results.write("perplexity", values, command=COMMAND, data_fingerprint=corpus.fingerprint, packages=packages)
        )


if __name__ == "__main__":
    main()
