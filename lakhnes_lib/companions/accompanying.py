"""Training an encoder-decoder on pairs by the clock, and composing targets with it.

Paper: none; after M. Murhu (2024), §3.3 and §3.4. Notebook: 10_complementary_tracks.
Differences from the thesis: the learning rate may rise at first and fall at the end, and the
gradient is clipped; a run that was stopped goes on. Composing may keep the grammar of the tokens:
a task's ``able`` says what may follow. The thesis draws from the three likeliest tokens.
"""

from math import inf
from statistics import fmean
from time import process_time

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence

from lakhnes_lib.companions.encoder_decoder import PADDING, EncoderDecoder
from lakhnes_lib.generation import sampling
from lakhnes_lib.models.devices import without_denormals
from lakhnes_lib.training import snapshots

VALID_BATCHES = 10
"""Of which the loss on valid is the mean, as in the thesis."""


def padded(rows) -> torch.Tensor:
    """Rows of ids as one int64 (rows, longest), with ``PADDING`` at the right."""
    return pad_sequence([torch.tensor(np.array(row, np.int64)) for row in rows], True, PADDING)


def batch_of(task, split: str, count: int, seed) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources and targets of so many pairs that the task draws by this seed."""
    random = np.random.default_rng(seed)
    sources, targets = zip(*(task.draw(split, random) for _ in range(count)), strict=True)
    return padded(sources), padded(targets)


@torch.inference_mode()
def valid_loss(model: EncoderDecoder, task, count: int) -> float:
    """Mean loss of the same batches of valid, in nats a token."""
    batches = (batch_of(task, "valid", count, [number, 1]) for number in range(VALID_BATCHES))
    return fmean(model.eval().loss(*batch).item() for batch in batches)


@without_denormals()
def train(model: EncoderDecoder, task, folder, how: dict, *, seed=0, probe=None) -> list[dict]:
    """Trains with Adam for so many steps or minutes, and writes the model into the folder.

    how: ``batch``; ``learning_rate``; ``steps``, or ``minutes`` of the processor's time, which does
    not depend on what else runs on the machine; ``evaluate_every`` so many steps; ``warmup``, the
    steps in which the rate rises; ``decay``, the last share of the training, in which it falls to
    nothing. probe: a function that measures more of the model at each evaluation.
    Returns a row for each evaluation: step, seconds, losses in nats a token, and what the probe
    gave. A run that was stopped goes on from its last evaluation, and one that has ended is not
    trained again.
    """
    how = {"steps": inf, "minutes": inf, "warmup": 1, "decay": 0} | how
    optimiser = torch.optim.Adam(model.parameters())
    torch.manual_seed(seed)
    step, seconds, done, log, losses = 0, 0.0, 0.0, [], []
    if snapshots.exists(folder):
        saved = snapshots.read(folder)
        step, seconds, done, log = (saved[name] for name in ("step", "seconds", "done", "log"))
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        torch.set_rng_state(saved["random"])
    while done < 1:
        began = process_time()
        fall = (1 - done) / how["decay"] if how["decay"] else 1.0
        rate = how["learning_rate"] * min(1.0, (step + 1) / how["warmup"], fall)
        optimiser.param_groups[0]["lr"] = rate
        loss = model.train().loss(*batch_of(task, "train", how["batch"], [seed, step]))
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        step, seconds = step + 1, seconds + process_time() - began
        done = max(step / how["steps"], seconds / (60 * how["minutes"]))
        if done < 1 and step % how["evaluate_every"]:
            continue
        row = {"step": step, "seconds": round(seconds, 1), "train_loss": fmean(losses)}
        row["valid_loss"] = valid_loss(model, task, how["batch"])
        log.append(row | (probe(model.eval()) if probe else {}))
        losses = []
        values = {"step": step, "seconds": seconds, "done": done, "log": log}
        values |= {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
        values |= {"config": model.config, "random": torch.get_rng_state()}
        snapshots.write(folder, values)
    return log


def load(folder) -> EncoderDecoder:
    """The model that ``train`` left in a folder, in evaluation mode. Raises BadCheckpoint."""
    saved = snapshots.read(folder)
    model = EncoderDecoder(**saved["config"])
    model.load_state_dict(saved["model"])
    return model.eval()


@torch.inference_mode()
def compose(
    model: EncoderDecoder, task, sources, targets, *, length: int, seed=0, masked=True, **drawing
) -> list[list[int]]:
    """A target for each source: its tokens from the start on, without the end.

    targets: what each begins with, lists of the same length: a start, and tokens to go on from, if
    any. length: tokens that are composed at most. masked: keep the grammar. drawing: temperature,
    top_k and top_p, as of ``sampling.sample``; without them every token may come. The same seed
    gives target i the same tokens, whatever the number of targets.
    """
    reading, state = model.eval().read(padded(sources)), None
    drawing = dict(temperature=1.0, top_k=None, top_p=1.0) | drawing
    made = [list(target) for target in targets]
    newest, ended = torch.tensor(made), np.zeros(len(made), bool)
    uniform = [np.random.default_rng([seed, row]).random(length) for row in range(len(made))]
    for step in range(length):
        logits, state = model.step(reading, newest, state)
        log_probs = logits[:, -1].log_softmax(-1).numpy()
        able = np.stack([task.able(row) for row in made]) if masked else log_probs > -np.inf
        darts = np.array([row[step] for row in uniform])
        chosen = sampling.draw(log_probs, able, darts, **drawing)
        ended |= (chosen == task.end) | (chosen < 0)
        if ended.all():
            break
        for row in np.flatnonzero(~ended):
            made[row].append(int(chosen[row]))
        newest = torch.from_numpy(np.where(ended, task.end, chosen)[:, None])
    return made
