"""The kit for a lent GPU: packed, run whole on a CPU with a tiny model, and joined again."""

import json
import subprocess
import sys

import pytest
import yaml
from songs import tune

from lakhnes_lib import profiles
from lakhnes_lib.data.corpus import open_corpus, write_corpus
from lakhnes_lib.models import checkpoints

SIZES = dict(layers=1, width=16, heads=2, head_width=8, feed_forward=16, memory_length=16)
TRAINING = dict(
    steps=4, batch=2, segment=16, learning_rate=0.01, optimizer="muon", streams="songs",
    evaluate_every=2, valid_songs=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit")
    songs = {name: [tune(seed) for seed in range(12)] for name in ("train", "valid", "test")}
    write_corpus(songs, folder / "music")
    kit(folder, "pack", "kit.tar.xz", "music")
    return folder / "kit.tar.xz"


def kit(folder, *words):
    """Runs the kit in a folder, without the packages that the lent machine lacks."""
    script = profiles.root() / "tools" / "gpu_kit.py"
    absent = ["symusic", "onnx", "onnxruntime", "requests", "joblib", "jinja2", "typer"]
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({absent!r}));"
        f"sys.path.insert(0, {str(script.parent)!r}); sys.argv[1:] = {list(words)!r};"
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]


def write_toy(path):
    """A profile whose one row trains within seconds."""
    values = {"name": "toy", "seed": 0, "corpus": "songbook"}
    values["models"] = {"transformer_xl_minutes": {"architecture": "transformer_xl"} | SIZES}
    values["training"] = {"transformer_xl_minutes": TRAINING}
    path.write_text(yaml.safe_dump(values))


def test_a_row_from_archive_to_results(archive, tmp_path):
    write_toy(tmp_path / "toy.yaml")
    options = ["--row", "transformer_xl", "--minutes", "1", "--check-seconds", "1"]
    kit(tmp_path, "run", str(archive), "out", *options, "--profile", "toy.yaml", "--device", "cpu")
    out = tmp_path / "out"
    checks = json.loads((out / "checks.json").read_text())
    assert checks["speed"]["as trained"]["events_a_second"] > 0
    results = json.loads((out / "results.json").read_text())
    for split in ("test", "valid"):
        assert all(1 < results[split][way] < 1000 for way in ("exact", "paper", "per_song"))
    assert "valid_loss" in (out / "log.jsonl").read_text()
    script = profiles.root() / "tools" / "split_checkpoint.py"
    subprocess.run(
        [sys.executable, script, "join", out / "weights", tmp_path / "model"], check=True
    )
    assert checkpoints.load(tmp_path / "model").parameter_count() == results["parameters"]


def test_the_copy_of_the_corpus_names_its_original(archive, tmp_path):
    import tarfile

    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    original, copy = open_corpus(archive.parent / "music"), open_corpus(tmp_path / "music")
    assert copy.manifest["copy_of"] == original.fingerprint
    for name in ("train", "valid", "test"):
        assert all(
            (a == b).all()
            for a, b in zip(copy[name].framed(), original[name].framed(), strict=True)
        )


def test_a_command_that_may_last_only_so_long_is_gone_on_with(archive, tmp_path):
    write_toy(tmp_path / "toy.yaml")
    options = ["--row", "transformer_xl", "--check-seconds", "0", "--work", "work"]
    options += ["--profile", "toy.yaml", "--device", "cpu"]
    out, command = tmp_path / "out", ["run", str(archive), "out", *options]
    kit(tmp_path, *command, "--seconds", "0")
    assert "speed" not in json.loads((out / "checks.json").read_text())
    assert not (out / "results.json").exists()
    assert not (tmp_path / "work" / "runs" / "transformer_xl_minutes" / "finished").exists()
    kit(tmp_path, *command)
    assert "per_song" in json.loads((out / "results.json").read_text())["valid"]
