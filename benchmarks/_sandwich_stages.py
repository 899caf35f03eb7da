"""MIDI-Sandwich2: the stages of its training, and the models that they save."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lakhnes_lib.companions import fitting, sandwich
from lakhnes_lib.companions.piano_rolls import Kind, Rolls
from lakhnes_lib.companions.sandwich import Sandwich
from lakhnes_lib.training import snapshots


@dataclass(frozen=True)
class Stage:
    """A part that is trained: ``bvaes``, ``fusion`` or ``refine``.

    base: the stage whose model it goes on with; settings: of ``Sandwich``, where they differ;
    neuron: of ``Sandwich.refine_loss``; rising: whether the weight of ``Sandwich.fusion_loss``
    rises from 0 to 1 in the profile's share ``rising`` of the training; otherwise it is 1 at once.
    """

    part: str
    base: str | None = None
    settings: dict = field(default_factory=dict)
    neuron: str | None = None
    rising: bool = False


LOSSES = {
    "bvaes": Sandwich.track_loss,
    "fusion": Sandwich.fusion_loss,
    "refine": Sandwich.refine_loss,
}
BY_THE_BOOK = {"deviation": 1.0}
STAGES = {
    "independent": Stage("bvaes"),
    "shared": Stage("bvaes", settings={"shared": True}),
    "by_the_book": Stage("bvaes", settings=BY_THE_BOOK),
}
STAGES |= {
    f"{base}_{strategy}": Stage("fusion", base, {"strategy": strategy}, rising=rising)
    for base, rising in (("independent", False), ("by_the_book", True))
    for strategy in sandwich.STRATEGIES
}
STAGES |= {
    "by_the_book_at_once": Stage("fusion", "by_the_book"),  # its weight is 1 at once
    "independent_bar": Stage("refine", "independent_sequence"),
    "independent_note": Stage("refine", "independent_sequence", {"unit": "note"}),
    "by_the_book_bar": Stage("refine", "by_the_book_sequence"),
}
STAGES |= {
    f"independent_{neuron}": Stage("refine", "independent_sequence", neuron=neuron)
    for neuron in ("deterministic", "stochastic")
}
# The models that compose: all of whose parts are trained, with refinement by bars.
COMPLETE = {"as_published": "independent_bar", "by_the_book": "by_the_book_bar"}
POINTS = 80  # of a curve


def train(rolls: Rolls, home: Path, settings: dict, minutes: float, seed: int) -> dict:
    """Trains all stages, or goes on with the next one; returns the log of each."""
    logs = {}

    @cache
    def codes(base: str) -> Tensor:
        return codes_of(rolls, load(home, base)[0])

    for name, stage in STAGES.items():
        if not snapshots.exists(home / name):
            model = built(rolls.kind, home, settings, stage, seed)
            how = settings["training"] | settings.get(stage.part, {})

            # The codes are computed before the minutes of the first training that reads them.
            known = codes(stage.base) if stage.part == "fusion" else None
            batch = batches(rolls, how["batch"], known)

            def loss(random, done, model=model, stage=stage, batch=batch):
                options = {"neuron": stage.neuron} if stage.neuron else {}
                if stage.rising:
                    options["weight"] = min(1.0, done / settings["rising"])
                return LOSSES[stage.part](model, batch(random), **options).mean(0)

            how = how | {"minutes": minutes * settings["shares"][stage.part]}
            log = fitting.fit(getattr(model, stage.part), loss, how, seed=seed, folder=home / name)
            fitting.save(model, home / name, log)
            print(home.name, name, len(log), "steps, loss", log[-1]["loss"], flush=True)
        logs[name] = load(home, name)[1]
    return logs


@torch.no_grad()
def codes_of(rolls: Rolls, model: Sandwich) -> Tensor:
    """What the frozen encoders say of every bar of train: (bars, tracks, 2 latent)."""
    train = rolls.splits["train"]
    parts = np.array_split(train, -(-len(train) // 64))
    return torch.cat([model.code(rolls.floats(bars)) for bars in parts])


def batches(rolls: Rolls, count: int, codes: Tensor | None = None):
    """A function of a NumPy generator that draws so many bars of train: rolls, or with the codes of
    all bars, which the upper VAE reads, their distributions."""
    if codes is None:
        return lambda random: rolls.batch(count, random)
    return lambda random: sandwich.normal(codes[random.integers(len(codes), size=count)])


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


def in_batches(work, x: Tensor, *rest) -> Tensor:
    return torch.cat([work(part, *rest) for part in x.split(64)])


def restored(model: Sandwich, x: Tensor, refined: bool = True) -> Tensor:
    """Bars that went through the whole system, as probabilities."""
    return in_batches(lambda part: model.compose(model.fuse(model.encode(part)).mean, refined), x)


def curve(log: list[dict]) -> dict:
    """A log in at most ``POINTS`` points: the mean loss of as many steps."""
    parts = np.array_split(np.arange(len(log)), min(POINTS, len(log)))
    losses = np.array([row["loss"] for row in log])
    return {
        "step": [int(part[-1]) + 1 for part in parts],
        "loss": [losses[part].mean(0).round(3).tolist() for part in parts],
        "seconds": round(log[-1]["seconds"], 1),
    }
