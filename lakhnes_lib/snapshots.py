"""Snapshots: everything a training run needs to go on as if it had never stopped.

Paper: none. Notebook: 05_training.
A snapshot is a folder with ``tensors.safetensors`` and ``values.json``: tensors and plain values only, swapped in
whole.
"""

import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.files import replacing


def write(folder, tree) -> None:
    """Writes nested dicts, lists and tuples of tensors and plain values."""
    tensors: dict[str, torch.Tensor] = {}
    plain = _flatten(tree, tensors)
    with replacing(folder, folder=True) as temporary:
        safetensors.torch.save_file(tensors, temporary / "tensors.safetensors")
        (temporary / "values.json").write_text(json.dumps(plain), encoding="utf-8")


def read(folder):
    """What ``write`` wrote; tuples come back as lists. Raises BadCheckpoint if it is damaged."""
    folder = Path(folder)
    try:
        tensors = safetensors.torch.load_file(folder / "tensors.safetensors")
        plain = json.loads((folder / "values.json").read_text(encoding="utf-8"))
        return _restore(plain, tensors)
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise BadCheckpoint(f"{folder}: the snapshot is damaged ({error})") from error


def _flatten(tree, tensors):
    if isinstance(tree, torch.Tensor):
        tensors[str(len(tensors))] = tree.detach().contiguous().cpu().clone()
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(tree, dict):
        return {"dict": [[key, _flatten(value, tensors)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return {"list": [_flatten(value, tensors) for value in tree]}
    return {"value": tree}


def _restore(plain, tensors):
    ((kind, content),) = plain.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _restore(value, tensors) for key, value in content}
    if kind == "list":
        return [_restore(value, tensors) for value in content]
    return content
