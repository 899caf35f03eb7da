"""A corpus by name: songbook, data set, folder."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from lakhnes_lib import profiles
from lakhnes_lib.data import build, corpus, fetching
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.errors import BadCorpus, DataNotFound
from lakhnes_lib.music import midi
from lakhnes_lib.songbook import tunes


def test_songbook():
    book = prepare("songbook")
    for name in corpus.SPLITS:
        expected = tunes.scores(name)
        assert len(book[name]) == len(expected) > 0
        assert all(book[name].score(i) == song for i, song in enumerate(expected))
    assert book.fingerprint == prepare("songbook").fingerprint


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """A stand-in for the fetched NES-MDB: five songs as MIDI; counts how often it is asked for."""
    for name in corpus.SPLITS:
        for song in tunes.scores(name)[:2]:
            midi.write(song, tmp_path / f"nesmdb_midi/{name}/{song.name}.mid")
    calls = []

    def fetch(name, **options):
        calls.append((name, options))
        return tmp_path / "nesmdb_midi"

    monkeypatch.setattr(fetching, "fetch", fetch)
    return calls


def test_data_set_is_packed_once(fetched, tmp_path):
    first = prepare("nesmdb-midi", home=tmp_path, mirror="archives", progress=False)
    assert [len(first[name]) for name in corpus.SPLITS] == [2, 2, 2]
    assert first.folder == tmp_path / "packed/nesmdb-midi"
    again = prepare("nesmdb-midi", home=tmp_path, progress=False)
    assert again.fingerprint == first.fingerprint
    assert fetched == [("nesmdb-midi", {"mirror": "archives", "home": tmp_path, "progress": False})]


def test_damaged_pack_is_made_anew(fetched, tmp_path):
    first = prepare("nesmdb-midi", home=tmp_path, progress=False).fingerprint
    (tmp_path / "packed/nesmdb-midi/train.notes.npy").write_bytes(b"damaged")
    assert prepare("nesmdb-midi", home=tmp_path, progress=False).fingerprint == first
    assert len(fetched) == 2


def test_folder(tmp_path):
    for song in tunes.scores("train")[:3]:
        midi.write(song, tmp_path / f"music/{song.name}.mid")
    made = build.build_corpus(tmp_path / "music", tmp_path / "packed", workers=1, progress=False)
    assert prepare(tmp_path / "packed").fingerprint == made.fingerprint
    notes = np.load(tmp_path / "packed/train.notes.npy")
    notes["pitch"][0] ^= 1
    np.save(tmp_path / "packed/train.notes.npy", notes)
    with pytest.raises(BadCorpus, match="train was changed"):
        prepare(tmp_path / "packed")
    shutil.rmtree(tmp_path / "packed")
    with pytest.raises(
        DataNotFound, match="packed: is neither a corpus folder nor one of songbook, nesmdb-midi"
    ):
        prepare(tmp_path / "packed")
    with pytest.raises(DataNotFound, match=r"music: is not a corpus .*`lakhnes tokens`"):
        prepare(tmp_path / "music")


BARE = """
import runpy, sys
for name in ("symusic", "pretty_midi", "requests", "joblib", "distributed", "typer", "IPython"):
    sys.modules[name] = None  # importing it fails
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib import profiles
from lakhnes_lib.training import trainer
from lakhnes_lib.data.corpora import prepare
corpus, smoke = prepare("nesmdb-midi"), profiles.load("smoke")
few = smoke.training["transformer_xl"].model_copy(update={"steps": 2, "valid_songs": 1})
smoke = smoke.model_copy(update={"training": {"transformer_xl": few}})
run = trainer.train(smoke, corpus, sys.argv[1], device="cpu", progress=False)
scores = perplexity.exact(run.model, corpus["test"].framed(), progress=False)
assert run.step == 2 and scores.targets > 500
for benchmark in ("evaluation_speed", "ngram_known_answers", "perplexity_table", "training_speed"):
    sys.argv = [f"benchmarks/{benchmark}.py", "--help"]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        assert not end.code
"""


def test_a_machine_without_midi_and_network_libraries_trains_and_measures(
    fetched, tmp_path, monkeypatch
):
    """Such as a GPU at hand for a while, which has PyTorch, NumPy, safetensors, PyYAML, pydantic,
    tqdm and SciPy alone."""
    prepare("nesmdb-midi", home=tmp_path, progress=False)
    monkeypatch.setenv(fetching.HOME_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(profiles.root() / "benchmarks"))
    command = [sys.executable, "-c", BARE, str(tmp_path / "run")]
    done = subprocess.run(command, cwd=profiles.root(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
