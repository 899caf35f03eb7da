"""Several processes against one: the same losses, a lost worker, and how much faster they are.

python benchmarks/several_processes.py [--write] [--steps STEPS]

Trains the profile laptop's Transformer-XL on NES-MDB for a few steps of 12 rows, from the same
weights: in one process, in two and in three, in two network namespaces that know each other by a
cable only and so are two machines, and in two processes of which one is killed half way and which
torchrun then starts anew. Every process has one thread. A namespace needs the rights of root.
With --write the numbers go to results/several_processes.json.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import yaml
from _shared import arguments, corpus_at_hand, keep

from lakhnes_lib import profiles

ROWS, SEGMENT, MODEL = 12, 128, "transformer_xl"
ADDRESSES = ("10.77.0.1", "10.77.0.2")


def profile(path: Path, batch: int, steps: int) -> Path:
    """The profile laptop with so many rows in each process and so few steps."""
    values = yaml.safe_load((profiles.root() / "profiles/laptop.yaml").read_text(encoding="utf-8"))
    values["training"][MODEL] |= {
        "batch": batch,
        "segment": SEGMENT,
        "steps": steps,
        "minutes": 0,
        "accumulate": 1,
        "compile": False,
        "precision": "fp32",
        "evaluate_every": steps,
        "valid_songs": 20,
        "snapshot_minutes": 0.0,
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def train(folder: Path, *options: str) -> list[str]:
    """The part of the command that is the same for every number of processes."""
    return [
        "lakhnes_lib",
        *("train", "--profile", str(folder.with_suffix(".yaml"))),
        *("--model", MODEL, "--out", str(folder), *options),
    ]


def torchrun(*options: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", *options, "-m"]


def environment() -> dict:
    root = str(profiles.root())
    # Without the last one, processes that are started anew read addresses of the lost ones.
    variables = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return os.environ | variables | {"PYTHONPATH": root}


def start(command: list[str], **settings) -> subprocess.Popen:
    return subprocess.Popen(command, env=environment() | settings, stderr=-1, stdout=-1, text=True)


def ended(*runs: subprocess.Popen) -> None:
    """Waits for all of them. Ends the program if one of them fails."""
    for run in runs:
        errors = run.communicate()[1]
        if run.returncode:
            raise SystemExit(f"a run failed:\n{errors}")


def log(folder: Path) -> list[dict]:
    path = folder / "log.jsonl"
    return list(map(json.loads, path.read_text().splitlines())) if path.exists() else []


def losses(folder: Path) -> list[float]:
    return [row.get("train_loss", row.get("valid_loss")) for row in log(folder)]


def events_a_second(folder: Path) -> float:
    """Without the first ten steps, in which memory is still short."""
    rows = [row for row in log(folder) if "train_loss" in row]
    first, last = rows[0], rows[-1]
    return (last["events"] - first["events"]) / (last["seconds"] - first["seconds"])


@contextmanager
def two_machines():
    """Two network namespaces with a cable between them: the words before a command of each."""
    names = ("lakhnes_a", "lakhnes_b")

    def ip(*words):
        subprocess.run(["ip", *words], check=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ends = ("type", "veth", "peer", "name", "cable", "netns", names[1])
        ip("link", "add", "cable", "netns", names[0], *ends)
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
            for device in ("cable", "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield [["ip", "netns", "exec", name] for name in names]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def on_two_machines(folder: Path) -> None:
    meeting = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{ADDRESSES[0]}:29511")
    with two_machines() as machines:
        runs = []
        for machine, address in zip(machines, ADDRESSES, strict=True):
            host = f"is_host={address == ADDRESSES[0]}"  # torchrun cannot tell in a namespace
            options = ("--nnodes", "2", "--nproc-per-node", "1", *meeting, "--rdzv-conf", host)
            options += ("--local-addr", address)
            command = [*machine, *torchrun(*options), *train(folder)]
            runs.append(start(command, GLOO_SOCKET_IFNAME="cable"))
        ended(*runs)


def with_a_loss(folder: Path, at_step: int) -> None:
    options = ("--standalone", "--nproc-per-node", "2", "--max-restarts", "1")
    run = start([*torchrun(*options), *train(folder)])
    while not any(row["step"] >= at_step for row in log(folder)):
        if run.poll() is not None:
            raise SystemExit(f"a run ended too early:\n{run.stderr.read()}")
        time.sleep(0.05)
    workers = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    ended(run)


def main():
    parser = arguments("several_processes", __doc__)
    parser.add_argument("--steps", type=int, default=40, help="training steps of each run")
    options = parser.parse_args()
    corpus, values = corpus_at_hand(), {}
    with tempfile.TemporaryDirectory() as work:
        for name, count in (
            ("one process", 1),
            ("two processes", 2),
            ("three processes", 3),
            ("two machines", 2),
            ("two processes, one killed", 2),
        ):
            folder = Path(work) / name.replace(" ", "_").replace(",", "")
            profile(folder.with_suffix(".yaml"), ROWS // count, options.steps)
            if name == "two machines":
                on_two_machines(folder)
            elif name.endswith("killed"):
                with_a_loss(folder, options.steps // 2)
            elif count == 1:
                ended(start([sys.executable, "-m", *train(folder)]))
            else:
                nodes = ("--standalone", "--nproc-per-node", str(count))
                ended(start([*torchrun(*nodes), *train(folder)]))
            values[name] = {"processes": count, "losses": losses(folder)}
            if not name.endswith("killed"):
                values[name]["events_a_second"] = events_a_second(folder)
            print(f"{name}: {values[name]}", flush=True)
    alone = values["one process"]
    for measured in values.values():
        pairs = zip(measured["losses"], alone["losses"], strict=True)
        measured["greatest_difference"] = max(abs(here - there) for here, there in pairs)
        if "events_a_second" in measured:
            measured["times_one"] = measured["events_a_second"] / alone["events_a_second"]
    values = {"rows": ROWS, "segment": SEGMENT, "steps": options.steps, "runs": values}
    keep("several_processes", values, options.write, corpus=corpus, packages=("numpy", "torch"))


if __name__ == "__main__":
    main()
