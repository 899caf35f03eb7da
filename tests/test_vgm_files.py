"""VGM files of others: what is not read is named, and damage costs no note that is whole."""

import gzip
import re
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from songs import SMALL

from lakhnes_lib.__main__ import main
from lakhnes_lib.errors import BadAudio, LakhnesError
from lakhnes_lib.music.nes import P1
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound import vgm


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
def test_no_damage_gets_through_as_anything_but_a_score_or_one_sentence(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "a.vgm"
    content = bytearray(vgm.to_bytes(SMALL))
    if data.draw(st.booleans()):
        content = bytearray(gzip.compress(bytes(content), mtime=0))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(
        content[: data.draw(st.integers(1, len(content)))] if data.draw(st.booleans()) else content
    )
    try:
        assert isinstance(vgm.read(path), Score)
    except BadAudio as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
