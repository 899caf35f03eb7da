"""A reader of PyTorch's legacy file format that runs nothing of the file.

Paper: its published checkpoints are in that format, as whole pickled programs. Notebook: 07_quantitative_analysis.
Its pickles go through ``pickle_machine.py``; of all calls only those that put tensors and containers together are
known, and a file that calls anything else is refused. Differences from the paper: none in what is read.

A legacy file is four pickles (magic number, version, the writer's byte order, the object), a fifth with the names of
the storages, and then each storage: its length as int64, and its values.
"""

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from lakhnes_lib.errors import BadCheckpoint, DataNotFound
from lakhnes_lib.models.pickle_machine import LONGEST_NAME, Machine, Name, Record, expect, fill

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_SETS = ("__builtin__.set", "builtins.set")
_NEEDLESS = (
    "torch.nn.backends.thnn._get_thnn_function_backend",
)  # in every module of PyTorch before 1.3


@dataclass(frozen=True)
class Storage:
    """A run of values that stands behind the pickles."""

    key: str
    dtype: torch.dtype
    size: int


@dataclass(frozen=True, eq=False)
class View:
    """A tensor: part of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Legacy:
    """An opened file: ``root``, the object in it, and ``tensor``, which makes a View a tensor."""

    def __init__(self, path):
        """Raises DataNotFound if there is no such file, BadCheckpoint if it is not of the format or asks for more."""
        self.path = Path(path)
        self._storages: dict[str, Storage] = {}
        self._values: dict[str, torch.Tensor] = {}
        try:
            with open(self.path, "rb") as file:
                self._read(file)
        except (FileNotFoundError, IsADirectoryError) as error:
            what = "is a folder, not a file" if self.path.is_dir() else "there is no such file"
            raise DataNotFound(f"{self.path}: {what}") from error
        except BadCheckpoint as error:
            raise BadCheckpoint(f"{self.path}: {error}") from error
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise BadCheckpoint(
                f"{self.path}: is damaged, or no file of PyTorch's legacy format ({str(error)[:100]})"
            ) from error

    def _read(self, file) -> None:
        start = file.read(4)
        if start == b"PK\x03\x04":
            raise BadCheckpoint(
                "is in PyTorch's newer zip format; the published files are in the legacy one"
            )
        if start[:1] != b"\x80":  # every pickle that PyTorch writes begins so
            raise BadCheckpoint("is damaged, or no file of PyTorch's legacy format")
        file.seek(0)
        for what, expected in (("magic number", MAGIC), ("version", VERSION)):
            found = self._pickle(file)
            if type(found) is not int or found != expected:
                raise BadCheckpoint(f"its {what} is not that of PyTorch's legacy format")
        system = self._pickle(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise BadCheckpoint("was not written on a little-endian machine")
        self.root = self._pickle(file)
        keys = self._pickle(file)
        if not isinstance(keys, list) or not all(type(key) is str for key in keys):
            raise BadCheckpoint("has no list of its storages")
        if len(set(keys)) != len(keys) or set(keys) != set(self._storages):
            raise BadCheckpoint("lists other storages than its tensors need")
        for key in keys:
            self._values[key] = _values(file, self._storages[key])

    def _pickle(self, file):
        """What one pickle builds."""
        return Machine(self._reference, _call).run(file)

    def _reference(self, reference):
        """What PyTorch keeps outside the pickle: classes with their source text, and storages."""
        if isinstance(reference, tuple) and len(reference) == 4 and reference[0] == "module":
            return reference[1]
        if (
            not isinstance(reference, tuple)
            or len(reference) not in (5, 6)
            or reference[0] != "storage"
        ):
            raise BadCheckpoint(
                "refers to something outside of it that is neither a class nor a storage"
            )
        kind, key, size = reference[1], reference[2], reference[4]
        module, _, name = kind.path.rpartition(".") if isinstance(kind, Name) else ("", "", "")
        if module not in ("torch", "torch.cuda") or name not in _DTYPES:
            raise BadCheckpoint("holds a storage of a type that no tensor of such a file has")
        if not (type(key) is str and len(key) <= LONGEST_NAME and _is_size(size)) or reference[
            5:
        ] not in ((), (None,)):
            raise BadCheckpoint("holds a storage without a proper name, size and extent")
        storage = Storage(key, _DTYPES[name], size)
        if self._storages.setdefault(key, storage) != storage:
            raise BadCheckpoint(f"gives storage {key[:40]!r} two sizes or types")
        return storage

    def tensor(self, view: View) -> torch.Tensor:
        """The values of a View, of its own dtype; it shares memory with other views of the storage.

        Raises BadCheckpoint for a view that reaches beyond its storage or has more values than it.
        """
        last = sum((size - 1) * step for size, step in zip(view.shape, view.stride, strict=True))
        if prod(view.shape) > view.storage.size or (
            prod(view.shape) and view.offset + last >= view.storage.size
        ):
            raise BadCheckpoint(
                f"{self.path}: a tensor of shape {view.shape} reaches beyond its storage"
            )
        return self._values[view.storage.key].as_strided(view.shape, view.stride, view.offset)


def _values(file, storage: Storage) -> torch.Tensor:
    """The values of the storage that stands next in the file."""
    size = int.from_bytes(file.read(8), "little")
    if size != storage.size:
        raise BadCheckpoint(
            f"storage {storage.key[:40]!r} holds {size} values where {storage.size} belong"
        )
    length, left = size * storage.dtype.itemsize, os.fstat(file.fileno()).st_size - file.tell()
    if left < length:  # before anything of that size is asked for
        raise BadCheckpoint(
            f"is truncated: storage {storage.key[:40]!r} lacks {length - left} bytes"
        )
    if not length:
        return torch.empty(0, dtype=storage.dtype)
    return torch.frombuffer(bytearray(file.read(length)), dtype=storage.dtype)


def _is_size(value) -> bool:
    return type(value) is int and 0 <= value < 2**40


def _call(path: str, arguments: tuple):
    """The few calls that put tensors and containers together. Raises BadCheckpoint for every other."""
    match path, arguments:
        case "collections.OrderedDict", ():
            return {}
        case "collections.OrderedDict", (list() as pairs,):
            table = {}
            for key, value in pairs:
                fill(table, [key, value])
            pairs.clear()  # each list serves once: a thousand short calls could ask for a thousand copies of a long one
            return table
        case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", (
            storage,
            offset,
            shape,
            stride,
            *_,
        ):
            plain = (
                isinstance(shape, tuple)
                and isinstance(stride, tuple)
                and len(shape) == len(stride) < 9
            )
            if not plain or not all(map(_is_size, (offset, *shape, *stride))):
                raise BadCheckpoint("has a tensor without a proper shape")
            return View(expect(storage, Storage), offset, shape, stride)
        case "torch._utils._rebuild_parameter", (View() as view, *_):
            return view
        case path, _ if path in _SETS or path in _NEEDLESS:
            return Record(path)
    raise BadCheckpoint(
        f"asks to call {path[:80]!r}, which no tensor or container needs; nothing of it was run"
    )
