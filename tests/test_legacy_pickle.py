"""Pickles of old PyTorch are read without running anything: payloads, bombs and impossible tensors
are refused."""

import io
import os
import pickle
import struct
import sys
import types

import numpy as np
import pytest
import torch
from pickled_calls import Call

from lakhnes_lib.errors import BadCheckpoint, DataNotFound
from lakhnes_lib.models import legacy_pickle, published

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


def test_other_files_are_refused(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "zip.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("hello\n" * 10)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": 1}, 2))
    for name, reason in (
        ("zip", "zip"),
        ("empty", "damaged"),
        ("text", "no legacy PyTorch file"),
        ("plain", "magic number"),
    ):
        with pytest.raises(BadCheckpoint, match=reason):
            published.read(tmp_path / f"{name}.pt")
    for nothing, reason in (
        (tmp_path / "none.pt", "there is no such file"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(DataNotFound, match=reason):
            published.read(nothing)


def legacy(path, payload: bytes, storages: bytes = pickle.dumps([], 2)):
    """A file of the format around a pickle."""
    head = (
        pickle.dumps(MAGIC, 2) + pickle.dumps(VERSION, 2) + pickle.dumps({"little_endian": True}, 2)
    )
    path.write_bytes(head + payload + storages)
    return path


def read(path):
    """What the pickles of a file build."""
    return legacy_pickle.read(path.read_bytes())


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_payload_is_refused_and_not_run(tmp_path, protocol):
    mark = tmp_path / "it_ran"
    for function, *arguments in (
        (os.system, f"touch {mark}"),
        (eval, f"open({str(mark)!r}, 'w')"),
        (getattr, os, "system"),
        (__import__, "os"),
        (torch.hub.load, "a", "b"),
        (np.load, str(mark)),
    ):
        if function is getattr:
            arguments = ("os", "system")
        payload = pickle.dumps({"model": [Call(function, *arguments)]}, protocol)
        with pytest.raises(BadCheckpoint) as caught:
            published.read(legacy(tmp_path / "bad.pt", payload))
        if protocol >= 2:
            assert "asks to call " in str(caught.value) and f".{function.__name__}', which" in str(
                caught.value
            )
        assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_an_object_of_any_class_is_inert(monkeypatch, tmp_path):
    class Loud:
        def __new__(cls):
            raise AssertionError("it was made")

        def __setstate__(self, state):
            raise AssertionError("it was set")

    Loud.__module__, Loud.__qualname__ = "mem_transformer", "Loud"
    monkeypatch.setitem(sys.modules, "mem_transformer", types.ModuleType("mem_transformer"))
    sys.modules["mem_transformer"].Loud = Loud
    loud = object.__new__(Loud)
    loud.value = 3
    root = read(legacy(tmp_path / "odd.pt", pickle.dumps([loud], 2)))
    assert root[0].kind == "mem_transformer.Loud" and root[0].state == {"value": 3}


NESTED = b"K\x01" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60))
"""Instructions for a tuple of a tuple of …, each twice: its hash would take 2 ** 60 steps."""


def nested_key() -> bytes:
    """A dict with such a key."""
    return b"\x80\x02}" + NESTED + b"K\x02s."


EMPTY = b"X\x00\x00\x00\x00"
LONG = b"X" + struct.pack("<I", 1000) + b"a" * 1000
ORDERED = b"\x80\x02ccollections\nOrderedDict\nq\x00"


DAMAGED = "is damaged, or no legacy PyTorch file"


@pytest.mark.parametrize(
    "payload, reason",
    [
        (b"\x80\x02" + b"N0" * 10 + b".", DAMAGED),  # POP is no instruction of a checkpoint
        (b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"a", DAMAGED),
        (b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a", DAMAGED),
        (b"\x80\x02\x8b" + struct.pack("<I", 2**31 - 1), DAMAGED),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a", DAMAGED),
        (nested_key(), "a key of type tuple"),
        (b"\x80\x02(" + NESTED + b"K\x01d.", DAMAGED),  # the same by DICT, and as sets
        (b"\x80\x04\x8f(" + NESTED + b"\x90.", DAMAGED),
        (b"\x80\x04(" + NESTED + b"\x91.", DAMAGED),
        (b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + NESTED + EMPTY + b"K\x00tQ.",
         "neither a class nor a storage"),
        (b"\x80\x02}" + LONG + b"Ns.", "too long a key"),
        (b"\x80\x02}\x8a\x08" + struct.pack("<q", 2**61 - 1) + b"Ns.", "a key of type int"),
        (b"\x80\x02}G" + struct.pack(">d", 1.5) + b"Ns.", "a key of type float"),
        (ORDERED + b"]](K\x01NK\x02Nea\x85R.", DAMAGED),
        (b"\x80\x02(.", DAMAGED),
        (b"\x80\x02R.", DAMAGED),
        (b"\x80\x02t.", DAMAGED),
        (b"\x80\x02K\x01K\x02\x86Q.", DAMAGED),
        (b"(S'touch'\nios\nsystem\n.", DAMAGED),
        (b"\x80\x02\x82\x01.", DAMAGED),
        # Attributes set on a class or a function of the reader itself.
        (ORDERED + b"N}X\x08\x00\x00\x00__init__Ns\x86b.", DAMAGED),
        (b"\x80\x02ctorch._utils\n_rebuild_parameter\n}X\x01\x00\x00\x00aNsb.", DAMAGED),
        (b"\x80\x02ccodecs\nencode\nN}X\x04\x00\x00\x00kindNs\x86b.", DAMAGED),
    ],
)  # fmt: skip
def test_bombs_are_refused(tmp_path, payload, reason):
    with pytest.raises(BadCheckpoint, match=reason):
        published.read(legacy(tmp_path / "bomb.pt", payload))
    assert not hasattr(legacy_pickle._FUNCTIONS["torch._utils._rebuild_parameter"], "a")


def test_a_nested_name_of_a_storage_is_refused(tmp_path):
    path = legacy(tmp_path / "bomb.pt", b"\x80\x02N.", b"\x80\x02]" + NESTED + b"a.")
    with pytest.raises(BadCheckpoint, match="has no list of its storages"):
        published.read(path)


def test_a_memo_has_one_entry_whatever_its_number(tmp_path):
    payload = b"\x80\x02Nr" + struct.pack("<I", 2**32 - 1) + b"."
    assert read(legacy(tmp_path / "bomb.pt", payload)) is None


def test_a_list_of_pairs_serves_once(tmp_path):
    """However often a pickle asks for an ordered dict of one long list."""
    pairs = b"".join(b"](M" + struct.pack("<H", n) + b"Ne" for n in range(1000))
    payload = ORDERED + b"](" + pairs + b"e\x85q\x01]" + b"h\x00h\x01Ra" * 1000 + b"."
    root = read(legacy(tmp_path / "bomb.pt", payload))
    assert len(root) == 1000 and sum(map(len, root)) == 1000


def test_names_out_of_the_file_do_not_reach_the_terminal(tmp_path):
    payload = b"\x80\x04\x8c\x05a\nb\x1b[\x8c\x0231\x93)R."
    with pytest.raises(BadCheckpoint) as caught:
        published.read(legacy(tmp_path / "bad.pt", payload))
    assert "a\\nb" in str(caught.value) and not {"\n", "\x1b"} & set(str(caught.value))


def tensor_pickle(size: int, offset: int, shape: tuple, stride: tuple) -> bytes:
    """A pickle of one tensor on a storage of so many floats."""

    class Writer(pickle._Pickler):
        def persistent_id(self, value):
            return (
                ("storage", torch.FloatStorage, "0", "cpu", size, None)
                if value is STORAGE
                else None
            )

    out = io.BytesIO()
    Writer(out, 2).dump(
        Call(torch._utils._rebuild_tensor_v2, STORAGE, offset, shape, stride, False, None)
    )
    return out.getvalue()


class STORAGE:
    """Stands for the storage of ``tensor_pickle``."""


@pytest.mark.parametrize(
    "size, offset, shape, stride",
    [
        (4, 1, (4,), (1,)),
        (4, 0, (1000, 1000, 1000), (0, 0, 0)),
        (4, 0, (2, 2), (3, 1)),
        (0, 0, (1,), (1,)),
        (4, 0, (-1,), (1,)),
        (4, -1, (1,), (1,)),
        (4, 0, (2, 2), (1,)),
        (10**9, 0, (4,), (1,)),
        (2**40, 0, (4,), (1,)),  # more than any memory: not even asked for
    ],
)
def test_tensors_stay_within_their_storages(tmp_path, size, offset, shape, stride):
    values = struct.pack("<q4f", size, 1, 2, 3, 4) if size else struct.pack("<q", 0)
    path = legacy(
        tmp_path / "odd.pt",
        tensor_pickle(size, offset, shape, stride),
        pickle.dumps(["0"], 2) + values,
    )
    with pytest.raises((BadCheckpoint, RuntimeError)):
        read(path)


def test_a_tensor_that_fits(tmp_path):
    values = pickle.dumps(["0"], 2) + struct.pack("<q4f", 4, 1, 2, 3, 4)
    path = legacy(tmp_path / "good.pt", tensor_pickle(4, 1, (2, 2), (1, 1)), values)
    assert read(path).tolist() == [[2, 3], [3, 4]]
