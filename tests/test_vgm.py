"""VGM: the register stream, the file around it, and the files of others."""

import gzip
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakhnes_lib.__main__ import main
from lakhnes_lib.errors import BadAudio, LakhnesError
from lakhnes_lib.music import nes
from lakhnes_lib.music.nes import NO, P1, P2, TR
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import emulation, registers, vgm

GOLDEN = Path(__file__).parent / "golden"
SMALL = Score.build(
    [
        (P1, 100, 500, 33, 12),
        (P1, 500, 900, 70, 12),
        (P2, 100, 400, 108, 15),
        (TR, 50, 950, 21, 1),
        (NO, 300, 700, 16, 3),
        (NO, 800, 900, 1, 15),
    ],
    1000,
    [
        (P1, 40, TIMBRE_CHANGE, 2),
        (P1, 200, VELOCITY_CHANGE, 7),
        (P2, 1000, TIMBRE_CHANGE, 1),
        (NO, 310, TIMBRE_CHANGE, 1),
    ],
    "small",
)


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
        place: struct.unpack_from("<I", data, place)[0]
        for place in (0x04, 0x08, 0x14, 0x18, 0x34, 0x84)
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
        found = vgm.read(tmp_path / "a.vgm")
        return found.notes.tolist(), found.controls.tolist()

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


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "a.vgm"


# --- Loops
# -----------------------------------------------------------------------------------------------


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
def test_any_loop_of_any_score_sounds_as_the_first_time(place, score, data):
    if not score.length:
        return
    loop = data.draw(st.integers(0, score.length - 1))
    content = vgm.to_bytes(score, loop=loop)
    place.write_bytes(content)
    assert vgm.read(place) == score
    longer, tick, samples = unrolled(content)
    assert (tick, samples) == (loop, score.length - loop)
    place.write_bytes(longer)
    twice = vgm.read(place)
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


def test_velocity_and_duty_are_written_and_read_back(tmp_path):
    notes = [(P1, 0, 90, 60, 9), (P2, 0, 90, 64, 3), (TR, 0, 90, 40, 1), (NO, 0, 90, 7, 12)]
    controls = [(P1, 0, TIMBRE_CHANGE, 2), (NO, 10, TIMBRE_CHANGE, 1), (P2, 20, TIMBRE_CHANGE, 3)]
    controls += [(P1, 30, VELOCITY_CHANGE, 4), (NO, 40, VELOCITY_CHANGE, 1)]
    score = Score.build(notes, 100, controls)
    vgm.write(score, tmp_path / "a.vgm", loop=50)
    back = vgm.read(tmp_path / "a.vgm")
    assert back.notes.tolist() == notes and back.controls.tolist() == controls


# --- Files of others
# -----------------------------------------------------------------------------------------------


def file(commands, version=0x171, start=0x100, clock=1_789_773, loop=0, total=None):
    header = bytearray(start)
    struct.pack_into("<4sII", header, 0, b"Vgm ", start + len(commands) - 4, version)
    struct.pack_into("<III", header, 0x18, 1000 if total is None else total, loop, 0)
    struct.pack_into("<I", header, 0x34, start - 0x34)
    struct.pack_into("<I", header, 0x84, clock)
    return bytes(header) + commands


NOTE = bytes([0xB4, 0x15, 1, 0xB4, 0, 0x3F, 0xB4, 1, 8, 0xB4, 2, 253, 0xB4, 3, 0])


def test_foreign_commands_are_skipped_counted_and_named(tmp_path):
    block = b"\x67\x66\xc2" + struct.pack("<I", 5) + b"\x00\x80\x66\x66\x66"
    commands = (
        NOTE
        + block
        + b"\x50\x66\x51\x66\x66\xc0\x66\x66\x66\xe0\x66\x66\x66\x66\x83\x4f\x66"
        + b"\x90\x66\x66\x66\x66"
    )
    commands += bytes(
        [0xB4, 0x11, 64, 0xB4, 0x15, 0x11, 0xB4, 0x23, 1, 0xB4, 0x3F, 1, 0xB4, 0x80, 1]
    )
    commands += b"\x62\x63\x70\x7f\x61\x10\x00\x66 trailing"
    (tmp_path / "a.vgm").write_bytes(file(commands, loop=0x100 + len(NOTE) - 0x1C))
    score, remarks = vgm.load(tmp_path / "a.vgm")
    assert score.length == 3 + 735 + 882 + 1 + 16 + 16
    assert score.notes.tolist() == [(P1, 0, score.length, 69, 15)]
    kinds = "data blocks (1), other chips (7), DPCM samples (2), Famicom Disk System sound (2), "
    assert remarks[-1].endswith(f": {kinds}a second NES chip (1)")


def test_what_a_file_holds_beyond_notes_is_named_on_stderr(tmp_path, capsys):
    path = tmp_path / "a.vgm"
    path.write_bytes(file(NOTE + b"\xb4\x11\x40\xb4\x12\x40\x51\x66\x66\x62\x66"))
    line = f"{path}: left out of the song (commands): DPCM samples (2), other chips (1)\n"
    assert main(["tokens", str(path)]) == 0
    assert capsys.readouterr() == ("P1_NOTEON_69\nWT_735\nP1_NOTEOFF\n", line)
    assert main(["render", str(tmp_path), str(tmp_path / "out"), "--to", "mid"]) == 0
    assert capsys.readouterr().err == line
    vgm.write(SMALL, path)
    assert main(["tokens", str(path), str(tmp_path / "a.tx1")]) == 0
    assert not capsys.readouterr().err


def test_pal_pitches_follow_the_files_clock(tmp_path):
    (tmp_path / "a.vgm").write_bytes(file(NOTE + b"\x62\x66", clock=1_662_607))
    assert vgm.read(tmp_path / "a.vgm").notes["pitch"].tolist() == [68]


BAD = {
    "empty": (b"", "is empty"),
    "magic": (b"RIFF" + bytes(300), "does not start with 'Vgm '"),
    "short": (b"Vgm " + bytes(20), "cut off within its header"),
    "old": (
        file(NOTE + b"\x66", version=0x150)[:0x34] + b"\x0c" + bytes(200),
        r"is VGM version 1\.50",
    ),
    "old without offset": (b"Vgm " + bytes(4) + b"\x50\x01" + bytes(200), r"is VGM version 1\.50"),
    "no chip": (file(NOTE + b"\x66", clock=0), "no NES sound chip"),
    "clock": (file(NOTE + b"\x66", clock=50), "runs at 50 Hz"),
    "start beyond": (
        file(b"\x66")[:0x34] + struct.pack("<I", 1 << 31) + file(b"\x66")[0x38:],
        "commands start at byte",
    ),
    "start within the header": (
        file(b"\x66")[:0x34] + struct.pack("<I", 0x0C) + file(b"\x66")[0x38:],
        "commands start at",
    ),
    "hours of waits": (
        file(b"\x61\xff\xff" * 3000 + b"\x66"),
        r"lasts 4458 s, more than the 3600 s",
    ),
    "unknown": (file(b"\x07\x66"), r"byte 256 \(0x07\) is no command of VGM"),
    "gzip damaged": (
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"\xff" * 50,
        "gzip data is damaged or cut off after 0 bytes",
    ),
    "gzip of nothing": (gzip.compress(b""), "is empty"),
}


def changed(data, at, value):
    """A file with another number at a place of its header."""
    return data[:at] + struct.pack("<I", value) + data[at + 4 :]


WHOLE = vgm.to_bytes(SMALL, "Title")
GD3, HALF = WHOLE.index(b"Gd3 "), len(WHOLE) // 2
NO_END = WHOLE[: GD3 - 1] + WHOLE[GD3:]
ZIPPED = gzip.compress(WHOLE, mtime=0)
ITS_LOOP = r"its loop \(byte \d+, \d+ samples\) is not in its commands"
ITS_TAGS = "its tags are damaged, cut off or not at byte "
FAULTY = {
    "one byte short": (WHOLE[:-1], ["its header claims", f"{ITS_TAGS}{GD3}"]),
    "claims four bytes more": (
        changed(WHOLE, 0x04, len(WHOLE)),
        [f"its header claims {len(WHOLE) + 4} bytes, and it has {len(WHOLE)}"],
    ),
    "no end": (NO_END, ["its header claims", f"{ITS_TAGS}{GD3}", "no end command"]),
    "no end and no tags": (
        changed(changed(WHOLE[: GD3 - 1], 0x14, 0), 0x04, 0),
        [f"its commands are cut off at byte {GD3 - 1} "],
    ),
    "cut in a command": (
        changed(WHOLE[: GD3 - 3], 0x14, 0),
        ["its header claims", f"its commands are cut off at byte {GD3 - 4} "],
    ),
    "huge data block at the end": (
        changed(WHOLE[: GD3 - 1] + b"\x67\x66\x00\xff\xff\xff\x7f\x66", 0x14, 0),
        ["its header claims", f"its commands are cut off at byte {GD3 - 1} "],
    ),
    "tags elsewhere": (changed(WHOLE, 0x14, 1 << 31), [f"{ITS_TAGS}{0x14 + (1 << 31)}"]),
    "tags in the commands": (changed(WHOLE, 0x14, 0xB0), [f"{ITS_TAGS}{0x14 + 0xB0}"]),
    "tags not named": (changed(WHOLE, 0x14, 0), [ITS_TAGS]),
    "tags damaged": (WHOLE.replace(b"Gd3 ", b"Gd4 "), [f"{ITS_TAGS}{GD3}"]),
    "tags too long": (changed(WHOLE, GD3 + 8, 1 << 31), [f"{ITS_TAGS}{GD3}"]),
    "loop beyond": (changed(WHOLE, 0x1C, 1 << 30), [ITS_LOOP]),
    "loop before": (changed(WHOLE, 0x1C, 4), [ITS_LOOP]),
    "loop a sample too long": (changed(WHOLE, 0x20, 1001), [ITS_LOOP]),
    "loop as long as the song": (changed(WHOLE, 0x20, 1000), []),
    "total of hours": (changed(WHOLE, 0x18, 1 << 31), []),
    "old": (changed(WHOLE, 0x08, 0x150), [r"claims VGM version 1\.50; it is read as 1\.61"]),
    "new": (changed(WHOLE, 0x08, 0x99999), ["claims VGM version 999.99; it is read as 1"]),
    "two gzip members": (gzip.compress(WHOLE[:HALF]) + gzip.compress(WHOLE[HALF:]), []),
    "gzip padded": (ZIPPED + bytes(100), []),
    "gzip and more": (ZIPPED + b"more", [f"gzip data is damaged or cut off after {len(WHOLE)} b"]),
    "gzip without its sum": (ZIPPED[:-8], [f"gzip data is damaged or cut off after {len(WHOLE)}"]),
    "gzip with a wrong sum": (ZIPPED[:-8] + bytes(8), ["gzip data is damaged or cut off"]),
}


@pytest.mark.parametrize("kind", FAULTY)
def test_a_fault_that_no_note_needs_is_read_and_said(tmp_path, kind):
    data, says = FAULTY[kind]
    path = tmp_path / "a.vgm"
    path.write_bytes(data)
    score, remarks = vgm.load(path)
    is_cut = kind == "cut in a command"
    assert score == SMALL or (is_cut and score.notes.tolist() == SMALL.notes.tolist())
    assert len(remarks) == len(says)
    for line, expected in zip(remarks, says, strict=True):
        assert line.startswith(f"{path}: ") and "\n" not in line
        assert re.search(expected, line)


def test_a_cut_off_file_gives_the_notes_before_the_cut(tmp_path):
    for end in range(0xC0 + 31, GD3, 7):
        (tmp_path / "a.vgm").write_bytes(WHOLE[:end])
        score, remarks = vgm.load(tmp_path / "a.vgm")
        starts = SMALL.notes["start"].tolist()
        assert score.notes["start"].tolist() == [start for start in starts if start < score.length]
        assert any("no end command" in line for line in remarks)


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_get_one_sentence(tmp_path, kind):
    data, says = BAD[kind]
    (tmp_path / "a.vgm").write_bytes(data)
    with pytest.raises(BadAudio, match=says) as caught:
        vgm.read(tmp_path / "a.vgm")
    assert str(caught.value).startswith(str(tmp_path / "a.vgm")) and "\n" not in str(caught.value)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(vgm, "MOST_BYTES", 4_000_000)
    pack = gzip.zlib.compressobj(9, gzip.zlib.DEFLATED, 31)
    with (tmp_path / "bomb.vgz").open("wb") as out:
        for _ in range(50):
            out.write(pack.compress(bytes(1 << 20)))
        out.write(pack.flush())
    assert (tmp_path / "bomb.vgz").stat().st_size < 125_000
    tracemalloc.start()
    with pytest.raises(BadAudio, match="larger than 4 MB"):
        vgm.read(tmp_path / "bomb.vgz")
    assert tracemalloc.get_traced_memory()[1] < 12e6
    tracemalloc.stop()


def test_no_file_and_no_place(tmp_path):
    with pytest.raises(BadAudio, match="cannot be read"):
        vgm.read(tmp_path / "none.vgm")
    with pytest.raises(BadAudio, match="cannot be read"):
        vgm.read(tmp_path)
    (tmp_path / "folder.vgm").mkdir()
    with pytest.raises(LakhnesError, match="cannot be written"):
        vgm.write(SMALL, tmp_path / "folder.vgm")
    with pytest.raises(BadAudio, match="more than VGM can count"):
        vgm.write(Score.build([], 1 << 32), tmp_path / "long.vgm")
    assert [p.name for p in tmp_path.iterdir()] == ["folder.vgm"]


def test_more_notes_than_a_song_has_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "many.vgm"
    vgm.write(SMALL, path)
    monkeypatch.setattr(vgm, "MOST_NOTES", len(SMALL.notes) - 1)
    with pytest.raises(BadAudio, match=f"many.vgm: plays {len(SMALL.notes)} notes, more than"):
        vgm.read(path)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_damage_gets_through_as_anything_but_a_score_or_one_sentence(place, data):
    content = bytearray(vgm.to_bytes(SMALL))
    if data.draw(st.booleans()):
        content = bytearray(gzip.compress(bytes(content), mtime=0))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    place.write_bytes(
        content[: data.draw(st.integers(1, len(content)))] if data.draw(st.booleans()) else content
    )
    try:
        assert isinstance(vgm.read(place), Score)
    except BadAudio as error:
        assert str(error).startswith(str(place)) and "\n" not in str(error)
