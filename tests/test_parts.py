"""A checkpoint in parts: what was taken apart comes back; what is missing or damaged is named."""

import json
import sys

import pytest
import split_checkpoint
import torch

from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.models import checkpoints

KINDS = {
    "transformer_xl": dict(layers=2, width=16, heads=2, head_width=8, feed_forward=32),
    "modern_decoder": dict(layers=2, width=16, heads=2, feed_forward=32),
    "lstm": dict(embedding=8, units=16),
}


def model(kind="modern_decoder"):
    torch.manual_seed(1)
    return checkpoints.build(kind, **KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_there_and_back(tmp_path, kind, bits):
    """In 32 bits the same, else each weight within half a step of its scale or of bfloat16."""
    before = model(kind)
    checkpoints.save(before, tmp_path / "whole", seed=7, metrics={"valid_perplexity": 9.5})
    count = split_checkpoint.split(tmp_path / "whole", tmp_path / "parts", 0.01, bits)
    sizes = [path.stat().st_size for path in (tmp_path / "parts").glob("model.*")]
    assert count == len(sizes) > 1 and max(sizes) <= 0.01 * 2**20
    split_checkpoint.join(tmp_path / "parts", tmp_path / "joined")
    after, about = checkpoints.load(tmp_path / "joined"), checkpoints.details(tmp_path / "joined")
    assert about == checkpoints.details(tmp_path / "whole")
    for name, weight in before.state_dict().items():
        loaded, largest = after.state_dict()[name], weight.abs().amax(-1, keepdim=True)
        step = {8: largest / 254 if weight.dim() == 2 else 0, 16: weight.abs() / 256, 32: 0}[bits]
        assert ((loaded - weight).abs() <= step * 1.001 + 1e-12).all(), name


def test_8_bits_are_a_quarter(tmp_path):
    checkpoints.save(checkpoints.build("lstm", embedding=64, units=256), tmp_path / "whole")
    for bits in (8, 32):
        split_checkpoint.split(tmp_path / "whole", tmp_path / str(bits), 100, bits)
    assert (tmp_path / "8/model.1").stat().st_size < 0.27 * (tmp_path / "32/model.1").stat().st_size


def test_what_is_missing_damaged_or_foreign_is_named(tmp_path):
    checkpoints.save(model(), tmp_path / "whole")
    split_checkpoint.split(tmp_path / "whole", tmp_path / "parts", 0.01, 8)
    first, second = tmp_path / "parts/model.1", tmp_path / "parts/model.2"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    with pytest.raises(BadCheckpoint, match="its parts are damaged, or of several checkpoints"):
        split_checkpoint.join(tmp_path / "parts", tmp_path / "joined")
    first.unlink()
    with pytest.raises(BadCheckpoint, match="a part is missing"):
        split_checkpoint.join(tmp_path / "parts", tmp_path / "joined")
    first.write_bytes(content)
    about = json.loads((tmp_path / "parts/config.json").read_text())
    for changes in ({"width": 2**20}, {"layers": 3}):
        text = json.dumps(about | {"config": about["config"] | changes})
        (tmp_path / "parts/config.json").write_text(text)
        with pytest.raises(BadCheckpoint, match="do not fit its config.json"):
            split_checkpoint.join(tmp_path / "parts", tmp_path / "joined")
    with pytest.raises(BadCheckpoint, match="is not a checkpoint in parts"):
        split_checkpoint.join(tmp_path / "whole", tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_command_line(tmp_path, monkeypatch, capsys):
    checkpoints.save(model(), tmp_path / "whole")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["split_checkpoint.py", *map(str, arguments)])
        return split_checkpoint.main(), *capsys.readouterr()

    parts, joined, nothing = (tmp_path / name for name in ("parts", "joined", "nothing"))
    assert run("split", tmp_path / "whole", parts) == (0, f"{parts}: 1 parts\n", "")
    assert run("join", parts, joined) == (0, f"{joined}: the checkpoint\n", "")
    code, out, errors = run("split", nothing, tmp_path / "other")
    assert (code, out) == (1, "")
    assert errors.startswith(f"{nothing}: ") and errors.count("\n") == 1
