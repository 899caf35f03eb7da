"""The archive for a lent GPU: corpora, the wheels that it needs, and how large it may be."""

import subprocess
import sys
import tarfile

import gpu_archive
import pytest
from gpu_archive import pack, unpack
from lent_kit import index, small_corpus
from lent_machine import THIS_PYTHON

from lakhnes_lib.data.corpus import open_corpus
from lakhnes_lib.errors import BadArchive, LakhnesError


@pytest.fixture
def music(tmp_path, monkeypatch):
    """A corpus' folder, and wheels for Python 3.12 that pip finds."""
    for name, value in index(tmp_path / "index", "3.12").items():
        monkeypatch.setenv(name, value)
    return small_corpus(tmp_path / "music").folder


def test_the_copy_of_the_corpus_names_its_original(music, tmp_path):
    megabytes = pack(tmp_path / "kit.tar.xz", [music])
    assert megabytes == (tmp_path / "kit.tar.xz").stat().st_size / 1e6
    unpack(tmp_path / "kit.tar.xz", tmp_path / "there")
    original, copy = open_corpus(music), open_corpus(tmp_path / "there" / "music")
    assert copy.manifest["copy_of"] == original.fingerprint
    for name in ("train", "valid", "test"):
        assert all(
            (a == b).all()
            for a, b in zip(copy[name].framed(), original[name].framed(), strict=True)
        )


def test_pydantic_and_all_that_it_needs_travel_as_wheels(music, tmp_path):
    pack(tmp_path / "kit.tar.xz", [music])
    with tarfile.open(tmp_path / "kit.tar.xz") as file:
        wheels = {name.split("/")[1] for name in file.getnames() if name.endswith(".whl")}
    assert {name.split("-")[0] for name in wheels} == {
        "pydantic",
        "pydantic_core",
        "annotated_types",
        "typing_extensions",
        "typing_inspection",
    }
    (compiled,) = (name for name in wheels if name.startswith("pydantic_core"))
    assert "cp312" in compiled and "x86_64" in compiled


def test_wheels_that_cannot_be_had_end_it_with_one_line(music, tmp_path, capfd):
    with pytest.raises(LakhnesError, match=r"wheels of pydantic.* for Python 3\.13 cannot be had"):
        pack(tmp_path / "kit.tar.xz", [music], python="3.13")
    command = [sys.executable, gpu_archive.__file__.replace("gpu_archive", "gpu_kit"), "pack"]
    command += [tmp_path / "kit.tar.xz", music, "--python", "3.13"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "kit.tar.xz").exists()


def test_an_archive_over_the_limit_is_not_left(music, tmp_path):
    with pytest.raises(LakhnesError, match=r"kit\.tar\.xz: would have \d\.\d MB, and 0\.5 are"):
        pack(tmp_path / "kit.tar.xz", [music], most_megabytes=0.5)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"music", "index"}


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "kit.tar.xz").write_text("something else")
    for name in ("kit.tar.xz", "absent.tar.xz"):
        with pytest.raises(BadArchive, match=f"{name}: cannot be unpacked"):
            unpack(tmp_path / name, tmp_path / "there")


def test_wheels_of_another_python_are_noticed(music, tmp_path, monkeypatch):
    pack(tmp_path / "kit.tar.xz", [music])
    monkeypatch.setattr(gpu_archive, "is_there", lambda: False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(BadArchive, match=f"pack it with --python {THIS_PYTHON}"):
        unpack(tmp_path / "kit.tar.xz", tmp_path / "there")
