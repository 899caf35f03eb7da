"""VGM files, the register logs of game music: Score -> VGM 1.61, and any VGM with an NES sound chip -> Score.

Paper: §3 (NES-MDB was extracted from VGM). Notebook: 01_nes_ensemble.
Differences from the paper: reading is part of the library, so new VGM files become scores of the same kind.

``write`` then ``read`` gives a score back to the tick, but for what the chip cannot tell apart: a note that follows one
of its own voice and pitch without a gap (they become one), velocity 0 inside a note (it ends), a control that repeats
the value in force, velocity controls at or outside of a note's borders, controls of a voice without notes, and all
but the last of two controls of one kind in one tick. No song of NES-MDB holds any of these.
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
"""GD3's eleven texts in their order."""

_SOUNDS = ("DPCM samples", "Famicom Disk System sound", "a second NES chip", "data blocks")
"""What a score cannot hold."""

_OPERANDS = (
    {0x4F: 1, 0x50: 1, 0x64: 3, 0x68: 11, 0x90: 4, 0x91: 4, 0x92: 5, 0x93: 10, 0x94: 1, 0x95: 4}
    | dict.fromkeys(range(0x30, 0x40), 1)
    | dict.fromkeys(range(0x40, 0x4F), 2)
    | dict.fromkeys(range(0x51, 0x60), 2)
    | dict.fromkeys(range(0xA0, 0xC0), 2)
    | dict.fromkeys(range(0xC0, 0xE0), 3)
    | dict.fromkeys(range(0xE0, 0x100), 4)
)
"""Bytes that follow a command that is none of the NES chip's and no wait."""


@dataclass(frozen=True)
class Recording:
    """What a VGM file holds.

    score: its music, the loop played once. tags: GD3 texts that are not empty, by TAGS.
    skipped: commands of other chips, by command byte. left_out: what the file has and a score cannot hold.
    """

    score: Score
    tags: dict[str, str] = field(default_factory=dict)
    skipped: Counter = field(default_factory=Counter)
    left_out: tuple[str, ...] = ()


def read(path) -> Score:
    """The score of a VGM or VGZ file, with velocities and timbre; its loop is played once.

    Raises BadAudio when the file is damaged, holds no NES chip, or is larger or longer than a song can be.
    ``load`` tells in addition what was left out.
    """
    return load(path).score


def load(path) -> Recording:
    """As ``read``, with the file's tags, the number of commands skipped, and the names of what was left out."""
    path = Path(path)
    data = _unpacked(path)
    start, end, clock = _header(path, data)
    writes, length, skipped, sounds = _commands(path, data, start, end)
    left_out = tuple(f"{title} ({count} commands)" for title, count in sounds.items() if count)
    if skipped:
        left_out += (f"other chips ({skipped.total()} commands)",)
    score = emulation.run(writes, length, clock, path.stem)
    return Recording(score, _tags(path, data), skipped, left_out)


def write(score: Score, path, title: str = "", author: str = "") -> None:
    """Writes VGM 1.61, gzipped if the name ends in ``.vgz``; the title is the score's name if none is given.

    Raises BadAudio for a score too long for the format, LakhnesError when the place cannot be written.
    """
    data = to_bytes(score, title, author)
    if Path(path).suffix.lower() == ".vgz":
        data = gzip.compress(data, mtime=0)
    write_file(path, data)


def to_bytes(score: Score, title: str = "", author: str = "") -> bytes:
    """The VGM file of a score, not compressed."""
    if score.length >= 1 << 32:
        raise BadAudio(
            f"{score.name or 'score'}: {score.seconds:.0f} s are more than VGM can count"
        )
    body, now = bytearray(), 0
    for tick, register, value in registers.writes(score)[["tick", "register", "value"]].tolist():
        if tick > now:
            body += _wait(tick - now)
            now = tick
        body += bytes((0xB4, register, value))
    body += _wait(score.length - now) + b"\x66"
    texts = dict(
        title=title or score.name,
        system="Nintendo Entertainment System",
        author=author,
        converted_by="LakhNES",
    )
    text = "".join(texts.get(tag, "").replace("\0", "") + "\0" for tag in TAGS).encode(
        "utf-16-le", "replace"
    )
    gd3 = struct.pack("<4sII", b"Gd3 ", 0x100, len(text)) + text
    header = bytearray(HEADER)
    struct.pack_into("<4sII", header, 0, MAGIC, HEADER + len(body) + len(gd3) - 4, VERSION)
    struct.pack_into("<II", header, 0x14, HEADER + len(body) - 0x14, score.length)
    struct.pack_into("<I", header, 0x24, 60)
    struct.pack_into("<I", header, 0x34, HEADER - 0x34)
    struct.pack_into("<I", header, 0x84, chip.CLOCK)
    return bytes(header + body + gd3)


def _wait(ticks: int) -> bytes:
    whole, rest = divmod(ticks, 0xFFFF)
    return b"\x61\xff\xff" * whole + (struct.pack("<BH", 0x61, rest) if rest else b"")


def _unpacked(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadAudio(f"{path}: cannot be read ({error.strerror})") from error
    if data[:2] == b"\x1f\x8b":
        unpack = zlib.decompressobj(31)
        try:
            data = unpack.decompress(data, MOST_BYTES + 1)
        except zlib.error as error:
            raise BadAudio(f"{path}: is damaged gzip data ({error})") from error
        if len(data) <= MOST_BYTES and not unpack.eof:
            raise BadAudio(f"{path}: its gzip data is cut off")
    if len(data) > MOST_BYTES:
        raise BadAudio(f"{path}: is larger than {MOST_BYTES // 1_000_000} MB, too large for a song")
    if not data:
        raise BadAudio(f"{path}: is empty")
    if data[:4] != MAGIC:
        raise BadAudio(f"{path}: is not a VGM file (it does not start with 'Vgm ')")
    return data


def _header(path: Path, data: bytes):
    """Start and end of the commands (bytes), and the chip's clock (Hz)."""
    if len(data) < 0x40:
        raise BadAudio(f"{path}: is cut off within its header ({len(data)} bytes)")

    def number(place):
        return struct.unpack_from("<I", data, place)[0] if place + 4 <= len(data) else 0

    version, total, loop, loop_samples = number(0x08), number(0x18), number(0x1C), number(0x20)
    if not 0x161 <= version <= 0x1FF:
        raise BadAudio(
            f"{path}: is VGM version {version >> 8:x}.{version & 0xFF:02x}; versions with an NES chip are 1.61 to 1.ff"
        )
    if number(0x04) + 4 > len(data):
        raise BadAudio(f"{path}: is cut off ({len(data)} of {number(0x04) + 4} bytes)")
    start = number(0x34) + 0x34
    if not 0x88 <= start < len(data):
        raise BadAudio(
            f"{path}: its commands start at byte {start}, not between its header and its end at {len(data)}"
        )
    gd3 = number(0x14) and number(0x14) + 0x14
    if gd3 and not 0x88 <= gd3 <= len(data) - 12:
        raise BadAudio(
            f"{path}: its tags start at byte {gd3}, not between its header and its end at {len(data)}"
        )
    end = gd3 if gd3 > start else len(data)
    if total > LONGEST:
        raise BadAudio(f"{path}: claims {total / nes.TICKS_PER_SECOND:.0f} s, {_TOO_LONG}")
    if (loop and not start <= loop + 0x1C < end) or loop_samples > total:
        raise BadAudio(
            f"{path}: its loop (byte {loop + 0x1C}, {loop_samples} samples) is not within its commands"
        )
    clock = number(0x84) & 0x3FFF_FFFF
    if not clock:
        raise BadAudio(f"{path}: holds no NES sound chip")
    if not 1_000_000 <= clock <= 4_000_000:
        raise BadAudio(f"{path}: its NES chip runs at {clock} Hz, not between 1 and 4 MHz")
    return start, end, clock


def _commands(path: Path, data: bytes, place: int, end: int):
    """The chip's writes (tick, register, value), the length in ticks, commands skipped by byte, and sounds left out."""
    writes, skipped, sounds, now = [], Counter(), dict.fromkeys(_SOUNDS, 0), 0
    samples, disk, second, blocks = _SOUNDS
    while place < end:
        command = data[place]
        if command == 0x66:
            return writes, now, skipped, sounds
        if command == 0xB4 and place + 3 <= end:
            register, value = data[place + 1], data[place + 2]
            if register < 0x10 or register in (0x15, 0x17):
                writes.append((now, register, value))
                sounds[samples] += register == 0x15 and value >> 4 & 1
            elif register >= 0x20:
                sounds[disk if register < 0x80 else second] += 1
            else:
                sounds[samples] += 0x10 <= register < 0x14
            place += 3
        elif command == 0x61 and place + 3 <= end:
            now += data[place + 1] | data[place + 2] << 8
            place += 3
        elif command in (0x62, 0x63):
            now += 735 if command == 0x62 else 882
            place += 1
        elif 0x70 <= command < 0x90:
            # 0x8n also plays a byte on another chip.
            now += command - 0x6F if command < 0x80 else command - 0x80
            skipped.update([command] if command >= 0x80 else [])
            place += 1
        elif command == 0x67 and place + 7 <= end:
            size = struct.unpack_from("<I", data, place + 3)[0] & 0x7FFF_FFFF
            if size > end - place - 7:
                raise BadAudio(
                    f"{path}: its data block at byte {place} claims {size} bytes; {end - place - 7} are left"
                )
            sounds[blocks] += 1
            place += 7 + size
        elif command in _OPERANDS:
            skipped[command] += 1
            place += 1 + _OPERANDS[command]
        else:
            raise BadAudio(f"{path}: byte {place} is 0x{command:02x}, cut off or no command of VGM")
        if now > LONGEST:
            raise BadAudio(f"{path}: lasts {now / nes.TICKS_PER_SECOND:.0f} s, {_TOO_LONG}")
    raise BadAudio(f"{path}: its commands are cut off (no end command before byte {end})")


def _tags(path: Path, data: bytes) -> dict[str, str]:
    place = struct.unpack_from("<I", data, 0x14)[0]
    if not place:
        return {}
    magic, _, size = struct.unpack_from("<4sII", data, place + 0x14)
    if magic != b"Gd3 " or place + 0x14 + 12 + size > len(data):
        raise BadAudio(f"{path}: its tags at byte {place + 0x14} are damaged or cut off")
    texts = data[place + 0x20 : place + 0x20 + size].decode("utf-16-le", "replace").split("\0")
    return {tag: text for tag, text in zip(TAGS, texts, strict=False) if text}
