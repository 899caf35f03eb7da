"""Fixtures that several test files share: the real songs of NES-MDB, where a folder of archives is named."""

import os
from pathlib import Path

import pytest

from lakhnes_lib.data import datasets
from lakhnes_lib.data.prepare import prepare


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of archives that LAKHNES_MIRROR names."""
    named = os.environ.get("LAKHNES_MIRROR")
    if not named or not Path(named).is_dir():
        pytest.skip("LAKHNES_MIRROR names no folder of real archives")
    return Path(named)


@pytest.fixture(scope="session")
def nesmdb_home(tmp_path_factory) -> Path:
    """Where this session's data sets lie."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def nesmdb(mirror, nesmdb_home):
    """All of NES-MDB as a packed corpus, made of its MIDI files."""
    return prepare("nesmdb-midi", mirror=mirror, home=nesmdb_home, progress=False)


@pytest.fixture(scope="session")
def nesmdb_files(nesmdb, nesmdb_home) -> Path:
    """The folder of NES-MDB's MIDI files, ``train valid test`` inside."""
    return datasets.folder("nesmdb-midi", nesmdb_home)


@pytest.fixture(scope="session")
def tx1_files(mirror, nesmdb_home) -> Path:
    """The folder of the authors' TX1 texts of the same songs, ``train valid test`` and ``vocab.txt`` inside."""
    return datasets.fetch("nesmdb-tx1", mirror=mirror, home=nesmdb_home, progress=False)
