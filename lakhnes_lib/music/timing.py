"""What the time grid costs: how far waits and notes move when a song becomes events.

Paper: §3.2 ("apart from minor timing quantization ... a lossless transformation"). Notebook: 02_event_representation.
Differences from the paper: it states no figure; here the loss is measured, note by note.
"""

from dataclasses import dataclass

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.events import LONGEST_WAIT, TICKS_OF, wait_ids


@dataclass(frozen=True)
class GridLoss:
    """waits, written: int64 (waits,), each wait in ticks as it is and as its event says, song after song.
    onset_errors: int64 (notes,), ticks by which each note starts late (negative: early), from its song's beginning.
    cut: int64 (songs,), ticks missing from each song because a wait was longer than the longest event.
    """

    waits: np.ndarray
    written: np.ndarray
    onset_errors: np.ndarray
    cut: np.ndarray


def grid_loss(notes: np.ndarray, offsets, lengths) -> GridLoss:
    """The loss of many songs at once, in the form of a corpus' split.

    notes: ``NOTE`` records of all songs, one after the other; offsets: int64 (songs + 1,) into them;
    lengths: int64 (songs,) in ticks.
    """
    offsets, lengths = np.asarray(offsets, np.int64), np.asarray(lengths, np.int64)
    if not len(lengths):
        none = np.zeros(0, np.int64)
        return GridLoss(none, none, none, none)
    begins = np.concatenate(
        [[0], np.cumsum(lengths + 1)[:-1]]
    )  # songs laid end to end, one tick apart
    shift = np.repeat(begins, np.diff(offsets))
    times = np.unique(
        np.concatenate([begins, begins + lengths, shift + notes["start"], shift + notes["end"]])
    )
    first = np.searchsorted(times, begins)
    waits = np.diff(times, prepend=0)
    waits[first] = 0  # no wait leads from one song to the next
    written = TICKS_OF[wait_ids(waits)] * (waits > 0)
    late = np.cumsum(written - waits)
    late -= np.repeat(late[first], np.diff(first, append=len(times)))
    cut = np.add.reduceat(np.maximum(waits - LONGEST_WAIT, 0), first)
    return GridLoss(
        waits[waits > 0],
        written[waits > 0],
        late[np.searchsorted(times, shift + notes["start"])],
        cut,
    )


def spread(ticks: np.ndarray) -> dict[str, float]:
    """Median, 99th percentile and largest absolute value of some ticks, in milliseconds; zeros if there are none."""
    size = np.abs(ticks) if len(ticks) else np.zeros(1)
    milliseconds = 1000 / nes.TICKS_PER_SECOND
    return {
        "median": float(np.median(size)) * milliseconds,
        "p99": float(np.percentile(size, 99)) * milliseconds,
        "worst": float(size.max()) * milliseconds,
    }
