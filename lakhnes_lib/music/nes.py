"""The NES as an ensemble: four voices, what each can play, and its unit of time.

Paper: §3 and §3.1 (ranges, instruments). Notebook: 01_nes_ensemble.
Differences from the paper: none; velocity and timbre limits come from the NES-MDB data set (ISMIR
2018).
"""

import numpy as np

TICKS_PER_SECOND = 44_100
"""One tick is one audio sample (§3.1: timing is kept at audio rate)."""

P1, P2, TR, NO = range(4)
VOICES = ("P1", "P2", "TR", "NO")
VOICE_TITLES = ("Pulse 1", "Pulse 2", "Triangle", "Noise")
MELODIC = (P1, P2, TR)

LOWEST_PITCH = np.array([33, 33, 21, 1], np.uint8)
HIGHEST_PITCH = np.array([108, 108, 108, 16], np.uint8)
"""Inclusive ranges a voice: MIDI pitches for the melodic voices, noise types 1-16 for NO."""


def has_pitch(voice, pitch):
    """Whether a voice has a pitch, bool; numbers or arrays.

    >>> bool(has_pitch(P1, 33)), bool(has_pitch(P1, 32))
    (True, False)
    """
    return (pitch >= LOWEST_PITCH[voice]) & (pitch <= HIGHEST_PITCH[voice])


HIGHEST_VELOCITY = np.array([15, 15, 1, 15], np.uint8)
"""The triangle has no volume: its notes have velocity 1."""

TIMBRE_VALUES = np.array([4, 4, 1, 2], np.uint8)
"""Number of timbres a voice: duty 0-3 on the pulses, loop flag 0-1 on the noise."""

MIDI_NAMES = ("p1", "p2", "tr", "no")
MIDI_PROGRAMS = (80, 81, 38, 121)
"""Instrument names and programs of NES-MDB's MIDI files; NO is the drum track."""
