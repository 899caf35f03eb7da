"""The kit for a lent GPU: packed, run whole on a CPU with a tiny model, and joined again."""

import copy
import json
import multiprocessing
import subprocess
import sys

import gpu_checks
import pytest
import torch
import yaml
from gpu_archive import pack
from lent_kit import index, kit, small_corpus
from lent_machine import THIS_PYTHON
from songs import tune

from lakhnes_lib import profiles
from lakhnes_lib.data import corpus
from lakhnes_lib.models import checkpoints

SIZES = dict(layers=1, width=16, heads=2, head_width=8, feed_forward=16, memory_length=16)
TRAINING = dict(
    steps=4, batch=2, segment=16, learning_rate=0.01, optimizer="muon", streams="songs",
    evaluate_every=2, valid_songs=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit")
    small_corpus(folder / "music")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in index(folder / "index", THIS_PYTHON).items():
            patch.setenv(name, value)
        pack(folder / "kit.tar.xz", [folder / "music"], THIS_PYTHON)
    return folder / "kit.tar.xz"


def write_toy(path, model="transformer_xl_minutes"):
    """A profile whose one row trains within seconds."""
    values = {"name": "toy", "seed": 5, "corpus": "songbook"}
    values["models"] = {model: {"architecture": "transformer_xl"} | SIZES}
    values["training"] = {model: TRAINING}
    values["evaluation"] = {"songs": 11}  # of twelve
    path.write_text(yaml.safe_dump(values))


def test_a_row_from_archive_to_results(archive, tmp_path):
    write_toy(tmp_path / "toy.yaml")
    options = ["--row", "transformer_xl", "--minutes", "1", "--check-seconds", "60"]
    options += ["--profile", "toy.yaml", "--device", "cpu", "--part-megabytes", "0.01"]
    # Compiling takes half a minute; benchmarks/gpu_kit_trial.py waits for it.
    printed = kit(tmp_path, "run", archive, "out", *options, TORCH_COMPILE_DISABLE="1")
    assert printed.startswith("pydantic: from the archive")
    out = tmp_path / "out"
    checks = json.loads((out / "checks.json").read_text())
    assert list(checks["speed"]) == ["batch 2", "batch 1", "batch 4"]
    for each in (
        *checks["speed"].values(),
        *(checks["compile"][way] for way in ("plain", "compiled")),
    ):
        assert each["events_a_second"] > 0 and each["peak_gigabytes"] > 0
    results = json.loads((out / "results.json").read_text())
    for split in ("test", "valid"):
        assert all(1 < results[split][way] < 1000 for way in ("exact", "paper", "per_song"))
    original = corpus.open_corpus(archive.parent / "music").fingerprint
    origin = {"device": "cpu", "seed": 5, "data_fingerprint": original}
    for written in (checks, results):
        assert {name: written[name] for name in origin} == origin
    assert results["circumstances"]["versions"]["torch"] == torch.__version__
    assert "valid_loss" in (out / "log.jsonl").read_text()
    script = profiles.root() / "tools" / "split_checkpoint.py"
    subprocess.run(
        [sys.executable, script, "join", out / "weights", tmp_path / "model"], check=True
    )
    about = checkpoints.details(out / "weights")
    assert about["parts"]["bits"] == 8 and about["parts"]["count"] > 1
    assert about["data"] == original and about["device"] == "cpu" and about["seed"] == 5
    assert checkpoints.load(tmp_path / "model").parameter_count() == results["parameters"]


def test_a_command_that_may_last_only_so_long_is_gone_on_with(archive, tmp_path):
    write_toy(tmp_path / "toy.yaml")
    options = ["--row", "transformer_xl", "--check-seconds", "0", "--work", "work"]
    options += ["--profile", "toy.yaml", "--device", "cpu"]
    out, command = tmp_path / "out", ["run", archive, "out", *options]
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
    kit(tmp_path, "run", archive, "out", *options)
    log = (tmp_path / "out" / "log.jsonl").read_text().splitlines()
    first = json.loads(log[0])
    assert first["step"] == 0 and first["valid_loss"] > 0, "the given weights are measured first"
    config = json.loads((tmp_path / "out" / "weights" / "config.json").read_text())
    assert config["parts"]["bits"] == 16 and config["device"]
    assert not (tmp_path / "out" / "lakh_log.jsonl").exists()


def checked(seconds, **training):
    """What the checks yield for a tiny model, one after the other."""
    settings = profiles.Training(**(TRAINING | training))
    model = {"architecture": "transformer_xl"} | SIZES
    profile = profiles.load("smoke").model_copy(
        update={"models": {"toy": model}, "training": {"toy": settings}}
    )
    told = gpu_checks.checks(profile, "toy", few_songs(), torch.device("cpu"), seconds)
    return [copy.deepcopy(known) for known in told]


def few_songs():
    """A split of four songs, in memory."""
    return corpus.pack("train", [tune(seed) for seed in range(4)])


def test_each_check_is_told_at_once_and_compiling_comes_last(monkeypatch):
    monkeypatch.setattr(gpu_checks, "MOST_SECONDS", 0.1)
    monkeypatch.setattr(gpu_checks, "compiled_step", lambda *_: {"layers": 1})
    told = checked(30.0, compile=True)
    assert [list(known) for known in told[::4]] == [
        ["fused_attention"],
        ["fused_attention", "speed", "compile"],
    ]
    assert [len(known.get("speed", ())) for known in told] == [0, 1, 2, 3, 3]
    assert all("is_compiled" not in each for each in told[-1]["speed"].values())


def test_what_fails_or_has_no_time_left_says_so_and_the_others_go_on(monkeypatch):
    def fails(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu_checks, "MOST_SECONDS", 0.1)
    monkeypatch.setattr(gpu_checks, "fused_attention", fails)
    monkeypatch.setattr(gpu_checks, "compiled_step", fails)
    *_, known = checked(30.0)
    assert known["fused_attention"] == known["compile"] == {"error": "RuntimeError: out of memory"}
    assert all(each["events_a_second"] > 0 for each in known["speed"].values())
    *_, known = checked(1e-6)
    assert all("not_tried" in each for each in (*known["speed"].values(), known["compile"]))


def test_compiling_ends_with_its_seconds():
    settings = profiles.Training(**TRAINING)
    model = {"architecture": "transformer_xl"} | SIZES
    songs, device = few_songs().framed(), torch.device("cpu")
    before = set(multiprocessing.active_children())  # other tests' workers may live on
    values = gpu_checks.compiled_step(model, settings, songs, device, 0.5)
    assert values["unfinished_after_seconds"] == 0.5
    assert not set(multiprocessing.active_children()) - before
