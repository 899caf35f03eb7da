"""A checkpoint in parts of a few megabytes, if need be in 8 bits, to be carried where files must be
small.

python tools/split_checkpoint.py split FOLDER PARTS [--megabytes 15] [--bits 8]
python tools/split_checkpoint.py join PARTS FOLDER

split writes the checkpoint FOLDER as PARTS/config.json and PARTS/model.1, model.2, …; join makes a
checkpoint of them again. In 8 bits each row of a matrix has a scale of its own (its largest value
is 127); vectors stay as they are. 16 bits are bfloat16, 32 change nothing. Needs PyTorch,
safetensors and this library alone.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from one_line_errors import one_line_errors

from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.files import replacing
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.packed_weights import SCALE, restored


def rounded(tensors: dict[str, torch.Tensor], step_of) -> dict[str, torch.Tensor]:
    """Matrices in whole steps, int8 (rows, columns), and their steps; the rest as it is.

    step_of: gives the length of a step for each row of a matrix, float32 (rows, 1).
    """
    packed = {}
    for name, tensor in tensors.items():
        if tensor.dim() == 2 and tensor.is_floating_point():
            step = step_of(tensor.float()).clamp_min(1e-30)
            packed[name + SCALE] = step
            tensor = (tensor / step).round().clamp(-127, 127).to(torch.int8)
        packed[name] = tensor
    return packed


def by_largest(matrix: torch.Tensor) -> torch.Tensor:
    """Steps of which the largest value of a row has 127."""
    return matrix.abs().amax(1, keepdim=True) / 127


def split(folder: Path, target: Path, megabytes: float, bits: int, **more) -> int:
    """Writes the parts and returns how many. more: what else config.json is to hold."""
    model, about = checkpoints.load(folder), checkpoints.details(folder) | more
    tensors = model.state_dict()
    if bits == 8:
        tensors = rounded(tensors, by_largest)
    elif bits == 16:
        tensors = {
            name: part.bfloat16() if part.is_floating_point() else part
            for name, part in tensors.items()
        }
    content = safetensors.torch.save(
        {name: tensor.contiguous() for name, tensor in tensors.items()}
    )
    size = max(1, int(megabytes * 2**20))
    pieces = [content[first : first + size] for first in range(0, len(content), size)]
    about["parts"] = {
        "count": len(pieces),
        "sha256": hashlib.sha256(content).hexdigest(),
        "bits": bits,
    }
    with replacing(target, folder=True) as temporary:
        for number, piece in enumerate(pieces, 1):
            (temporary / f"model.{number}").write_bytes(piece)
        (temporary / "config.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return len(pieces)


def join(parts: Path, folder: Path) -> None:
    """Writes the checkpoint; BadCheckpoint says which parts are missing, damaged or foreign."""
    about = checkpoints.details(parts)
    try:
        count, sha256 = about["parts"]["count"], about["parts"]["sha256"]
        content = b"".join(
            (parts / f"model.{number}").read_bytes() for number in range(1, count + 1)
        )
    except (KeyError, TypeError, OSError) as error:
        problem = f"is not a checkpoint in parts, or a part is missing ({error})"
        raise BadCheckpoint(f"{parts}: {problem}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadCheckpoint(f"{parts}: its parts are damaged, or of several checkpoints")
    try:
        model = checkpoints.assembled(about, restored(safetensors.torch.load(content)), parts)
    except (BadCheckpoint, RuntimeError, safetensors.SafetensorError) as error:
        raise BadCheckpoint(f"{parts}: its tensors do not fit its config.json ({error})") from None
    del about["parts"]
    checkpoints.save(model, folder, **about)


@one_line_errors
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    to_split = verbs.add_parser("split", help="write a checkpoint in parts")
    to_join = verbs.add_parser("join", help="make a checkpoint of its parts")
    for verb in (to_split, to_join):
        verb.add_argument("source", type=Path)
        verb.add_argument("target", type=Path)
    to_split.add_argument("--megabytes", type=float, default=15.0, help="of a part at most [15]")
    to_split.add_argument(
        "--bits", type=int, choices=(8, 16, 32), default=8, help="of a weight [8]"
    )
    chosen = parser.parse_args()
    if chosen.verb == "split":
        count = split(chosen.source, chosen.target, chosen.megabytes, chosen.bits)
        print(f"{chosen.target}: {count} parts")
    else:
        join(chosen.source, chosen.target)
        print(f"{chosen.target}: the checkpoint")
    return 0


if __name__ == "__main__":
    sys.exit(main())
