"""Training that was killed, interrupted or lost its loss goes on with the same losses."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from interrupts import interrupt
from small_runs import profile, rows, train

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.models import checkpoints
from lakhnes_lib.training import learner, snapshots, trainer
from lakhnes_lib.training.learner import Learner

pytest_plugins = ["small_runs"]
pytestmark = pytest.mark.usefixtures("short_log")

PROGRAM = """
import sys, torch
sys.path.insert(0, "tests")
import small_runs
from lakhnes_lib.data import corpus
torch.set_num_threads(1)
wanted = small_runs.profile(steps=int(sys.argv[3]))
small_runs.train(corpus.open_corpus(sys.argv[1]), sys.argv[2], wanted)
"""
# Steps of the run that is killed: enough to be in the midst of it.
KILLED_STEPS = 40
ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_and_resumed_is_as_if_never_stopped(six_songs, tmp_path, monkeypatch):
    """kill -9 amid a run with a snapshot after each step; the log and the weights are the same."""
    monkeypatch.setattr(trainer, "LOG_EVERY", 10)  # the other process' too
    wanted, killed = profile(steps=KILLED_STEPS), tmp_path / "killed"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        unbroken = train(six_songs, tmp_path / "unbroken", wanted)
        words = [str(six_songs.folder), str(killed), str(KILLED_STEPS)]
        command = [sys.executable, "-c", PROGRAM, *words]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        log = killed / "log.jsonl"
        for _ in range(12_000):
            if process.poll() is not None or log.exists() and log.stat().st_size:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate(timeout=600)
        assert process.returncode == -signal.SIGKILL, err
        assert rows(killed)[-1]["step"] < KILLED_STEPS
        with pytest.raises(LakhnesError, match="killed: already holds a training run; resume it"):
            train(six_songs, killed, wanted)
        resumed = train(six_songs, killed, wanted, resume=True)
    finally:
        torch.set_num_threads(threads)
    assert rows(killed) == rows(tmp_path / "unbroken")
    one, other = resumed.model.state_dict(), unbroken.model.state_dict()
    assert unbroken.step == KILLED_STEPS and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", ["songs", "endless", "segments"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": "adam", "accumulate": 1, "augment": "paper", "average": 0.9}],
    ids=["muon", "adam, averaged"],
)
def test_interrupted_anywhere_goes_on_with_the_same_losses(
    six_songs, tmp_path, monkeypatch, kind, changes
):
    """Between two lines of the log, and twice."""
    wanted = profile(streams=kind, **changes)
    train(six_songs, tmp_path / "unbroken", wanted)
    for step in (4, 8):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            interrupt(patched, step)
            train(six_songs, tmp_path / "broken", wanted, resume=step > 4)
    train(six_songs, tmp_path / "broken", wanted, resume=True)
    assert rows(tmp_path / "broken") == rows(tmp_path / "unbroken")
    one, other = (
        checkpoints.load(tmp_path / name / "best").state_dict() for name in ("broken", "unbroken")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_lines_after_the_snapshot_are_dropped(six_songs, tmp_path, monkeypatch):
    """A run killed after it wrote to its log, but before its snapshot: half a line, and lines of
    steps done again."""
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt(patched, 7)
        train(six_songs, tmp_path)
    before = rows(tmp_path)
    with open(tmp_path / "log.jsonl", "a") as log:
        log.write(json.dumps({"step": 8, "valid_loss": 0.0}) + "\n" + '{"step": 1')
    train(six_songs, tmp_path, resume=True)
    after = rows(tmp_path)
    assert after[: len(before)] == before and all(row.get("valid_loss") != 0.0 for row in after)


def test_goes_on_in_the_arithmetic_it_began_with(six_songs, tmp_path, monkeypatch):
    """On another machine another may be faster, but the losses would be others."""
    wanted = profile(precision="auto")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    begun = train(six_songs, tmp_path, wanted, max_minutes=0.0)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert begun.learner.bf16 and train(six_songs, tmp_path, wanted, resume=True).learner.bf16
    assert not train(six_songs, tmp_path / "other", wanted, max_minutes=0.0).learner.bf16


def test_a_lost_loss_leaves_the_last_good_snapshot(six_songs, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt(patched, 5)
        train(six_songs, tmp_path)
    whole = Learner.forward

    def lost(learner, *inputs):
        scores, state = whole(learner, *inputs)
        return scores * float("nan"), state

    monkeypatch.setattr(Learner, "forward", lost)
    with pytest.raises(
        LakhnesError, match="step 6: the loss became nan, with .*; lower the learning rate"
    ):
        train(six_songs, tmp_path, resume=True)
    assert snapshots.read(tmp_path)["counts"]["step"] == 5


def test_a_lost_gradient_does_not_reach_the_weights(six_songs, tmp_path, monkeypatch):
    """The loss may be fine still; a snapshot of weights that are no numbers would be the end of the
    run."""
    train(six_songs, tmp_path, max_minutes=0.0)
    monkeypatch.setattr(
        learner, "clip_grad_norm_", lambda weights, limit: torch.tensor(float("nan"))
    )
    with pytest.raises(
        LakhnesError, match=r"step 1: the loss became 6.\d+, with a gradient of length nan"
    ):
        train(six_songs, tmp_path, resume=True)
    saved = snapshots.read(tmp_path)
    weights = saved["learner"]["model"].values()
    assert saved["counts"]["step"] == 0 and all(tensor.isfinite().all() for tensor in weights)


def test_an_interrupt_while_the_last_evaluation_runs_loses_nothing(
    six_songs, tmp_path, monkeypatch
):
    """The step, its evaluation and the best weights are there when the run has stopped."""
    measure = trainer.TrainingRun.evaluate

    def pressed(run, *given):
        signal.raise_signal(signal.SIGINT)
        return measure(run, *given)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(trainer.TrainingRun, "evaluate", pressed)
        train(six_songs, tmp_path, profile(steps=5, evaluate_every=5))
    assert snapshots.read(tmp_path)["counts"]["best_step"] == 5
    assert checkpoints.details(tmp_path / "best")["metrics"]["step"] == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_interrupt_is_not_waited_for(six_songs, tmp_path, monkeypatch):
    whole = Learner.forward

    def pressed(learner, *inputs):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return whole(learner, *inputs)

    monkeypatch.setattr(Learner, "forward", pressed)
    with pytest.raises(KeyboardInterrupt):
        train(six_songs, tmp_path, profile(snapshot_minutes=60.0))
    assert not snapshots.exists(tmp_path)


def test_best_weights_that_are_gone_are_found_anew(six_songs, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt(patched, 7)
        train(six_songs, tmp_path)
    shutil.rmtree(tmp_path / "best")
    run = train(six_songs, tmp_path, resume=True)
    assert (
        run.step == 12
        and checkpoints.details(tmp_path / "best")["metrics"]["step"] == run.best_step
    )
