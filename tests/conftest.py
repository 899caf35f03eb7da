"""Fixtures that several test files share: real songs from a folder of archives, made ones, and the
command line."""

import hashlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import bands
import pytest
from archive_server import ARCHIVE, FILES, Server, slow_fingerprint

from lakhnes_lib.__main__ import main
from lakhnes_lib.data import fetching, lakh_mapping, registry
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.models import fast

# Their assertions show values, too.
pytest.register_assert_rewrite("small_runs", "small_study", "tracker_readers")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard():
    """A shell that runs the tests in the background has them ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=[True, False], ids=["fast", "readable"])
def both_ways(request):
    """Runs a test with the fast versions of the models' parts, and once more without them."""
    with fast.switched(request.param):
        yield request.param


@pytest.fixture
def one_line(capsys):
    """Runs a command that must fail with exit code 1, and returns its one line."""

    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 1
        out, err = capsys.readouterr()
        assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
        assert "Traceback" not in out + err
        return err

    return run


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
def nesmdb_files(mirror, nesmdb_home) -> Path:
    """The folder of NES-MDB's MIDI files, ``train valid test`` inside."""
    return fetching.fetch("nesmdb-midi", mirror=mirror, home=nesmdb_home, progress=False)


@pytest.fixture(scope="session")
def nesmdb(nesmdb_files, nesmdb_home):
    """All of NES-MDB as a packed corpus, made of its MIDI files."""
    return prepare("nesmdb-midi", home=nesmdb_home, progress=False)


@pytest.fixture(scope="session")
def tx1_files(mirror, nesmdb_home) -> Path:
    """The folder of the authors' TX1 texts of the same songs, ``train valid test`` inside."""
    return fetching.fetch("nesmdb-tx1", mirror=mirror, home=nesmdb_home, progress=False)


@pytest.fixture
def server():
    """A local server; what it answers is set as its ``parts``."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def home(tmp_path):
    """Where this test's data sets lie; not yet made."""
    return tmp_path / "home"


@pytest.fixture
def use(monkeypatch, server):
    """Puts an entry for FILES into the registry under the name nesmdb-midi, with changes."""
    monkeypatch.delenv("LAKHNES_MIRROR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def put(**changes):
        entry = replace(
            registry.REGISTRY["nesmdb-midi"],
            url=server.url,
            sha256=hashlib.sha256(ARCHIVE).hexdigest(),
            fingerprint=slow_fingerprint(FILES),
            files=len(FILES),
            most_bytes=2_000_000,
            most_members=20,
        )
        monkeypatch.setitem(registry.REGISTRY, "nesmdb-midi", replace(entry, **changes))

    put()
    return put


@pytest.fixture(scope="session")
def music(tmp_path_factory) -> Path:
    """A folder of small songs and of other files."""
    folder = tmp_path_factory.mktemp("music")
    for name, data in bands.files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="session")
def mapped(music, tmp_path_factory) -> Path:
    """What one worker makes of the folder in one go."""
    folder = tmp_path_factory.mktemp("made") / "corpus"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lakh_mapping, "FILES_A_SHARD", bands.FILES_A_SHARD)
        lakh_mapping.map_corpus(music, folder, workers=1, progress=False)
    assert [path.name for path in folder.parent.iterdir()] == ["corpus"]
    return folder
