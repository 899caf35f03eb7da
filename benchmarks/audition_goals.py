"""Auditions measured: what real songs pass, which way of drawing is best, and what 200 pieces are.

python benchmarks/audition_goals.py [real] [grid] [pieces] [--candidates 48] [--pieces 200]

- real: how many songs of valid and test, their first 30 seconds, have a fault; and what metrics
  are usual in songs of valid, which auditions choose by (written to typical.yaml);
- grid: candidates of every way of drawing that has not been measured by all faults yet, as they
  come, with and without the limit that makes a voice let go of a note: how many have no fault, how
  far their metrics lie from those of valid songs (mean over the metrics of the Wasserstein distance
  in standard deviations), for all candidates and for those without a fault;
- pieces: as many pieces of 30 seconds as asked for, by the defaults: notes held for over 4 seconds,
  loops, trills, silent voices, medians beside the middle half of test songs, runs shared with
  training songs, by their notes and by their figures (the different groups of four steps in them: a
  trill of any length has two); the same for pieces as published (1,024 events, no end, temperature
  0.95, top-k 32). Each number has the middle 95 % of a bootstrap over the pieces.

Pieces are composed by assets/pretrained/mini in 8 bits, and stay in runs/auditions, from where an
interrupted run goes on. Needs NES-MDB. With --write the numbers go to results/auditions.json,
beside what stands there already.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
from _copying import CopyIndex, sizes
from _shared import arguments, corpus_at_hand, keep
from scipy import stats
from tqdm import tqdm

from lakhnes_lib import profiles
from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.files import write_file
from lakhnes_lib.generation import auditions, sampling
from lakhnes_lib.music import events
from lakhnes_lib.music.score import Score

MINI = profiles.root() / "assets/pretrained/mini"
HOME = profiles.root() / "runs/auditions"
SECONDS, MEMORY, BATCH = 30.0, 512, 8
WAYS = [  # temperature, top-k (0: all), top-p, seconds after which a note is let go (0: never),
    # factor of the temperature in loops, temperature among waits
    (0.95, 32, 1.0, 0.0, 1.0, 1.0), (1.0, 0, 1.0, 0.0, 1.0, 1.0), (1.0, 0, 1.0, 3.5, 1.0, 1.0),
    (1.0, 0, 0.98, 3.5, 1.0, 1.0), (1.06, 0, 1.0, 3.5, 1.0, 1.0), (1.06, 0, 1.0, 2.5, 1.0, 1.0),
    (1.1, 0, 1.0, 2.5, 1.0, 1.0), (1.0, 0, 1.0, 2.0, 1.0, 1.0), (1.06, 0, 1.0, 2.0, 1.0, 1.0),
    (1.1, 0, 1.0, 2.0, 1.0, 1.0), (1.15, 0, 1.0, 2.0, 1.0, 1.0), (1.1, 0, 0.98, 2.0, 1.0, 1.0),
    (1.0, 0, 1.0, 2.0, 1.05, 1.0), (1.0, 0, 1.0, 2.0, 1.1, 1.0), (1.0, 0, 1.0, 2.0, 1.2, 1.0),
    (1.0, 0, 1.0, 2.0, 1.3, 1.0), (1.0, 0, 1.0, 2.0, 1.1, 0.9), (1.0, 0, 1.0, 2.0, 1.1, 0.85),
    (1.0, 0, 1.0, 2.0, 1.1, 0.8), (1.0, 0, 1.0, 2.0, 1.1, 0.7), (1.0, 0, 1.0, 2.0, 1.0, 0.85),
    (1.0, 0, 1.0, 2.0, 1.2, 0.85),
]  # fmt: skip
DEFAULTS = profiles.Sampling()
FAULTS = (
    "ends early", "freezes", "loops", "trills on", "loses a voice", "hardly plays",
    "plays too fast",
)  # fmt: skip


def excerpts(split, shortest: float = 0.0) -> list[Score]:
    """The first 30 seconds of every song that lasts so long."""
    songs = (split.score(index) for index in range(len(split)))
    return [
        song.excerpt(0, min(SECONDS, song.seconds))
        for song in songs
        if song.length and song.seconds >= shortest
    ]


def composed(way: tuple, count: int, published=False, first=0) -> list[Score]:
    """Candidates as they come, from number ``first`` to before number ``count``; from ``HOME`` as
    far as they are there."""
    temperature, top_k, top_p, longest_note, heat, timing = way
    let_go = f"_{longest_note}" if longest_note else ""
    let_go += f"_{heat}" if heat > 1 else ""
    let_go += f"_waits_{timing}" if timing < 1 else ""
    name = "published" if published else f"{temperature}_{top_k}_{top_p}{let_go}"
    drawing = dict(temperature=temperature, top_k=top_k or None, top_p=top_p)
    drawing |= dict(longest_note=longest_note or None, loop_heat=heat, timing=timing)
    path = HOME / f"{name}.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    limits = dict(length=1024) if published else dict(length=6800, seconds=34.0, stop=True)
    with tqdm(total=max(count, len(rows)), initial=len(rows), desc=name, unit="piece") as bar:
        while len(rows) < count:
            options = dict(n=BATCH, first=len(rows), seed=0, memory_length=MEMORY, precision="int8")
            steps = sampling.stream(MINI, **options, **limits, **drawing)
            *_, pieces = sampling.grow(steps)
            rows += pieces
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(rows))
            bar.update(BATCH)
    scores = [events.decode(ids) for ids in rows[first:count]]
    return scores if published else [auditions.end_with_a_bar(s, SECONDS) for s in scores]


def faults_of(songs: list[Score], seconds: float) -> dict:
    """Share of the songs with each fault, and of those with none."""
    heard = [auditions.faults(song, seconds) for song in songs]
    counts = Counter(fault for names in heard for fault in names)
    shares = {fault: counts[fault] / len(songs) for fault in FAULTS}
    return {"songs": len(songs), "none": sum(not names for names in heard) / len(songs), **shares}


def distance(songs: list[Score], reference: dict) -> float | None:
    if len(songs) < 5:
        return None
    distances = musical_metrics.distances(musical_metrics.measure(songs), reference)
    return float(np.nanmean(list(distances.values())))


def chosen(good: list[Score]) -> list[Score]:
    """What auditions take of candidates without faults."""
    size = auditions.CHOICES
    groups = [good[first : first + size] for first in range(0, len(good) - size + 1, size)]
    return [min(group, key=auditions.strangeness) for group in groups]


def usual(songs: list[Score]) -> dict:
    """Of each metric that auditions choose by, the values below which some shares of songs lie."""
    measured = musical_metrics.measure(songs)
    return {
        name: np.nanquantile(measured[name], auditions.SHARES).tolist()
        for name in auditions.TYPICAL
    }


def write_typical(values: dict) -> None:
    """Writes what auditions choose by, three digits of it."""
    lines = [f"shares: {list(auditions.SHARES)}", "typical:"]
    for name, quantiles in values.items():
        lines.append(f"  {name}: {[float(f'{value:.3g}') for value in quantiles]}")
    head = [
        "# Written by benchmarks/audition_goals.py.",
        "# Of each metric, the values below which these shares of real songs lie.",
    ]
    path = Path(auditions.__file__).with_name("typical.yaml")
    write_file(path, "\n".join([*head, *lines, ""]))


def medians(songs: list[Score]) -> dict:
    """Every metric's median over some songs, None without songs."""
    if not songs:
        return dict.fromkeys(musical_metrics.METRICS)
    measured = musical_metrics.measure(songs)
    return {name: float(np.nanmedian(values)) for name, values in measured.items()}


def grid(corpus, count: int, values: dict) -> dict:
    """Adds the ways that have not been measured yet to ``values``."""
    reference = musical_metrics.measure(excerpts(corpus["valid"], 10.0))
    for way in WAYS:
        temperature, top_k, top_p, longest_note, heat, timing = way
        name = f"temperature {temperature}, top-k {top_k or 'all'}, top-p {top_p}"
        name += f", notes up to {longest_note} s" if longest_note else ""
        name += f", times {heat} in loops" if heat > 1 else ""
        name += f", waits at {timing}" if timing < 1 else ""
        if set(FAULTS) <= set(values.get(name, ())):
            continue
        songs = [song for song in composed(way, count) if song.length]
        good = [song for song in songs if not auditions.faults(song, SECONDS)]
        values[name] = faults_of(songs, SECONDS) | {
            "distance_of_all": distance(songs, reference),
            "distance_without_faults": distance(good, reference),
            "medians_without_faults": medians(good),
        }
        print(name, json.dumps(values[name]))
    return values


def interval(values: np.ndarray, statistic) -> list[float]:
    """95 % of the bootstrap over the pieces: its bounds."""
    if len(np.unique(values)) < 2:
        return [float(statistic(values))] * 2
    drawn = stats.bootstrap(
        (values,), statistic, n_resamples=2000, method="percentile", vectorized=False, rng=0
    )
    return [float(bound) for bound in drawn.confidence_interval]


def goals(songs: list[Score], reference: dict, index: CopyIndex) -> dict:
    """What the pieces are to reach, and whether their medians lie in real songs' middle half.

    The shares have their intervals in ``intervals``, the medians beside them.
    """
    metrics = musical_metrics.measure(songs)
    trills = [musical_metrics.longest_trill(song) for song in songs]
    shares = {
        "note_over_4_s": metrics["longest_note"] > 4,
        "looping": metrics["looping"] > auditions.MOST_LOOPING,
        "trilling": np.array(trills) > auditions.LONGEST_TRILL,
        "silent_voice": metrics["silent_voices"] > 0,
    }
    values = {
        "songs": len(songs),
        "seconds_median": float(np.median([song.seconds for song in songs])),
        **{name: float(each.mean()) for name, each in shares.items()},
        "intervals": {name: interval(each, np.mean) for name, each in shares.items()},
        "metrics": {},
    }
    for name in musical_metrics.METRICS:
        low, high = np.nanquantile(reference[name], (0.25, 0.75))
        median = float(np.nanmedian(metrics[name]))
        values["metrics"][name] = {
            "median": median,
            "real_middle_half": [float(low), float(high)],
            "inside": bool(low <= median <= high),
            "interval": interval(metrics[name][~np.isnan(metrics[name])], np.median),
        }
    for kind in ("notes", "figures"):
        runs = [index.longest(song, by=kind) for song in songs]
        counts = sizes(runs, kind)
        longest = runs[int(np.argmax(counts))]
        values[f"longest_shared_run_by_{kind}"] = {
            "median": float(np.median(counts)),
            "most": {"notes": longest.notes, "figures": longest.figures},
        }
    return values


def without_fault(count: int) -> tuple[list[Score], Counter, int]:
    """Candidates by the defaults, in their order, until so many have no fault.

    Returns these, how often each fault was heard (or "none"), and how many candidates there were:
    the same ones that auditions would hear. They stay on disk.
    """
    drawing = (DEFAULTS.temperature, DEFAULTS.top_k, DEFAULTS.top_p)
    way = (*drawing, auditions.LET_GO_AFTER, auditions.LOOP_HEAT, auditions.TIMING)
    good, heard, total = [], Counter(), 0
    while len(good) < count:
        total += 4 * BATCH
        for song in composed(way, total, first=total - 4 * BATCH):
            names = auditions.faults(song, SECONDS) if song.length else ["ends early"]
            heard.update(names or ["none"])
            if not names:
                good.append(song)
    return good, heard, total


def pieces(corpus, count: int) -> dict:
    real = excerpts(corpus["test"], 10.0)
    reference, index = musical_metrics.measure(real), CopyIndex(corpus["train"])
    good, heard, total = without_fault(auditions.CHOICES * count)
    published = composed((0.95, 32, 1.0, 0.0, 1.0, 1.0), count, published=True)
    return {
        "candidates": total,
        "faults": dict(heard),
        "auditioned": goals(chosen(good)[:count], reference, index),
        "without_faults": goals(good[:count], reference, index),
        "as_published": goals(published, reference, index),
        "real_test_songs": goals(real, reference, index),
    }


def main() -> None:
    parser = arguments("auditions", __doc__)
    parser.add_argument("parts", nargs="*", choices=["real", "grid", "pieces"], metavar="PART")
    parser.add_argument("--candidates", type=int, default=48, help="of each way in the grid")
    parser.add_argument("--pieces", type=int, default=200)
    wanted = parser.parse_args()
    corpus, parts = corpus_at_hand(), wanted.parts or ["real", "grid", "pieces"]
    path = profiles.root() / "results/auditions.json"
    values = json.loads(path.read_text())["values"] if path.exists() else {}
    if "real" in parts:
        values["real"] = {
            name: {
                "all": faults_of(excerpts(corpus[name]), 0.0),
                "at_least_10_s": faults_of(excerpts(corpus[name], 10.0), 0.0),
            }
            for name in ("valid", "test")
        }
        values["usual"] = usual(excerpts(corpus["valid"], 10.0))
        if wanted.write:
            write_typical(values["usual"])
    if "grid" in parts:
        values["grid"] = grid(corpus, wanted.candidates, values.get("grid", {}))
    if "pieces" in parts:
        values["pieces"] = pieces(corpus, wanted.pieces)
    keep("auditions", values, wanted.write, corpus=corpus, packages=("numpy", "onnxruntime"))


if __name__ == "__main__":
    main()
