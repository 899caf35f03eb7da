"""Facts on pairs of events: which group of events follows which."""

import numpy as np

from lakhnes_lib.music import events


def group_of(event: int) -> str:
    """The name of an event's group: waits by their number of ticks, notes by voice and octave."""
    parts = events.VOCABULARY[event].split("_")
    if parts[0] == "WT":
        top = 10 ** int(np.ceil(np.log10(max(int(parts[1]), 10))))
        return f"{top // 10 + (top > 10):,}–{top:,} ticks"
    if parts[-1] == "NOTEOFF":
        return f"{parts[0]} off"
    if parts[0] == "NO":
        return "NO 1–8" if int(parts[2]) <= 8 else "NO 9–16"
    return parts[0] if len(parts) < 3 else f"{parts[0]} octave {int(parts[2]) // 12 - 1}"


NAMES = [group_of(event) for event in range(len(events.VOCABULARY))]
GROUPS = list(dict.fromkeys(NAMES))
"""The groups in the order of their first events' ids."""
INDEX = np.array([GROUPS.index(name) for name in NAMES])
"""int64 (631,): the group of each event."""


def following(split) -> np.ndarray:
    """int64 (groups, groups): how often an event of one group (row) is followed by one of another,
    in framed songs."""
    pairs = np.zeros(len(GROUPS) ** 2, np.int64)
    for song in split.framed():
        group = INDEX[song]
        pairs += np.bincount(group[:-1] * len(GROUPS) + group[1:], minlength=len(pairs))
    return pairs.reshape(len(GROUPS), len(GROUPS))
