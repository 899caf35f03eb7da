"""Weights in fewer than five bits each: 24 MB for the 41 million of the paper, 165 in float32.

Paper: none. Notebook: none. A checkpoint folder may hold ``model.safetensors.xz`` instead of
``model.safetensors``. Each row of a matrix is written as whole numbers of steps, 4.5 of which make
the root of the row's mean square. Most of these are small, and LZMA writes what is frequent in few
bits. On test the paper's size loses 0.2 % of its perplexity by that.
"""

import lzma
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.files import write_file

FILE, UNPACKED = "model.safetensors.xz", "model.safetensors"
STEPS = 4.5
"""Steps in the root of a row's mean square."""
SCALE = ".scale"
"""Ends the name of a tensor that holds the length of a step for each row of a matrix."""
MOST_BYTES = 2**28
"""A packed file that holds more is refused: a few bytes could ask for all memory."""
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 0, "pb": 0}]


def rounded(tensors: dict[str, torch.Tensor], steps: float = STEPS) -> dict[str, torch.Tensor]:
    """Matrices as int8 (rows, columns) and their steps, float32 (rows, 1); the rest as it is."""
    packed = {}
    for name, tensor in tensors.items():
        if tensor.dim() == 2 and tensor.is_floating_point():
            step = tensor.float().square().mean(1, keepdim=True).sqrt().clamp_min(1e-30) / steps
            tensor = (tensor / step).round().clamp(-127, 127).to(torch.int8)
            packed[name + SCALE] = step
        packed[name] = tensor
    return packed


def restored(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same back in floating point."""
    steps = {name: tensors[name] for name in tensors if name.endswith(SCALE)}
    return {
        name: tensor * steps[name + SCALE] if name + SCALE in steps else tensor
        for name, tensor in tensors.items()
        if name not in steps
    }


def pack(folder) -> None:
    """Packs the weights of a checkpoint folder, beside the unpacked ones."""
    tensors = rounded(safetensors.torch.load_file(Path(folder) / UNPACKED))
    content = lzma.compress(safetensors.torch.save(tensors), filters=_FILTERS)
    write_file(Path(folder) / FILE, content)


def unpack(folder) -> None:
    """Writes the weights, in bfloat16, of a checkpoint folder that holds them packed alone.

    Raises BadCheckpoint for a damaged file, and what ``files.write_file`` raises.
    """
    folder = Path(folder)
    if (folder / UNPACKED).exists() or not (folder / FILE).exists():
        return
    try:
        with lzma.open(folder / FILE) as file:
            content = file.read(MOST_BYTES)
        tensors = restored(safetensors.torch.load(content))
    except (OSError, EOFError, lzma.LZMAError, RuntimeError, safetensors.SafetensorError) as error:
        raise BadCheckpoint(f"{folder}: its {FILE} is damaged ({error})") from None
    halved = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    write_file(folder / UNPACKED, safetensors.torch.save(halved))
