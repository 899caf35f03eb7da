"""The exercises of notebook 11: what their checks need, and answers that are wrong."""

import numpy as np
import torch
from exercises import Lesson
from torch.distributions import kl_divergence

from lakhnes_lib.companions import piano_rolls

NAME = "11_midi_sandwich"
GIVEN = {"np": np, "torch": torch, "kl_divergence": kl_divergence, "piano_rolls": piano_rolls}


def by_deviation(mean, log_variance):
    """Wrong: it takes the logarithm for that of the deviation."""
    return float((mean**2 + np.exp(2 * log_variance) - 2 * log_variance - 1).sum() / 2)


def only_at_once(start, end, pitch):
    """Wrong: notes that overlap are told apart."""
    ends = set(zip(pitch.tolist(), end.tolist(), strict=True))
    return sum(each in ends for each in zip(pitch.tolist(), start.tolist(), strict=True))


def any_pitch(start, end, pitch):
    """Wrong: pitches are not told apart."""
    latest, count = -1, 0
    for n in np.argsort(start, kind="stable").tolist():
        count += start[n] <= latest
        latest = max(latest, end[n])
    return int(count)


def in_given_order(start, end, pitch):
    """Wrong: it takes the notes to be sorted by their beginnings."""
    count, latest = 0, {}
    for first, last, row in zip(start.tolist(), end.tolist(), pitch.tolist(), strict=True):
        count += first <= latest.get(row, -1)
        latest[row] = max(latest.get(row, -1), last)
    return count


def of_one_length(a, b, share):
    """Wrong: between the directions of both, as long as the first."""
    length = np.linalg.norm(a)
    a, b = a / length, b / np.linalg.norm(b)
    angle = np.arccos(a @ b)
    return length * (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)


LESSONS = [
    Lesson(
        NAME,
        checks={
            "divergence": "is_divergence",
            "merged": "is_merged",
            "spherical": "is_spherical",
            "polyphony": "is_polyphony",
            "active": "is_active",
        },
        wrong={
            "divergence": (by_deviation, lambda mean, log_variance: 0.0),
            "merged": (only_at_once, any_pitch, in_given_order, lambda start, end, pitch: 0),
            "spherical": (lambda a, b, share: (1 - share) * a + share * b, of_one_length),
            "polyphony": (
                lambda phrases: (phrases.sum(-1) > 1).mean((0, 1, 3)),
                lambda phrases: (phrases.sum(-1) > 2).mean((0, 1, 2)),
            ),
            "active": (
                lambda means: int((means.std(0) > 0.01).sum()),
                lambda means: int(((means**2).mean(0) > 0.01).sum()),
            ),
        },
        given=lambda: dict(GIVEN),
        solved_with=lambda: dict(GIVEN),
    )
]
