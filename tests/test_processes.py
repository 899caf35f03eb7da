"""Several processes against one: the same losses, the same scores, and none lost when one dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from lakhnes_lib import profiles
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.models import checkpoints, processes

STEPS = 12
CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")


def write_profile(path: Path, batch: int, **training) -> Path:
    """A profile like smoke, without dropout, so that the losses do not depend on who drew what."""
    profile = yaml.safe_load((profiles.root() / "profiles/smoke.yaml").read_text(encoding="utf-8"))
    profile["models"]["transformer_xl"] |= {"dropout": 0.0, "layers": 1}
    profile["training"]["transformer_xl"] |= {
        "batch": batch,
        "steps": STEPS,
        "segment": 32,
        "evaluate_every": STEPS,
        "precision": "fp32",
        **training,
    }
    path.write_text(yaml.safe_dump(profile), encoding="utf-8")
    return path


def command(number: int, *arguments) -> list[str]:
    """A lakhnes command, in one process or in several that torchrun starts."""
    start = [sys.executable, "-W", "ignore", "-m"]
    if number > 1:
        start += ["torch.distributed.run", "--standalone", "--max-restarts", "1"]
        start += ["--nproc-per-node", str(number), "-m"]
    return [*start, "lakhnes_lib", *map(str, arguments)]


def environment() -> dict:
    # Without the last one, processes that are started anew read addresses of the lost ones.
    variables = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return os.environ | variables | {"PYTHONPATH": str(Path.cwd())}


def run(number: int, *arguments) -> str:
    """What a command prints. It must end well."""
    done = subprocess.run(
        command(number, *arguments), env=environment(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def losses(folder: Path) -> list[tuple[int, float]]:
    """Every loss of a run's log, with its step."""
    rows = map(json.loads, (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return [(row["step"], row.get("train_loss", row.get("valid_loss"))) for row in rows]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """A run of one process with six rows."""
    folder = tmp_path_factory.mktemp("alone")
    run(1, "train", "--profile", write_profile(folder / "p.yaml", 6), "--out", folder / "run")
    return folder / "run"


@pytest.mark.parametrize("number, batch, accumulate", [(2, 3, 1), (3, 1, 2)])
def test_processes_that_share_the_rows_have_the_losses_of_one(
    alone, tmp_path, number, batch, accumulate
):
    profile = write_profile(tmp_path / "p.yaml", batch, accumulate=accumulate)
    printed = run(number, "train", "--profile", profile, "--out", tmp_path / "run")
    assert printed.count("best valid perplexity") == 1  # only the first process prints
    here, there = losses(tmp_path / "run"), losses(alone)
    assert [step for step, _ in here] == [step for step, _ in there] == [10, 12, 12]
    assert [loss for _, loss in here] == pytest.approx([loss for _, loss in there], abs=2e-5)
    own, others = (
        checkpoints.load(path / "best").state_dict() for path in (tmp_path / "run", alone)
    )
    for name, weights in own.items():
        torch.testing.assert_close(weights, others[name], rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not CHILDREN.exists(), reason="the system does not tell a process's children")
def test_a_run_goes_on_by_itself_after_a_process_was_killed(tmp_path):
    profile = write_profile(tmp_path / "p.yaml", 3, snapshot_minutes=0.0, steps=40)
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    run(2, "train", "--profile", profile, "--out", whole)
    arguments = ("train", "--profile", profile, "--out", folder)
    with subprocess.Popen(
        command(2, *arguments), env=environment(), stderr=-1, text=True
    ) as torchrun:
        while not (folder / "log.jsonl").exists() or not losses(folder):
            assert torchrun.poll() is None, torchrun.stderr.read()
            time.sleep(0.01)
        children = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text()
        os.kill(int(children.split()[-1]), signal.SIGKILL)
        errors = torchrun.stderr.read()
    assert torchrun.returncode == 0, errors
    assert losses(folder) == losses(whole)


def test_a_process_that_is_left_says_why_it_ends(monkeypatch):
    """torchrun may end it before it has said so, so that no run of several shows it for sure."""

    class Broken:
        def all_gather_object(self, values, value):
            raise RuntimeError("Connection closed by peer [::1]:3\nand more")

    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "_connect", Broken)
    with pytest.raises(LakhnesError, match=r"another process was lost \(Connection closed by peer"):
        processes.gather(1)


def test_processes_share_out_the_songs_that_are_scored(alone):
    arguments = ("evaluate", alone / "best", "--data", "songbook", "--split", "valid", "--batch", 1)
    assert run(2, *arguments) == run(1, *arguments)


def test_processes_share_out_the_pieces_that_are_composed(tmp_path):
    arguments = ("-n", 3, "--seed", 5, "--seconds", 2, "--no-audition")
    printed = run(2, "generate", "assets/pretrained/mini", tmp_path, *arguments)
    names = sorted(path.stem for path in tmp_path.glob("*.mid"))
    assert names == ["seed5_00", "seed5_01", "seed6_00"]
    assert "seed5_01" in printed and "seed6_00" not in printed
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert all(name in page for name in names)


def test_a_run_of_several_processes_does_not_go_on_with_another_number(tmp_path):
    profile = write_profile(tmp_path / "p.yaml", 3)
    run(2, "train", "--profile", profile, "--out", tmp_path / "run", "--max-minutes", 0.001)
    done = subprocess.run(
        command(1, "train", "--profile", profile, "--out", tmp_path / "run", "--resume"),
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "resume with the same" in done.stderr


THREADS_THAT_ARE_LEFT = """
import os
from lakhnes_lib.models import processes
dist = processes._connect()
assert len(os.listdir("/proc/self/task")) > 1  # Gloo's own threads
import torch.distributed.nn.functional, torch._dynamo
dist.destroy_process_group()
print(*(open(f"/proc/self/task/{t}/comm").read() for t in os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not CHILDREN.exists(), reason="the system does not tell a process's threads")
def test_no_thread_of_the_group_outlives_it():
    """One that still runs while Python ends aborts the process now and then."""
    group = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", THREADS_THAT_ARE_LEFT],
        env=environment() | group,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 1, done.stdout


def test_one_process_is_told_what_it_says():
    tensors = [torch.ones(2)]
    processes.add_up(tensors)
    assert tensors[0].tolist() == [1, 1]
    assert processes.gather("a") == ["a"]
    assert processes.own([1, 2, 3]) == [1, 2, 3]
    assert (processes.count(), processes.rank(), processes.is_restarted()) == (1, 0, False)
