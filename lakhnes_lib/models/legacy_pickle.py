"""A reader of PyTorch's legacy file format that runs nothing of the file.

Paper: its published checkpoints are whole pickled programs in that format. Notebook:
07_quantitative_analysis. Differences from the paper: none in what is read.

A pickle is a program for a small machine that can import and call anything. ``torch.load`` reads
the format here, with an unpickler that knows only the instructions that build plain values, and to
which whatever a pickle imports is a ``Record`` class that keeps attributes and does nothing.
"""

import io
import pickle
import warnings
from types import SimpleNamespace

import torch

from lakhnes_lib.errors import BadCheckpoint

LONGEST_KEY = 200
_INSTRUCTIONS = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE "
    "SHORT_BINUNICODE BINSTRING SHORT_BINSTRING EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST "
    "APPEND APPENDS SETITEM SETITEMS BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL "
    "STACK_GLOBAL BINPERSID NEWOBJ REDUCE"
)
_CODES = [getattr(pickle, name)[0] for name in _INSTRUCTIONS.split()]


class Record:
    """An object of the file: ``kind`` is the name of its class, ``state`` holds its attributes."""

    kind, state = "", None

    def __new__(cls, *arguments):
        return super().__new__(cls)

    def __init__(self, *arguments):
        """A pickle makes an object with ``__new__`` alone; only a call of its class comes here."""
        raise BadCheckpoint(f"asks to call {self.kind[:80]!r}, which no tensor or container needs")

    def __setstate__(self, state):
        self.state = state


class Table(dict):
    """A dict of the file; its keys are short text or small numbers, which are quick to hash."""

    def __init__(self, pairs=None):
        for key, value in pairs or ():
            self[key] = value
        if pairs:  # each list serves once, or a small file could ask for a thousand copies of it
            pairs.clear()

    def __setitem__(self, key, value):
        is_name = type(key) is str and len(key) <= LONGEST_KEY
        if not is_name and not (type(key) is int and abs(key) < 2**31):
            raise BadCheckpoint(f"has a key of type {type(key).__name__}, or too long a key")
        super().__setitem__(key, value)

    def __setstate__(self, state):
        """An ordered dict's own attributes are not needed."""


def _tensor(storage, offset: int, shape: tuple, stride: tuple, *_) -> torch.Tensor:
    """Part of a storage, no larger than that. Raises RuntimeError out of its bounds."""
    tensor = torch._utils._rebuild_tensor(storage, offset, shape, stride)
    if tensor.numel() > storage.size():
        raise BadCheckpoint(f"has a tensor of shape {shape}, larger than its storage")
    return tensor


_FUNCTIONS = {
    "collections.OrderedDict": Table,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "builtins.set": lambda *_: None,
    "__builtin__.set": lambda *_: None,
    # In every module of PyTorch before 1.3.
    "torch.nn.backends.thnn._get_thnn_function_backend": lambda: None,
}


class InertUnpickler(pickle._Unpickler):
    """Python's unpickler (the one written in Python), which here can only build plain values.

    storages: names of the runs of values that the pickle refers to.
    """

    dispatch = {code: pickle._Unpickler.dispatch[code] for code in _CODES}

    def find_class(self, module: str, name: str):
        path = f"{module}.{name}"
        return _FUNCTIONS.get(path) or type(path, (Record,), {"kind": path})

    def load_empty_dictionary(self):
        self.append(Table())

    def load_build(self):
        state = self.stack.pop()
        self.stack[-1].__setstate__(state)

    def load_reference(self):
        """What PyTorch keeps outside the pickle: classes with their source text, and storages."""
        kind, *rest = self.stack[-1]
        if kind == "storage":
            if type(rest[1]) is not str or any(type(part) is tuple for part in rest):
                raise BadCheckpoint("refers to something that is neither a class nor a storage")
            self.storages.add(rest[1])
        self.load_binpersid()

    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dictionary
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BINPERSID[0]] = load_reference


def read(content: bytes):
    """The object in a legacy file with this content, made of plain values, tensors, ``Table`` and
    ``Record``.

    Raises BadCheckpoint if the file is of another format or asks for anything to be run; a damaged
    pickle is a wrong program, which may also end in any other error.
    """
    if content.startswith(b"PK\x03\x04"):
        raise BadCheckpoint("is in PyTorch's newer zip format; the published files are older")

    class Unpickler(InertUnpickler):
        storages = set()

    def load(file, **options):
        """One of the pickles around the object; the last of them lists the storages."""
        value = Unpickler(file, **options).load()
        if isinstance(value, list):
            if not all(type(name) is str for name in value) or set(value) != Unpickler.storages:
                raise BadCheckpoint("has no list of its storages, or not of all of them")
        return value

    reader = SimpleNamespace(Unpickler=Unpickler, load=load, __name__="inert")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch looks for the classes' source text
        # From memory, for PyTorch tries to unpack a file on the disk as an archive first.
        file = io.BytesIO(content)
        return torch.load(file, map_location="cpu", pickle_module=reader, weights_only=False)
