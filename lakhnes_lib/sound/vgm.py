"""VGM files, the register logs of game music: written from a Score, and read as one.

Paper: §3 (NES-MDB was extracted from VGM). Notebook: 01_nes_ensemble.
Differences from the paper: reading is part of the library, so new VGM files become scores of the
same kind.

``write`` then ``read`` gives a score back to the tick, but for what the chip cannot tell apart: a
note that follows one of its own voice and pitch without a gap (they become one), velocity 0 inside
a note (it ends), a control that repeats the value in force, velocity controls at or outside of a
note's borders, controls of a voice without notes, and all but the last of two controls of one kind
in one tick. No song of NES-MDB holds any of these.
"""

import gzip
import struct
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lakhnes_lib.errors import BadAudio
from lakhnes_lib.files import write_file
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound import chip, emulation, registers

MAGIC, VERSION, HEADER = b"Vgm ", 0x161, 0xC0
MOST_BYTES = 64_000_000
LONGEST = 3600 * nes.TICKS_PER_SECOND
"""Limits of what is read: bytes of an unpacked file, and ticks that it may last."""
_TOO_LONG = f"more than the {LONGEST // nes.TICKS_PER_SECOND} s of a song"

TAGS = ("title", "title_original", "game", "game_original", "system", "system_original")
TAGS += ("author", "author_original", "date", "converted_by", "notes")
"""The eleven texts of a file's tags (GD3) in their order."""

_END, _CHIP_WRITE, _WAIT, _WAIT_NTSC, _WAIT_PAL, _DATA_BLOCK = 0x66, 0xB4, 0x61, 0x62, 0x63, 0x67
_SIZES = (
    {0x4F: 2, 0x50: 2, 0x64: 4, 0x68: 12, 0x90: 5, 0x91: 5, 0x92: 6, 0x93: 11, 0x94: 2, 0x95: 5}
    | {_WAIT: 3, _WAIT_NTSC: 1, _WAIT_PAL: 1, _DATA_BLOCK: 7}
    | dict.fromkeys(range(0x70, 0x90), 1)
    | dict.fromkeys(range(0x30, 0x40), 2)
    | dict.fromkeys(range(0x40, 0x4F), 3)
    | dict.fromkeys(range(0x51, 0x60), 3)
    | dict.fromkeys(range(0xA0, 0xC0), 3)
    | dict.fromkeys(range(0xC0, 0xE0), 4)
    | dict.fromkeys(range(0xE0, 0x100), 5)
)
"""Bytes of each command of VGM with its operands; a data block's content comes in addition."""


@dataclass(frozen=True)
class Recording:
    """What a VGM file holds.

    score: its music, the loop played once. tags: its texts that are not empty, by TAGS. left_out:
    what a score cannot hold, such as "DPCM samples", and the number of commands for it.
    """

    score: Score
    tags: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


def read(path) -> Score:
    """The score of a VGM or VGZ file, with velocities and timbre; its loop is played once.

    Raises BadAudio when the file is damaged, holds no NES chip, or is larger or longer than a song
    can be. ``load`` tells in addition what was left out.
    """
    return load(path).score


def load(path) -> Recording:
    """As ``read``, with the file's tags and what was left out."""
    path = Path(path)
    data = _unpacked(path)
    start, end, clock = _header(path, data)
    writes, length, left_out = _commands(path, data, start, end)
    score = emulation.run(writes, length, clock, path.stem)
    return Recording(score, _tags(path, data), left_out)


def write(score: Score, path, title: str = "", author: str = "") -> None:
    """Writes VGM 1.61, gzipped if the name ends in ``.vgz``.

    title: the score's name if none is given. Raises BadAudio for a score too long for the format,
    LakhnesError when the file cannot be written.
    """
    data = to_bytes(score, title, author)
    if Path(path).suffix.lower() == ".vgz":
        data = gzip.compress(data, mtime=0)
    write_file(path, data)


def to_bytes(score: Score, title: str = "", author: str = "") -> bytes:
    """The VGM file of a score, not compressed."""
    if score.length >= 1 << 32:
        rule = f"{score.seconds:.0f} s are more than VGM can count"
        raise BadAudio(f"{score.name or 'score'}: {rule}")
    body, now = bytearray(), 0
    for tick, register, value in registers.writes(score)[["tick", "register", "value"]].tolist():
        body += _wait(tick - now)
        body += bytes((_CHIP_WRITE, register, value))
        now = tick
    body += _wait(score.length - now) + bytes((_END,))
    tags = {"title": title or score.name, "author": author, "converted_by": "LakhNES"}
    tags["system"] = "Nintendo Entertainment System"
    text = "".join(tags.get(tag, "").replace("\0", "") + "\0" for tag in TAGS)
    text = text.encode("utf-16-le", "replace")
    gd3 = struct.pack("<4sII", b"Gd3 ", 0x100, len(text)) + text
    header = bytearray(HEADER)
    struct.pack_into("<4sII", header, 0, MAGIC, HEADER + len(body) + len(gd3) - 4, VERSION)
    struct.pack_into("<II", header, 0x14, HEADER + len(body) - 0x14, score.length)
    struct.pack_into("<I", header, 0x24, 60)  # frames a second
    struct.pack_into("<I", header, 0x34, HEADER - 0x34)
    struct.pack_into("<I", header, 0x84, chip.CLOCK)
    return bytes(header + body + gd3)


def _wait(ticks: int) -> bytes:
    whole, rest = divmod(ticks, 0xFFFF)
    longest = struct.pack("<BH", _WAIT, 0xFFFF)
    return longest * whole + (struct.pack("<BH", _WAIT, rest) if rest else b"")


def _unpacked(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadAudio(f"{path}: cannot be read ({error.strerror})") from None
    if data[:2] == b"\x1f\x8b":
        unpack = zlib.decompressobj(31)
        try:
            data = unpack.decompress(data, MOST_BYTES + 1)
        except zlib.error as error:
            raise BadAudio(f"{path}: is damaged gzip data ({error})") from None
        if len(data) <= MOST_BYTES and not unpack.eof:
            raise BadAudio(f"{path}: its gzip data is cut off")
    if len(data) > MOST_BYTES:
        raise BadAudio(f"{path}: is larger than {MOST_BYTES // 1_000_000} MB, too large for a song")
    if not data:
        raise BadAudio(f"{path}: is empty")
    if data[:4] != MAGIC:
        raise BadAudio(f"{path}: is not a VGM file (it does not start with 'Vgm ')")
    return data


def _header(path: Path, data: bytes) -> tuple[int, int, int]:
    """Start and end of the commands (bytes), and the chip's clock (Hz)."""

    def number(offset):
        return struct.unpack_from("<I", data, offset)[0] if offset + 4 <= len(data) else 0

    def check(right, rule):
        if not right:
            raise BadAudio(f"{path}: {rule}")

    size = len(data)
    check(size >= 0x40, f"is cut off within its header ({size} bytes)")
    version, total, loop, loop_samples = number(0x08), number(0x18), number(0x1C), number(0x20)
    shown = f"{version >> 8:x}.{version & 0xFF:02x}; versions with an NES chip are 1.61 to 1.ff"
    check(0x161 <= version <= 0x1FF, f"is VGM version {shown}")
    claimed = number(0x04) + 4
    check(claimed <= size, f"is cut off ({size} of {claimed} bytes)")
    between = f"not between its header and its end at {size}"
    start = number(0x34) + 0x34
    check(0x88 <= start < size, f"its commands start at byte {start}, {between}")
    gd3 = number(0x14) and number(0x14) + 0x14
    check(not gd3 or 0x88 <= gd3 <= size - 12, f"its tags start at byte {gd3}, {between}")
    end = gd3 if gd3 > start else size
    check(total <= LONGEST, f"claims {total / nes.TICKS_PER_SECOND:.0f} s, {_TOO_LONG}")
    within = (not loop or start <= loop + 0x1C < end) and loop_samples <= total
    check(within, f"its loop (byte {loop + 0x1C}, {loop_samples} samples) is not in its commands")
    clock = number(0x84) & 0x3FFF_FFFF
    check(clock, "holds no NES sound chip")
    check(1_000_000 <= clock <= 4_000_000, f"its NES chip runs at {clock} Hz, not 1 to 4 MHz")
    return start, end, clock


def _commands(path: Path, data: bytes, start: int, end: int):
    """The chip's writes (tick, register, value), the length in ticks, and what is left out."""
    writes, left_out = [], Counter()
    position, now = start, 0
    while position < end:
        command, left = data[position], end - position
        if command == _END:
            return writes, now, dict(left_out)
        if command not in _SIZES:
            raise BadAudio(f"{path}: byte {position} (0x{command:02x}) is no command of VGM")
        size = _SIZES[command]
        if command == _DATA_BLOCK and left >= size:
            size += struct.unpack_from("<I", data, position + 3)[0] & 0x7FFF_FFFF
        if size > left:
            name = f"its command 0x{command:02x} at byte {position}"
            raise BadAudio(f"{path}: {name} claims {size} bytes, and {left} are left")
        if command == _CHIP_WRITE:
            register, value = data[position + 1], data[position + 2]
            if register < 0x10 or register in (0x15, 0x17):
                writes.append((now, register, value))
            if register >= 0x80:
                left_out["a second NES chip"] += 1
            elif register >= 0x20:
                left_out["Famicom Disk System sound"] += 1
            elif 0x10 <= register < 0x14 or (register == 0x15 and value & 0x10):
                left_out["DPCM samples"] += 1
        elif command == _WAIT:
            now += data[position + 1] | data[position + 2] << 8
        elif command in (_WAIT_NTSC, _WAIT_PAL):
            now += 735 if command == _WAIT_NTSC else 882
        elif 0x70 <= command < 0x80:
            now += command - 0x6F
        else:
            left_out["data blocks" if command == _DATA_BLOCK else "other chips"] += 1
            if 0x80 <= command < 0x90:  # plays a byte on another chip, and waits
                now += command - 0x80
        if now > LONGEST:
            raise BadAudio(f"{path}: lasts {now / nes.TICKS_PER_SECOND:.0f} s, {_TOO_LONG}")
        position += size
    raise BadAudio(f"{path}: its commands are cut off (no end command before byte {end})")


def _tags(path: Path, data: bytes) -> dict[str, str]:
    offset = struct.unpack_from("<I", data, 0x14)[0]
    if not offset:
        return {}
    start = offset + 0x14
    magic, _, size = struct.unpack_from("<4sII", data, start)
    if magic != b"Gd3 " or start + 12 + size > len(data):
        raise BadAudio(f"{path}: its tags at byte {start} are damaged or cut off")
    texts = data[start + 12 : start + 12 + size].decode("utf-16-le", "replace").split("\0")
    return {tag: text for tag, text in zip(TAGS, texts, strict=False) if text}
