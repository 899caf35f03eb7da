"""Weights packed into fewer than five bits: small, nearly the same, and refused when damaged."""

import json
import lzma
import os

import pytest
import safetensors.torch
import ship
import torch

from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.models import checkpoints, packed_weights

SIZES = dict(layers=2, width=128, heads=2, head_width=64, feed_forward=256, memory_length=16)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint that holds its weights packed alone, and the model that was packed."""
    torch.manual_seed(0)
    model = checkpoints.build("transformer_xl", **SIZES)
    checkpoints.save(model, tmp_path / "model")
    ship.pack(tmp_path / "model")
    (tmp_path / "model/model.safetensors").unlink()
    return tmp_path / "model", model


def test_packed_weights_are_small_and_nearly_the_same(folder):
    path, model = folder
    assert 8 * (path / packed_weights.FILE).stat().st_size < 5 * model.parameter_count() + 8 * 8_000
    loaded = checkpoints.load(path).state_dict()
    for name, tensor in model.state_dict().items():
        error = (loaded[name] - tensor).square().mean().sqrt()
        # A step is 1 / 4.5 of the row's size, and rounding to it is off by its 1 / √12 on average;
        # bfloat16, in which the rest is unpacked, by 1 part in 512 at most.
        limit = 1.1 / (4.5 * 12**0.5) if tensor.dim() == 2 else 1 / 512
        assert error <= limit * tensor.square().mean().sqrt() + 1e-12, name


def test_unpacked_weights_stay_as_they_are(folder):
    path, _ = folder
    checkpoints.load(path)
    before = (path / "model.safetensors").stat().st_mtime_ns
    packed = path / packed_weights.FILE
    packed.write_bytes(b"no longer read")
    os.utime(packed, ns=(before, before))
    checkpoints.load(path)
    assert (path / "model.safetensors").stat().st_mtime_ns == before


def test_newly_packed_weights_are_unpacked_anew(folder):
    """As after a new version of a shipped model has been pulled."""
    path, old = folder
    checkpoints.load(path)
    torch.manual_seed(1)
    new = checkpoints.build("transformer_xl", **SIZES)
    checkpoints.save(new, path.parent / "new")
    ship.pack(path.parent / "new")
    packed = path / packed_weights.FILE
    packed.write_bytes((path.parent / "new" / packed_weights.FILE).read_bytes())
    later = (path / "model.safetensors").stat().st_mtime_ns + 10**9
    os.utime(packed, ns=(later, later))
    embedding = checkpoints.load(path).state_dict()["embedding.weight"]
    one, other = (
        (embedding - model.state_dict()["embedding.weight"]).square().mean() for model in (new, old)
    )
    assert one < 0.1 * other
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_weights, "write_file", lambda *_: pytest.fail("unpacked twice"))
        os.utime(packed, ns=(0, 0))
        checkpoints.load(path)


def test_another_model_in_the_folder_takes_the_packed_weights_away(folder):
    path, _ = folder
    checkpoints.load(path)
    other = checkpoints.build("lstm", embedding=8, units=16)
    checkpoints.save(other, path)
    assert not (path / packed_weights.FILE).exists()
    assert checkpoints.load(path).architecture == "lstm"


@pytest.mark.parametrize(
    "content",
    {
        "empty": b"",
        "not compressed": b"not compressed",
        "cut off": lzma.compress(bytes(1000))[:-20],
        "not tensors": lzma.compress(b"not tensors"),
        "steps of another shape": lzma.compress(
            safetensors.torch.save({"a": torch.ones(2, 3), "a.scale": torch.ones(5, 1)})
        ),
    }.values(),
)
def test_damaged_files_are_refused_by_name(folder, content):
    path, _ = folder
    (path / packed_weights.FILE).write_bytes(content)
    with pytest.raises(BadCheckpoint, match=f"model: its {packed_weights.FILE} is damaged"):
        checkpoints.load(path)
    assert not (path / "model.safetensors").exists()


def test_a_small_file_cannot_ask_for_all_memory(folder, monkeypatch):
    path, _ = folder
    monkeypatch.setattr(packed_weights, "MOST_BYTES", 10_000)
    with pytest.raises(BadCheckpoint, match="is damaged"):
        checkpoints.load(path)


def test_a_shipped_stage_says_which_step_was_best(tmp_path):
    model = checkpoints.build("lstm", embedding=8, units=16)
    rows = [
        {"step": step, "events": 9 * step, "seconds": step, "valid_loss": 2.0} for step in (2, 4)
    ]
    for metrics, expected in (({"step": 2}, 2), ({}, None)):
        folder = tmp_path / str(expected)
        checkpoints.save(model, folder / "best", profile="smoke", data="x", metrics=metrics)
        (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        about, log = ship.stage(folder)
        assert (about.get("best_step"), about["step"], about["events"]) == (expected, 4, 36)
        assert log == rows
