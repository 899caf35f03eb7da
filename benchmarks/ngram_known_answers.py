"""The 5-gram of Table 2: the back-off inferred from its number, what that really hands out, and a
normalised 5-gram beside it.

python benchmarks/ngram_known_answers.py [CORPUS] [--write]

CORPUS is a packed corpus folder; without one it is NES-MDB (`lakhnes data fetch nesmdb-midi`, or
LAKHNES_MIRROR). Seconds are processor time of one thread. Memory is the most that the process held.
Beside the counting stands the slow way, dictionaries of tuples, over the first songs of the same
split. With --write the numbers go to results/ngram.json.
"""

import resource
import sys
import time
from collections import Counter

import numpy as np
import torch
from _shared import arguments, corpus_at_hand, keep

from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.models.ngram import SMOOTHINGS, NGram
from lakhnes_lib.music import events

SPLITS = ("valid", "test")
SLOW_SONGS = 200
CONTEXTS = 10_000


def seconds(work):
    """Processor seconds that some work takes, and what it returns."""
    begin = time.process_time()
    returned = work()
    return time.process_time() - begin, returned


def peak_gigabytes() -> float:
    """The most memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def scores(model: NGram, corpus) -> dict:
    """Both protocols on both splits."""
    values = {}
    for name in SPLITS:
        split = corpus[name]
        songs = split.framed()
        spent, exact = seconds(lambda songs=songs: perplexity.exact(model, songs, progress=False))
        paper = perplexity.paper(model, songs, split.names, progress=False)
        values[name] = {
            "exact": exact.perplexity,
            "exact_targets": exact.targets,
            "exact_seconds": spent,
            "paper": paper.perplexity,
            "paper_targets": paper.targets,
            "paper_unscored": paper.unscored,
        }
    return values


@torch.inference_mode()
def masses(model: NGram, songs, highest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the probabilities after each event of songs that are scored, and the next event's
    log-probability."""
    sums, own, left = [], [], highest or np.inf
    for song in songs:
        if len(song) < perplexity.SHORTEST or left <= 0:
            continue
        ids, state = torch.from_numpy(song.astype(np.int64))[None], None
        for first in range(0, len(song) - 1, 1024):
            last = min(first + 1024, len(song) - 1)
            probabilities, state = model.probabilities(ids[:, first:last], state)
            sums.append(probabilities.sum(-1).flatten().numpy())
            following = ids[0, first + 1 : last + 1, None]
            own.append(probabilities[0].gather(1, following).log().flatten().numpy())
        left -= len(song) - 1
    return np.concatenate(sums)[:highest], np.concatenate(own)[:highest]


def count_in_dictionaries(songs, order: int) -> int:
    """Number of different n-grams up to an order, counted as one would by hand."""
    counts = [Counter() for _ in range(order)]
    for song in (song.tolist() for song in songs):
        for length, count in enumerate(counts, 1):
            count.update(
                tuple(song[start : start + length]) for start in range(len(song) - length + 1)
            )
    return sum(map(len, counts))


def unigram_without_ends(corpus) -> dict:
    """The unigram that neither counts nor scores <S>, the event that begins and ends a song: both
    are inferred, since they give the paper's number."""

    def read(split: str) -> np.ndarray:
        together = np.concatenate(corpus[split].framed())
        return together[together != events.START]

    counts = np.bincount(read("train"), minlength=len(events.VOCABULARY))
    shares = counts / counts.sum()
    scored = {split: read(split) for split in SPLITS}
    return {
        split: {"perplexity": np.exp(-np.log(shares[ids]).mean()), "targets": len(ids)}
        for split, ids in scored.items()
    }


def measure(corpus) -> dict:
    """Every number of the result."""
    train = corpus["train"].framed()
    before = peak_gigabytes()
    counting, model = seconds(lambda: NGram(smoothing="backoff").fit(train))
    values = {
        "unigram_without_ends": unigram_without_ends(corpus),
        "order": model.order,
        "ngrams": model.parameter_count(),
        "ngrams_by_order": model.sizes,
        "counting_seconds": counting,
        "counting_million_events_a_second": sum(map(len, train)) / counting / 1e6,
        "peak_gigabytes_before_counting": before,
        "peak_gigabytes_counting": peak_gigabytes(),
    }
    some = train[:SLOW_SONGS]
    slow, number = seconds(lambda: count_in_dictionaries(some, model.order))
    assert number == NGram().fit(some).parameter_count()
    values["dictionaries_million_events_a_second"] = sum(map(len, some)) / slow / 1e6
    test = corpus["test"].framed()
    for smoothing in SMOOTHINGS:
        made = NGram(smoothing=smoothing, sizes=model.sizes)
        made.load_state_dict(model.state_dict())
        tables, _ = seconds(lambda made=made: made.tables)
        values[smoothing] = {"normalised": made.normalised, "tables_seconds": tables} | scores(
            made, corpus
        )
        if made.normalised:
            sums, _ = masses(made, test, CONTEXTS)
            values[smoothing] |= {
                "contexts": len(sums),
                "largest_error_of_the_sum": np.abs(sums - 1).max(),
            }
        else:
            sums, own = masses(made, test)
            values[smoothing]["test_mass"] = {
                "contexts": len(sums),
                "mean": sums.mean(),
                "geometric_mean": np.exp(np.log(sums).mean()),
                "median": np.median(sums),
                "smallest": sums.min(),
                "largest": sums.max(),
                "perplexity_after_normalising": np.exp((np.log(sums) - own).mean()),
            }
        del made  # its tables, before those of the next
    values["peak_gigabytes"] = peak_gigabytes()
    return values


def main():
    parser = arguments("ngram", __doc__)
    parser.add_argument("corpus", nargs="?", default="nesmdb-midi", help="a packed corpus folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = corpus_at_hand(options.corpus)
    keep("ngram", measure(corpus), options.write, corpus=corpus, packages=("numpy", "torch"))


if __name__ == "__main__":
    main()
