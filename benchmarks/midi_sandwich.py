"""MIDI-Sandwich2 at the size of a laptop: trained by the clock, and measured as its paper does.

python benchmarks/midi_sandwich.py [lakh] [nes] [--seeds 0 1] [--minutes 36] [--write]

For each data set (five tracks of Lakh's folder 5, four voices of NES-MDB) and seed the stages of
``STAGES`` are trained, one after the other, each for its share of the minutes, on one core. A stage
that is over is saved in runs/PROFILE/midi_sandwich, from where a run that was stopped goes on. Then
the models are measured on songs that they have not seen (Lakh: valid; NES: test). Needs Lakh's
folder 5 and NES-MDB (`lakhnes data fetch`, or LAKHNES_MIRROR). With --write the numbers of all runs
that are over go to results/midi_sandwich.json.
"""

import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from _shared import arguments, at_hand, keep
from torch import Tensor
from torch.distributions import kl_divergence
from tqdm import tqdm

from lakhnes_lib import profiles
from lakhnes_lib.companions import fitting, piano_rolls, sandwich
from lakhnes_lib.companions.piano_rolls import BAR, BARS, BEAT, LAKH, NES, Kind, Rolls
from lakhnes_lib.companions.sandwich import STANDARD, Sandwich, by_track
from lakhnes_lib.data import corpora, fetching
from lakhnes_lib.data.corpus import SPLITS, split_of
from lakhnes_lib.errors import BadMidi
from lakhnes_lib.evaluation import musical_metrics, perplexity
from lakhnes_lib.generation import sampling
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import events, midi
from lakhnes_lib.training import snapshots

MINI = profiles.root() / "assets" / "pretrained" / "mini"
SOURCES = {"lakh": "lmd-full-5", "nes": "nesmdb-midi"}
HELD_OUT = {LAKH: "valid", NES: "test"}
MOST_BARS, PIECES, POINTS = 512, 40, 80
"""Bars on which is measured, pieces of 16 seconds for the musical metrics, and points of a
curve."""
C_MAJOR = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1])
SHORTEST = 3  # steps of a 32nd note
SIXTEENTH = np.array([1, 0.1, 0, 0, 0, 0.1])
"""Of the six steps of a sixteenth: how much a hit there counts."""
AS_PUBLISHED = {"temperature": 0.95, "top_k": 32, "memory_length": 512, "precision": "int8"}


@dataclass(frozen=True)
class Stage:
    """A part that is trained: ``bvaes``, ``fusion`` or ``refine``, for a share of the minutes.

    base: the stage whose model it goes on with; settings: of ``Sandwich``, where they differ;
    neuron: of ``Sandwich.refine_loss``.
    """

    part: str
    share: float
    base: str | None = None
    settings: dict = field(default_factory=dict)
    neuron: str | None = None


LOSSES = {
    "bvaes": Sandwich.track_loss,
    "fusion": Sandwich.fusion_loss,
    "refine": Sandwich.refine_loss,
}
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
STAGES |= {
    "independent_bar": Stage("refine", 1 / 30, "independent_sequence"),
    "independent_note": Stage("refine", 1 / 30, "independent_sequence", {"unit": "note"}),
    "by_the_book_bar": Stage("refine", 1 / 30, "by_the_book_sequence"),
}
STAGES |= {
    f"independent_{neuron}": Stage("refine", 1 / 30, "independent_sequence", neuron=neuron)
    for neuron in ("deterministic", "stochastic")
}
COMPLETE = {"as_published": "independent_bar", "by_the_book": "by_the_book_bar"}
"""The models that compose: all of whose parts are trained, with refinement by bars."""


def lakh_songs(paths, left_out: Counter):
    """Split and roll of each file, a tenth of which, by their content, is for valid; counts why
    files give nothing."""
    for path in tqdm(paths, desc="piano rolls", unit="file"):
        try:
            data = midi.read_bytes(path)
            roll = piano_rolls.lakh_roll(data, path)
        except BadMidi:
            left_out["damaged"] += 1
            continue
        left_out["not in 4/4, or longer than 500 bars"] += not len(roll[0])
        yield split_of(hashlib.sha256(data).hexdigest()), roll


def rolls_of(name: str, home: Path, most: int) -> tuple[Rolls, dict]:
    """Phrases of Lakh or of NES-MDB, and facts about them; made once, and kept in the folder."""
    kind, path, facts = {"lakh": LAKH, "nes": NES}[name], home / "rolls.npz", home / "data.json"
    if not facts.exists():
        home.mkdir(parents=True, exist_ok=True)
        began, left_out = time.perf_counter(), Counter()
        if kind is LAKH:
            folder = at_hand(fetching.fetch, SOURCES[name])
            songs = lakh_songs(sorted(folder.rglob("*.mid")), left_out)
        else:
            splits = at_hand(corpora.prepare, SOURCES[name]).splits.items()
            songs = (
                (split, piano_rolls.nes_roll(scores.score(index)))
                for split, scores in splits
                for index in range(len(scores))
            )
        rolls = piano_rolls.packed(kind, songs, most)
        np.savez_compressed(path, **rolls.splits)
        about = {"seconds_to_prepare": time.perf_counter() - began, "left_out": left_out}
        about["phrases"] = {split: len(bars) // BARS for split, bars in rolls.splits.items()}
        facts.write_text(json.dumps(about))
    with np.load(path) as file:
        rolls = Rolls(kind, {split: file[split] for split in SPLITS})
    return rolls, json.loads(facts.read_text())


def train(rolls: Rolls, home: Path, settings: dict, minutes: float, seed: int) -> dict:
    """Trains all stages, or goes on with the next one; returns the log of each."""
    logs = {}
    for name, stage in STAGES.items():
        if not snapshots.exists(home / name):
            model, how = built(rolls.kind, home, settings, stage, seed), settings["training"]
            few = 4 if stage.part == "refine" else 1  # convolutions of whole pictures
            options = {"neuron": stage.neuron} if stage.neuron else {}

            def loss(random, model=model, stage=stage, count=how["batch"] // few, options=options):
                return LOSSES[stage.part](model, rolls.batch(count, random), **options).mean(0)

            how = how | {"minutes": minutes * stage.share}
            log = fitting.fit(getattr(model, stage.part), loss, how, seed=seed)
            fitting.save(model, home / name, log)
            print(home.name, name, len(log), "steps, loss", log[-1]["loss"], flush=True)
        logs[name] = load(home, name)[1]
    return logs


def load(home: Path, name: str) -> tuple[Sandwich, list[dict]]:
    return fitting.load(Sandwich, home / name)


def built(kind: Kind, home: Path, settings: dict, stage: Stage, seed: int) -> Sandwich:
    """The model that a stage begins with: new, or that of its base with another part."""
    base = load(home, stage.base)[0] if stage.base else None
    new = dict(tracks=len(kind.tracks), pitches=kind.pitches, sizes=settings["sizes"])
    torch.manual_seed(seed)
    model = Sandwich(**(base.config if base else new) | stage.settings).eval()
    for part in ("bvaes", "fusion") if base else ():
        if part != stage.part:
            getattr(model, part).load_state_dict(getattr(base, part).state_dict())
    return model


def bound(model: Sandwich, x: Tensor, alone: bool = False) -> Tensor:
    """Upper bound on the nats of a bar, float (batch,), by one draw: the negative ELBO of what
    composes, with the deviations that it really has.

    alone: of the BVAEs without the upper VAE.
    """
    code = model.encode(x)
    q = model.narrow(code)
    nats = sandwich.cross_entropy(model.decode(q.rsample()), x).sum(1)
    if alone:
        return nats + kl_divergence(q, STANDARD).sum((1, 2))
    above = model.narrow(model.fuse(code))
    prior = model.narrow(sandwich.normal(model.fusion.decode(above.rsample())))
    return nats + kl_divergence(q, prior).sum((1, 2)) + kl_divergence(above, STANDARD).sum(-1)


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


def restored(model: Sandwich, x: Tensor, refined: bool = True) -> Tensor:
    """Bars that went through the whole system, as probabilities."""
    return in_batches(lambda part: model.compose(model.fuse(model.encode(part)).mean, refined), x)


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
def measured(rolls: Rolls, home: Path, seed: int) -> dict:
    """Everything that is measured of one data set and seed."""
    torch.manual_seed(seed)
    phrases = evenly(phrases_of(rolls.splits[HELD_OUT[rolls.kind]]), MOST_BARS // 4)
    x = torch.from_numpy(rolls.unpack(phrases)).float().flatten(0, 1)
    truth = x.bool()
    values = {"bars": len(x), "losses": {}, "reconstruction": {}, "restored": {}}
    for name in ("independent", "shared", "by_the_book"):
        model, _ = load(home, name)
        values["losses"][name] = in_batches(model.track_loss, x).mean(0).tolist()
        shown = in_batches(lambda part, m=model: m.decode(m.encode(part).mean), x) > 0
        values["reconstruction"][name] = agreement(shown, truth)
    for name, stage in STAGES.items():
        model, _ = load(home, name)
        if stage.part == "fusion":
            values["losses"][name] = float(in_batches(model.fusion_loss, x).mean())
            shown = (
                in_batches(lambda part, m=model: m.compose(m.fuse(m.encode(part)).mean, False), x)
                > 0.5
            )
            values["restored"][name] = agreement(shown, truth)
        elif stage.part == "refine":
            nats = in_batches(model.refine_loss, x, stage.neuron)
            values["losses"][name] = nats.mean(0).tolist()
            logits = in_batches(lambda part, m=model: m.decode(m.encode(part).mean), x)
            shown = in_batches(lambda part, m=model: by_track(m.refine, part), logits) > 0
            values["reconstruction"][name] = agreement(shown, truth)
    values["rolls"] = of_rolls(rolls, home, rolls.unpack(phrases))
    values["nats_a_bar"], values["spread"] = {}, {}
    for title, name in COMPLETE.items():
        model, _ = load(home, name)
        for ending, alone in (("", False), (", without fusion", True)):
            nats = in_batches(lambda part, m=model, a=alone: bound(m, part, a), x)
            values["nats_a_bar"][title + ending] = float(nats.mean())
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
    track = model.encode(x)
    widths = {"tracks": track, "fusion": model.fuse(track)}
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


def of_rolls(rolls: Rolls, home: Path, phrases: np.ndarray) -> dict:
    """Table I: the data, the generator without and with refinement, and the reducer."""
    sets, whole = {"data": phrases}, torch.from_numpy(phrases).float().flatten(0, 1)
    for title, name in COMPLETE.items():
        model, _ = load(home, name)
        drawn = torch.randn(len(whole), model.config["sizes"]["fusion_latent"])
        made = {
            "without refinement": in_batches(model.compose, drawn, False),
            "generator": in_batches(model.compose, drawn),
            "reducer": in_batches(
                lambda part, m=model: m.compose(m.fuse(m.encode(part)).mean), whole
            ),
        }
        for name, p in made.items():
            sets[f"{title}, {name}"] = phrases_of(p) > 0.5
            sets[f"{title}, {name}, as dense as real"] = as_dense(phrases_of(p), phrases) > 0.5
    return {
        title: {
            "metrics": plain(measure(each, rolls.kind)),
            "published": plain(measure(each, rolls.kind, published=True)),
            "cells": each.mean((0, 1, 3, 4)).tolist(),
            "next_bar": next_bar(each),
        }
        for title, each in sets.items()
    }


def measure(phrases: np.ndarray, kind: Kind, published: bool = False) -> dict[str, np.ndarray]:
    """MuseGAN's metrics of each track: name -> float (tracks,), NaN where there is nothing to
    measure. phrases: bool (phrases, bars, tracks, 96, pitches).

    Source: H.-W. Dong et al., "MuseGAN" (AAAI 2018), "Metrics for evaluation". Drum patterns count
    beginnings of hits here; the scale is C major for every song, as there, so a ratio near 7/12
    only says that the songs are in many keys.
    - scale_ratio: of the cells that sound, the share whose pitch class is in C major;
    - used_pitch_classes: how many pitch classes sound in a bar, on average, from 0 to 12;
    - qualified_notes: the share of notes that last three steps or more;
    - drum_patterns: of the hits of the drums, the share on a sixteenth of the beat; a hit one step
      beside it counts a tenth. NaN for the other tracks.

    published: the first two as the published code computes them. There a ``reshape`` puts seven
    neighbouring pitches together instead of all octaves of one pitch class, and the classes used
    are added up over the steps of a bar.
    """
    pitch = np.arange(kind.pitches)
    # Its groups leave out what is above 84 pitches, as the NES has it.
    classes = np.eye(13, 12)[pitch // 7 if published else (pitch + kind.lowest) % 12]
    cells = phrases @ classes  # (phrases, bars, tracks, 96, 12): cells that sound
    used = (cells > 0).sum((3, 4)) if published else (cells > 0).any(3).sum(3)
    sums, tracks = cells.sum((0, 1, 3)), len(kind.tracks)
    track, start, end, _ = piano_rolls.notes(
        phrases.swapaxes(1, 2).reshape(-1, BARS * BAR, kind.pitches)
    )
    track %= tracks
    with np.errstate(invalid="ignore"):  # of a silent track
        counts = np.bincount(track, minlength=tracks)
        on_beat = np.bincount(track, SIXTEENTH[start % 6], tracks) / counts
        return {
            "scale_ratio": sums @ C_MAJOR / sums.sum(1),
            "used_pitch_classes": used.mean((0, 1)),
            "qualified_notes": np.bincount(track, end - start >= SHORTEST, tracks) / counts,
            "drum_patterns": np.where(np.array(kind.tracks) == "Drums", on_beat, np.nan),
        }


def next_bar(phrases: np.ndarray) -> float | None:
    """How much of a bar comes back in the bar after it, as F1 of all cells; None for silence."""
    before, after = phrases[:, :-1], phrases[:, 1:]
    cells = before.sum() + after.sum()
    return float(2 * (before & after).sum() / cells) if cells else None


def of_nes(rolls: Rolls, home: Path, seed: int) -> dict:
    """NES pieces of 16 seconds beside LakhNES' in the metrics of notebook 09, likelihood of the
    same music, and speed."""
    windows = rolls.unpack(evenly(phrases_of(rolls.splits["test"]), PIECES))
    real = [piece(window) for window in windows]
    sets, speed = {"real": real}, {}
    for title, name in COMPLETE.items():
        model, _ = load(home, name)
        began = time.perf_counter()
        drawn = torch.randn(4 * PIECES, model.config["sizes"]["fusion_latent"])
        made = phrases_of(in_batches(model.compose, drawn))
        speed[title] = 4 * PIECES * BAR / BEAT / (time.perf_counter() - began)
        sets[f"{title}, generator"] = [piece(each) for each in made]
        sets[f"{title}, generator, as dense as real"] = [
            piece(each) for each in as_dense(made, windows)
        ]
        x = torch.from_numpy(windows).float().flatten(0, 1)
        restored = phrases_of(
            in_batches(lambda part, m=model: m.compose(m.fuse(m.encode(part)).mean), x)
        )
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
    minutes = chosen.minutes or settings["training"]["minutes"]
    runs = profiles.root() / "runs" / chosen.profile / "midi_sandwich"
    for name in chosen.kinds:
        rolls, _ = rolls_of(name, runs / name, settings["phrases"])
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
