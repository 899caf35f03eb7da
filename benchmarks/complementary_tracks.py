"""Complementary tracks: an encoder-decoder as in the thesis, mended, and beside other ways.

python benchmarks/complementary_tracks.py [--only RUN] [--seeds 0 1] [--minutes M] [--write]

Trains the laptop's models by the clock, each 30 minutes of one core, and measures them. A training
that was stopped goes on from its last measuring, and what has ended is not done again. Runs:
``bass`` and ``piano`` are composed to the other one on folder 5 of Lakh, ``nes`` is any voice to
the other three on NES-MDB; ``…_thesis`` is as in the thesis (M. Murhu, 2024), ``…_mended`` has a
clock of musical time, asks for a density, learns from no silent targets, and transposes. Needs
NES-MDB, and Lakh's folder 5 as data/lmd_full_5 (``lakhnes data fetch lmd-full-5``), and MidiTok.
Writes runs/PROFILE/complementary_tracks/RUN/seedN/; with --write the numbers go to
results/complementary_tracks.json.
"""

import json
from collections import defaultdict

import numpy as np
import torch
from _complementary_bands import measure_band
from _complementary_nes import CANDIDATES, JUDGE, SONGS, baselines, measure_nes
from _complementary_parts import DRAWING, composed, drawn, notes_in, usual_density
from _complementary_tasks import runs_of, task_of
from _shared import arguments, corpus_at_hand, keep

from lakhnes_lib import profiles
from lakhnes_lib.companions import accompanying, fitting
from lakhnes_lib.companions.band_parts import BandPairs
from lakhnes_lib.companions.encoder_decoder import EncoderDecoder
from lakhnes_lib.files import write_file
from lakhnes_lib.models import checkpoints
from lakhnes_lib.training import snapshots

NAMES = [f"{task}_{way}" for task in ("nes", "bass", "piano") for way in ("thesis", "mended")]
PROBED = 12  # pieces that are composed while a model trains


def watch_of(task, model, seed: int, count: int):
    """Measures a model in training: its loss on valid, and the notes a bar that it composes as in
    the thesis, beside those of the same real targets."""
    pairs, usual = drawn(task, PROBED), usual_density(task)
    real = np.mean([notes_in(task, target) for _, target in pairs]) / task.bars

    def watch() -> dict:
        made = composed(model, task, pairs, DRAWING["thesis"], usual, seed)
        notes = np.mean([notes_in(task, target) for target in made]) / task.bars
        values = {"valid_loss": accompanying.valid_loss(model, task, count)}
        return values | {"notes_a_bar": float(notes), "real_notes_a_bar": float(real)}

    return watch


def trained(task, folder, settings: dict, how: dict, seed: int) -> tuple[EncoderDecoder, list]:
    """The model of a run and its log; trained, if it is not there."""
    if not snapshots.exists(folder):
        torch.manual_seed(seed)
        clock, sizes = task.clock if task.mended else None, settings["sizes"]
        model = EncoderDecoder(task.vocabulary, task.starts, clock=clock, **sizes)

        def loss(random, done):
            return model.loss(*accompanying.batch_of(task, "train", how["batch"], random))

        watch = watch_of(task, model, seed, how["batch"])
        log = fitting.fit(model, loss, how, seed=seed, watch=watch, folder=folder)
        fitting.save(model, folder, log)
    return fitting.load(EncoderDecoder, folder)


def run(name: str, seed: int, settings: dict, minutes: float | None, corpus, runs) -> dict:
    """Trains and measures one run, or reads what it gave."""
    folder = runs / name / f"seed{seed}"
    path = folder / "result.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    task = task_of(name, settings, corpus, runs)
    how = settings["training"] | ({"minutes": minutes} if minutes else {})
    model, log = trained(task, folder, settings, how, seed)
    log = [{"step": step} | row for step, row in enumerate(log, 1) if "valid_loss" in row]
    values = {"log": log, "parameters": sum(each.numel() for each in model.parameters())}
    if isinstance(task, BandPairs):
        values |= measure_band(model, task, seed)
    else:
        values |= measure_nes(model, task, seed, corpus, settings)
    write_file(path, json.dumps(values, indent=1, default=lambda value: value.tolist()))
    return values


def main() -> None:
    parser = arguments("complementary_tracks", __doc__)
    parser.add_argument("--only", choices=NAMES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--minutes", type=float, help="of training, in place of the profile's")
    parser.add_argument("--profile", default="laptop")
    chosen = parser.parse_args()
    settings = profiles.load(chosen.profile).companions["complementary_tracks"]
    runs = runs_of(chosen.profile)
    corpus, ended = corpus_at_hand(), defaultdict(dict)
    for seed in chosen.seeds:
        for name in [chosen.only] if chosen.only else NAMES:
            ended[name][seed] = run(name, seed, settings, chosen.minutes, corpus, runs)
            print(name, seed, ended[name][seed]["valid_loss"], flush=True)
    values = {"settings": settings, "songs": SONGS, "candidates": CANDIDATES, "runs": ended}
    values["other_ways"] = baselines(corpus, checkpoints.load(JUDGE), settings, runs)
    shown = {name: list(seeds) for name, seeds in ended.items()}
    if chosen.write and ended.keys() != set(NAMES):
        raise SystemExit("the results are written when all runs have ended, without --only")
    packages = ("numpy", "torch", "miditok", "symusic")
    keep(
        "complementary_tracks", values, chosen.write, shown=shown, corpus=corpus, packages=packages
    )


if __name__ == "__main__":
    main()
