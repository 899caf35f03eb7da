"""Snapshots: everything a training run needs to go on as if it had never stopped.

Paper: none. Notebook: 05_training.
A snapshot is a folder with ``values.json`` and the file of tensors that it names: tensors and plain values only. The
one move that puts ``values.json`` in place is what makes a new snapshot the snapshot: there is one at any moment.
"""

import json
import signal
import sys
import threading
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.files import replacing, write_synced

VALUES, TENSORS = "values.json", "tensors.safetensors"


def exists(folder) -> bool:
    """Whether the folder holds a snapshot."""
    return (Path(folder) / VALUES).is_file()


def write(folder, tree) -> None:
    """Writes nested dicts, lists and tuples of tensors and plain values."""
    folder, tensors = Path(folder), {}
    name = f"{uuid.uuid4().hex[:8]}-{TENSORS}"
    plain = _flatten(tree, tensors) | {"tensors": name}
    for place, content in (
        (name, safetensors.torch.save(tensors)),
        (VALUES, json.dumps(plain).encode()),
    ):
        with replacing(folder / place) as temporary:
            write_synced(temporary, content)
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
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        safetensors.SafetensorError,
    ) as error:
        raise BadCheckpoint(f"{folder}: the snapshot is damaged ({error})") from error


@contextmanager
def interrupts():
    """Within it Ctrl-C fills the list that it gives, so that a run can end its step first; the second one stops at
    once."""
    interrupted = []

    def note(number, frame):
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(number)
        with suppress(RuntimeError):  # something else is being printed
            print("\nstopping after this step; Ctrl-C again stops at once", file=sys.stderr)

    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


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
