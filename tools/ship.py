"""Makes a shipped model of a training run: weights in bfloat16, how they came about, and the
training curve.

python tools/ship.py NAME runs/laptop/FIRST runs/laptop/SECOND [--note TEXT] [--packed]

Name the folders of all stages in order; the best weights of the last are shipped. The curve holds
valid as long as it is of the last stage's data. The note is for the card. A large model is packed
into fewer than five bits a weight (``models/packed_weights.py``), and unpacked where it is first
loaded; git knows the packed file alone. Then `benchmarks/perplexity_table.py --write` measures them
and `make report` writes the numbers into config.json and the model's card.
"""

import argparse
import json
import lzma
from pathlib import Path

import safetensors.torch
import torch
from split_checkpoint import rounded

from lakhnes_lib import profiles
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.files import write_file
from lakhnes_lib.models import checkpoints, packed_weights

TOTALS = ("step", "events", "seconds")
STEPS = 4.5
"""Steps in the root of a row's mean square. With as many, the paper's size loses 0.15 % of
its perplexity on every eighth test song; with 10 steps 0.03 %, in 28 MB instead of 24."""
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 0, "pb": 0}]
"""The numbers do not depend on the ones before, so LZMA is told not to look for that."""


def by_size(matrix: torch.Tensor) -> torch.Tensor:
    """Steps of which the root of a row's mean square has ``STEPS``."""
    return matrix.square().mean(1, keepdim=True).sqrt() / STEPS


def pack(folder: Path) -> None:
    """Packs the weights of a checkpoint folder, beside the unpacked ones."""
    tensors = rounded(safetensors.torch.load_file(folder / packed_weights.UNPACKED), by_size)
    content = lzma.compress(safetensors.torch.save(tensors), filters=FILTERS)
    write_file(folder / packed_weights.FILE, content)


def stage(folder: Path) -> tuple[dict, list[dict]]:
    """How one stage was trained, and the rows of its log."""
    about = checkpoints.details(folder / "best")
    rows = [
        json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    spent = {name: rows[-1][name] for name in TOTALS}
    names = ("profile", "seed", "data", "training", "device")  # device: if tools/gpu_kit.py gave it
    at = about.get("metrics", {}).get("step")  # of the best weights, which need not be the last
    best = {} if at is None else {"best_step": int(at)}
    return {name: about[name] for name in names if name in about} | spent | best, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--note", default="", help="what else one should know of how it came about")
    parser.add_argument("--packed", action="store_true", help="pack the weights")
    chosen = parser.parse_args()
    stages, curve, before = [], [], dict.fromkeys(TOTALS, 0)
    try:
        data = checkpoints.details(chosen.runs[-1] / "best")["data"]
        for folder in chosen.runs:
            about, rows = stage(folder)
            curve += [
                row | {name: round(row[name] + before[name], 1) for name in TOTALS}
                for row in rows
                if about["data"] == data or "valid_loss" not in row
            ]
            before = {name: before[name] + about[name] for name in TOTALS}
            stages.append(about)
        target = profiles.root() / "assets" / "pretrained" / chosen.name
        model = checkpoints.load(chosen.runs[-1] / "best")
        checkpoints.save(model.bfloat16(), target, stages=stages, metrics={}, note=chosen.note)
        if chosen.packed:
            pack(target)
            (target / packed_weights.UNPACKED).unlink()
            packed_weights.unpack(target)  # what is measured here is what others will unpack
    except (OSError, LakhnesError) as error:
        parser.exit(1, f"{error}\n")
    write_file(target / "log.jsonl", "".join(json.dumps(row) + "\n" for row in curve))
    print(f"{target}: {model.parameter_count():,} parameters, {before['events']:,} events")


if __name__ == "__main__":
    main()
