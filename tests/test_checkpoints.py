"""Checkpoints come back as they were, and whatever is missing, foreign, misshapen or damaged is
named."""

import json
import os
import pickle
import struct
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import safetensors.torch
import torch

from lakhnes_lib.errors import BadCheckpoint, DataNotFound
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.language_model import UnigramModel

SIZES = dict(
    layers=1, width=16, heads=2, head_width=8, feed_forward=16, memory_length=8, dropout=0.0
)


@pytest.fixture
def model():
    """A tiny Transformer-XL."""
    torch.manual_seed(1)
    return checkpoints.build("transformer_xl", **SIZES)


@pytest.fixture
def folder(model, tmp_path):
    """Its checkpoint."""
    checkpoints.save(model, tmp_path / "model", metrics={"valid_perplexity": 4.5})
    return tmp_path / "model"


def change(folder, work):
    """Rewrites the tensors as ``work`` leaves them."""
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    work(tensors)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")


def configure(folder, **values):
    """Rewrites the config with other values; None removes one."""
    config = json.loads((folder / "config.json").read_text()) | values
    config = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))


def refused(folder, *said):
    """Loading gives BadCheckpoint, one sentence that names the folder and all that is ``said``."""
    with pytest.raises(BadCheckpoint) as raised:
        checkpoints.load(folder)
    message = str(raised.value)
    assert message.startswith(f"{folder}: ") and all(part in message for part in said), message


def test_round_trip(model, folder):
    loaded = checkpoints.load(folder)
    assert not loaded.training and loaded.config == model.config
    assert all(type(p) is torch.nn.Parameter and p.requires_grad for p in loaded.parameters())
    assert all(
        torch.equal(a, b)
        for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )
    ids = torch.arange(1, 13).unsqueeze(0)
    assert torch.equal(loaded.log_probs(ids)[0], model.eval().log_probs(ids)[0])
    said = checkpoints.details(folder)
    assert said["parameters"] == model.parameter_count() and said["metrics"] == {
        "valid_perplexity": 4.5
    }
    checkpoints.save(loaded, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_loading_does_not_wait_for_the_compiler(folder):
    """PyTorch's takes a second to import, and half of it is SymPy."""
    script = (
        "import sys; from lakhnes_lib.models.checkpoints import load; "
        f"load({str(folder)!r}); print(*sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"sympy", "torch._dynamo"} & set(ran.stdout.split())


def test_half_the_size_in_bfloat16(model, folder, tmp_path):
    checkpoints.save(deepcopy(model).bfloat16(), tmp_path / "half")
    sizes = [(path / "model.safetensors").stat().st_size for path in (folder, tmp_path / "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = checkpoints.load(tmp_path / "half")
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert torch.allclose(loaded.u, model.u, rtol=2**-8)


def test_counts_of_a_unigram(tmp_path):
    counted = UnigramModel(smoothing=0.5).fit(torch.tensor([5, 5, 7]))
    checkpoints.save(counted, tmp_path / "unigram")
    loaded = checkpoints.load(tmp_path / "unigram")
    assert torch.equal(loaded.counts, counted.counts) and loaded.smoothing == 0.5


# --- tensors


def test_missing_tensor(folder):
    change(folder, lambda tensors: tensors.pop("embedding.weight"))
    refused(folder, 'Missing key(s) in state_dict: "embedding.weight"')


def test_foreign_tensor(folder):
    change(folder, lambda tensors: tensors.update(extra=torch.zeros(3)))
    refused(folder, 'Unexpected key(s) in state_dict: "extra"')


def test_misshapen_tensor(folder):
    change(folder, lambda tensors: tensors.update(u=torch.zeros(3, 8)))
    refused(folder, "size mismatch for u: ", "torch.Size([3, 8])", "torch.Size([2, 8])")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite(folder, value):
    def spoil(tensors):
        tensors["layers.0.inner.weight"][2, 3] = value

    change(folder, spoil)
    refused(folder, "tensor 'layers.0.inner.weight' holds values that are not finite")


def test_values_that_float32_cannot_hold(folder):
    change(folder, lambda tensors: tensors.update(u=torch.full((2, 8), 1e300, dtype=torch.float64)))
    refused(folder, "tensor 'u' holds values that are not finite")


def test_tensors_of_another_kind(folder):
    change(folder, lambda tensors: tensors.update(u=torch.zeros(2, 8, dtype=torch.int64)))
    refused(folder, "tensor 'u' holds torch.int64, the model needs torch.float32")


def test_truncated_anywhere(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for size in [*range(0, 200, 7), *np.linspace(200, len(whole) - 1, 20).astype(int)]:
        path.write_bytes(whole[:size])
        refused(folder, "model.safetensors cannot be read")


def test_any_changed_byte_of_the_head(folder):
    """Loads, or is refused in one sentence: never another error."""
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    (head,) = struct.unpack("<Q", whole[:8])
    results = set()
    for position in [*range(8), *range(8, 8 + head, 11)]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            checkpoints.load(folder)
            results.add("loaded")
        except BadCheckpoint as error:
            assert str(error).startswith(f"{folder}: ")
            results.add("refused")
    assert "refused" in results


def test_a_pickle_is_not_run(folder, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "was_run"), "w"))

    (folder / "model.safetensors").write_bytes(pickle.dumps(Hostile()))
    refused(folder, "model.safetensors cannot be read")
    torch.save({"embedding.weight": torch.zeros(1)}, folder / "model.safetensors")
    refused(folder, "model.safetensors cannot be read")
    assert not (tmp_path / "was_run").exists()


def test_missing_files(folder, tmp_path):
    with pytest.raises(DataNotFound, match="none: there is no such checkpoint folder"):
        checkpoints.load(tmp_path / "none")
    (folder / "model.safetensors").unlink()
    refused(folder, "has no model.safetensors")
    (folder / "config.json").unlink()
    refused(folder, "has no config.json, so it is no checkpoint of this library")


# --- config


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"vocabulary": "0123456789abcdef"}, "was made for other events than the 631 of Table 1"),
        ({"vocabulary": None}, "its config.json: vocabulary: is missing"),
        ({"format": 2}, "its config.json: format: must be 1, not 2"),
        ({"format": None}, "its config.json: format: is missing"),
        ({"config": [1]}, "its config.json: config: must be a table of values, not [1]"),
        ({"colour": 1}, "its config.json: colour: is not known"),
        ({"metrics": {"loss": "low"}}, "metrics: loss: must be a valid number, not 'low'"),
        ({"stages": {}}, "its config.json: stages: must be a valid list, not {}"),
        ({"architecture": "gpt"}, "architecture 'gpt' is not known; known are random, unigram"),
        ({"architecture": None}, "its config.json: architecture: is missing"),
        ({"architecture": ["gpt"]}, "architecture: must be a valid string, not ['gpt']"),
        ({"config": SIZES | {"colour": 1}}, "a transformer_xl cannot be built of these settings"),
        (
            {"config": SIZES | {"width": "wide"}},
            "a transformer_xl cannot be built of these settings",
        ),
        ({"config": SIZES | {"width": -4}}, "a transformer_xl cannot be built of these settings"),
        (
            {"config": SIZES | {"dropout": 2.0}},
            "a transformer_xl cannot be built of these settings",
        ),
        (
            {"config": SIZES | {"width": 10**13}},
            "a transformer_xl cannot be built of these settings",
        ),
        ({"config": SIZES | {"layers": 2}}, 'Missing key(s) in state_dict: "layers.1'),
        ({"config": SIZES | {"width": 32}}, "size mismatch for embedding.weight: "),
        (
            {"config": SIZES | {"vocabulary_size": 10}},
            "is a model of 10 events, not of Table 1's 631",
        ),
        ({"config": SIZES | {"layers": True}}, "layers: must be a valid integer, not True"),
        (
            {"config": SIZES | {"layers": 1001}},
            "layers: must be less than or equal to 1000, not 1001",
        ),
        ({"config": SIZES | {"heads": 0}}, "heads: must be greater than or equal to 1, not 0"),
        ({"config": SIZES | {"memory_length": -5}}, "must be greater than or equal to 0, not -5"),
        (
            {"config": SIZES | {"memory_length": 1.5}},
            "memory_length: must be a valid integer, not 1.5",
        ),
        ({"config": SIZES | {"memory_length": "a" * 100}}, "not 'aaaaaaaaaaaa...a"),
        (
            {"config": SIZES | {"dropout": float("nan")}},
            "dropout: must be a finite number, not nan",
        ),
        ({"config": SIZES | {"pre_norm": "no"}}, "pre_norm: must be a valid boolean, not 'no'"),
    ],
    ids=str,
)
def test_other_configs(folder, values, said):
    configure(folder, **values)
    refused(folder, said)


def test_what_could_not_be_loaded_is_not_saved(model, folder):
    with pytest.raises(BadCheckpoint, match="model: its config.json: colour: is not known"):
        checkpoints.save(model, folder, colour="red")
    assert checkpoints.load(folder).config == model.config


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'"text"'])
def test_what_is_no_config(folder, text):
    (folder / "config.json").write_bytes(text)
    refused(folder, "its config.json")


def test_a_config_nested_too_deep_is_refused(folder):
    (folder / "config.json").write_bytes(b"[" * 200_000)
    refused(folder, "its config.json cannot be read")


def test_a_model_of_a_small_file_takes_no_memory_before_its_shapes_are_compared(
    folder, monkeypatch
):
    build, without_values = checkpoints.build, []

    def noting(architecture, **settings):
        model = build(architecture, **settings)
        without_values.append(all(parameter.is_meta for parameter in model.parameters()))
        return model

    monkeypatch.setattr(checkpoints, "build", noting)
    configure(folder, config=SIZES | {"width": 32})
    refused(folder, "size mismatch for embedding.weight")
    assert without_values == [True]


def test_a_failed_write_leaves_the_old_checkpoint(model, folder, monkeypatch):
    before = (folder / "model.safetensors").read_bytes()
    with torch.no_grad():
        model.u += 1

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match="the disk is full"):
        checkpoints.save(model, folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_pipes_and_devices_are_no_checkpoints(tmp_path):
    """A pipe may never answer, and a device never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").symlink_to(tmp_path / "pipe")
    with pytest.raises(BadCheckpoint, match="a pipe or a device, not a file"):
        checkpoints.load(tmp_path / "model")
    with pytest.raises(DataNotFound, match="pipe: is a folder or device"):
        checkpoints.convert_published(tmp_path / "pipe", tmp_path / "new")
