"""A reader of PyTorch's legacy file format that runs nothing of the file.

Paper: its published checkpoints are whole pickled programs in that format. Notebook:
07_quantitative_analysis. Differences from the paper: none in what is read.

A legacy file holds five pickles (magic number, version, the writer's byte order, the object, the
names of its storages), then each storage: its length as int64, and its values. A pickle is a
program for a small machine that can import and call anything. Here Python's own machine reads it,
but only with the instructions that build plain values, and whatever a pickle imports becomes a
``Record`` class that keeps attributes and does nothing. ``torch.load`` with such classes would not
do: it allocates whatever size a file claims, and first tries to unpack the file as a tar archive.
"""

import io
import os
import pickle
from typing import NamedTuple

import torch

from lakhnes_lib.errors import BadCheckpoint

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
MOST_PICKLED, MOST_CLASSES, LONGEST_NAME = 2**20, 100, 200
"""Bytes of the five pickles together, classes of a file, characters of a class's name or a key."""
_INSTRUCTIONS = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE "
    "SHORT_BINUNICODE BINSTRING SHORT_BINSTRING EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST "
    "APPEND APPENDS SETITEM SETITEMS BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL "
    "STACK_GLOBAL BINPERSID NEWOBJ REDUCE"
)
_CODES = [getattr(pickle, name)[0] for name in _INSTRUCTIONS.split()]
_STORAGES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}


class Record:
    """An object of the file: ``kind`` is the name of its class, ``state`` holds its attributes."""

    kind, state = "", None

    def __new__(cls, *arguments):
        return super().__new__(cls)

    def __init__(self, *arguments):
        """A pickle makes an object with ``__new__`` alone; only a call of its class comes here."""
        raise BadCheckpoint(f"asks to call {self.kind!r}, which no tensor or container needs")

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
        is_name = type(key) is str and len(key) <= LONGEST_NAME
        if not is_name and not (type(key) is int and abs(key) < 2**31):
            raise BadCheckpoint(f"has a key of type {type(key).__name__}, or too long a key")
        super().__setitem__(key, value)

    def __setstate__(self, state):
        """An ordered dict's own attributes are not needed."""


class Storage(NamedTuple):
    """A run of values that stands behind the pickles."""

    key: str
    dtype: torch.dtype
    size: int


class View(NamedTuple):
    """A tensor: part of a storage. The rest of what PyTorch writes about it is not needed."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self, values: dict[str, torch.Tensor]) -> torch.Tensor:
        """The tensor, given the values of all storages. Raises RuntimeError out of bounds."""
        whole = values[self.storage.key]
        tensor = whole.as_strided(self.shape, self.stride, self.offset)
        if tensor.numel() > whole.numel():
            raise BadCheckpoint(f"has a tensor of shape {self.shape}, larger than its storage")
        return tensor


_FUNCTIONS = {
    "collections.OrderedDict": Table,
    "torch._utils._rebuild_tensor": View,
    "torch._utils._rebuild_tensor_v2": lambda *arguments: View(*arguments[:4]),
    "torch._utils._rebuild_parameter": lambda view, *_: view,
    "builtins.set": lambda *_: None,
    "__builtin__.set": lambda *_: None,
    # In every module of PyTorch before 1.3.
    "torch.nn.backends.thnn._get_thnn_function_backend": lambda: None,
}


class InertUnpickler(pickle._Unpickler):
    """Python's unpickler (the one written in Python), which here can only build plain values.

    storages: all that the pickle refers to, by their keys.
    """

    dispatch = {code: pickle._Unpickler.dispatch[code] for code in _CODES}

    def __init__(self, file):
        super().__init__(file)
        self.storages: dict[str, Storage] = {}
        self.classes: dict[str, object] = dict(_FUNCTIONS)

    def find_class(self, module: str, name: str):
        path = f"{module}.{name}"
        if len(path) > LONGEST_NAME or len(self.classes) > MOST_CLASSES:
            raise BadCheckpoint(f"names too many classes, or one too long: {path[:40]!r}")
        if path not in self.classes:
            self.classes[path] = type("Record", (Record,), {"kind": path})
        return self.classes[path]

    def persistent_load(self, reference):
        """What PyTorch keeps outside the pickle: classes with their source text, and storages."""
        if reference[0] == "module":
            return reference[1]
        kind, key, _, size = reference[1:5]
        dtype = _STORAGES.get(kind.kind.replace("torch.cuda.", "torch."))
        plain = reference[0] == "storage" and dtype and type(key) is str
        if not plain or reference[5:] not in ((), (None,)):
            raise BadCheckpoint("refers to something that is neither a class nor a storage")
        return self.storages.setdefault(key, Storage(key, dtype, size))

    def load_empty_dictionary(self):
        self.append(Table())

    def load_build(self):
        state = self.stack.pop()
        self.stack[-1].__setstate__(state)

    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dictionary
    dispatch[pickle.BUILD[0]] = load_build


def read(file) -> tuple[object, dict[str, torch.Tensor]]:
    """The object in a legacy file, open for reading in binary, and the values of its storages.

    The object is made of plain values, ``Table``, ``Record`` and, for tensors, ``View``.
    Raises BadCheckpoint if the file is of another format or asks for anything to be run; a damaged
    pickle is a wrong program, which may also end in any other error.
    """
    head = io.BytesIO(file.read(MOST_PICKLED))
    if head.getvalue().startswith(b"PK\x03\x04"):
        raise BadCheckpoint("is in PyTorch's newer zip format; the published files are older")
    if InertUnpickler(head).load() != MAGIC or InertUnpickler(head).load() != VERSION:
        raise BadCheckpoint("its magic number or version is not that of PyTorch's legacy format")
    if InertUnpickler(head).load()["little_endian"] is not True:
        raise BadCheckpoint("was not written on a little-endian machine")
    unpickler = InertUnpickler(head)
    root, values = unpickler.load(), {}
    keys = InertUnpickler(head).load()
    if not all(type(key) is str for key in keys):
        raise BadCheckpoint("has no list of its storages")
    file.seek(head.tell())
    for key in keys:
        storage = unpickler.storages.pop(key)
        length = storage.size * storage.dtype.itemsize
        if int.from_bytes(file.read(8), "little") != storage.size:
            raise BadCheckpoint(f"storage {key[:40]!r} has another size than its tensors need")
        if os.fstat(file.fileno()).st_size - file.tell() < length:  # before it is allocated
            raise BadCheckpoint(f"is truncated: storage {key[:40]!r} is not all there")
        content = bytearray(file.read(length) or 8)  # PyTorch makes no tensor of no bytes
        values[key] = torch.frombuffer(content, dtype=storage.dtype)[: storage.size]
    if unpickler.storages:
        raise BadCheckpoint("lacks the values of some of its tensors")
    return root, values
