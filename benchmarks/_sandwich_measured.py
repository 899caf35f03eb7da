"""MIDI-Sandwich2: the models of a run measured on songs that they have not seen."""

from pathlib import Path

import numpy as np
import torch
from _sandwich_metrics import agreement, by_cells, measure, next_bar, plain
from _sandwich_music import of_nes
from _sandwich_phrases import as_dense, evenly, phrases_of
from _sandwich_stages import COMPLETE, STAGES, in_batches, load, restored
from torch import Tensor
from torch.distributions import kl_divergence

from lakhnes_lib.companions import piano_rolls, sandwich
from lakhnes_lib.companions.piano_rolls import LAKH, NES, Rolls
from lakhnes_lib.companions.sandwich import STANDARD, Sandwich, by_track

HELD_OUT = {LAKH: "valid", NES: "test"}
MOST_BARS = 512  # on which is measured


@torch.inference_mode()
def measured(rolls: Rolls, home: Path, seed: int) -> dict:
    """Everything that is measured of one data set and seed."""
    torch.manual_seed(seed)
    phrases = evenly(phrases_of(rolls.splits[HELD_OUT[rolls.kind]]), MOST_BARS // 4)
    x = rolls.floats(phrases).flatten(0, 1)
    values = {"bars": len(x), "losses": {}, "reconstruction": {}, "restored": {}, "upper_code": {}}
    for name in ("independent", "shared", "by_the_book"):
        model, _ = load(home, name)
        values["losses"][name] = in_batches(model.track_loss, x).mean(0).tolist()
        logits = in_batches(lambda part, m=model: m.decode(m.encode(part).mean), x)
        values["reconstruction"][name] = come_back(logits.sigmoid(), x)
    for name, stage in STAGES.items():
        model, _ = load(home, name)
        if stage.part == "fusion":
            values["losses"][name] = float(
                in_batches(lambda p, m=model: m.fusion_loss(m.encode(p)), x).mean()
            )
            values["restored"][name] = come_back(restored(model, x, refined=False), x)
            own = in_batches(lambda p, m=model: kl_divergence(m.fuse(m.encode(p)), STANDARD), x)
            values["upper_code"][name] = float(own.sum(-1).mean())
        elif stage.part == "refine":
            nats = in_batches(model.refine_loss, x, stage.neuron)
            values["losses"][name] = nats.mean(0).tolist()
            logits = in_batches(lambda part, m=model: m.decode(m.encode(part).mean), x)
            logits = in_batches(lambda part, m=model: by_track(m.refine, part), logits)
            values["reconstruction"][name] = come_back(logits.sigmoid(), x)
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
    values["nats_a_bar"] |= by_cells(counted, x.bool().numpy())
    if rolls.kind is piano_rolls.NES:
        values |= of_nes(rolls, home, seed)
    return values


def come_back(p: Tensor, x: Tensor) -> dict:
    """How well probabilities of cells fit real bars: of the cells above 1/2, and F1 of as many
    cells of each track as sound in real bars, the likeliest ones."""
    dense = torch.from_numpy(as_dense(phrases_of(p), phrases_of(x)) > 0.5).flatten(0, 1)
    likeliest = agreement(dense, x.bool())["f1"]
    return agreement(p > 0.5, x.bool()) | {"f1_as_dense": likeliest}


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


def spread(model: Sandwich, x: Tensor) -> dict:
    """How wide the codes of real bars lie, and how wide each code's own distribution is (the
    root of the mean square over all numbers). What is drawn for new music has a deviation of 1."""
    track = model.encode(x)
    widths = {"tracks": track, "fusion": model.fuse(track)}
    return {
        name: {
            "means": float(q.mean.var(0, correction=0).mean().sqrt()),
            "drawn_from": float(model.deviation * q.variance.mean().sqrt()),
        }
        for name, q in widths.items()
    }


def of_rolls(rolls: Rolls, home: Path, phrases: np.ndarray) -> dict:
    """Table I: the data, the generator without and with refinement, and the reducer."""
    sets, whole = {"data": phrases}, torch.from_numpy(phrases).float().flatten(0, 1)
    for title, name in COMPLETE.items():
        model, _ = load(home, name)
        drawn = torch.randn(len(whole), model.config["sizes"]["fusion_latent"])
        made = {
            "without refinement": in_batches(model.compose, drawn, False),
            "generator": in_batches(model.compose, drawn),
            "reducer": restored(model, whole),
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
