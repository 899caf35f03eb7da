"""Clips of listening tests: slices of the music, faded, equally loud and long."""

import wave

import numpy as np
import pytest
from small_study import music

from lakhnes_lib.music import events
from lakhnes_lib.sound import apu
from lakhnes_lib.study import clips

pytest_plugins = ["small_study"]


def samples(design, name):
    with wave.open(str(design.folder / "clips" / f"{name}.wav")) as sound:
        assert sound.getparams()[:3] == (1, 2, 22_050)
        return np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32767


def test_clips_are_equally_loud_and_long_and_full(design):
    rms, length, peaks = [], set(), []
    for name in design.clips:
        sound = samples(design, name)
        rms.append(np.sqrt(np.mean(sound**2)))
        length.add(len(sound))
        peaks.append(abs(sound).max())
        assert (abs(sound) > 0.01).mean() > 0.05
    assert length == {22_050}
    assert max(rms) / min(rms) < 1.002 and max(peaks) < 1


def test_clips_are_faded_for_five_milliseconds_and_no_longer():
    """Both ends rise from nothing and fall to it within 5 ms; all between is as it was."""
    width = round(0.005 * clips.PREVIEW_RATE)
    faded = clips._fade(np.ones(clips.PREVIEW_RATE, np.float32))
    assert faded[0] == faded[-1] == 0 and (np.diff(faded[:width]) > 0).all()
    assert faded[width // 2] == pytest.approx(0.5, abs=0.02)
    assert (faded[width:-width] == 1).all()
    np.testing.assert_allclose(faded, faded[::-1])


def test_clips_are_the_music_but_for_their_ends_and_their_loudness(design):
    """Within the fades a clip is the excerpt that its design names, louder or softer."""
    pieces = {piece.name: piece for piece in music(0) + music(20)}
    width = round(0.005 * clips.PREVIEW_RATE)
    for name, clip in design.clips.items():
        if clip.method not in ("real", "tunes"):
            continue
        piece = events.decode(events.encode(pieces[clip.piece]))
        wanted = apu.render(piece.excerpt(clip.start, clip.start + 1), clips.PREVIEW_RATE)
        sound = samples(design, name)
        assert abs(sound[[0, -1]]).max() < 1e-3
        gain = np.abs(sound).max() / np.abs(wanted).max()
        inside = slice(width, -width)
        np.testing.assert_allclose(sound[inside], gain * wanted[inside], atol=2e-3)


def test_clips_are_slices_of_the_pieces_without_overlap(design):
    pieces = {piece.name: piece for piece in music(0) + music(20)}
    starts = {}
    for clip in design.clips.values():
        if clip.method in ("real", "tunes"):
            cut = pieces[clip.piece].excerpt(clip.start, clip.start + 1)
            assert all(len(cut.voice(voice)) for voice in range(4))
            starts.setdefault(clip.piece, []).append(clip.start)
    for seconds in starts.values():
        assert (np.diff(sorted(seconds)) >= 1).all()
