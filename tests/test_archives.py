"""Unpacking: archives that are cut off, damaged or hostile leave nothing behind."""

import bz2
import gzip
import hashlib
import lzma
import tarfile
import zipfile

import pytest
from archive_server import ARCHIVE, FILES, archive, assert_here, fails, fetch, tar_of

from lakhnes_lib.data import archives
from lakhnes_lib.errors import BadArchive


def member_of(name, kind=tarfile.REGTYPE, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress, bytes])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_archive_cut_off(use, home, tmp_path, pack, share):
    whole = pack(tar_of(FILES))
    (tmp_path / "nesmdb_midi.tar").write_bytes(whole[: int(len(whole) * share)])
    fails(BadArchive, home, "nesmdb_midi.tar", mirror=tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"", b"not a tar" * 200, b"\x1f\x8b", b"BZh9xxxxxxxx", b"\xfd7zXZ\x00yyyyyyy", b"\0" * 4096],
)
def test_no_archive(use, home, tmp_path, data):
    (tmp_path / "nesmdb_midi.tar").write_bytes(data)
    fails(BadArchive, home, "nesmdb_midi.tar", mirror=tmp_path)


def test_damaged_checksum(use, home, tmp_path):
    damaged = bytearray(ARCHIVE)
    damaged[-5] ^= 1  # in gzip's trailer, after all of the tar
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(damaged)
    fails(BadArchive, home, "damaged", mirror=tmp_path)


HOSTILE = {
    "absolute": [member_of("/train/x.mid")],
    "parent": [member_of("../../train/x.mid")],
    "parent inside": [member_of("nesmdb_midi/train/../../../x.mid")],
    "symbolic link": [member_of("nesmdb_midi/train/x.mid", tarfile.SYMTYPE, "../../../secret")],
    "symbolic link as a folder": [member_of("nesmdb_midi/train", tarfile.SYMTYPE, "../..")],
    "absolute symbolic link": [member_of("nesmdb_midi/train/x.mid", tarfile.SYMTYPE, "/etc")],
    "hard link": [member_of("nesmdb_midi/train/x.mid", tarfile.LNKTYPE, "../../secret")],
    "device": [member_of("nesmdb_midi/train/x.mid", tarfile.CHRTYPE)],
    "pipe": [member_of("nesmdb_midi/train/x.mid", tarfile.FIFOTYPE)],
    "twice": [member_of("nesmdb_midi/train/a.mid")],
    "many": [member_of(f"elsewhere/{i}") for i in range(20)],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archive(use, home, tmp_path, kind):
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(
        gzip.compress(tar_of(FILES, "nesmdb_midi/", *HOSTILE[kind]))
    )
    fails(BadArchive, home, "nesmdb_midi.tar.gz", mirror=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"nesmdb_midi.tar.gz", "home"}


def test_hostile_download(server, use, home):
    data = gzip.compress(tar_of(FILES, "nesmdb_midi/", *HOSTILE["parent"]))
    use(sha256=hashlib.sha256(data).hexdigest())
    server.parts = [archive(data)]
    fails(BadArchive, home, "may not be unpacked", "outside the destination")


def test_links_inside_are_never_made(use, home, tmp_path):
    """A link that stays in the folder is let through by tarfile's filter, and is no file of a data
    set; nothing is written through it."""
    link = member_of("nesmdb_midi/other", tarfile.SYMTYPE, "train")
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(
        gzip.compress(tar_of(FILES, "nesmdb_midi/", link, member_of("nesmdb_midi/other/a.mid")))
    )
    assert_here(fetch(home, mirror=tmp_path))


def test_bomb(use, home, tmp_path):
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(
        gzip.compress(tar_of({"train/x.mid": bytes(50_000_000)}))
    )
    fails(BadArchive, home, "more than 2,000,000 bytes", mirror=tmp_path)


def test_bomb_is_refused_before_it_is_unpacked(use, home, tmp_path):
    member = tarfile.TarInfo("nesmdb_midi/train/x.mid")
    member.size = 5 * 10**9
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(gzip.compress(member.tobuf() + bytes(10_000)))
    fails(BadArchive, home, "more than 2,000,000 bytes", mirror=tmp_path)


def test_bomb_behind_the_end(use, home, tmp_path):
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(gzip.compress(tar_of(FILES) + bytes(50_000_000)))
    fails(BadArchive, home, "more than 2,000,000 bytes", mirror=tmp_path)


def test_bomb_in_a_header(use, home, tmp_path):
    use(most_bytes=10**12)
    head = tarfile.TarInfo("././@PaxHeader")
    head.type, head.size = tarfile.XHDTYPE, 5 * 10**9
    (tmp_path / "nesmdb_midi.tar").write_bytes(head.tobuf() + bytes(100_000))
    fails(BadArchive, home, "header of 5,000,000,000 bytes", mirror=tmp_path)


def test_a_file_packed_by_another_method_costs_no_other(tmp_path):
    """Windows packs large files by Deflate64, method 9, which Python lacks."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("large.mid", b"MThd" * 9)
        packed.writestr("small.mid", b"MThd")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for sign, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(sign) + offset] = 9
    (tmp_path / "a.zip").write_bytes(data)
    contents = dict(archives.contents(tmp_path / "a.zip", 1000, 1000))
    assert contents == {"large.mid": None, "small.mid": b"MThd"}
