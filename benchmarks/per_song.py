"""Song by song as the authors measured the published LakhNES: perplexity of each test song.

python benchmarks/per_song.py [--only NAME] [--write]

Models are those of benchmarks/perplexity_table.py that are trained, the shipped ones if none is
named; the published ones are converted if they are at hand. All compute in float32. Songs stand in
the order of their names, as in results/known_answers.json. Results of other models are kept.

Needs NES-MDB (`lakhnes data fetch nesmdb-midi`, or LAKHNES_MIRROR). With --write the numbers go to
results/per_song.json, after each model.
"""

import time

import numpy as np
import torch
from _shared import arguments, circumstances, command, corpus_at_hand, earlier, keep
from perplexity_table import PUBLISHED, folders, published, weights

from lakhnes_lib.evaluation import diagnostics, perplexity
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.devices import choose_device

SHIPPED = ("mini", "transformer_xl")
DIGITS = 4
"""Of a song's perplexity in the file; the authors gave two."""
PACKAGES = ("numpy", "torch")


def measure(model, split) -> dict:
    """Perplexity over all songs, and of each song in the order of the names."""
    begin = time.perf_counter()
    songs = [perplexity.whole(split.score(index)) for index in range(len(split))]
    scores = perplexity.per_song(model, songs, progress=False)
    seconds = time.perf_counter() - begin
    _, nats = diagnostics.per_song(scores)
    order = sorted(range(len(split.names)), key=lambda index: split.names[index])
    return {
        "perplexity": scores.perplexity,
        "targets": scores.targets,
        "seconds": round(seconds, 1),
        "songs": [round(float(value), DIGITS) for value in np.exp(nats[order])],
    }


def main():
    parser = arguments("per_song", __doc__)
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="as mini, laptop/lstm; repeatable",
    )
    parser.add_argument("--device", help="cpu or cuda; the best there is if not given")
    chosen = parser.parse_args()
    names = chosen.only or list(SHIPPED)
    authors = [name for name in names if name in PUBLISHED]
    folder_of = folders() | (published(authors) if authors else {})
    if missing := [name for name in names if name not in folder_of]:
        parser.error(f"there is no checkpoint of {', '.join(missing)} here")
    corpus, device = corpus_at_hand(), choose_device(chosen.device)
    for name in names:
        print(name, flush=True)
        entry = {"weights": weights(folder_of[name])}
        entry |= measure(checkpoints.load(folder_of[name], device), corpus["test"])
        how = {"device": device.type, "threads": torch.get_num_threads(), "command": command()}
        entry["measured"] = how | circumstances(PACKAGES)
        models = earlier("per_song", corpus.fingerprint).get("models", {}) | {name: entry}
        shown = {key: value for key, value in entry.items() if key != "songs"}
        values = {"models": models}
        keep("per_song", values, chosen.write, shown=shown, corpus=corpus, packages=PACKAGES)


if __name__ == "__main__":
    main()
