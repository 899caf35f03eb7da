"""The command line and models: training, its interruption, and evaluation."""

import contextlib
import io
import json
import re
from types import SimpleNamespace

import pytest
from interrupts import interrupt
from small_runs import SETTINGS

from lakhnes_lib.__main__ import main
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.models import checkpoints
from lakhnes_lib.training import trainer

PROFILE = """
name: tiny
seed: 1
corpus: songbook
models: {transformer_xl: {architecture: transformer_xl, layers: 1, width: 16, heads: 2,
  head_width: 8, feed_forward: 16, memory_length: 16}}
training: {transformer_xl: {steps: 4, batch: 2, segment: 16, learning_rate: 0.01,
  evaluate_every: 2, valid_songs: 1}}
evaluation: {batch: 2, segment: 64, memory_length: 64}
"""


def train_command(folder, out) -> list[str]:
    """Training the tiny profile in a folder, with its run in another."""
    profile = str(folder / "tiny.yaml")
    return ["train", "--profile", profile, "--out", str(out), "--device", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of four steps, stopped after none and resumed, and what was printed.

    On one thread: for so small a model, several only wait for each other.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(PROFILE)
    train = train_command(folder, folder / "run")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*train, "--max-minutes", "0"]) == 0
        assert main([*train, "--resume"]) == 0
    yield folder, out.getvalue()
    torch.set_num_threads(threads)


def test_train(trained):
    folder, out = trained
    assert "no valid perplexity measured yet" in out
    assert re.search(r"^4 of 4 steps, [\d,]+ events, [\d.]+ minutes$", out, re.M)
    assert re.search(r"^best valid perplexity: \d+\.\d+, at step [24]: .*best$", out, re.M)
    assert (folder / "run/best/model.safetensors").is_file()


def test_interrupted_training_goes_on(trained, tmp_path, monkeypatch, capsys):
    train = train_command(trained[0], tmp_path / "run")
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        assert main(train) == 130
    said = capsys.readouterr()
    assert (
        said.out == ""
        and said.err.strip() == "stopping after this step; Ctrl-C again stops at once\ninterrupted"
    )
    assert main([*train, "--resume"]) == 0
    assert "4 of 4 steps" in capsys.readouterr().out
    assert (tmp_path / "run/best/model.safetensors").read_bytes() == (
        trained[0] / "run/best/model.safetensors"
    ).read_bytes()


def test_train_errors(trained, one_line):
    folder, _ = trained
    train = ["train", "--profile", folder / "tiny.yaml", "--out", folder / "run"]
    assert "already holds a training run" in one_line(*train)
    assert "no model 'lstm'" in one_line(*train, "--model", "lstm")
    assert "no such profile" in one_line("train", "--profile", "huge")
    assert "no snapshot" in one_line(*train[:-1], folder / "other", "--resume")
    assert "neither a corpus folder" in one_line(*train, "--data", "nesmdb")
    assert main(["train"]) == 2
    assert main([*map(str, train), "--device", "abacus"]) == 2


def test_the_command_line_gives_the_seed(tmp_path, monkeypatch):
    seeds = []

    def stop(settings, *arguments, **options):
        seeds.append(settings.seed)
        raise LakhnesError("enough")

    monkeypatch.setattr(trainer, "train", stop)
    command = ["train", "--profile", "smoke", "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main(command) == main([*command, "--seed", "5"]) == 1
    assert seeds == [0, 5]


def test_the_command_line_says_that_nothing_was_learned(tmp_path, monkeypatch, capsys):
    run = SimpleNamespace(
        step=4, events=9, seconds=1.0, best=2.0, best_step=0, settings=SETTINGS, folder=tmp_path
    )
    monkeypatch.setattr(trainer, "train", lambda *arguments, **options: run)
    command = ["train", "--profile", "smoke", "--from", "begun", "--out", str(tmp_path / "run")]
    assert main(command) == 0
    assert "nothing was learned: no step was better than begun" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_not_the_profiles_fault(capsys):
    assert main(["train", "--data", "/typo"]) == 1
    assert "/typo: is neither a corpus folder" in capsys.readouterr().err


def test_evaluate(trained, capsys, one_line):
    folder, _ = trained
    command = [
        "evaluate",
        str(folder / "run/best"),
        "--data",
        "songbook",
        "--device",
        "cpu",
        "--memory",
        "64",
    ]
    assert main(command) == 0
    first = capsys.readouterr().out
    value, songs, targets = re.fullmatch(
        r"test: perplexity ([\d.]+), ([\d,]+) songs, ([\d,]+) events\n"
        r"Perplexity: among how many of the 631 .*\n",
        first,
    ).groups()
    assert 1 < float(value) < 1000 and int(songs) > 1 and int(targets.replace(",", "")) > 100
    assert main([*command, "--batch", "1"]) == 0
    again = re.search(r"perplexity ([\d.]+)", capsys.readouterr().out)[1]
    assert float(again) == pytest.approx(float(value), rel=1e-4)
    assert main([*command, "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line.pop("perplexity") == pytest.approx(float(value), abs=1e-4)
    assert line == {
        "model": str(folder / "run/best"),
        "split": "test",
        "protocol": "exact",
        "songs": int(songs),
        "events": int(targets.replace(",", "")),
        "parameters": checkpoints.load(folder / "run/best").parameter_count(),
    }
    assert "no such checkpoint" in one_line("evaluate", folder / "none")
    for wrong in (["--batch", "0"], ["--split", "dev"], ["--protocol", "paper", "--batch", "4"]):
        assert main([*command, *wrong]) == 2


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 9.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
    ids=["python", "gpu", "cpu"],
)
def test_too_little_memory_is_one_line(error, trained, tmp_path, monkeypatch, one_line):
    def full(self):
        raise error

    monkeypatch.setattr(trainer.TrainingRun, "train_step", full)
    train = train_command(trained[0], tmp_path / "run")
    assert "not enough memory; take a smaller model, batch or file" in one_line(*train)


def test_another_error_of_pytorch_is_a_bug_and_shown_whole(trained, tmp_path, monkeypatch):
    def strange(self):
        raise RuntimeError("unsupported memory format option")

    monkeypatch.setattr(trainer.TrainingRun, "train_step", strange)
    with pytest.raises(RuntimeError, match="memory format"):
        main(train_command(trained[0], tmp_path / "run"))
