"""Snapshots: everything a training run needs to go on as if it had never stopped.

Paper: none. Notebook: 05_training.
A snapshot is one file, ``snapshot.pt`` in the run's folder, which ``torch.save`` writes beside the
old one and one move puts in its place: whenever a run is killed, there is a whole one. It holds
tensors and plain values only, and is read with ``weights_only``, which runs nothing of the file.
"""

import io
from pathlib import Path

import torch

from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.files import replacing, write_synced

FORMAT = 3
NAME = "snapshot.pt"


def exists(folder) -> bool:
    """Whether a run's folder holds a snapshot."""
    return (Path(folder) / NAME).is_file()


def write(folder, values: dict) -> None:
    """Writes a dict of tensors, plain values, and lists, tuples and dicts of them."""
    path, content = Path(folder) / NAME, io.BytesIO()
    torch.save({"format": FORMAT} | values, content)
    for unfinished in path.parent.glob(f".{path.stem}-*"):  # of a run that was killed meanwhile
        unfinished.unlink(missing_ok=True)
    with replacing(path) as temporary:
        write_synced(temporary, content.getbuffer())


def read(folder) -> dict:
    """What ``write`` wrote, on the CPU. Raises BadCheckpoint if it is damaged or of old format."""
    path = Path(folder) / NAME
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        if values["format"] == FORMAT:
            return values
        reason = "another format"
    except Exception as error:  # torch.load has no error of its own for a file that is no snapshot
        reason = str(error).partition("\n")[0][:100]
    raise BadCheckpoint(f"{path}: the snapshot is damaged ({reason})")
