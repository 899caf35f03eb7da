"""Weights in fewer than five bits each: 24 MB for the 41 million of the paper, 165 in float32.

Paper: none. Notebook: none. A checkpoint folder may hold ``model.safetensors.xz`` instead of
``model.safetensors``; ``tools/ship.py --packed`` writes it. Each row of a matrix is written as
whole numbers of steps, 4.5 of which make the root of the row's mean square. Most of these are
small, and LZMA writes what is frequent in few bits. On test the paper's size loses 0.1 to 0.2 % of
its perplexity by that.
"""

import lzma
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.files import is_newer, write_file

FILE, UNPACKED = "model.safetensors.xz", "model.safetensors"
SCALE = ".scale"
"""Ends the name of a tensor that holds the length of a step for each row of a matrix."""
MOST_BYTES = 2**28
"""A packed file that holds more is refused: a few bytes could ask for all memory."""


def restored(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Matrices in whole steps, int8 (rows, columns), back in floating point; the rest as it is."""
    steps = {name: tensors[name] for name in tensors if name.endswith(SCALE)}
    return {
        name: tensor * steps[name + SCALE] if name + SCALE in steps else tensor
        for name, tensor in tensors.items()
        if name not in steps
    }


def unpack(folder) -> None:
    """Writes the weights, in bfloat16, of a checkpoint folder that holds them packed alone, or
    packed anew since they were unpacked.

    Raises BadCheckpoint for a damaged file, and what ``files.write_file`` raises.
    """
    packed, unpacked = Path(folder) / FILE, Path(folder) / UNPACKED
    if not is_newer(packed, than=unpacked):
        return
    try:
        with lzma.open(packed) as file:
            content = file.read(MOST_BYTES)
        tensors = restored(safetensors.torch.load(content))
    except (OSError, EOFError, lzma.LZMAError, RuntimeError, safetensors.SafetensorError) as error:
        raise BadCheckpoint(f"{folder}: its {FILE} is damaged ({error})") from None
    halved = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    write_file(unpacked, safetensors.torch.save(halved))
