"""MIDI-Sandwich2: what is counted in piano rolls, MuseGAN's metrics among it."""

import numpy as np
import torch
from torch import Tensor

from lakhnes_lib.companions import piano_rolls
from lakhnes_lib.companions.piano_rolls import BAR, BARS, Kind

C_MAJOR = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1])
SHORTEST = 3  # steps of a 32nd note
# Of the six steps of a sixteenth: how much a hit there counts.
SIXTEENTH = np.array([1, 0.1, 0, 0, 0, 0.1])


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


def plain(metrics: dict) -> dict:
    return {name: [None if np.isnan(v) else round(float(v), 4) for v in each]
            for name, each in metrics.items()}  # fmt: skip
