"""What the time grid costs: how far waits and notes move when a song becomes events.

Paper: §3.2 ("apart from minor timing quantization ... a lossless transformation"). Notebook:
02_event_representation.
Differences from the paper: it states no figure; here the loss is measured, note by note.
"""

from dataclasses import dataclass

import numpy as np

from lakhnes_lib.music import nes
from lakhnes_lib.music.events import LONGEST_WAIT, TICKS_OF, wait_ids


@dataclass(frozen=True)
class GridLoss:
    """What rounding to the grid does to the waits, the notes and the length of many songs.

    waits, written: int64 (waits,), each wait in ticks as it is and as its event says, song by song.
    onset_errors: int64 (notes,), ticks by which each note starts late (negative: early), counted
    from its song's beginning. cut: int64 (songs,), ticks missing from each song because a wait was
    longer than the longest event.
    """

    waits: np.ndarray
    written: np.ndarray
    onset_errors: np.ndarray
    cut: np.ndarray


def grid_loss(notes: np.ndarray, offsets, lengths) -> GridLoss:
    """The loss of many songs at once; arguments as in ``events.encode_songs``."""
    offsets, lengths = np.asarray(offsets, np.int64), np.asarray(lengths, np.int64)
    # The songs are laid end to end, one tick apart, and all their moments sorted at once.
    begins = np.append(0, np.cumsum(lengths + 1))[:-1]
    shift = np.repeat(begins, np.diff(offsets))
    starts, ends = shift + notes["start"], shift + notes["end"]
    times = np.unique(np.concatenate([begins, begins + lengths, starts, ends]))
    first = np.searchsorted(times, begins)  # each song's first moment
    waits = np.diff(times, prepend=0)
    waits[first] = 0  # no wait leads from one song to the next
    written = TICKS_OF[wait_ids(waits)] * (waits > 0)
    late = np.cumsum(written - waits)
    late -= np.repeat(late[first], np.diff(first, append=len(times)))
    missing = np.append(0, np.cumsum(np.maximum(waits - LONGEST_WAIT, 0)))
    cut = np.diff(missing[np.append(first, len(times))])
    onset_errors = late[np.searchsorted(times, starts)]
    return GridLoss(waits[waits > 0], written[waits > 0], onset_errors, cut)


def spread(ticks: np.ndarray) -> dict[str, float]:
    """Median, 99th percentile and largest absolute value of ticks, in milliseconds.

    Zeros if there are no ticks.
    """
    sizes = np.abs(ticks) * (1000 / nes.TICKS_PER_SECOND) if len(ticks) else np.zeros(1)
    return {
        "median": float(np.median(sizes)),
        "p99": float(np.percentile(sizes, 99)),
        "worst": float(sizes.max()),
    }
