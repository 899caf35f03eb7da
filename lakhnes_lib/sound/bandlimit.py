"""Level changes at exact times to samples without aliasing, and the console's output filters.

Paper: none (the published chain left this to a C player). Notebook: 01_nes_ensemble (why naive
sampling hisses).
Method: each change of level is a windowed-sinc step at its exact position between two samples. A
step is the plain one at the next sample plus a short correction; the correction's 32 taps are
polynomials in the position between the samples (Farrow's structure). So all changes are first
summed by sample and power, and one matrix product then does every convolution.
"""

from functools import lru_cache

import numpy as np
from numpy.polynomial import polynomial
from scipy import linalg, signal

TAPS = 32
POWERS = 5
CUTOFF = 0.45
"""Half-amplitude point of the low-pass, in cycles a sample.

Its stop band begins below half the sample rate."""
KAISER_BETA = 5.8
DELAY = TAPS // 2 - 1
"""Samples by which the output comes late."""

FILTERS = {"console": ((90.0, 440.0), 14_000.0), "famicom": ((37.0,), None), "none": ((), None)}
"""High-pass corners and low-pass corner in Hz, all of first order."""


@lru_cache
def step_polynomials() -> np.ndarray:
    """Correction taps, float64 (TAPS, POWERS): tap k is a polynomial in ``fraction - 0.5``.

    fraction: 0 to 1, how far after a sample the step happens.
    """
    fine = 4096
    x = np.arange(-TAPS // 2 * fine, TAPS // 2 * fine + 1) / fine
    impulse = 2 * CUTOFF * np.sinc(2 * CUTOFF * x) * np.kaiser(len(x), KAISER_BETA)
    step = np.append(0.0, np.cumsum((impulse[1:] + impulse[:-1]) / 2))
    step /= step[-1]
    late = (np.arange(64) * fine) // 64  # 64 fractions of a sample, in its 4096ths
    value = np.stack([step[(k + 1) * fine - late] - (k > DELAY) for k in range(TAPS)])
    return polynomial.polyfit(late / fine - 0.5, value.T, POWERS - 1).T


@lru_cache
def _spread() -> np.ndarray:
    """The correction as a matrix, float32 (POWERS * TAPS, 2 * TAPS).

    From the sums by power and sample of a chunk of TAPS samples to that chunk and the next one.
    """
    taps = np.pad(step_polynomials().T, ((0, 0), (0, 1)))  # (POWERS, TAPS + 1)
    return np.vstack([linalg.convolution_matrix(row, TAPS).T for row in taps]).astype(np.float32)


class StepSum:
    """Sums band-limited steps, a block of samples at a time.

    The output comes DELAY samples late.
    """

    def __init__(self, block: int):
        """block: samples a call, a multiple of TAPS."""
        self.block, self._level = block, 0.0
        self._last = np.zeros((1, POWERS, TAPS))  # sums of the chunk before

    def __call__(self, position: np.ndarray, change: np.ndarray) -> np.ndarray:
        """float64 (block,): the next samples.

        position: float64, when each change happens, in samples since the block's beginning, at
        least 0, below ``block``, in any order. change: float64, by how much.
        """
        sample = position.astype(np.int64)
        # Where (chunk, 0, sample in it) stands in an array (chunks, POWERS, TAPS) laid flat.
        first = (sample & -TAPS) * POWERS + (sample & (TAPS - 1))
        index = first + TAPS * np.arange(POWERS)[:, None]
        fraction = position - sample - 0.5
        weight = np.multiply.accumulate([change, *[fraction] * (POWERS - 1)])
        summed = np.bincount(index.ravel(), weight.ravel(), self.block * POWERS)
        summed = np.concatenate([self._last, summed.reshape(-1, POWERS, TAPS)])
        self._last = summed[-1:]
        out = self._level + np.cumsum(summed[:, 0].ravel()[TAPS - DELAY - 1 : -DELAY - 1])
        self._level = out[-1]
        spread = summed.reshape(-1, POWERS * TAPS).astype(np.float32) @ _spread()
        out += (spread[1:, :TAPS] + spread[:-1, TAPS:]).ravel()
        return out


@lru_cache
def filter_coefficients(name: str, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of an output filter of FILTERS.

    Each stage has the analogue one's gain at both ends of the spectrum (high-pass), or at 0 Hz and
    at two high frequencies (low-pass), so that any sample rate will do, even one below twice the
    corner.
    """
    highs, low = FILTERS[name]
    numerator, denominator = np.ones(1), np.ones(1)
    for corner in highs:
        stage = signal.butter(1, corner, "highpass", fs=sample_rate)
        numerator, denominator = map(np.convolve, (numerator, denominator), stage)
    if low:
        # With s = sin(w/2)^2 the squared gain of a first-order stage is (1 + b s) / (1 + a s).
        hertz = sample_rate * np.array([0.25, 0.42])
        s, gain = np.sin(np.pi * hertz / sample_rate) ** 2, 1 / (1 + (hertz / low) ** 2)
        a, b = np.linalg.solve(np.stack([gain * s, -s], 1), 1 - gain)
        pole, zero = ((x + 2 - 2 * np.sqrt(x + 1)) / x for x in (a, b))
        numerator = np.convolve(numerator, np.array([1, -zero]) * (1 - pole) / (1 - zero))
        denominator = np.convolve(denominator, [1, -pole])
    return numerator, denominator
