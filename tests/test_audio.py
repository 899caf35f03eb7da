"""WAV files: the samples come back, and nothing half-written stays."""

import wave

import numpy as np
import pytest
from songs import random_score

from lakhnes_lib.errors import BadAudio, LakhnesError
from lakhnes_lib.sound import apu
from lakhnes_lib.sound.audio import write_wav


def test_wav_file(tmp_path):
    score = random_score(2, 200_000)
    sound = apu.render(score)
    write_wav(sound, tmp_path / "a.wav")
    write_wav(apu.blocks(score), tmp_path / "b.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 44_100)
        samples = np.frombuffer(file.readframes(len(sound) + 1), "<i2")
    np.testing.assert_allclose(samples / 32767, sound, atol=0.51 / 32767)


@pytest.mark.parametrize(
    "samples, rate",
    [
        (np.array([0, np.nan]), 44_100),
        (np.array([1.5]), 44_100),
        (np.zeros((2, 2)), 44_100),
        (np.zeros(2), 0),
    ],
)
def test_bad_wav_leaves_nothing_behind(tmp_path, samples, rate):
    with pytest.raises(BadAudio):
        write_wav(samples, tmp_path / "a.wav", rate)
    assert not list(tmp_path.iterdir())


def test_unwritable_place(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(LakhnesError, match="cannot be written"):
        write_wav(np.zeros(10), tmp_path / "folder")
