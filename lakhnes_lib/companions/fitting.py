"""One training loop for all networks of the companions, and the folders that keep them.

Paper: none; the papers of the companions train with Adam. Notebooks: 10_complementary_tracks,
11_midi_sandwich. The music of LakhNES is read in streams, with memory, and its training
(``training/trainer.py``) stops early; here every step draws its own excerpts, and a training ends
after so many steps or minutes.
Differences from the papers: the learning rate may rise at first and fall at the end, and the
gradient is clipped.
"""

import shutil
from math import inf
from pathlib import Path
from time import process_time

import numpy as np
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from lakhnes_lib.models.devices import without_denormals
from lakhnes_lib.training import snapshots

CLIP = 1.0
"""Greatest length of a gradient."""
UNFINISHED = "unfinished"
"""Folder, in that of a model, with the snapshot of a training that has not ended."""


@without_denormals()
def fit(part: nn.Module, loss, how: dict, *, seed=0, watch=dict, folder=None) -> list[dict]:
    """Trains a part of a model with Adam, for so many steps, or minutes if these are over first.

    part: whose weights change; it is left in evaluation mode. loss: a function of a NumPy generator
    that draws a batch, and of the share of the training that is over (0 to 1); it returns what is
    to be made small: a number, or (n,) of which the sum is.
    how: ``learning_rate``; ``steps``; ``minutes`` of the processor's time, which does not depend on
    what else runs on the machine; ``warmup``, the steps in which the rate rises; ``decay``, the
    last share of the training, in which it falls to nothing. watch: a function that measures more,
    as a dict, at the end and after each ``evaluate_every`` steps; its time does not count.
    folder: where ``save`` will write the model. With it a training that was killed goes on from its
    last measuring.
    Returns of each step its ``seconds`` since the beginning, its ``loss``, and what was measured.
    Raises OutOfSpace, and BadCheckpoint if the snapshot is damaged.

    Example: ``fit(net, lambda random, done: net.loss(draw(random)), dict(steps=9, …))``
    """
    how = dict(steps=inf, minutes=inf, warmup=1, decay=0.0, evaluate_every=100) | how
    optimiser = torch.optim.Adam(part.parameters())
    torch.manual_seed(seed)
    random, log, seconds, done = np.random.default_rng(seed), [], 0.0, 0.0
    unfinished = Path(folder or "") / UNFINISHED
    if folder and snapshots.exists(unfinished):
        saved = snapshots.read(unfinished)
        part.load_state_dict(saved["part"])
        optimiser.load_state_dict(saved["optimiser"])
        torch.set_rng_state(saved["torch"])
        random.bit_generator.state, log = saved["numpy"], saved["log"]
        seconds, done = log[-1]["seconds"], saved["done"]
    while done < 1:
        began = process_time()
        falling = float(np.interp(done, [0, 1 - how["decay"], 1], [1, 1, 0]))
        share = min(falling, (len(log) + 1) / how["warmup"])
        optimiser.param_groups[0]["lr"] = how["learning_rate"] * share
        part.train()
        losses = loss(random, done)
        optimiser.zero_grad()
        losses.sum().backward()
        clip_grad_norm_(part.parameters(), CLIP)
        optimiser.step()
        part.eval()
        seconds += process_time() - began
        log.append({"seconds": seconds, "loss": losses.tolist()})
        done = max(len(log) / how["steps"], seconds / (60 * how["minutes"]))
        if done >= 1 or len(log) % how["evaluate_every"] == 0:
            log[-1] |= watch()
            if folder:
                values = {"part": part.state_dict(), "optimiser": optimiser.state_dict()}
                values |= {"torch": torch.get_rng_state(), "numpy": random.bit_generator.state}
                snapshots.write(unfinished, values | {"log": log, "done": done})
    part.eval()
    return log


def save(model: nn.Module, folder, log: list[dict]) -> None:
    """Writes a model with its ``config``, and the log of its training. Raises OutOfSpace."""
    snapshots.write(folder, {"config": model.config, "model": model.state_dict(), "log": log})
    shutil.rmtree(Path(folder) / UNFINISHED, ignore_errors=True)


def load(kind: type, folder) -> tuple[nn.Module, list[dict]]:
    """The model of this class that ``save`` wrote, in evaluation mode, and the log.

    Raises BadCheckpoint if the file is damaged.
    """
    saved = snapshots.read(folder)
    model = kind(**saved["config"])
    model.load_state_dict(saved["model"])
    return model.eval(), saved["log"]
