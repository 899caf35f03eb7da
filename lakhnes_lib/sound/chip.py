"""The NES sound chip (NTSC 2A03) in numbers: clock, timers, waveforms, noise, mixer.

Paper: §3 (the chip that the four voices stand for). Notebook: 01_nes_ensemble, which builds each of
these by hand. Differences from the paper: none; the paper leaves sound to the NES-MDB tools. The
facts are those of the NESdev wiki, pages "APU ...".
"""

from functools import lru_cache

import numpy as np

from lakhnes_lib.music import nes

CLOCK = 1_789_773
"""CPU cycles a second (NTSC). Everything the chip does happens on a whole cycle."""

_DUTY_BITS = np.array([[0b01000000], [0b01100000], [0b01111000], [0b10011111]], np.uint8)
DUTY = np.unpackbits(_DUTY_BITS, axis=1)
"""The pulse sequencer's eight steps for duty 0-3: 12.5 %, 25 %, 50 %, and 25 % upside down."""

TRIANGLE = np.concatenate([np.arange(15, -1, -1), np.arange(16)])
"""The triangle sequencer's 32 steps."""

NOISE_PERIODS = np.array(
    [4, 8, 16, 32, 64, 96, 128, 160, 202, 254, 380, 508, 762, 1016, 2034, 4068]
)
"""CPU cycles between two shifts of the noise register, by period index 0-15.

Noise type n has index 16 - n."""

SHORTEST_PULSE_TIMER = 8
"""A pulse whose timer is smaller is silent."""


def frequency(pitch) -> np.ndarray:
    """Hz of MIDI pitches in equal temperament, A4 (69) = 440 Hz."""
    return 440.0 * 2.0 ** ((np.asarray(pitch, float) - 69) / 12)


def cycles_per_period(voice: int) -> int:
    """CPU cycles of one waveform period for a timer of 0: 16 on a pulse, 32 on the triangle."""
    return 32 if voice == nes.TR else 16


def timer(voice: int, pitch) -> np.ndarray:
    """11-bit timer values (int64) that a melodic voice uses for MIDI pitches."""
    return np.rint(CLOCK / (cycles_per_period(voice) * frequency(pitch))).astype(np.int64) - 1


def timer_frequency(voice: int, value) -> np.ndarray:
    """Hz that a melodic voice sounds at for a timer value."""
    return CLOCK / (cycles_per_period(voice) * (np.asarray(value, float) + 1))


def noise_period(noise_type) -> np.ndarray:
    """CPU cycles between shifts for noise types 1-16."""
    return NOISE_PERIODS[16 - np.asarray(noise_type, np.int64)]


@lru_cache
def noise_sequence(loop: int) -> np.ndarray:
    """One period of the noise gate, uint8: 1 where the voice sounds.

    A 15-bit register starts at 1; each shift feeds back bit 0 xor bit 1 (bit 6 in loop mode), and
    the voice is silent while bit 0 is set. 32,767 steps, or 93 in loop mode.
    """
    register, gate = 1, []
    while not gate or register != 1:
        gate.append(1 - (register & 1))
        feedback = (register ^ (register >> (6 if loop else 1))) & 1
        register = (register >> 1) | (feedback << 14)
    return np.array(gate, np.uint8)


def _mixer(height: float, one: float, two: float) -> np.ndarray:
    """Output level by the levels of two voices, which go through these resistances: float64 (16,
    16)."""
    share = np.add.outer(np.arange(16) / one, np.arange(16) / two)
    with np.errstate(divide="ignore"):
        return height / (1 / share + 100)


MIXERS = _mixer(95.88, 8128, 8128), _mixer(159.79, 8227, 12241)
"""Of both pulses, and of triangle and noise, with the sample channel at rest."""


def mix(levels: np.ndarray) -> np.ndarray:
    """The mixer's output, float64 (...), 0 to 1; levels: 0-15 of P1, P2, TR and NO, (4, ...)."""
    pulse_1, pulse_2, triangle, noise = np.asarray(levels, np.int64)
    return MIXERS[0][pulse_1, pulse_2] + MIXERS[1][triangle, noise]
