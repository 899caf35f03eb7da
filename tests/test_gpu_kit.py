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


def write_toy(path, model="transformer_xl_minutes"):
    """A profile whose one row trains within seconds."""
    values = {"name": "toy", "seed": 0, "corpus": "songbook"}
    values["models"] = {model: {"architecture": "transformer_xl"} | SIZES}
    values["training"] = {model: TRAINING}
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


def test_given_weights_are_trained_on_instead_of_lakh(archive, tmp_path):
    checkpoints.save(checkpoints.build("transformer_xl", **SIZES), tmp_path / "begun")
    write_toy(tmp_path / "toy.yaml", "transformer_xl_minutes_augmented")  # no model for Lakh
    options = ["--row", "transformer_xl_lakh", "--start", "begun", "--check-seconds", "0"]
    options += ["--profile", "toy.yaml", "--device", "cpu"]
    kit(tmp_path, "run", str(archive), "out", *options)
    log = (tmp_path / "out" / "log.jsonl").read_text().splitlines()
    first = json.loads(log[0])
    assert first["step"] == 0 and first["valid_loss"] > 0, "the given weights are measured first"
    config = json.loads((tmp_path / "out" / "weights" / "config.json").read_text())
    assert config["parts"]["bits"] == 16 and config["device"]
    assert not (tmp_path / "out" / "lakh_log.jsonl").exists()


def test_the_goes_of_one_row_are_added_up(tmp_path, monkeypatch):
    import gpu_kit

    def go(name, steps, losses, lakh=None, **results):
        folder = tmp_path / name
        folder.mkdir()
        checks = {"row": "r", "device": "a GPU", "circumstances": {"date": name}}
        (folder / "checks.json").write_text(json.dumps(checks | {"seconds_since_start": 1}))
        lines = [
            {"step": step, "events": 10 * step, "seconds": 2 * step, "valid_loss": loss}
            for step, loss in zip(steps, losses, strict=True)
        ]
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if lakh:
            (folder / "lakh_log.jsonl").write_text(json.dumps(lakh) + "\n")
        if results:
            (folder / "results.json").write_text(json.dumps(checks | results))
        return folder

    lakh = {"step": 7, "events": 70, "seconds": 9.0, "train_loss": 1.0}
    folders = [
        go("one", [1, 2], [3.0, 2.0], lakh),
        go("two", [0, 4], [2.1, 1.5], test={"exact": 4}),
    ]
    monkeypatch.setattr(gpu_kit.results, "path_of", lambda name: tmp_path / f"{name}.json")
    gpu_kit.collect(folders)
    row = json.loads((tmp_path / "gpu.json").read_text())["values"]["rows"]["r"]
    assert row["trained"] == {"step": 6, "events": 60, "seconds": 12} and row["goes"] == 2
    points = [(line["step"], line["valid_loss"]) for line in row["valid_curve"]]
    assert points == [(1, 3.0), (2, 2.0), (2, 2.1), (6, 1.5)]
    assert row["lakh"] == {"step": 7, "events": 70, "seconds": 9.0} and row["test"] == {"exact": 4}
