"""Snapshots: everything a training run needs to go on as if it had never stopped.

Paper: none. Notebook: 05_training.
A snapshot is a folder with ``values.json`` and the file of tensors that it names: tensors and plain values only. The
one move that puts ``values.json`` in place is what makes a new snapshot the snapshot: there is one at any moment.
"""

import json
import uuid
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.files import replacing, write_file

VALUES, TENSORS = "values.json", "tensors.safetensors"


def exists(folder) -> bool:
    """Whether the folder holds a snapshot."""
    return (Path(folder) / VALUES).is_file()


def write(folder, tree) -> None:
    """Writes nested dicts, lists and tuples of tensors and plain values."""
    folder, tensors = Path(folder), {}
    name = f"{uuid.uuid4().hex[:8]}-{TENSORS}"
    plain = _flatten(tree, tensors) | {"tensors": name}
    with replacing(folder / name) as temporary:
        safetensors.torch.save_file(tensors, temporary)
    write_file(folder / VALUES, json.dumps(plain))
    for path in folder.iterdir():  # older tensors, and what a killed run had begun to write
        if path.name not in (name, VALUES):
            path.unlink(missing_ok=True)


def read(folder):
    """What ``write`` wrote; tuples come back as lists. Raises BadCheckpoint if it is damaged."""
    folder = Path(folder)
    try:
        plain = json.loads((folder / VALUES).read_text(encoding="utf-8"))
        tensors = safetensors.torch.load_file(folder / Path(plain.pop("tensors", TENSORS)).name)
        return _restore(plain, tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
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
