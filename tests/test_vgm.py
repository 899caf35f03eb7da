"""VGM as we write it: the register stream, the file around it, and its loop."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from songs import SMALL

from lakhnes_lib.errors import BadAudio
from lakhnes_lib.music import nes
from lakhnes_lib.music.nes import NO, P1, P2, TR
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import emulation, registers, vgm

GOLDEN = Path(__file__).parent / "golden"


@st.composite
def scores(draw):
    """Scores with nothing in them that the chip cannot tell apart."""
    notes, controls = [], []
    for voice in range(4):
        now, last = 0, None
        for gap, length, pitch, velocity, turns in draw(
            st.lists(
                st.tuples(
                    st.integers(0, 90),
                    st.integers(1, 300),
                    st.integers(int(nes.LOWEST_PITCH[voice]), int(nes.HIGHEST_PITCH[voice])),
                    st.integers(1, int(nes.HIGHEST_VELOCITY[voice])),
                    st.lists(st.tuples(st.integers(1, 299), st.integers(1, 15)), max_size=3),
                ),
                max_size=8,
            )
        ):
            start = now + (gap or (pitch == last))
            notes.append((voice, start, start + length, pitch, velocity))
            for after, value in sorted(dict(turns).items()):
                if voice != TR and after < length and value != velocity:
                    controls.append((voice, start + after, VELOCITY_CHANGE, value))
                    velocity = value
            now, last = start + length, pitch
        timbre = 0
        for tick in (
            draw(st.lists(st.integers(0, 500), max_size=4, unique=True).map(sorted)) if now else ()
        ):
            values = [value for value in range(int(nes.TIMBRE_VALUES[voice])) if value != timbre]
            if values:
                timbre = draw(st.sampled_from(values))
                controls.append((voice, tick, TIMBRE_CHANGE, timbre))
    length = max(
        [end for _, _, end, _, _ in notes] + [tick for _, tick, _, _ in controls] + [0]
    ) + draw(st.integers(0, 200))
    return Score.build(notes, length, sorted(controls, key=lambda c: (c[1], c[0], c[2])))


@given(scores())
@settings(max_examples=40, deadline=None)
def test_write_then_read_is_the_identity(score):
    stream, _ = registers.writes(score)
    assert emulation.run(stream.tolist(), score.length) == score


def test_every_note_of_every_voice_comes_back():
    notes = [
        (voice, 20 * n, 20 * n + 20, pitch, 1 if voice == TR else 1 + n % 15)
        for voice in range(4)
        for n, pitch in enumerate(range(nes.LOWEST_PITCH[voice], nes.HIGHEST_PITCH[voice] + 1))
    ]
    score = Score.build(notes)
    stream, _ = registers.writes(score)
    assert emulation.run(stream.tolist(), score.length) == score


def test_register_stream_is_the_golden_one():
    stream, _ = registers.writes(SMALL)
    lines = [f"{tick:5d}  40{register:02X}  {value:02X}" for tick, register, value in stream]
    expected = (GOLDEN / "registers.txt").read_text().splitlines()
    assert lines == [line for line in expected if not line.startswith("#")]


def test_file_is_the_golden_one(tmp_path):
    vgm.write(SMALL, tmp_path / "small.vgm", title="Small", author="Nobody")
    assert (tmp_path / "small.vgm").read_bytes() == (GOLDEN / "small.vgm").read_bytes()
    score, remarks = vgm.load(GOLDEN / "small.vgm")
    assert score == SMALL and score.name == "small" and not remarks


def test_header_fields():
    data = vgm.to_bytes(SMALL, "T")
    fields = {
        offset: struct.unpack_from("<I", data, offset)[0]
        for offset in (0x04, 0x08, 0x14, 0x18, 0x34, 0x84)
    }
    assert data[:4] == b"Vgm " and fields[0x04] == len(data) - 4 and fields[0x08] == 0x161
    assert fields[0x18] == 1000 and fields[0x34] + 0x34 == 0xC0 and fields[0x84] == 1_789_773
    gd3 = data[fields[0x14] + 0x14 :]
    assert gd3[:4] == b"Gd3 " and struct.unpack_from("<I", gd3, 8)[0] == len(gd3) - 12
    assert gd3[12:].decode("utf-16-le").count("\0") == 11
    assert data[fields[0x14] + 0x14 - 1] == 0x66


def test_vgz(tmp_path):
    vgm.write(SMALL, tmp_path / "a.vgz", title="Ünïcode \N{MUSICAL SYMBOL G CLEF}")
    assert gzip.decompress((tmp_path / "a.vgz").read_bytes())[:4] == b"Vgm "
    title = "Ünïcode \N{MUSICAL SYMBOL G CLEF}\0"
    assert title.encode("utf-16-le") in vgm.to_bytes(SMALL, title)
    assert vgm.load(tmp_path / "a.vgz") == (SMALL, [])
    vgm.write(SMALL, tmp_path / "b.vgz", title="Ünïcode \N{MUSICAL SYMBOL G CLEF}")
    assert (tmp_path / "a.vgz").read_bytes() == (tmp_path / "b.vgz").read_bytes()


@pytest.mark.parametrize("length", [0, 1, 44_100, 65_535, 65_536, 200_001])
def test_scores_without_notes(tmp_path, length):
    vgm.write(Score.build([], length), tmp_path / "a.vgm")
    assert vgm.read(tmp_path / "a.vgm") == Score.build([], length)


def test_what_the_chip_cannot_tell_apart(tmp_path):
    def back(notes, controls=()):
        vgm.write(Score.build(notes, 100, controls), tmp_path / "a.vgm")
        score = vgm.read(tmp_path / "a.vgm")
        return score.notes.tolist(), score.controls.tolist()

    first, second, whole = (P1, 10, 20, 60, 9), (P1, 20, 30, 60, 9), (P1, 10, 30, 60, 9)
    assert back([first, second]) == ([whole], [])
    assert back([first, (P1, 20, 30, 60, 5)]) == ([whole], [(P1, 20, VELOCITY_CHANGE, 5)])
    assert back([whole], [(P1, 15, VELOCITY_CHANGE, 0), (P1, 25, VELOCITY_CHANGE, 4)]) == (
        [(P1, 10, 15, 60, 9), (P1, 25, 30, 60, 4)],
        [],
    )
    assert back([first], [(P1, 0, TIMBRE_CHANGE, 0), (P1, 15, VELOCITY_CHANGE, 9)]) == ([first], [])
    assert back([first], [(P1, 5, VELOCITY_CHANGE, 3), (P1, 50, VELOCITY_CHANGE, 3)]) == (
        [first],
        [],
    )
    assert back([first], [(P1, 10, VELOCITY_CHANGE, 3)]) == ([(P1, 10, 20, 60, 3)], [])
    assert back([first], [(P2, 10, TIMBRE_CHANGE, 3)]) == ([first], [])
    assert back([first], [(P1, 12, TIMBRE_CHANGE, 3), (P1, 12, TIMBRE_CHANGE, 1)])[1] == [
        (P1, 12, TIMBRE_CHANGE, 1)
    ]


def test_velocity_and_duty_are_written_and_read_back(tmp_path):
    notes = [(P1, 0, 90, 60, 9), (P2, 0, 90, 64, 3), (TR, 0, 90, 40, 1), (NO, 0, 90, 7, 12)]
    controls = [(P1, 0, TIMBRE_CHANGE, 2), (NO, 10, TIMBRE_CHANGE, 1), (P2, 20, TIMBRE_CHANGE, 3)]
    controls += [(P1, 30, VELOCITY_CHANGE, 4), (NO, 40, VELOCITY_CHANGE, 1)]
    score = Score.build(notes, 100, controls)
    vgm.write(score, tmp_path / "a.vgm", loop=50)
    back = vgm.read(tmp_path / "a.vgm")
    assert back.notes.tolist() == notes and back.controls.tolist() == controls


# Loops


def unrolled(data):
    """A file with what its loop repeats written out once more, and that loop's tick and length."""
    loop, samples = struct.unpack_from("<II", data, 0x1C)
    total, end = struct.unpack_from("<I", data, 0x18)[0], data.index(b"Gd3 ") - 1
    return data[:end] + data[loop + 0x1C : end] + data[end:], total - samples, samples


def sound(score, start, end):
    """Pitch, level and timbre of the voices on some ticks: int (ticks, 4, 3)."""
    table = np.zeros((score.length + 1, 4, 3), int)
    for voice, begin, stop, pitch, velocity in score.notes.tolist():
        table[begin:stop, voice, :2] = pitch, velocity
    for voice, tick, kind, value in score.controls.tolist():
        if kind == TIMBRE_CHANGE:
            table[tick:, voice, 2] = value
        else:
            stop = next(n[2] for n in score.voice(voice).tolist() if n[1] < tick < n[2])
            table[tick:stop, voice, 1] = value
    table[..., 2] *= table[..., 0] > 0
    return table[start:end]


@pytest.mark.parametrize("loop", [0, 40, 100, 300, 450, 999])
def test_a_loop_is_in_the_header_and_sounds_as_the_first_time(tmp_path, loop):
    path = tmp_path / "a.vgm"
    vgm.write(SMALL, path, loop=loop)
    assert vgm.load(path) == (SMALL, [])
    data = path.read_bytes()
    assert struct.unpack_from("<II", data, 0x18)[0] == 1000
    assert struct.unpack_from("<I", data, 0x20)[0] == 1000 - loop
    assert data[struct.unpack_from("<I", data, 0x1C)[0] + 0x1C :][:2] == b"\xb4\x15"
    path.write_bytes(unrolled(data)[0])
    twice = vgm.read(path)
    assert twice.length == 2000 - loop
    np.testing.assert_array_equal(sound(twice, 1000, twice.length), sound(SMALL, loop, 1000))


@given(scores(), st.data())
@settings(max_examples=40, deadline=None)
def test_any_loop_of_any_score_sounds_as_the_first_time(tmp_path_factory, score, data):
    if not score.length:
        return
    loop = data.draw(st.integers(0, score.length - 1))
    path = tmp_path_factory.mktemp("loops") / "a.vgm"
    content = vgm.to_bytes(score, loop=loop)
    path.write_bytes(content)
    assert vgm.read(path) == score
    longer, tick, samples = unrolled(content)
    assert (tick, samples) == (loop, score.length - loop)
    path.write_bytes(longer)
    twice = vgm.read(path)
    np.testing.assert_array_equal(
        sound(twice, score.length, twice.length), sound(score, loop, score.length)
    )


@pytest.mark.parametrize("loop", [-1, 1000, 5000])
def test_a_loop_outside_of_the_song_is_refused(tmp_path, loop):
    with pytest.raises(BadAudio, match=f"small: a loop from tick {loop} is not within its 1000"):
        vgm.write(SMALL, tmp_path / "a.vgm", loop=loop)
    assert not list(tmp_path.iterdir())


def test_without_a_loop_the_header_has_none():
    assert struct.unpack_from("<II", vgm.to_bytes(SMALL), 0x1C) == (0, 0)
