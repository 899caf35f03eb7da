"""The kit for a lent GPU tried whole on this CPU, with a small model and a minute of training.

python benchmarks/gpu_kit_trial.py [--check-seconds 60] [--minutes 1] [--write]

NES-MDB is packed as for the GPU; the rest runs in a Python that has only the packages of such a
machine (tools/lent_machine.py). Stages, sizes of files, checks and perplexities are the trial's
log: they show that the kit works, and nothing of the paper's models. With --write the log goes to
results/gpu_kit_trial.json.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import yaml
from _shared import arguments, corpus_at_hand, keep
from gpu_archive import MOST_MEGABYTES
from gpu_kit import ROWS
from gpu_rows import COUNTS, lines
from lent_machine import THIS_PYTHON, python

from lakhnes_lib import profiles
from lakhnes_lib.models import checkpoints

ROW = "transformer_xl_augmented"
TOOLS = profiles.root() / "tools"
MODEL = {
    "architecture": "transformer_xl",
    "layers": 1,
    "width": 32,
    "heads": 2,
    "head_width": 16,
    "feed_forward": 64,
    "memory_length": 32,
    "pre_norm": True,
}
TRAINING = {
    "steps": 100_000,  # the clock ends it
    "batch": 8,
    "segment": 64,
    "optimizer": "muon",
    "learning_rate": 0.01,
    "warmup": 10,
    "schedule": "linear",
    "decay_share": 1.0,
    "clip": 1.0,
    "streams": "endless",
    "augment": "paper",
    "evaluate_every": 300,
    "valid_songs": 4,
}
SONGS = 40
"""Songs of test and of valid that are evaluated."""
PART_MEGABYTES = 0.02
"""So small that even this model's weights travel in several parts, and thus in 8 bits."""


def profile() -> dict:
    """A profile with the row's model, small."""
    name = ROWS[ROW][0]
    return {
        "name": "toy",
        "seed": 0,
        "corpus": "nesmdb-midi",
        "models": {name: MODEL},
        "training": {name: TRAINING},
        "evaluation": {"batch": 20, "segment": 256, "memory_length": 64, "songs": SONGS},
    }


def packed(archive: Path, corpus) -> dict:
    """Packs the archive, and tells its size and what is in it."""
    command = [sys.executable, str(TOOLS / "gpu_kit.py"), "pack", str(archive)]
    begun = time.monotonic()
    ended(subprocess.run([*command, str(corpus.folder), "--python", THIS_PYTHON]).returncode)
    with tarfile.open(archive) as file:
        names = [Path(name) for name in file.getnames()]
    return {
        "seconds": round(time.monotonic() - begun, 1),
        "megabytes": archive.stat().st_size / 1e6,
        "most_megabytes": MOST_MEGABYTES,
        "wheels": sorted(path.name for path in names if path.suffix == ".whl"),
        "corpora": [str(path.parent) for path in names if path.name == "corpus.json"],
    }


def run(folder: Path, archive: Path, check_seconds: float, minutes: float) -> list[dict]:
    """Runs all stages; after each thing that the kit has written: what, when, and the files in OUT
    with their bytes."""
    (folder / "toy.yaml").write_text(yaml.safe_dump(profile()), encoding="utf-8")
    begins, environment = python(folder / "packages")
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "compiled")  # nothing compiled before
    command = [*begins, str(TOOLS / "gpu_kit.py"), "run", str(archive), "out", "--row", ROW]
    command += ["--profile", "toy.yaml", "--device", "cpu", "--minutes", str(minutes)]
    command += ["--check-seconds", str(check_seconds), "--part-megabytes", str(PART_MEGABYTES)]
    begun, stages, out = time.monotonic(), [], folder / "out"
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as going:
        for line in going.stdout:
            seconds = round(time.monotonic() - begun, 1)
            print(f"{seconds:6.1f} s  {line.rstrip()[:100]}", file=sys.stderr)
            paths = [path for path in sorted(out.rglob("*")) if path.is_file()]
            files = {str(path.relative_to(out)): path.stat().st_size for path in paths}
            written = line.partition(":")[0].split()[0]
            stages.append({"seconds": seconds, "written": written, "bytes": files})
    ended(going.returncode)
    return stages


def ended(code: int) -> None:
    """The end of the program, if a command of the kit has failed, which has said why."""
    if code:
        raise SystemExit("the kit failed, for the reason above")


def log_of(folder: Path, stages: list[dict]) -> dict:
    """The values of the trial: what the kit has left in OUT."""
    out = folder / "out"
    checks, results = (
        json.loads((out / name).read_text(encoding="utf-8"))
        for name in ("checks.json", "results.json")
    )
    joining = [sys.executable, str(TOOLS / "split_checkpoint.py"), "join", str(out / "weights")]
    ended(subprocess.run([*joining, str(folder / "joined")]).returncode)
    assert checkpoints.load(folder / "joined").parameter_count() == results["parameters"]
    training = lines(out / "log.jsonl")
    names = ("device", "circumstances", "seed", "data_fingerprint")
    return {
        "row": {name: results[name] for name in names},
        "model": MODEL,
        "parameters": results["parameters"],
        "songs_evaluated": SONGS,
        "checks": {name: checks[name] for name in ("fused_attention", "speed", "compile")},
        "trained": {name: training[-1][name] for name in COUNTS},
        "perplexity": {split: results[split] for split in ("test", "valid")},
        "parts": checkpoints.details(out / "weights")["parts"],
        "stages": stages,
    }


def main() -> None:
    parser = arguments("gpu_kit_trial", __doc__)
    parser.add_argument("--check-seconds", type=float, default=60.0, help="of the checks [60]")
    parser.add_argument("--minutes", type=float, default=1.0, help="of training [1]")
    chosen = parser.parse_args()
    corpus = corpus_at_hand()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        values = {"archive": packed(folder / "kit.tar.xz", corpus)}
        stages = run(folder, folder / "kit.tar.xz", chosen.check_seconds, chosen.minutes)
        values |= {"check_seconds": chosen.check_seconds} | log_of(folder, stages)
    shown = {name: values[name] for name in values if name != "stages"}
    packages = ("numpy", "torch", "pydantic")
    keep("gpu_kit_trial", values, chosen.write, shown=shown, corpus=corpus, packages=packages)


if __name__ == "__main__":
    main()
