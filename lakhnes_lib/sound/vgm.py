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
import io
import struct
import zlib
from collections import Counter
from pathlib import Path

from lakhnes_lib.errors import BadAudio
from lakhnes_lib.files import MOST_BYTES, read_bytes, write_file
from lakhnes_lib.music import nes
from lakhnes_lib.music.midi import MOST_NOTES
from lakhnes_lib.music.score import LONGEST_SECONDS, Score
from lakhnes_lib.sound import chip, emulation, registers

MAGIC, VERSION = b"Vgm ", 0x161
HEADER = struct.Struct("<4s2I8x5I12xI76xI56x")
"""Magic, the file's end, version; the tags, samples, the loop and its samples, frames a second; the
commands; the chip's clock."""
_END, _CHIP_WRITE, _WAIT, _DATA_BLOCK = 0x66, 0xB4, 0x61, 0x67
_WAITS = {0x62: 735, 0x63: 882} | {0x70 + ticks: ticks + 1 for ticks in range(16)}
_WAITS |= {0x80 + ticks: ticks for ticks in range(16)}
"""Ticks of the commands that wait: a frame of NTSC, one of PAL, and 1 to 16; from 0x80 on of those
that play a byte on another chip before."""
_BY_DIGIT = {0x30: 2, 0x40: 3, 0x50: 3, 0xA0: 3, 0xB0: 3, 0xC0: 4, 0xD0: 4, 0xE0: 5, 0xF0: 5}
_SIZES = {first + n: size for first, size in _BY_DIGIT.items() for n in range(16)}
_SIZES |= {0x4F: 2, 0x50: 2, 0x64: 4, 0x68: 12}
_SIZES |= {0x90: 5, 0x91: 5, 0x92: 6, 0x93: 11, 0x94: 2, 0x95: 5}
_SIZES |= dict.fromkeys(_WAITS, 1) | {_WAIT: 3, _DATA_BLOCK: 7}
"""Bytes of each command of VGM with its operands; a data block's content comes in addition."""


def read(path) -> Score:
    """The score of a VGM or VGZ file, with velocities and timbre; its loop is played once.

    Raises BadAudio when the file holds no NES chip, is larger or longer than a song can be, or so
    damaged that its notes cannot be told. ``load`` tells in addition what was left out.
    """
    return load(path)[0]


def load(path) -> tuple[Score, list[str]]:
    """As ``read``, with a line on each fault of the file, and one on what a score cannot hold.

    Example: ``score, remarks = vgm.load("song.vgz")``
    """
    path, faults = Path(path), []
    data = _unpacked(path, faults)
    start, clock = _header(path, data, faults)
    writes, length = _commands(path, data, start, _end(data, start, faults), faults)
    score = emulation.run(writes, length, clock, path.stem)
    notes = f"plays {len(score.notes):,} notes, more than the {MOST_NOTES:,} of a song"
    _check(len(score.notes) <= MOST_NOTES, path, notes)
    return score, [f"{path}: {fault}" for fault in faults]


def write(score: Score, path, title: str = "", author: str = "", loop: int | None = None) -> None:
    """Writes VGM 1.61, gzipped if the name ends in ``.vgz``.

    title: the score's name if none is given. loop: a tick of the score; from there players repeat
    the song after its end. Raises BadAudio for a score too long for the format, or a loop outside
    of it, LakhnesError when the file cannot be written.

    Example: ``vgm.write(song, "song.vgm", loop=4 * bar)``
    """
    data = to_bytes(score, title, author, loop)
    if Path(path).suffix.lower() == ".vgz":
        data = gzip.compress(data, mtime=0)
    write_file(path, data)


def to_bytes(score: Score, title: str = "", author: str = "", loop: int | None = None) -> bytes:
    """The VGM file of a score, not compressed; the arguments are those of ``write``."""
    name, within = score.name or "score", loop is None or 0 <= loop < score.length
    _check(score.length < 1 << 32, name, f"{score.seconds:.0f} s are more than VGM can count")
    _check(within, name, f"a loop from tick {loop} is not within its {score.length} ticks")
    body, now, repeated = bytearray(), 0, (0, 0)
    stream, again = registers.writes(score, loop)
    for number, (tick, register, value) in enumerate(stream.tolist()):
        body += _wait(tick - now)
        if number == again:
            repeated = HEADER.size + len(body) - 0x1C, score.length - tick
        body += bytes((_CHIP_WRITE, register, value))
        now = tick
    body += _wait(score.length - now) + bytes((_END,))
    texts = (title or score.name, "", "", "", "Nintendo Entertainment System", "", author)
    texts += ("", "", "LakhNES", "")  # title, game, system and author have two languages each
    text = "".join(text.replace("\0", "") + "\0" for text in texts)
    text = text.encode("utf-16-le", "replace")
    gd3 = struct.pack("<4sII", b"Gd3 ", 0x100, len(text)) + text
    end = HEADER.size + len(body)  # where offsets lead to, counted from where they stand
    sizes = (end + len(gd3) - 0x04, VERSION, end - 0x14, score.length, *repeated)
    header = HEADER.pack(MAGIC, *sizes, 60, HEADER.size - 0x34, chip.CLOCK)
    return bytes(header + body + gd3)


def _wait(ticks: int) -> bytes:
    whole, rest = divmod(ticks, 0xFFFF)
    longest = struct.pack("<BH", _WAIT, 0xFFFF)
    return longest * whole + (struct.pack("<BH", _WAIT, rest) if rest else b"")


def _check(right: bool, name, rule: str) -> None:
    if not right:
        raise BadAudio(f"{name}: {rule}")


def _unpacked(path: Path, faults: list[str]) -> bytearray:
    packed, data = read_bytes(path, BadAudio), bytearray()
    is_packed = packed[:2] == b"\x1f\x8b"
    source = gzip.GzipFile(fileobj=io.BytesIO(packed)) if is_packed else io.BytesIO(packed)
    try:
        while len(data) <= MOST_BYTES and (piece := source.read1(1 << 16)):
            data += piece
    except (gzip.BadGzipFile, EOFError, zlib.error):
        faults.append(f"its gzip data is damaged or cut off after {len(data):,} bytes")
    _check(len(data) <= MOST_BYTES, path, f"is larger than {MOST_BYTES // 1_000_000} MB")
    _check(data or faults, path, "is empty")
    rule = faults[0] if faults else "is not a VGM file (it does not start with 'Vgm ')"
    _check(data[:4] == MAGIC, path, rule)
    return data


def _number(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def _header(path: Path, data: bytes, faults: list[str]) -> tuple[int, int]:
    """Start of the commands (byte), and the chip's clock (Hz)."""
    size, start, version = len(data), _number(data, 0x34) + 0x34, _number(data, 0x08)
    shown = f"VGM version {version >> 8:x}.{version & 0xFF:02x}"
    _check(size >= 0x40, path, f"is cut off within its header ({size} bytes)")
    # The header of an older version ends before the chip's clock.
    _check(version >= 0x161 or start >= 0x88, path, f"is {shown}; an NES chip came with 1.61")
    within = f"not between its header and its end at {size}"
    _check(0x88 <= start < size, path, f"its commands start at byte {start}, {within}")
    clock = _number(data, 0x84) & 0x3FFF_FFFF
    _check(clock, path, "holds no NES sound chip")
    _check(1e6 <= clock <= 4e6, path, f"its NES chip runs at {clock} Hz, not 1 to 4 MHz")
    if not 0x161 <= version <= 0x1FF:
        faults.append(f"claims {shown}; it is read as 1.61")
    claimed, total, loop, looped = (_number(data, at) for at in (0x04, 0x18, 0x1C, 0x20))
    if claimed + 4 > size:
        faults.append(f"its header claims {claimed + 4} bytes, and it has {size}")
    if (loop and not start <= loop + 0x1C < size) or looped > total:
        faults.append(f"its loop (byte {loop + 0x1C}, {looped} samples) is not in its commands")
    return start, clock


def _end(data: bytes, start: int, faults: list[str]) -> int:
    """Where the commands, which begin at byte ``start``, end at the latest: before the tags."""
    claimed, at = _number(data, 0x14) + 0x14, data.rfind(b"Gd3 ")
    after = at + 12 + _number(data, at + 8) if at >= 0 else 0
    if claimed != max(at, 0x14) or after > len(data):
        faults.append(f"its tags are damaged, cut off or not at byte {claimed}, as its header says")
    return at if at > start else len(data)


def _commands(path: Path, data: bytes, start: int, end: int, faults: list[str]):
    """The chip's writes (tick, register, value), and the length in ticks."""
    writes, left_out = [], Counter()
    position, now = start, 0
    while position < end and data[position] != _END:
        command = data[position]
        if command not in _SIZES:
            raise BadAudio(f"{path}: byte {position} (0x{command:02x}) is no command of VGM")
        size = _SIZES[command]
        if command == _DATA_BLOCK:
            size += _number(data, position + 3) & 0x7FFF_FFFF
        if position + size > end:
            break
        now += _WAITS.get(command, 0)
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
        elif command not in _WAITS or command >= 0x80:
            left_out["data blocks" if command == _DATA_BLOCK else "other chips"] += 1
        position += size
    lasts = f"lasts {now // nes.TICKS_PER_SECOND} s, more than the {LONGEST_SECONDS} s of a song"
    _check(now <= LONGEST_SECONDS * nes.TICKS_PER_SECOND, path, lasts)
    if position >= end or data[position] != _END:
        faults.append(f"its commands are cut off at byte {position} (no end command)")
    if left_out:
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in left_out.items())
        faults.append(f"left out of the song (commands): {kinds}")
    return writes, now
