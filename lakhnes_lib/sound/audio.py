"""Sound files: 16-bit WAV.

Paper: none. Notebook: 01_nes_ensemble.
"""

import wave
from collections.abc import Iterable

import numpy as np

from lakhnes_lib.errors import BadAudio
from lakhnes_lib.files import replacing

MOST_SAMPLES = (1 << 31) - 64
"""What a WAV file's 32-bit byte counts can hold of 16-bit samples."""


def write_wav(samples: np.ndarray | Iterable[np.ndarray], path, sample_rate: int = 44_100) -> None:
    """Writes mono 16-bit WAV.

    samples: float (samples,) in [-1, 1], or pieces of it one after the other (as from
    ``apu.blocks``), so that a long sound need not be in memory. Raises BadAudio for samples that
    are not finite numbers in [-1, 1], a sample rate that is not a positive whole number, or too
    many samples; LakhnesError when the file cannot be written.
    """
    if not isinstance(sample_rate, int | np.integer) or not 0 < sample_rate < 1 << 31:
        raise BadAudio(f"{path}: sample rate {sample_rate!r} Hz is not a positive whole number")
    pieces = [samples] if isinstance(samples, np.ndarray) else samples
    with replacing(path) as temporary, temporary.open("wb") as file, wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(int(sample_rate))
        count = 0
        for piece in pieces:
            count += len(piece)
            if count > MOST_SAMPLES:
                raise BadAudio(f"{path}: a WAV file holds at most {MOST_SAMPLES} samples")
            if np.ndim(piece) != 1 or not np.all(np.abs(piece) <= 1):
                raise BadAudio(f"{path}: samples are not one row of finite numbers from -1 to 1")
            sound.writeframes(np.rint(np.asarray(piece) * 32767).astype("<i2").tobytes())
