"""Checkpoints: a folder with ``model.safetensors`` and ``config.json``; nothing in it is ever executed.

Paper: §9 of its repository's files. Notebook: 07_quantitative_analysis.
Differences from the published checkpoints: those are whole pickled programs; these are named tensors and plain values.
"""

import hashlib
import inspect
import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from lakhnes_lib.errors import BadCheckpoint, DataNotFound
from lakhnes_lib.files import replacing, write_synced
from lakhnes_lib.models import published
from lakhnes_lib.models.language_model import (
    VOCABULARY_SIZE,
    LanguageModel,
    RandomModel,
    UnigramModel,
)
from lakhnes_lib.models.lstm import LSTM
from lakhnes_lib.models.modern_decoder import ModernDecoder
from lakhnes_lib.models.ngram import NGram
from lakhnes_lib.models.transformer_xl import TransformerXL

FORMAT = 1
ARCHITECTURES: dict[str, type[LanguageModel]] = {
    kind.architecture: kind
    for kind in (RandomModel, UnigramModel, NGram, LSTM, TransformerXL, ModernDecoder)
}
VOCABULARY_FINGERPRINT = "55a73e389ba8e472"
"""Start of the sha256 of Table 1's 631 names, one a line; a checkpoint over other events is refused."""
_RANGES = {
    "layers": (1, 1000),
    "previous": (0, 1000),
    "memory_length": (0, 2**20),
    "dropout": (0, 1),
}
"""Least and most of settings; of other numbers 1 to 2**20, or from 0 if they are floats. Each layer is an object, which
takes memory even before its weights do."""


def build(architecture: str, **config) -> LanguageModel:
    """A new model of a known architecture. Raises BadCheckpoint for an unknown one or a setting it does not have."""
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise BadCheckpoint(
            f"architecture {architecture!r:.80} is not known; known are {', '.join(ARCHITECTURES)}"
        )
    try:
        for name, parameter in inspect.signature(ARCHITECTURES[architecture]).parameters.items():
            _check(name, config.get(name, parameter.default), parameter.annotation)
        return ARCHITECTURES[architecture](**config)
    except (TypeError, ValueError, RuntimeError, AssertionError, OverflowError) as error:
        raise BadCheckpoint(
            f"a {architecture} cannot be built of these settings ({error})"
        ) from error


class _Undrawn(torch.overrides.TorchFunctionMode):
    """Within it no normal numbers are drawn: of shapes alone that would import PyTorch's compiler, which takes a
    second."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        return None if function.__name__ == "normal_" else function(*arguments, **options or {})


def _check(name: str, value, kind) -> None:
    """Raises ValueError for a setting of another type than its model says, or out of all bounds."""
    low, high = _RANGES.get(name, (0 if kind is float else 1, 2**20))
    if kind in (int, float) and not (type(value) in (int, kind) and low <= value <= high):
        raise ValueError(f"{name} must be {kind.__name__} from {low} to {high}, not {value!r:.40}")
    if kind in (bool, str) and type(value) is not kind:
        raise ValueError(f"{name} must be {kind.__name__}, not {value!r:.40}")


def save(model: LanguageModel, folder, dtype: torch.dtype | None = None, **details) -> None:
    """Writes the model as a checkpoint folder, whole or not at all.

    dtype: floating-point type at rest (bfloat16 halves the file); None keeps the model's.
    details: plain values to keep beside it (profile, data fingerprint, metrics).
    """
    tensors = {
        name: (tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor)
        .contiguous()
        .cpu()
        for name, tensor in model.state_dict().items()
    }
    config = {
        "format": FORMAT,
        "architecture": model.architecture,
        "config": model.config,
        "vocabulary": VOCABULARY_FINGERPRINT,
        "parameters": model.parameter_count(),
    } | details
    # A shipped model's card and curve go with it.
    beside = {"README.md", "log.jsonl"} if (Path(folder) / "model.safetensors").is_file() else set()
    with replacing(
        folder, folder=True, names=beside | {"model.safetensors", "config.json"}
    ) as temporary:
        write_synced(temporary / "model.safetensors", safetensors.torch.save(tensors))
        write_synced(temporary / "config.json", f"{json.dumps(config, indent=1)}\n".encode())


def details(folder) -> dict:
    """What ``config.json`` of a checkpoint says. Raises DataNotFound, BadCheckpoint."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataNotFound(f"{folder}: there is no such checkpoint folder")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadCheckpoint(
            f"{folder}: has no config.json, so it is no checkpoint of this library"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{folder}: its config.json cannot be read ({error})") from error
    if (
        not isinstance(config, dict)
        or config.get("format") != FORMAT
        or not isinstance(config.get("config"), dict)
    ):
        raise BadCheckpoint(f"{folder}: its config.json is not of checkpoint format {FORMAT}")
    if config.get("vocabulary") != VOCABULARY_FINGERPRINT:
        raise BadCheckpoint(
            f"{folder}: was made for other events ({config.get('vocabulary')!r:.80}) than the 631 of Table 1"
        )
    return config


def load(folder, device="cpu") -> LanguageModel:
    """The model of a checkpoint folder, in float32 and evaluation mode.

    Raises DataNotFound if there is none, BadCheckpoint for missing, foreign, misshapen or non-finite tensors.
    """
    folder, config = Path(folder), details(folder)
    try:
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
    except FileNotFoundError as error:
        raise BadCheckpoint(f"{folder}: has no model.safetensors") from error
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise BadCheckpoint(f"{folder}: its model.safetensors is damaged ({error})") from error
    return assembled(config, tensors, folder).to(device).eval()


def assembled(config: dict, tensors: dict, folder) -> LanguageModel:
    """The model of what ``details`` says and its tensors, by name. Raises as ``load``; folder: what that names."""
    try:
        with (
            torch.device("meta"),
            _Undrawn(),
        ):  # shapes alone: a small file may ask for a large model
            model = build(config.get("architecture"), **config["config"])
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{folder}: {error}") from error
    if model.vocabulary_size != VOCABULARY_SIZE:
        raise BadCheckpoint(
            f"{folder}: is a model of {model.vocabulary_size} events, not of Table 1's 631"
        )
    expected = model.state_dict()
    for name in sorted(set(expected) ^ set(tensors)):
        raise BadCheckpoint(
            f"{folder}: tensor {name!r} is {'missing' if name in expected else 'foreign to this model'}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise BadCheckpoint(
                f"{folder}: tensor {name!r} has shape {tuple(tensor.shape)}, "
                f"the model needs {tuple(expected[name].shape)}"
            )
        kind = expected[name].dtype
        if tensor.dtype != kind and not (tensor.is_floating_point() and kind.is_floating_point):
            raise BadCheckpoint(
                f"{folder}: tensor {name!r} holds {tensor.dtype}, the model needs {kind}"
            )
        # A copy, not the file itself. Then looked at: what is finite in float64 may not be in float32.
        tensors[name] = tensor.to(kind, copy=True)
        if not torch.isfinite(tensors[name]).all():
            raise BadCheckpoint(f"{folder}: tensor {name!r} holds values that are not finite")
    model.load_state_dict(tensors, assign=True)
    return model


def convert_published(model_pt, folder) -> LanguageModel:
    """Writes a checkpoint that the paper's authors published (``model.pt``) as a checkpoint folder; returns the model.

    Nothing of the file is run. Raises DataNotFound, BadCheckpoint as ``published.read`` does.
    """
    config, tensors = published.read(model_pt)
    model = build(TransformerXL.architecture, **config)
    model.load_state_dict(tensors)
    with open(model_pt, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    save(model, folder, published={"file": Path(model_pt).name, "sha256": digest})
    return model.eval()
