"""Exported steps of composing, run by ONNX Runtime.

Paper: §8 (sampling with a memory of events). Notebook: 09_composing.
Gain, measured on one core of an x86 server with VNNI, with a full memory of 512 events: the step
of the shipped modern decoder reads 808 events a second in float32 and 1,636 in 8 bits, where its
key/value cache composes 278 (``results/sampling.json``). Without VNNI it was 540, 680 and 83.
A checkpoint folder holds its step, as ``step_export.py`` makes it, in ``step.onnx`` (float32) or
``step.int8.onnx`` (weights and memory in 8 bits). The file names the weights that it was made from,
and ends with its own checksum. A file that is missing, damaged, or made from other weights is made
anew.
Nothing here needs PyTorch unless a step has to be exported.
"""

import copy
import hashlib
import json
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.files import is_newer, write_file
from lakhnes_lib.models import fast

FILES = {"fp32": "step.onnx", "int8": "step.int8.onnx"}
"""Name of the exported step in a checkpoint folder for each precision."""
ARCHITECTURES = ("modern_decoder", "transformer_xl")
"""The models that have a step."""
FORMAT = "2"
"""Changes with the inputs and outputs of a step; files of another format are made anew."""
WEIGHTS, PACKED = "model.safetensors", "model.safetensors.xz"
_LEAST_MEMORY = 512  # that a step is exported for, so that few calls ask for more
_ROOM = 64  # slots of a new piece, and those beyond what is looked back to
_SEAL = len(b"\x72\x4a\x0a\x06sha256\x12\x40") + 64


def is_available() -> bool:
    """Whether exported steps may be used: ONNX Runtime is here, and ``LAKHNES_FAST`` is not 0."""
    return fast.is_on() and find_spec("onnxruntime") is not None


class Piece:
    """One piece that is read event by event, with the keys and values of its last events.

    They lie in the order of the events, and a step writes the newest ones into the first free slot.
    Where none is free, slots are added, until there are enough for the events that are looked back
    to and ``_ROOM`` others; then these events move to the front.
    """

    def __init__(self, session, memory_length: int):
        """session: runs an exported step; memory_length: how many events to look back to."""
        shapes = {given.name: given.shape for given in session.get_inputs()}
        layers = sum(name.startswith("keys") for name in shapes)
        log_probs, (_, heads, _, width) = session.get_outputs()[0].shape, shapes["keys0"]
        number = np.int8 if session.get_inputs()[-1].type == "tensor(int8)" else np.float32
        self.session, self.memory_length = session, memory_length
        self.position, self.length = np.zeros((), np.int64), np.zeros(1, np.int32)
        # Before the first event: the row of the embedding that stands for no event.
        self.history = np.full(shapes["history"], log_probs[-1], np.int64)
        self.carry, self.log_probs = (np.zeros(s, np.float32) for s in (shapes["carry"], log_probs))
        self._remember_in(np.zeros((layers, 2, 1, heads, _ROOM, width), number))

    def _remember_in(self, memory: np.ndarray) -> None:
        """Tells ONNX Runtime where its inputs lie and its outputs belong. memory: keys and values,
        (layers, 2, 1, heads, slots, head width)."""
        self.memory, self.binding = memory, self.session.io_binding()
        for name in ("history", "position", "length", "carry"):
            _bind(self.binding.bind_input, name, getattr(self, name))
        for name in ("carry", "log_probs"):
            _bind(self.binding.bind_output, f"new_{name}", getattr(self, name))
        for layer, (keys, values) in enumerate(memory):
            for name, array in ((f"keys{layer}", keys), (f"values{layer}", values)):
                _bind(self.binding.bind_input, name, array)
                _bind(self.binding.bind_output, f"new_{name}", array)
        # A step takes the end of this row, or less: -inf hides what is there, but too long ago.
        self.too_far = max(memory.shape[4] - self.memory_length - 1, 0)
        self.bias = np.zeros((1, 1, 1, self.too_far + self.memory_length + 1), np.float32)
        self.bias[..., : self.too_far] = -np.inf

    def read(self, ids: np.ndarray) -> None:
        """Reads several events: int64 (events,)."""
        for index in range(len(ids)):
            self.feed(ids[index : index + 1])

    def feed(self, ids: np.ndarray) -> np.ndarray:
        """One event, int64 (1,), to the log-probabilities of the next: float32 (1, vocabulary).

        The next call writes into the same array.
        """
        self.history[:] = np.concatenate([ids, self.history[:-1]])
        events = int(self.length[0]) + 1
        first = self.too_far - max(events - self.memory_length - 1, 0)
        _bind(self.binding.bind_input, "bias", self.bias[..., first : first + events])
        self.session.run_with_iobinding(self.binding)
        self.position += 1
        self.length += 1
        if events == self.memory.shape[4]:
            self._make_room()
        return self.log_probs

    def _make_room(self) -> None:
        slots, most = self.memory.shape[4], self.memory_length + _ROOM
        if slots < most:
            more = [(0, 0)] * 4 + [(0, min(slots, most - slots)), (0, 0)]
            self._remember_in(np.pad(self.memory, more))
        else:
            self.memory[:, :, :, :, : self.memory_length] = self.memory[:, :, :, :, _ROOM:]
            self.length[:] = self.memory_length

    def copy(self) -> "Piece":
        """Another piece with the same past."""
        other = copy.copy(self)
        for name in ("position", "length", "history", "carry", "log_probs"):
            setattr(other, name, getattr(self, name).copy())
        other._remember_in(self.memory.copy())
        return other


def _bind(bind, name: str, array: np.ndarray) -> None:
    bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)


def open_piece(folder, memory_length: int | None, precision: str) -> Piece | None:
    """A piece, nothing read yet, of a checkpoint folder whose step is exported if need be.

    memory_length: events to look back to, None for the model's own; precision: "fp32" or "int8".
    Returns None for a folder whose model has no step. Raises LakhnesError for a model that cannot
    be loaded to export it.
    """
    folder = Path(folder)
    if is_newer(folder / PACKED, than=folder / WEIGHTS):
        from lakhnes_lib.models import packed_weights

        packed_weights.unpack(folder)
    try:
        description = json.loads((folder / "config.json").read_bytes())
        if description["architecture"] not in ARCHITECTURES:
            return None
        own = description["config"]["memory_length"]
        weights = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    except (OSError, ValueError, TypeError, KeyError):
        return None  # whoever loads the model says what is wrong with the folder
    memory_length = own if memory_length is None else memory_length
    session = _kept_step(folder / FILES[precision], weights, memory_length)
    if session is None:
        content = _exported(folder, weights, max(memory_length, own, _LEAST_MEMORY), precision)
        try:
            write_file(folder / FILES[precision], content)
        except (LakhnesError, OSError) as error:
            print(f"{error}; the exported step is kept in memory", file=sys.stderr)
        session = _session(content)
    return Piece(session, memory_length)


def folder_of(model) -> Path | None:
    """The folder that a ``LanguageModel`` was loaded from, None if its weights are others by now.

    Also None for a model that is not on the CPU, where steps run.
    """
    import safetensors
    import torch

    if model.folder is None or model.device.type != "cpu":
        return None
    try:
        with safetensors.safe_open(model.folder / WEIGHTS, "pt") as file:
            for name, tensor in model.state_dict().items():
                if not torch.equal(file.get_tensor(name).to(tensor.dtype), tensor):
                    return None
    except (OSError, ValueError, safetensors.SafetensorError):
        return None
    return model.folder


def _kept_step(path: Path, weights: str, memory_length: int):
    """The session of an exported step, None if there is none that fits these weights."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if sealed(content[:-_SEAL]) != content:
        return None
    session = _session(content)
    made = session.get_modelmeta().custom_metadata_map
    fits = (made["format"], made["weights"]) == (FORMAT, weights)
    return session if fits and int(made["memory"]) >= memory_length else None


def sealed(content: bytes) -> bytes:
    """The content of an ONNX file, with its checksum at the end as the property ``sha256``.

    An ONNX file is a protobuf message, and the fields of a second message may follow a first one.
    """
    digest = hashlib.sha256(content).hexdigest().encode()
    return content + b"\x72\x4a\x0a\x06sha256\x12\x40" + digest


@lru_cache(maxsize=2)
def _exported(folder: Path, weights: str, memory_length: int, precision: str) -> bytes:
    """The content of a new file for a checkpoint's step. weights: their sha256."""
    from lakhnes_lib.models import checkpoints
    from lakhnes_lib.models.fast import step_export

    print(f"{folder.name}: exporting the step that composes ({precision}), once", file=sys.stderr)
    made = {"format": FORMAT, "weights": weights, "memory": str(memory_length)}
    model = checkpoints.load(folder)
    return sealed(step_export.export(model, memory_length + _ROOM, precision, made))


@lru_cache(maxsize=2)
def _session(content: bytes):
    """The exported step as ONNX Runtime runs it, on the thread that calls it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # CPUs without VNNI add products of 8 bits up in 16, which overflows without this option.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
