"""MuseGAN's metrics of piano rolls, and what the published code of MIDI-Sandwich2 measures instead.

Source: H.-W. Dong et al., "MuseGAN" (AAAI 2018), "Metrics for evaluation"; X. Liang, J. Wu and J.
Cao, "MIDI-Sandwich2" (2019), Table I. Notebook: 11_midi_sandwich. Differences from the papers: drum
patterns count beginnings of hits; the scale is C major for every song, as there, so a ratio near
7/12 only says that the songs are in many keys.
"""

import numpy as np

from lakhnes_lib.companions.piano_rolls import BAR, BARS, Kind, notes

METRICS = {
    "scale_ratio": "cells in C major, share",
    "used_pitch_classes": "pitch classes used in a bar",
    "qualified_notes": "notes of a 32nd or longer, share",
    "drum_patterns": "drum hits on sixteenths, share",
}
"""Every metric, with its title and unit."""
_C_MAJOR = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1])
_SHORTEST = 3  # steps of a 32nd note
_SIXTEENTH = np.array([1, 0.1, 0, 0, 0, 0.1])
"""Of the six steps of a sixteenth: how much a hit there counts."""


def measure(phrases: np.ndarray, kind: Kind, published: bool = False) -> dict[str, np.ndarray]:
    """Every metric of each track: name -> float (tracks,), NaN where there is nothing to measure.

    phrases: bool (phrases, bars, tracks, 96, pitches).
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
    group = pitch // 7 if published else (pitch + kind.lowest) % 12
    cells = np.stack([phrases[..., group == n].sum(-1) for n in range(12)], -1)
    with np.errstate(invalid="ignore"):  # a silent track: (phrases, bars, tracks, 96, 12) above
        scale = cells.sum((0, 1, 3)) @ _C_MAJOR / cells.sum((0, 1, 3, 4))
        used = (cells > 0).sum((-1, 3)) if published else (cells.sum(3) > 0).sum(-1)
        rolls = phrases.swapaxes(1, 2).reshape(-1, BARS * BAR, kind.pitches)
        track, start, end, _ = notes(rolls)
        track, tracks = track % len(kind.tracks), len(kind.tracks)
        counts = np.bincount(track, minlength=tracks)
        long = np.bincount(track, end - start >= _SHORTEST, minlength=tracks) / counts
        on_beat = np.bincount(track, _SIXTEENTH[start % 6], minlength=tracks) / counts
    drums = np.where(np.array(kind.tracks) == "Drums", on_beat, np.nan)
    return dict(zip(METRICS, (scale, used.mean((0, 1)), long, drums), strict=True))
