"""Snapshots: what goes in comes out, and there is one at any moment."""

import os

import pytest
import torch

from lakhnes_lib import files
from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.training import snapshots


def test_snapshots_hold_tensors_and_plain_values(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    values = {
        "a": [tied, tied.T, (1, 2.5, None, "x", True)],
        3: {"b": tied.bfloat16()},
        "none": None,
        "empty": [],
    }
    snapshots.write(tmp_path, values)
    back = snapshots.read(tmp_path)
    assert torch.equal(back["a"][0], tied) and torch.equal(back["a"][1], tied.T)
    assert back["a"][2] == (1, 2.5, None, "x", True) and back["none"] is None
    assert back[3]["b"].dtype == torch.bfloat16 and back["empty"] == []


@pytest.mark.parametrize("step", range(3))
def test_there_is_a_snapshot_at_any_moment(tmp_path, monkeypatch, step):
    """Whatever a kill comes before, there is the old snapshot or the new one; leftovers go."""
    snapshots.write(tmp_path, {"step": 0})

    def killed(*arguments):
        raise KeyboardInterrupt

    target = ((files.os, "fsync"), (files.os, "replace"), (torch, "save"))[step]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(*target, killed)
        snapshots.write(tmp_path, {"step": 1})
    assert snapshots.exists(tmp_path) and snapshots.read(tmp_path)["step"] == 0
    (tmp_path / ".snapshot-1234abcd.pt").write_bytes(b"half")  # what kill -9 leaves
    snapshots.write(tmp_path, {"step": 2})
    assert os.listdir(tmp_path) == ["snapshot.pt"] and snapshots.read(tmp_path)["step"] == 2


def test_nothing_of_a_snapshot_is_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "was_run"), "w"))

    torch.save({"format": snapshots.FORMAT, "step": Hostile()}, tmp_path / "snapshot.pt")
    with pytest.raises(BadCheckpoint, match="snapshot.pt: the snapshot is damaged"):
        snapshots.read(tmp_path)
    assert not (tmp_path / "was_run").exists()
