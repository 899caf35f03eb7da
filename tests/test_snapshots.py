"""Snapshots: what goes in comes out, and there is one at any moment."""

import torch

from lakhnes_lib import files
from lakhnes_lib.training import snapshots


def test_snapshots_hold_trees_of_tensors_and_plain_values(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    tree = {
        "a": [tied, tied.T, (1, 2.5, None, "x", True)],
        3: {"b": tied.bfloat16()},
        "none": None,
        "empty": [],
    }
    snapshots.write(tmp_path / "s", tree)
    back = snapshots.read(tmp_path / "s")
    assert torch.equal(back["a"][0], tied) and torch.equal(back["a"][1], tied.T)
    assert back["a"][2] == [1, 2.5, None, "x", True] and list(back) == ["a", 3, "none", "empty"]
    assert back[3]["b"].dtype == torch.bfloat16


def test_there_is_a_snapshot_at_any_moment(tmp_path, monkeypatch):
    """Whatever move a kill comes before, the folder holds the old snapshot or the new one; leftovers go next time."""
    folder = tmp_path / "s"
    snapshots.write(folder, {"step": 0})
    whole = files.os.replace
    for step in range(1, 6):
        moves = []

        def stop(*places, moves=moves, step=step):
            if len(moves) == step % 3:
                raise KeyboardInterrupt
            moves.append(places)
            whole(*places)

        monkeypatch.setattr(files.os, "replace", stop)
        try:
            snapshots.write(folder, {"step": step})
            last = step
        except KeyboardInterrupt:
            last = snapshots.read(folder)["step"]
            assert last < step
        monkeypatch.undo()
        assert snapshots.exists(folder) and snapshots.read(folder)["step"] == last
    (folder / ".half-written.safetensors").write_bytes(b"half")
    snapshots.write(folder, {"step": 9})
    assert len(list(folder.iterdir())) == 2 and snapshots.read(folder) == {"step": 9}
