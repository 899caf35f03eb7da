"""Data sets: what is here already, mirrors, and the registry; and a mirror's real archives."""

import bz2
import gzip
import hashlib
import lzma
import re
from pathlib import Path

import pytest
from archive_server import ARCHIVE, FILES, archive, assert_here, fails, fetch, tar_of

from lakhnes_lib.data import archives, fetching, registry
from lakhnes_lib.errors import BadArchive, DataNotFound

# What is here already


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "valid/c.mid").write_bytes(b"MThd 2wo"),
        lambda folder: (folder / "valid/c.mid").unlink(),
        lambda folder: (folder / "valid/c.mid").rename(folder / "train/c.mid"),
        lambda folder: (folder / "train/new.mid").write_bytes(b""),
    ],
)
def test_changed_folder_is_noticed(server, use, home, change):
    server.parts = [archive()]
    folder = fetch(home)
    change(folder)
    with pytest.raises(BadArchive, match="remove .* fetch nesmdb-midi again"):
        fetch(home)
    assert folder.is_dir()


@pytest.mark.parametrize("receipt", [None, b"[]", b"\xff\xfe", b'{"files": 4}'])
def test_a_receipt_is_needed_where_nothing_else_is_known(server, use, home, receipt):
    server.parts = [archive()]
    folder = fetch(home)
    (folder / "receipt.json").unlink()
    if receipt is not None:
        (folder / "receipt.json").write_bytes(receipt)
    assert fetch(home) == folder  # the registry knows the fingerprint
    use(fingerprint=None)
    with pytest.raises(BadArchive, match="has no receipt.json to verify it by; remove that folder"):
        fetch(home)


def test_folder_unpacked_by_hand(use, home):
    for name, data in (FILES | {"vocab.txt": b"kept", "train/.DS_Store": b"not counted"}).items():
        path = home / "nesmdb_midi" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert fetch(home) == home / "nesmdb_midi"


# Mirrors


@pytest.mark.parametrize(
    "pack, ending",
    [(lzma.compress, ".tar.xz"), (bz2.compress, ".tar.bz2"), (gzip.compress, ".tgz")],
)
@pytest.mark.parametrize("top", ["nesmdb_midi/", "./some/where/nesmdb_midi/", ""])
def test_mirror_by_content(use, home, tmp_path, pack, ending, top):
    """Packed otherwise, with other folders around and hidden files: the same content."""
    (tmp_path / f"nesmdb_midi{ending}").write_bytes(
        pack(tar_of(FILES | {"train/._a.mid": b"x", "README": b"y"}, top))
    )
    assert_here(fetch(home, mirror=tmp_path))


def test_mirror_by_hash_whatever_its_name(use, home, tmp_path):
    (tmp_path / "download (1).tar.gz").write_bytes(ARCHIVE)
    (tmp_path / "other.tar.gz").write_bytes(b"something else")
    assert_here(fetch(home, mirror=tmp_path))


def test_mirror_with_other_content(use, home, tmp_path):
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(
        gzip.compress(tar_of(FILES | {"valid/c.mid": b"MThd 2wo"}))
    )
    fails(BadArchive, home, "other bytes than were published", mirror=tmp_path)
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(
        gzip.compress(tar_of(FILES | {"valid/e.mid": b""}))
    )
    fails(BadArchive, home, "other bytes than were published (5 files", mirror=tmp_path)


def test_mirror_of_a_set_without_fingerprint_needs_the_official_archive(use, home, tmp_path):
    use(fingerprint=None, files=None)
    (tmp_path / "nesmdb_midi.tar.xz").write_bytes(lzma.compress(tar_of(FILES)))
    fails(BadArchive, home, "is not the published file", mirror=tmp_path)
    (tmp_path / "nesmdb_midi.tar.xz").rename(tmp_path / "nesmdb_midi-repacked.tar.xz")
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(ARCHIVE)
    assert_here(fetch(home, mirror=tmp_path))


def test_mirror_from_the_environment(server, use, home, tmp_path, monkeypatch):
    """It is asked first, and what it lacks comes from the official address, unless the mirror was
    given by name."""
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("LAKHNES_MIRROR", str(tmp_path / "mirror"))
    fails(DataNotFound, home, "holds no nesmdb_midi.tar.gz", mirror=tmp_path / "mirror")
    fails(DataNotFound, home, "is not a folder", mirror=tmp_path / "nothing")
    server.parts = [archive()]
    assert_here(fetch(home))
    (tmp_path / "mirror/nesmdb_midi.tar.gz").write_bytes(ARCHIVE)
    assert_here(fetch(tmp_path / "second"))
    assert len(server.requests) == 1


def test_names_that_are_md5(use, home, tmp_path):
    data = b"MThd whatever was found"
    name = f"5/{hashlib.md5(data).hexdigest()}.mid"
    changes = dict(
        content=registry.REGISTRY["lmd-full"].content,
        md5_names=True,
        fingerprint=None,
        files=None,
        sha256=None,
    )
    use(**changes)
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(
        gzip.compress(tar_of({name: data + b"!"}, "lmd_full/"))
    )
    fails(BadArchive, home, name, "md5", mirror=tmp_path)
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(gzip.compress(tar_of({name: data}, "lmd_full/")))
    folder = fetch(home, mirror=tmp_path)
    assert (folder / name).read_bytes() == data
    assert fetch(home) == folder
    (folder / name).write_bytes(data + b"!")
    with pytest.raises(BadArchive, match="other bytes"):
        fetch(home)


def test_checkpoint_archive(server, use, home):
    """Without a pattern: everything, less the archive's first folder."""
    data = gzip.compress(tar_of({"model.pt": b"weights", "scripts/train.py": b"code"}, "LakhNES/"))
    use(
        content=None,
        fingerprint=None,
        files=None,
        sha256=hashlib.sha256(data).hexdigest(),
        folder="published/LakhNES",
    )
    server.parts = [archive(data)]
    folder = fetch(home)
    assert folder == home / "published/LakhNES"
    assert (folder / "model.pt").read_bytes() == b"weights"
    assert (folder / "scripts/train.py").read_bytes() == b"code"
    assert fetch(home) == folder
    (folder / "model.pt").write_bytes(b"Weights")
    with pytest.raises(BadArchive, match="other bytes"):
        fetch(home)


# The registry


def test_registry_is_complete():
    for name, entry in registry.REGISTRY.items():
        assert entry.name == name
        assert entry.licence and entry.citation and entry.size and entry.page.startswith("https://")
        assert entry.url or entry.fingerprint
        assert entry.sha256 or entry.fingerprint or entry.md5_names, f"{name} could not be verified"
        for value in (entry.sha256, entry.fingerprint):
            assert value is None or re.fullmatch("[0-9a-f]{64}", value)
    hashes = [entry.sha256 for entry in registry.REGISTRY.values() if entry.sha256]
    folders = [entry.folder for entry in registry.REGISTRY.values()]
    assert len(set(hashes)) == len(hashes) == 9
    assert len(set(folders)) == len(folders) == 12


def test_unknown_name(home):
    with pytest.raises(
        DataNotFound, match="'nesmbd' is not in the registry; there are: nesmdb-midi, "
    ):
        fetching.fetch("nesmbd", home=home)


def test_subset_that_only_mirrors_have(home, monkeypatch):
    monkeypatch.delenv("LAKHNES_MIRROR", raising=False)
    with pytest.raises(DataNotFound, match="no official archive of its own"):
        fetching.fetch("lmd-full-5", home=home)
    assert not list(home.iterdir())


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("LAKHNES_HOME", str(tmp_path / "elsewhere"))
    assert fetching.home() == tmp_path / "elsewhere"
    assert fetching.folder("nesmdb-midi") == tmp_path / "elsewhere/nesmdb_midi"
    monkeypatch.delenv("LAKHNES_HOME")
    monkeypatch.delenv("LAKHNES_ROOT", raising=False)
    assert fetching.home() == Path(__file__).resolve().parents[1] / "data"
    monkeypatch.setenv("LAKHNES_ROOT", str(tmp_path / "site-packages"))
    assert fetching.home() == Path.home() / ".cache/lakhnes"


def test_real_archives(nesmdb_files, tx1_files, mirror, home):
    """The registry's fingerprints are those of the published songs."""
    sample = fetching.fetch("lmd-full-5-sample", mirror=mirror, home=home, progress=False)
    folders = {
        "nesmdb-midi": nesmdb_files,
        "nesmdb-tx1": tx1_files,
        "lmd-full-5-sample": sample,
    }
    for name, folder in folders.items():
        entry = registry.find(name)
        inventory = archives.take_inventory(folder, entry.content)
        assert inventory == {"files": entry.files, "fingerprint": entry.fingerprint}
    for folder in (nesmdb_files, tx1_files):
        songs = [len(list((folder / split).iterdir())) for split in ("train", "valid", "test")]
        assert songs == [4502, 403, 373]
    for path in sample.rglob("*.mid"):
        assert hashlib.md5(path.read_bytes()).hexdigest() == path.stem
