"""What the time grid costs: how far waits and notes move when a song becomes events.

Paper: §3.2 ("apart from minor timing quantization ... a lossless transformation"). Notebook:
02_event_representation.
Differences from the paper: it states no figure; here the loss is measured, note by note.
"""

from typing import NamedTuple

import numpy as np

from lakhnes_lib.music import events, nes
from lakhnes_lib.music.events import LONGEST_WAIT, TICKS_OF, wait_ids


class GridLoss(NamedTuple):
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
    ids, ticks, offsets = events.timeline(notes, offsets, lengths)
    waits = events.waits_before(ticks, offsets)
    written = TICKS_OF[wait_ids(waits)] * (waits > 0)
    late = np.append(0, np.cumsum(written - waits))  # before each event of all songs
    onset_errors = late[1:] - np.repeat(late[offsets[:-1]], np.diff(offsets))
    missing = np.append(0, np.cumsum(np.maximum(waits - LONGEST_WAIT, 0)))
    cut = np.diff(missing[offsets])
    # A song's note-ons stand in the order of its notes: by start, then voice.
    is_note_on = events.IS_NOTE_ON[ids]
    return GridLoss(waits[waits > 0], written[waits > 0], onset_errors[is_note_on], cut)


def spread(ticks: np.ndarray) -> dict[str, float]:
    """Median, 99th percentile and largest absolute value of ticks, in milliseconds.

    Zeros if there are no ticks.
    """
    sizes = np.abs(ticks) * (1000 / nes.TICKS_PER_SECOND) if len(ticks) else np.zeros(1)
    median, p99 = float(np.median(sizes)), float(np.percentile(sizes, 99))
    return {"median": median, "p99": p99, "worst": float(sizes.max())}
