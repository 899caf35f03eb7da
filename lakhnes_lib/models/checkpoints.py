"""Checkpoints: a folder with ``model.safetensors`` and ``config.json``; none of it is executed.

Paper: §9 of its repository's files. Notebook: 07_quantitative_analysis.
Differences from the published checkpoints: those are whole pickled programs; these are named
tensors and plain values.
"""

import hashlib
import inspect
import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from lakhnes_lib import profiles
from lakhnes_lib.errors import BadCheckpoint, DataNotFound, first_problem
from lakhnes_lib.files import read_bytes, replacing, write_synced
from lakhnes_lib.models import language_model, packed_weights, published
from lakhnes_lib.models.language_model import LanguageModel, RandomModel, UnigramModel
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
"""Start of the sha256 of Table 1's 631 names, one a line; for other events a model is refused."""
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_RANGES = {
    "layers": (1, 1000),
    "previous": (0, 1000),
    "memory_length": (0, 2**20),
    "dropout": (0, 1),
}
"""Least and most of settings; of other integers 1 to 2**20, of other floats 0 to 2**20. Each layer
is an object, which takes memory even before its weights do."""


class Description(BaseModel):
    """What ``config.json`` may hold: how to build the model, and how it came about."""

    model_config = _STRICT

    format: Literal[FORMAT]
    architecture: str
    config: dict[str, Any]  # the settings that ``build`` takes
    vocabulary: str
    parameters: int = 0
    # The training that made it, by profile, or one entry for each of several stages.
    profile: str = ""
    seed: int = 0
    data: str = ""  # fingerprint of the corpus
    device: str = ""  # the GPU that trained it, if tools/gpu_kit.py did
    training: dict[str, Any] = {}
    stages: list[dict[str, Any]] = []
    metrics: dict[str, float] = {}
    note: str = ""
    published: dict[str, str] = {}  # the authors' file that it was converted from
    parts: dict[str, int | str] = {}  # of tools/split_checkpoint.py


def build(architecture: str, **config) -> LanguageModel:
    """A new model of a known architecture.

    Raises BadCheckpoint for an unknown one, or for settings it does not have or cannot be built of.

    >>> build("lstm", embedding=8, units=16).parameter_count()
    17439
    """
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise BadCheckpoint(f"architecture {architecture!r:.80} is not known; known are {known}")
    try:
        _settings_of(architecture).model_validate(config)
        return ARCHITECTURES[architecture](**config)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        reason = f"cannot be built of these settings ({first_problem(error)})"
        raise BadCheckpoint(f"a {architecture} {reason}") from None


@cache
def _settings_of(architecture: str) -> type[BaseModel]:
    """A pydantic model of what an architecture's constructor takes, with the ranges allowed."""
    fields = {}
    for name, parameter in inspect.signature(ARCHITECTURES[architecture]).parameters.items():
        kind = parameter.annotation
        if kind in (int, float):
            least, most = _RANGES.get(name, (0 if kind is float else 1, 2**20))
            kind = Annotated[kind, Field(ge=least, le=most)]
        fields[name] = kind, parameter.default
    return create_model(architecture, __config__=_STRICT, **fields)


class _NothingDrawn(torch.overrides.TorchFunctionMode):
    """Within it no normal numbers are drawn. Where there are shapes alone, PyTorch would import its
    compiler for them, which takes a second."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        return None if function.__name__ == "normal_" else function(*arguments, **options or {})


def save(model: LanguageModel, folder, **details) -> None:
    """Writes the model as a checkpoint folder, whole or not at all.

    The file holds the model's own types: of ``model.bfloat16()`` it is half as large.
    details: plain values to keep with it: fields of ``Description``, such as metrics.
    Raises BadCheckpoint for other details, and what ``files.replacing`` raises.

    >>> import tempfile
    >>> import lakhnes_lib as nes
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nes.save_model(build("lstm", units=16), folder, note="new weights")
    ...     nes.load_model(folder).architecture
    'lstm'
    """
    tensors = {name: each.contiguous().cpu() for name, each in model.state_dict().items()}
    config = {
        "format": FORMAT,
        "architecture": model.architecture,
        "config": model.config,
        "vocabulary": VOCABULARY_FINGERPRINT,
        "parameters": model.parameter_count(),
    } | details
    _check(config, folder)
    names = {"model.safetensors", "config.json"}
    if (Path(folder) / "model.safetensors").is_file():
        # What belongs to the old model goes with it: its card, its curve, its exported steps.
        names |= {"README.md", "log.jsonl", "step.onnx", "step.int8.onnx", packed_weights.FILE}
    with replacing(folder, folder=True, names=names) as temporary:
        write_synced(temporary / "model.safetensors", safetensors.torch.save(tensors))
        write_synced(temporary / "config.json", f"{json.dumps(config, indent=1)}\n".encode())


def _check(config, folder) -> None:
    """Raises BadCheckpoint unless this may be the content of a ``config.json``."""
    try:
        Description.model_validate(config)
    except ValidationError as error:
        raise BadCheckpoint(f"{folder}: its config.json: {first_problem(error)}") from None
    if config["vocabulary"] != VOCABULARY_FINGERPRINT:
        raise BadCheckpoint(f"{folder}: was made for other events than the 631 of Table 1")


def details(folder) -> dict:
    """What ``config.json`` of a checkpoint says. Raises DataNotFound, BadCheckpoint."""
    folder = profiles.shipped(folder)
    if not folder.is_dir():
        raise DataNotFound(f"{folder}: there is no such checkpoint folder")
    if not (folder / "config.json").exists():
        message = "has no config.json, so it is no checkpoint of this library"
        raise BadCheckpoint(f"{folder}: {message}")
    try:
        config = json.loads(read_bytes(folder / "config.json", BadCheckpoint))
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{folder}: its config.json cannot be read ({error})") from None
    _check(config, folder)
    return config


def load(folder, device="cpu") -> LanguageModel:
    """The model of a checkpoint folder, in float32 and evaluation mode.

    Raises DataNotFound if there is none, BadCheckpoint for tensors that are missing, foreign, of
    another shape or not finite.

    >>> import lakhnes_lib as nes
    >>> model = nes.load_model("assets/pretrained/mini")
    >>> model.architecture, model.memory_length
    ('modern_decoder', 1920)
    """
    folder, config = profiles.shipped(folder), details(folder)
    packed_weights.unpack(folder)
    try:
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
    except FileNotFoundError:
        raise BadCheckpoint(f"{folder}: has no model.safetensors") from None
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise BadCheckpoint(f"{folder}: its model.safetensors cannot be read ({error})") from None
    model = assembled(config, tensors, folder).to(device).eval()
    model.folder = folder.resolve()
    return model


def assembled(config: dict, tensors: dict, folder) -> LanguageModel:
    """The model of what ``details`` says and its tensors, by name.

    Raises as ``load``; folder: what the messages name.
    """
    try:
        # Without values at first: a small file may ask for a large model.
        with torch.device("meta"), _NothingDrawn():
            model = build(config["architecture"], **config["config"])
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{folder}: {error}") from None
    if model.vocabulary_size != language_model.VOCABULARY_SIZE:
        reason = f"is a model of {model.vocabulary_size} events, not of Table 1's 631"
        raise BadCheckpoint(f"{folder}: {reason}")
    for name, expected in model.state_dict().items():
        if name in tensors:
            tensors[name] = _converted(tensors[name], expected, f"{folder}: tensor {name!r}")
    try:
        model.load_state_dict(tensors, assign=True)  # compares names and shapes
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()  # the first of what PyTorch lists
        raise BadCheckpoint(f"{folder}: {reason[:200]}") from None
    return model


def _converted(tensor: torch.Tensor, expected: torch.Tensor, title: str) -> torch.Tensor:
    """A copy in the type of ``expected``. Raises BadCheckpoint unless that is a type of the same
    kind, and all values are finite."""
    floats = tensor.is_floating_point() and expected.is_floating_point()
    if tensor.dtype != expected.dtype and not floats:
        raise BadCheckpoint(f"{title} holds {tensor.dtype}, the model needs {expected.dtype}")
    copy = tensor.to(expected.dtype, copy=True)  # not the file itself, which may change
    if not torch.isfinite(copy).all():  # what is finite in float64 may not be in float32
        raise BadCheckpoint(f"{title} holds values that are not finite")
    return copy


def convert_published(model_pt, folder) -> LanguageModel:
    """Writes a checkpoint of the paper's authors (``model.pt``) as a checkpoint folder.

    Returns the model. Nothing of the file is run. Raises DataNotFound, BadCheckpoint as
    ``published.read`` and ``assembled`` do.
    """
    config, tensors = published.read(model_pt)
    settings = {"architecture": TransformerXL.architecture, "config": config}
    model = assembled(settings, tensors, model_pt)
    digest = hashlib.sha256(Path(model_pt).read_bytes()).hexdigest()
    save(model, folder, published={"file": Path(model_pt).name, "sha256": digest})
    return model.eval()
