"""MIDI-Sandwich2 at the size of a laptop: trained by the clock, and measured as its paper does.

python benchmarks/midi_sandwich.py [lakh] [nes] [--seeds 0 1] [--minutes 36] [--write]

For each data set (five tracks of Lakh's folder 5, four voices of NES-MDB) and seed the stages of
``STAGES`` are trained, one after the other, each for its share of the minutes, on one core. A stage
that is over is saved in runs/PROFILE/midi_sandwich, from where a run that was stopped goes on. Then
the models are measured on songs that they have not seen (Lakh: valid; NES: test). Needs Lakh's
folder 5 and NES-MDB (`lakhnes data fetch`, or LAKHNES_MIRROR). With --write the numbers of all runs
that are over go to results/midi_sandwich.json.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from _shared import arguments, at_hand, keep
from torch import Tensor

from lakhnes_lib import profiles
from lakhnes_lib.companions import piano_rolls, roll_data, roll_metrics, sandwich
from lakhnes_lib.companions.piano_rolls import BAR, BEAT
from lakhnes_lib.companions.sandwich import Sandwich
from lakhnes_lib.companions.sandwich_training import fit, load, save
from lakhnes_lib.evaluation import musical_metrics, perplexity
from lakhnes_lib.generation import sampling
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import events

MINI = profiles.root() / "assets" / "pretrained" / "mini"
SOURCES = {"lakh": "lmd-full-5", "nes": "nesmdb-midi"}
HELD_OUT = {piano_rolls.LAKH: "valid", piano_rolls.NES: "test"}
WEIGHTS = "model.safetensors"
MOST_BARS, PIECES, POINTS = 512, 40, 80
"""Bars on which is measured, pieces of 16 seconds for the musical metrics, and points of a
curve."""
AS_PUBLISHED = {"temperature": 0.95, "top_k": 32, "memory_length": 512, "precision": "int8"}


@dataclass(frozen=True)
class Stage:
    """A part that is trained: ``bvaes``, ``fusion`` or ``refine``, for a share of the minutes.

    base: the stage whose model it goes on with; settings: what differs from the profile's.
    """

    part: str
    share: float
    base: str | None = None
    settings: dict = field(default_factory=dict)


LOSSES = {"bvaes": "track_loss", "fusion": "fusion_loss", "refine": "refine_loss"}
BY_THE_BOOK = {"deviation": 1.0}
STAGES = {
    "independent": Stage("bvaes", 0.25),
    "shared": Stage("bvaes", 0.25, settings={"shared": True}),
    "by_the_book": Stage("bvaes", 0.25, settings=BY_THE_BOOK),
}
STAGES |= {
    f"{base}_{strategy}": Stage("fusion", 1 / 72, base, {"strategy": strategy})
    for base in ("independent", "by_the_book")
    for strategy in sandwich.STRATEGIES
}
for _base in ("independent", "by_the_book"):
    for _name, _settings in {
        "bar": {"unit": "bar"},
        "note": {"unit": "note"},
        "deterministic": {"neuron": "deterministic"},
        "stochastic": {"neuron": "stochastic"},
    }.items():
        if _base == "independent" or _name == "bar":
            start = f"{_base}_sequence"
            STAGES[f"{_base}_{_name}"] = Stage("refine", 1 / 30, start, _settings)
COMPLETE = {"as_published": "independent_bar", "by_the_book": "by_the_book_bar"}
"""The models that compose: all of whose parts are trained, with refinement by bars."""


def train(rolls: roll_data.Rolls, home: Path, settings: dict, minutes: float, seed: int) -> dict:
    """Trains all stages, or goes on with them; returns the log of each."""
    logs = {}
    for name, stage in STAGES.items():
        folder = home / name
        if not (folder / "log.json").exists():
            model = built(rolls.kind, home, settings, stage, seed)
            few = 4 if stage.part == "refine" else 1  # convolutions of whole pictures
            options = dict(batch=settings["batch"] // few)
            log = fit(
                getattr(model, stage.part),
                getattr(model, LOSSES[stage.part]),
                rolls,
                minutes=minutes * stage.share,
                seed=seed,
                learning_rate=settings["learning_rate"],
                **options,
            )
            save(model, folder / WEIGHTS)
            (folder / "log.json").write_text(json.dumps(log))
            print(home.name, name, len(log), "steps, loss", log[-1]["loss"], flush=True)
        logs[name] = json.loads((folder / "log.json").read_text())
    return logs


def built(kind, home: Path, settings: dict, stage: Stage, seed: int) -> Sandwich:
    """The model that a stage begins with: new, or that of its base with another part."""
    torch.manual_seed(seed)
    base = load(home / stage.base / WEIGHTS) if stage.base else None
    config = dict(base.config if base else settings["sizes"]) | stage.settings
    config |= dict(tracks=len(kind.tracks), pitches=kind.pitches)
    model = Sandwich(**config).eval()
    for part in ("bvaes", "fusion") if base else ():
        if part != stage.part:
            getattr(model, part).load_state_dict(getattr(base, part).state_dict())
    return model


def curve(log: list[dict]) -> dict:
    """A log in at most ``POINTS`` points: the mean loss of as many steps."""
    parts = np.array_split(np.arange(len(log)), min(POINTS, len(log)))
    losses = np.array([row["loss"] for row in log])
    return {
        "step": [int(part[-1]) + 1 for part in parts],
        "loss": [losses[part].mean(0).round(3).tolist() for part in parts],
        "seconds": round(log[-1]["seconds"], 1),
    }


def in_batches(work, x: Tensor, *rest) -> Tensor:
    return torch.cat([work(part, *rest) for part in x.split(64)])


def agreement(shown: Tensor, x: Tensor) -> dict:
    """Of the cells that sound: precision, recall and their harmonic mean, of each track and all."""
    both, ours, theirs = (
        each.sum((0, 2, 3)).double() for each in ((shown & x), shown.double(), x.double())
    )
    every = [torch.cat([each, each.sum()[None]]) for each in (both, ours, theirs)]
    both, ours, theirs = every
    numbers = {"precision": both / ours, "recall": both / theirs, "f1": 2 * both / (ours + theirs)}
    numbers["wrong_cells"] = ours + theirs - 2 * both
    return {name: [None if v != v else round(v, 4) for v in each.tolist()]
            for name, each in numbers.items()}  # fmt: skip


def plain(metrics: dict) -> dict:
    return {name: [None if np.isnan(v) else round(float(v), 4) for v in each]
            for name, each in metrics.items()}  # fmt: skip


def by_cells(train: np.ndarray, x: np.ndarray) -> dict:
    """Nats a bar of two models without any net, counted in train: each cell by its pitch's rate,
    and each cell by the cell a step before it."""
    nats = {}
    rate = (train.sum((0, 2)) + 1) / (train.shape[0] * train.shape[2] + 2)  # (tracks, pitches)
    rate = rate[:, None]
    one_by_one = -np.where(x, np.log(rate), np.log1p(-rate))
    nats["rates"] = one_by_one.sum((1, 2, 3)).mean()
    before, now = train[:, :, :-1], train[:, :, 1:]
    total = one_by_one[:, :, 0].sum((1, 2)).mean()
    for state in (False, True):
        here = (before == state).sum((0, 2))
        p = ((((before == state) & now).sum((0, 2)) + 1) / (here + 2))[:, None]
        given = x[:, :, :-1] == state
        scored = -np.where(x[:, :, 1:], np.log(p), np.log1p(-p)) * given
        total += scored.sum((1, 2, 3)).mean()
    nats["step_before"] = total
    return {name: float(value) for name, value in nats.items()}


@torch.inference_mode()
def measured(rolls: roll_data.Rolls, home: Path, seed: int) -> dict:
    """Everything that is measured of one data set and seed."""
    torch.manual_seed(seed)
    phrases = evenly(phrases_of(rolls.splits[HELD_OUT[rolls.kind]]), MOST_BARS // 4)
    x = torch.from_numpy(rolls.unpack(phrases)).float().flatten(0, 1)
    truth = x.bool()
    values = {"bars": len(x), "losses": {}, "reconstruction": {}, "restored": {}}
    for name in ("independent", "shared", "by_the_book"):
        model = load(home / name / WEIGHTS)
        values["losses"][name] = in_batches(model.track_loss, x).mean(0).tolist()
        shown = in_batches(lambda part, m=model: m.decode(m.encode(part).mean), x) > 0
        values["reconstruction"][name] = agreement(shown, truth)
    for name, stage in STAGES.items():
        model = load(home / name / WEIGHTS)
        if stage.part == "fusion":
            values["losses"][name] = float(in_batches(model.fusion_loss, x).mean())
            shown = in_batches(lambda part, m=model: m.compose(m.fuse(part).mean, False), x) > 0.5
            values["restored"][name] = agreement(shown, truth)
        elif stage.part == "refine":
            values["losses"][name] = in_batches(model.refine_loss, x).mean(0).tolist()
            shown = in_batches(lambda part, m=model: m.refine(m.decode(m.encode(part).mean)), x) > 0
            values["reconstruction"][name] = agreement(shown, truth)
    values["rolls"] = of_rolls(rolls, home, rolls.unpack(phrases))
    values["nats_a_bar"], values["spread"] = {}, {}
    for title, name in COMPLETE.items():
        model = load(home / name / WEIGHTS)
        values["nats_a_bar"][title] = float(in_batches(model.bound, x).mean())
        values["nats_a_bar"][f"{title}, without fusion"] = float(
            in_batches(model.bound, x, True).mean()
        )
        values["spread"][title] = spread(model, x)
        values.setdefault("parameters", {})[title] = sum(p.numel() for p in model.parameters())
    counted = rolls.unpack(evenly(rolls.splits["train"], 4 * MOST_BARS))
    values["nats_a_bar"] |= by_cells(counted, truth.numpy())
    if rolls.kind is piano_rolls.NES:
        values |= of_nes(rolls, home, seed)
    return values


def evenly(rows: np.ndarray, count: int) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]


def spread(model: Sandwich, x: Tensor) -> dict:
    """How wide the codes of real bars lie, and how wide each code's own distribution is: what is
    drawn for new music has a deviation of 1."""
    track = sandwich.normal(in_batches(lambda p: sandwich.parameters_of(model.encode(p)), x))
    above = sandwich.normal(in_batches(lambda p: sandwich.parameters_of(model.fuse(p)), x))
    widths = {"tracks": track, "fusion": above}
    return {
        name: {
            "means": float(q.mean.flatten(1).std(0).mean()),
            "drawn_from": float(model.deviation * q.stddev.mean()),
        }
        for name, q in widths.items()
    }


def phrases_of(bars) -> np.ndarray:
    """(4 n, …) as an array (n, 4, …)."""
    return np.asarray(bars).reshape(-1, 4, *bars.shape[1:])


def of_rolls(rolls: roll_data.Rolls, home: Path, phrases: np.ndarray) -> dict:
    """Table I: the data, the generator without and with refinement, and the reducer."""
    sets, whole = {"data": phrases}, torch.from_numpy(phrases).float().flatten(0, 1)
    for title, name in COMPLETE.items():
        model = load(home / name / WEIGHTS)
        drawn = torch.randn(len(whole), model.config["fusion_latent"])
        made = {
            "without refinement": in_batches(model.compose, drawn, False),
            "generator": in_batches(model.compose, drawn),
            "reducer": in_batches(lambda part, m=model: m.compose(m.fuse(part).mean), whole),
        }
        for name, p in made.items():
            sets[f"{title}, {name}"] = phrases_of(p) > 0.5
            sets[f"{title}, {name}, as dense as real"] = as_dense(phrases_of(p), phrases) > 0.5
    measure = roll_metrics.measure
    return {
        title: {
            "metrics": plain(measure(each, rolls.kind)),
            "published": plain(measure(each, rolls.kind, published=True)),
            "cells": each.mean((0, 1, 3, 4)).tolist(),
            "next_bar": next_bar(each),
        }
        for title, each in sets.items()
    }


def next_bar(phrases: np.ndarray) -> float | None:
    """How much of a bar comes back in the bar after it, as F1 of all cells; None for silence."""
    before, after = phrases[:, :-1], phrases[:, 1:]
    cells = before.sum() + after.sum()
    return float(2 * (before & after).sum() / cells) if cells else None


def of_nes(rolls: roll_data.Rolls, home: Path, seed: int) -> dict:
    """NES pieces of 16 seconds beside LakhNES' in the metrics of notebook 09, likelihood of the
    same music, and speed."""
    windows = rolls.unpack(evenly(phrases_of(rolls.splits["test"]), PIECES))
    real = [piece(window) for window in windows]
    sets, speed = {"real": real}, {}
    for title, name in COMPLETE.items():
        model = load(home / name / WEIGHTS)
        began = time.perf_counter()
        drawn = torch.randn(4 * PIECES, model.config["fusion_latent"])
        made = phrases_of(in_batches(model.compose, drawn))
        speed[title] = 4 * PIECES * BAR / BEAT / (time.perf_counter() - began)
        sets[f"{title}, generator"] = [piece(each) for each in made]
        sets[f"{title}, generator, as dense as real"] = [
            piece(each) for each in as_dense(made, windows)
        ]
        x = torch.from_numpy(windows).float().flatten(0, 1)
        restored = phrases_of(in_batches(lambda part, m=model: m.compose(m.fuse(part).mean), x))
        sets[f"{title}, reducer"] = [piece(each) for each in restored]
    began = time.perf_counter()
    ids = sampling.sample(MINI, n=PIECES, length=2000, seconds=16.0, seed=seed, **AS_PUBLISHED)
    sets["mini"] = [events.decode(each) for each in ids]
    speed["mini"] = sum(s.seconds for s in sets["mini"]) / (time.perf_counter() - began)
    sets["mini"] = [score.excerpt(0, min(16.0, score.seconds)) for score in sets["mini"]]
    measures = {name: musical_metrics.measure(scores) for name, scores in sets.items()}
    framed = [events.frame(events.encode(score)) for score in real]
    scores = perplexity.exact(checkpoints.load(MINI), framed, progress=False)
    seconds = sum(real[index].seconds for index in scores.indices)  # each with its ends
    return {
        "music": {
            name: {
                "medians": plain({metric: [np.nanmedian(v) if (v == v).any() else np.nan]
                                  for metric, v in each.items()}),
                "distances": plain({metric: [v] for metric, v in
                                    musical_metrics.distances(each, measures["real"]).items()}),
            }
            for name, each in measures.items()
        },
        "seconds_of_music_a_second": speed,
        "mini_bits_a_second": scores.nats * scores.targets / np.log(2) / seconds,
    }  # fmt: skip


def as_dense(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Probabilities (pieces, bars, tracks, 96, pitches), of which as many cells of each track are
    above 1/2 as sound in real music: a model that is never sure would only be silent."""
    borders = [np.quantile(made[:, :, t], 1 - real[:, :, t].mean()) for t in range(made.shape[2])]
    above = made > np.array(borders)[:, None, None]
    return np.where(above, 0.5 + made / 2, 0.0)


def piece(phrase: np.ndarray):
    """The score of four bars, (4, tracks, 96, pitches): 16 seconds."""
    roll = phrase.swapaxes(0, 1).reshape(phrase.shape[1], -1, phrase.shape[-1])
    return piano_rolls.to_score(roll)


def main() -> None:
    parser = arguments("midi_sandwich", __doc__)
    parser.add_argument("kinds", nargs="*", default=list(SOURCES), help="lakh, nes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--minutes", type=float, help="of training, a data set and seed")
    parser.add_argument("--profile", default="laptop")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    settings = profiles.load(chosen.profile).companions["midi_sandwich2"]
    minutes = chosen.minutes or settings["minutes"]
    runs = profiles.root() / "runs" / chosen.profile / "midi_sandwich"
    for name in chosen.kinds:
        began = time.perf_counter()
        rolls = at_hand(roll_data.prepare, SOURCES[name], settings["phrases"])
        facts = runs / name / "data.json"
        if not facts.exists():
            facts.parent.mkdir(parents=True, exist_ok=True)
            about = {"seconds_to_prepare": time.perf_counter() - began}
            about["left_out"] = rolls.left_out
            about["phrases"] = {split: len(bars) // 4 for split, bars in rolls.splits.items()}
            facts.write_text(json.dumps(about))
        for seed in chosen.seeds:
            home = runs / name / f"seed{seed}"
            if not (home / "result.json").exists():
                logs = train(rolls, home, settings, minutes, seed)
                values = {"minutes": minutes, "seed": seed}
                values |= {"curves": {stage: curve(log) for stage, log in logs.items()}}
                values |= measured(rolls, home, seed)
                (home / "result.json").write_text(json.dumps(values))
    values = {}
    for path in sorted(runs.glob("*/seed*/result.json")):
        known = json.loads((path.parents[1] / "data.json").read_text())
        kind = values.setdefault(path.parts[-3], {"data": known, "seeds": []})
        kind["seeds"].append(json.loads(path.read_text()))
    keep("midi_sandwich", values, chosen.write, shown={}, packages=("numpy", "torch"))


if __name__ == "__main__":
    main()
