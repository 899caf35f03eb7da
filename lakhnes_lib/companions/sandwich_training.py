"""Training MIDI-Sandwich2 in two stages and the refine net, and its checkpoints.

Source: X. Liang, J. Wu and J. Cao, "MIDI-Sandwich2" (2019), §III.C. Notebook: 11_midi_sandwich.
First the BVAEs, each by itself; then, with these frozen, the MFG-VAE; and the refine net.
Differences from the paper: Adam for all of it, at a rate that falls to nothing.
"""

import json
from math import inf
from time import monotonic

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from lakhnes_lib.companions.roll_data import Rolls
from lakhnes_lib.companions.sandwich import Sandwich
from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.files import write_file
from lakhnes_lib.models.devices import without_denormals

CLIP = 1.0
"""Greatest length of a gradient. Losses are sums, so that nearly all are longer."""


@without_denormals()
def fit(
    part, loss, rolls: Rolls, *, batch=32, learning_rate=0.002, steps=inf, minutes=inf, seed=0
) -> list[dict]:
    """Trains a part of a model on train, for so many steps, or minutes if these are over first.

    part: a module; loss: float rolls (batch, tracks, 96, pitches) -> (batch,) or (batch, tracks).
    Returns of each step its ``seconds`` since the beginning, and its ``loss``, the mean over the
    batch: a number, or a list with one of each track.

    Example: ``fit(model.bvaes, model.track_loss, prepare("band"), steps=100)``
    """
    torch.manual_seed(seed)
    random, began, log = np.random.default_rng(seed), monotonic(), []
    bars = rolls.splits["train"]
    optimiser = torch.optim.Adam(part.parameters(), learning_rate)
    share = 0.0
    part.train()
    while share < 1:
        optimiser.param_groups[0]["lr"] = learning_rate * (1 - share)
        rows = random.choice(len(bars), min(batch, len(bars)), replace=False)
        losses = loss(torch.from_numpy(rolls.unpack(bars[rows])).float()).mean(0)
        optimiser.zero_grad()
        losses.sum().backward()
        nn.utils.clip_grad_norm_(part.parameters(), CLIP)
        optimiser.step()
        log.append({"seconds": monotonic() - began, "loss": losses.tolist()})
        share = max(len(log) / steps, log[-1]["seconds"] / (60 * minutes))
    part.eval()
    return log


def save(model: Sandwich, path) -> None:
    """Writes weights and settings as one safetensors file. Raises OutOfSpace."""
    settings = {"config": json.dumps(model.config)}
    write_file(path, safetensors.torch.save(model.state_dict(), settings))


def load(path) -> Sandwich:
    """The model that ``save`` wrote, in evaluation mode. Raises BadCheckpoint."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            model = Sandwich(**json.loads(file.metadata()["config"]))
        model.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, safetensors.SafetensorError):
        raise BadCheckpoint(f"{path}: is no model of MIDI-Sandwich2") from None
    return model.eval()
