"""The listening tests measured: what their statistics recover, and a study of real songs from clips
to p-values.

python benchmarks/study.py [CORPUS] [--studies 1000] [--write]

CORPUS is a packed corpus folder; without one it is NES-MDB (`lakhnes data fetch nesmdb-midi`, or
LAKHNES_MIRROR). First part: so many simulated studies of the published size, by listeners of known
strengths; how often the 95 % intervals hold what was put in, and how far the estimates are from it.
Second part: both tests are made of real songs, the shipped model, a 5-gram and random events, taken
by simulated listeners and analysed by one command. Those answers measure nothing; what is measured
are the clips and the seconds. With --write the numbers go to results/study.json.
"""

import json
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
import torch
from _shared import arguments, corpus_at_hand, keep
from scipy.special import expit
from simulate_study import save, simulate

from lakhnes_lib import profiles
from lakhnes_lib.__main__ import main as lakhnes
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.ngram import NGram
from lakhnes_lib.study import answers, bradley_terry, designs, study_page, study_statistics
from lakhnes_lib.study.clips import make_study

STRENGTHS = {"real": 1.1, "LakhNES": 0.1, "TXL": 0.0, "LSTM": -0.5, "5-gram": -1.2, "random": -20.0}
LISTENERS = {"few": 6, "many": 40}
DRAWS = 200


def recovery(studies: int, listeners: int, spread: float = 0.0) -> dict:
    """Coverage and error over simulated preference studies, and of the Wilson intervals of as many
    Turing tests."""
    inside, strengths, wilson, methods = [], [], [], []
    plans = {kind: designs.plan(kind, STRENGTHS, batches=20, seed=1) for kind in designs.SECONDS}
    for seed in range(studies):
        options = dict(batches=3, spread=spread, seed=seed)
        rows = simulate(plans["preference"], STRENGTHS, listeners, **options)
        model = bradley_terry.strengths(answers.answers_of(plans["preference"], rows), DRAWS, seed)
        methods = model.methods
        true = np.array([STRENGTHS[name] for name in methods])
        true -= true.mean()
        inside.append((model.low <= true) & (true <= model.high))
        strengths.append(model.strength - true)
        rows = simulate(plans["turing"], STRENGTHS, listeners, **options)
        for row in study_statistics.shares(answers.answers_of(plans["turing"], rows)):
            wilson.append(row.low <= expit(STRENGTHS["real"] - STRENGTHS[row.name]) <= row.high)
    return {
        "studies": studies,
        "listeners": listeners,
        "spread": spread,
        "bootstrap_over": model.unit,
        "coverage_bradley_terry": np.mean(inside),
        "coverage_wilson": np.mean(wilson),
        "bias": dict(zip(methods, np.mean(strengths, 0), strict=True)),
        "standard_deviation": dict(zip(methods, np.std(strengths, 0), strict=True)),
    }


def loudness(design) -> np.ndarray:
    """RMS of every clip."""
    levels = []
    for name in design.clips:
        with wave.open(str(design.folder / "clips" / f"{name}.wav")) as sound:
            samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32767
        levels.append(np.sqrt(np.mean(samples**2)))
    return np.array(levels)


def whole_study(kind: str, sources: dict, folder: Path) -> dict:
    """One batch made, put on a page, answered by simulated listeners, and analysed by the command
    line."""
    begin = time.perf_counter()
    design = make_study(kind, sources, folder / kind, batches=1, seed=7, progress=False)
    made = time.perf_counter() - begin
    page = study_page.write(design, folder / f"{kind}.html")
    strengths = {"real": 1.1, "mini": 0.0, "5-gram": -1.2, "random": -20.0}
    save(folder / f"{kind}.csv", design, simulate(design, strengths, 30, seed=7))
    remark = "30 simulated listeners, who heard nothing"
    paths = [str(folder / name) for name in (kind, f"{kind}.csv")]
    assert (
        lakhnes(
            ["study", "report", *paths, "--out", str(folder / f"{kind}-report"), "--remark", remark]
        )
        == 0
    )
    rms = loudness(design)
    return {
        "pairs": len(design.trials),
        "clips": len(design.clips),
        "seconds_to_make": made,
        "page_megabytes": page.stat().st_size / 1e6,
        "loudest_over_softest_decibel": 20 * np.log10(rms.max() / rms.min()),
        "report": json.loads(
            (folder / f"{kind}-report" / "report.json").read_text(encoding="utf-8")
        )["shares"],
    }


def main() -> None:
    parser = arguments("study", __doc__)
    parser.add_argument("corpus", nargs="?", default="nesmdb-midi", help="a packed corpus folder")
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies of each kind")
    parser.add_argument(
        "--folder",
        type=Path,
        help="where the real study is written; a temporary folder if not given",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = corpus_at_hand(options.corpus)
    values = {"draws": DRAWS, "strengths": STRENGTHS}
    for name, listeners in LISTENERS.items():
        values[f"{name}_listeners"] = recovery(options.studies, listeners)
    values["many_listeners_who_differ"] = recovery(options.studies, LISTENERS["many"], spread=0.5)
    values["needed_for_5_points"] = study_statistics.needed(0.65, 0.70)
    values["power_of_180"] = study_statistics.power(180, 0.65, 0.70)
    sources = {
        "real": [corpus["test"].score(number) for number in range(len(corpus["test"]))],
        "mini": checkpoints.load(profiles.root() / "assets" / "pretrained" / "mini"),
        "5-gram": NGram(smoothing="backoff").fit(corpus["train"].framed()),
    }
    with tempfile.TemporaryDirectory() as temporary:
        for kind in designs.SECONDS:
            values[kind] = whole_study(kind, sources, options.folder or Path(temporary))
    keep("study", values, options.write, corpus=corpus, packages=("numpy", "scipy", "torch"))


if __name__ == "__main__":
    main()
