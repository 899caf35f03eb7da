"""The paper's findings at the size of a laptop: rows trained over several seeds, and the recipe's
ablation.

Run: ``python benchmarks/findings.py [GROUP] [--only NAME] [--seeds 0 1 2] [--test] [--write]``. A
run that was stopped goes on where it was. Reads NES-MDB, and for Lakh the corpus that ``lakhnes
map`` packed as data/packed/lakh5. Writes runs/findings/NAME/seedN/: best, log.jsonl and
result.json; the 5-gram's is result.json alone. With --write every result.json goes into
results/findings.json, in the stead of an earlier one of the same name and seed.
"""

import argparse
import json
import math
import time
from functools import partial

import numpy as np
import torch
from _shared import circumstances, valid_curve

from lakhnes_lib import profiles
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.data.streams import Streams
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.files import write_file
from lakhnes_lib.listening import results
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.language_model import LanguageModel
from lakhnes_lib.models.ngram import NGram
from lakhnes_lib.music import augmentation
from lakhnes_lib.training import snapshots, trainer
from lakhnes_lib.training.learner import first_model

RUNS = profiles.root() / "runs" / "findings"
LAKH = profiles.root() / "data" / "packed" / "lakh5"
COUNTED = "few_5-gram"
AUGMENTED, LAKH_ROW = "few_transformer_xl_augmented", "few_transformer_xl_lakh"
ROWS = ("few_transformer_xl", AUGMENTED, "few_lstm", "few_lstm_augmented")
OVERFITTED = 112
"""Songs of the runs that ask when a model overfits: a quarter of the others', for as many steps."""

MIXTURE, HALF = "lakh_fading", "transposed_half"
FADING = (1.0, 0.75, 0.5, 0.25)
"""Of the first: songs of Lakh for each song of NES-MDB, epoch by epoch; none after these."""

GROUPS = {
    # name of the run: (row of the profile, what is changed in it, run it starts from). Of what is
    # changed, dropout is the model's and the rest the training's.
    "recipe": {
        f"decay_{decay}": (AUGMENTED, {"weight_decay": decay}, None)
        for decay in (0.3, 0.0, 1.0, 0.1, 0.03)
    }
    | {f"average_{decay}": (AUGMENTED, {"average": decay}, None) for decay in (0.99, 0.998)}
    | {f"dropout_{share}": (AUGMENTED, {"dropout": share}, None) for share in (0.0, 0.2)}
    | {f"schedule_{kind}": (AUGMENTED, {"schedule": kind}, None) for kind in ("cosine", "constant")}
    | {
        f"batch_{rows}": (AUGMENTED, {"batch": rows, "steps": 19200 // rows}, None)
        for rows in (4, 16)
    }
    | {"transposed": (AUGMENTED, {"augment": "transposed"}, None)}
    | {name: (AUGMENTED, {}, None) for name in (MIXTURE, HALF)},
    # Beside the rows' own rates, 0.002 and 0.02.
    "rates": {
        f"lstm_rate_{rate}": ("few_lstm", {"learning_rate": rate}, None)
        for rate in (0.004, 0.001, 0.008)
    }
    | {
        f"xl_rate_{rate}": ("few_transformer_xl", {"matrix_learning_rate": rate}, None)
        for rate in (0.01, 0.04)
    },
    "rows": {name: (name, {}, None) for name in ROWS},
    "lakh": {
        f"lakh_{units}": ("few_lakh", {"steps": 1200 * units, "evaluate_every": 1200 * units}, None)
        for units in (1, 2, 4)
    }
    | {f"after_lakh_{units}": (LAKH_ROW, {}, f"lakh_{units}") for units in (1, 2, 4)},
    # As many events as the row after four units of Lakh has with these, and none of Lakh.
    "longer": {"augmented_longer": (AUGMENTED, {"steps": 7200, "evaluate_every": 900}, None)},
    "overfitting": {
        f"{row}_{OVERFITTED}": (row, {"train_songs": OVERFITTED, "evaluate_every": 200}, None)
        for row in ROWS
    },
    # The paper's back-off, counted on the same songs as the row's of the same seed are trained on.
    "counting": {COUNTED: ("few_transformer_xl", {}, None)},
}


def run(name: str, row: str, changes: dict, start: str | None, seed: int, test: bool) -> dict:
    """Trains one row with one seed, or goes on with it, and measures it on all of valid (and test).

    What it returns is also written to ``result.json`` in the run's folder; once that is there,
    nothing is trained again, and at most test is measured.
    """
    folder = RUNS / name / f"seed{seed}"
    result = folder / "result.json"
    values = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    # What is trained on Lakh is measured after its fine-tuning.
    splits = () if row == "few_lakh" else ("valid", "test") if test else ("valid",)
    if values and all(split in values for split in splits):
        return values
    profile = profiles.load("laptop")
    of_training = {key: value for key, value in changes.items() if key != "dropout"}
    changed = profile.training[row].model_copy(update=of_training)
    sizes = profile.models[row] | {key: changes[key] for key in changes.keys() - of_training.keys()}
    update = {
        "training": profile.training | {row: changed},
        "models": profile.models | {row: sizes},
    }
    profile = profile.model_copy(update=update | {"seed": seed})
    corpus = prepare(LAKH if row == "few_lakh" else profile.corpus)
    if values and (folder / "best").exists():
        model = checkpoints.load(folder / "best")
    else:
        values = {"name": name, "row": row, "seed": seed, "changes": changes, "from": start}
        values |= {"data": corpus.fingerprint} | circumstances(("numpy", "torch"))
        if name == COUNTED:
            model, about = counted(
                corpus["train"], profile.seed + changed.seed, changed.train_songs
            )
        else:
            begun_from = RUNS / start / f"seed{seed}" / "best" if start else None
            train = partial(train_on, OWN_SONGS[name]) if name in OWN_SONGS else trainer.train
            model, about = trained(train, profile, corpus, folder, row, begun_from)
        values |= about
    for split in splits:
        if split not in values:
            began = time.monotonic()
            scores = perplexity.exact(
                model, corpus[split].framed(), progress=False, **profile.evaluation.segments
            )
            values[split] = {"nats": scores.nats, "perplexity": math.exp(scores.nats)}
            values[f"{split}_seconds"] = round(time.monotonic() - began, 1)
    folder.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return values


def trained(train, profile, corpus, folder, row: str, start) -> tuple[LanguageModel, dict]:
    """The best weights of a training run, and what the run was like."""
    resume = snapshots.exists(folder)
    options = dict(model=row, start=start, resume=resume, device="cpu")
    began = time.process_time()
    ended = train(profile, corpus, folder, **options)
    cores = {} if resume else {"core_minutes": round((time.process_time() - began) / 60, 1)}
    return checkpoints.load(folder / "best"), cores | {
        "best_step": ended.best_step,
        "minutes": round(ended.seconds / 60, 1),
        "events": ended.events,
        "curve": valid_curve(folder),
    }


def with_lakh(split, settings, seed: int):
    """``songs(epoch)`` as a training reads them, with songs of Lakh mixed in, fewer every epoch."""
    options = settings.augment, seed, settings.draws
    own = augmentation.songs_by_epoch(split, *options, settings.train_songs)
    lakh = augmentation.songs_by_epoch(prepare(LAKH)["train"], *options)

    def songs(epoch: int) -> list:
        share = FADING[epoch] if epoch < len(FADING) else 0.0
        of_nes = own(epoch)
        count = round(share * len(of_nes))
        rng = np.random.default_rng([seed, epoch])
        of_lakh = lakh(epoch) if count else []
        return of_nes + [of_lakh[n] for n in rng.permutation(len(of_lakh))[:count]]

    return songs


def half_transposed(split, settings, seed: int):
    """``songs(epoch)`` as a training reads them, each transposed half of the time."""
    options = seed, settings.draws, settings.train_songs
    kinds = [augmentation.songs_by_epoch(split, kind, *options) for kind in ("none", "transposed")]

    def songs(epoch: int) -> list:
        as_written, moved = (kind(epoch) for kind in kinds)
        draws = np.random.default_rng([seed, epoch]).random(len(moved))
        drawn = zip(as_written, moved, draws, strict=True)
        return [other if draw < 0.5 else own for own, other, draw in drawn]

    return songs


OWN_SONGS = {MIXTURE: with_lakh, HALF: half_transposed}
"""Runs that read other songs than those of their row's split."""


def train_on(songs_of, profile, corpus, folder, *, model, start, resume, device):
    """The same as ``trainer.train``, but that the training reads ``songs_of(split, …)(epoch)``."""
    settings, seed = profile.training[model], profile.seed
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    first = first_model(profile, model, start)
    run = trainer.TrainingRun(first, profile, model, corpus, folder, torch.device(device))
    songs = songs_of(corpus["train"], settings, seed)
    run.streams = Streams(songs, settings.batch, settings.segment, seed, settings.streams)
    if resume:
        run.restore()
    else:
        (folder / "log.jsonl").unlink(missing_ok=True)
    run.go()
    return run


def counted(split, seed: int, songs: int) -> tuple[LanguageModel, dict]:
    """A 5-gram of the songs that a training run with this seed would read."""
    began = time.monotonic()
    framed = augmentation.songs_by_epoch(split, "none", seed, count=songs)(0)
    model = NGram(smoothing="backoff").fit(framed)
    minutes = round((time.monotonic() - began) / 60, 3)
    return model, {"minutes": minutes, "events": sum(len(ids) - 1 for ids in framed), "curve": []}


def write() -> None:
    """Puts all that has ended into results/findings.json, beside what was measured elsewhere."""
    path = results.path_of("findings")
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    ended = [
        json.loads(each.read_text(encoding="utf-8")) for each in RUNS.glob("*/seed*/result.json")
    ]
    by_run = {(run["name"], run["seed"]): run for run in earlier + ended}
    content = json.dumps([by_run[key] for key in sorted(by_run)], indent=1) + "\n"
    write_file(path, content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "group", nargs="?", choices=GROUPS, help="what to train: nothing, if none is named"
    )
    parser.add_argument("--only", help="one run's name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--test", action="store_true", help="measure on test as well")
    parser.add_argument(
        "--write", action="store_true", help="write what has ended to results/findings.json"
    )
    chosen = parser.parse_args()
    runs = GROUPS[chosen.group] if chosen.group else {}
    for name, (row, changes, start) in runs.items():
        for seed in chosen.seeds if chosen.only in (None, name) else ():
            values = run(name, row, changes, start, seed, chosen.test)
            scores = {split: values[split] for split in ("valid", "test") if split in values}
            print(
                name,
                seed,
                {split: round(score["perplexity"], 4) for split, score in scores.items()},
            )
    if chosen.write:
        write()


if __name__ == "__main__":
    main()
