"""Evaluation measured: events a second of the exact protocol, beside a plain textbook version.

python benchmarks/evaluation_speed.py [--threads 1] [--write]

Segments of 128, memory 896; one batch of NES-MDB test songs around the middle of all events, by
length. Sizes: transformer_xl, the shipped one, and paper, with weights as drawn: speed does not
depend on them. ``perplexity.exact`` computes in fp32 and, where the hardware multiplies it faster,
under bf16 autocast. The plain version is the readable model of this library without its fast parts.
It reads the first songs of the batch one by one in fp32, holds every score, and projects the whole
memory anew for each segment, as published code of Transformer-XL does. Both run in the same
process, and must give every event the same log-probability to within TOLERANCE nats.

The published evaluation was never timed. What stands here as its speed is DERIVED from its training
(150 events a second on two CPU cores): a forward pass is a third of a step, so 450 in segments and
memory of 512; by the multiplications an event takes there (5.5 million a layer) and with segments
of 128 and memory 896 (10.2 million), 242.

One thread: seconds are processor time, so other work on the machine hardly counts. More:
wall-clock, so leave it alone meanwhile. Needs NES-MDB. With --write the numbers go to
results/evaluation.json.
"""

import time

import numpy as np
import torch
from _shared import arguments, corpus_at_hand, keep

from lakhnes_lib import profiles
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.models import checkpoints, devices, fast

SEGMENT, MEMORY, BATCH, PLAIN_SONGS = 128, 896, 16, 2
TOLERANCE = 1e-3
PUBLISHED_TRAINING = 150  # events a second, 41 million parameters, two CPU cores


def middle(songs: list[np.ndarray]) -> list[np.ndarray]:
    """A batch of songs of like length: as many events stand in shorter songs as in longer ones."""
    songs = sorted(songs, key=len)
    events = np.cumsum([len(song) for song in songs])
    index = int(np.searchsorted(events, events[-1] / 2))
    return songs[max(0, index - BATCH // 2) :][:BATCH]


@torch.no_grad()
def plain(model, songs: list[np.ndarray]) -> list[np.ndarray]:
    """Log-probabilities of every event of each song, one song after the other.

    In training mode the memory holds the layers' inputs, and each segment projects all of them, and
    the distances, anew. The model has no dropout.
    """
    by_song = []
    model.train()
    with fast.switched(False):
        for song in songs:
            ids, state, scores = torch.from_numpy(song.astype(np.int64))[None], None, []
            for first in range(0, len(song) - 1, SEGMENT):
                part = ids[:, first : first + SEGMENT + 1]
                log_probs, state = model.log_probs(part[:, :-1], state, memory_length=MEMORY)
                scores.append(log_probs[0].gather(1, part[0, 1:, None]).flatten())
            by_song.append(torch.cat(scores).numpy())
    model.eval()
    return by_song


def timed(clock, work):
    """Seconds, and what the work returns."""
    begin = clock()
    returned = work()
    return clock() - begin, returned


def measure(model, songs: list[np.ndarray], clock) -> dict:
    """Events a second of one model by each way, and how far the ways' numbers are apart."""

    def exact(bf16: bool = False) -> perplexity.Scores:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return perplexity.exact(
                model, songs, segment=SEGMENT, memory_length=MEMORY, batch=BATCH, progress=False
            )

    perplexity.exact(model, [songs[0][:300]], progress=False)  # PyTorch's own preparations
    seconds, scores = timed(clock, exact)
    slow, by_hand = timed(clock, lambda: plain(model, songs[:PLAIN_SONGS]))
    apart = max(float(np.abs(a - b).max()) for a, b in zip(scores.songs, by_hand, strict=False))
    assert apart < TOLERANCE, f"the plain version differs by {apart} nats"
    speed, plain_speed = scores.targets / seconds, sum(map(len, by_hand)) / slow
    values = {
        "parameters": model.parameter_count(),
        "songs": len(songs),
        "events": scores.targets,
        "events_a_second": speed,
        "plain_events_a_second": plain_speed,
        "times_plain": speed / plain_speed,
        "nats_apart": apart,
    }
    if devices.runs_bf16(torch.device("cpu"), "auto"):
        seconds, rounded = timed(clock, lambda: exact(bf16=True))
        values["bf16_events_a_second"] = scores.targets / seconds
        values["bf16_perplexity_over_fp32"] = rounded.perplexity / scores.perplexity
    best = max(speed, values.get("bf16_events_a_second", 0))
    return values | {"best_events_a_second": best, "best_times_plain": best / plain_speed}


def multiplications(segment: int, memory: int) -> float:
    """Of the published code, an event and layer: query, key, value of all keys; both scores and the
    sum; the rest."""
    width, feed_forward, keys = 512, 2048, segment + memory
    return 3 * width**2 * keys / segment + 3 * keys * width + width**2 + 2 * width * feed_forward


def main() -> None:
    parser = arguments("evaluation", __doc__)
    parser.add_argument("--threads", type=int, default=1, help="CPU cores to use")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    corpus = corpus_at_hand()
    clock = time.process_time if chosen.threads == 1 else time.perf_counter
    songs = middle(corpus["test"].framed())
    torch.manual_seed(0)
    models = {
        "transformer_xl": checkpoints.load(
            profiles.root() / "assets/pretrained/transformer_xl"
        ).eval(),
        "paper": checkpoints.build(
            **profiles.load("paper").models["transformer_xl"] | {"dropout": 0.0}
        ).eval(),
    }
    values = {"threads": chosen.threads, "segment": SEGMENT, "memory": MEMORY}
    values |= {name: measure(model, songs, clock) for name, model in models.items()}
    forward = 3 * PUBLISHED_TRAINING
    derived = forward * multiplications(512, 512) / multiplications(SEGMENT, MEMORY)
    best = values["paper"]["best_events_a_second"]
    values["paper"] |= {
        "published_derived_forward_events_a_second": forward,
        "published_derived_events_a_second": derived,
        "times_published_derived_forward": best / forward,
        "times_published_derived": best / derived,
    }
    keep("evaluation", values, chosen.write, corpus=corpus, packages=("numpy", "torch"))


if __name__ == "__main__":
    main()
