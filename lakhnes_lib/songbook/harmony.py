"""Chords for a tune that has none: in each bar the triad of its key that fits the melody best.

Paper: none. Notebook: 01_nes_ensemble. Folk tunes are often written without chord symbols.
"""

import numpy as np

from lakhnes_lib.songbook.sheets import NATURALS, Bar, Chord, sounding

PREFERENCE = {0: 0.25, 3: 0.15, 4: 0.15}
"""What the first, fourth and fifth degrees of the key count more, as a share of the bar."""


def chords(melody: np.ndarray, bars: tuple[Bar, ...], signature) -> list[tuple[int, Chord]]:
    """Start and chord of each bar.

    melody, bars: of a ``LeadSheet``. signature: the key, an ``abc_fields.Signature``. A pickup has
    no chord. A note on a beat counts twice.
    """
    tonic = list(NATURALS).index(signature.tonic)
    scale = [pitch + signature.alters[name] for name, pitch in NATURALS.items()]
    triads = {}
    for degree in range(7):
        root, third, fifth = (scale[(tonic + degree + up) % 7] for up in (0, 2, 4))
        if (fifth - root) % 12 == 7:  # not the diminished triad
            chord = Chord(0, (0, third - root, 7)).up(root)
            triads[chord] = PREFERENCE.get(degree, 0)
    rows = []
    for bar in bars[bars[0].first < bars[0].start and len(bars) > 1 :]:
        starts, ends, pitches = sounding(melody, bar).T
        lengths = np.minimum(ends, bar.end) - np.maximum(starts, bar.start)
        strong = (starts - bar.first) % round(bar.beat * bar.eighth) == 0
        weights = lengths * (1 + strong)
        share = np.bincount(pitches % 12, weights, 12) / max(weights.sum(), 1)
        best = max(triads, key=lambda chord: triads[chord] + share[list(chord.tones)].sum())
        rows.append((bar.start, best))
    return rows
