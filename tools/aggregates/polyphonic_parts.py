"""The fact ``polyphonic`` of ``lakh.json``: of the files that have no single-note part, how many
have one whose notes only overlap a little."""

import numpy as np

from lakhnes_lib.data import fetching
from lakhnes_lib.errors import DataNotFound, Rejected
from lakhnes_lib.music import filters, mapping, nes
from lakhnes_lib.music.tracks import read_tracks

OVERLAPS = (0.025, 0.05, 0.1, 0.2)
"""Seconds: notes that overlap by less may be legato. The third is that of notebook 03."""
TOGETHER = 0.03
"""Seconds: notes that begin no farther apart than this are a chord."""


def longest_overlap(notes: np.ndarray) -> float:
    """Seconds by which notes overlap the next one, at most; infinite if two begin together.

    notes: ``TRACK_NOTE`` records by start.
    """
    if (np.diff(notes["start"]) <= TOGETHER * nes.TICKS_PER_SECOND).any():
        return np.inf
    overlaps = notes["end"][:-1] - notes["start"][1:]
    return overlaps.max(initial=0) / nes.TICKS_PER_SECOND


def refused_parts(paths) -> dict:
    """How many parts of the files that are refused as polyphonic are legato, and of how many files;
    paths: MIDI files of any kind."""
    shortest, parts, legato = [], 0, np.zeros(len(OVERLAPS), np.int64)
    for path in paths:
        try:
            mapping.candidates(path)
        except Rejected as error:
            if error.reason == "polyphonic":
                melodies = [track.notes for track in read_tracks(path) if not track.is_drum]
                overlaps = [longest_overlap(notes) for notes in filter(filters.in_range, melodies)]
                parts += len(overlaps)
                legato += np.less.outer(overlaps, OVERLAPS).sum(0)
                shortest.append(min(overlaps))
    return {
        "files": len(shortest),
        "parts": parts,
        "overlap_below_seconds": OVERLAPS,
        "legato_parts": legato,
        "files_with_legato_part": np.less.outer(shortest, OVERLAPS).sum(0),
    }


def polyphonic(lakh) -> dict:
    """One fact: how many refused files have a part of single notes that only overlap a little;
    without counts if the files are not here."""
    fact = {
        "description": "Files that are refused since each part in reach of the NES is polyphonic, "
        "and their parts; how many parts are legato, that is, their notes begin more than 30 ms "
        "apart and overlap the next one by less than so many seconds; and how many files have "
        "such a part, so that they would stay if its notes were cut.",
        "files": 0,
    }
    paths = sorted(fetching.folder("lmd-full-5").rglob("*.mid"))
    if not paths:
        return fact
    counts = refused_parts(paths)
    if counts["files"] != lakh.manifest["files"]["rejected"]["polyphonic"]:
        raise DataNotFound("the files of lmd-full-5 are not those that were mapped")
    return fact | counts
