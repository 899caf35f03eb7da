"""Results as files: what was written is read, nothing half-written stays, and a foreign file is
named."""

import json
import os
import platform
from datetime import datetime

import numpy as np
import pytest
from _shared import write

from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.listening import results
from lakhnes_lib.listening.results import Result


def written(folder, **changed):
    """The path of a result, its fields changed (None: taken out)."""
    path = write("speed", {"songs": 3}, command="python x.py", folder=folder)
    content = json.loads(path.read_text())
    for field, value in changed.items():
        content[field] = value
        if value is None:
            del content[field]
    path.write_text(json.dumps(content))
    return path


def test_what_was_written_is_read(tmp_path):
    values = {
        "songs": np.int64(3),
        "ms": np.float32(0.5),
        "row": np.arange(2),
        "inner": {"x": [1.5, "a", None]},
    }
    path = write(
        "a_result", values, command="make bench", data_fingerprint="ab12", folder=tmp_path / "new"
    )
    result = results.read("a_result", tmp_path / "new")
    assert path == tmp_path / "new" / "a_result.json" and list(path.parent.iterdir()) == [path]
    assert result["values"] == {
        "songs": 3,
        "ms": 0.5,
        "row": [0, 1],
        "inner": {"x": [1.5, "a", None]},
    }
    assert (result["name"], result["command"], result["data_fingerprint"]) == (
        "a_result",
        "make bench",
        "ab12",
    )
    assert result["versions"] == {"python": platform.python_version(), "numpy": np.__version__}
    assert 1 <= result["hardware"]["cores"] <= os.cpu_count() and result["hardware"]["cpu"]
    assert (
        abs((datetime.now().astimezone() - datetime.fromisoformat(result["date"])).total_seconds())
        < 60
    )


@pytest.mark.parametrize(
    "bad", [float("nan"), np.inf, object(), {1, 2}], ids=["nan", "inf", "object", "set"]
)
def test_values_that_are_no_json_leave_the_old_file(tmp_path, bad):
    path = write("speed", {"songs": 3}, command="x", folder=tmp_path)
    before = path.read_bytes()
    with pytest.raises(LakhnesError, match=r"speed\.json.*JSON"):
        write("speed", {"songs": bad}, command="x", folder=tmp_path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("field", Result.model_fields)
def test_missing_field_is_named(tmp_path, field):
    written(tmp_path, **{field: None})
    with pytest.raises(LakhnesError, match=rf"speed\.json: .*{field}: is missing"):
        results.read("speed", tmp_path)


def test_foreign_files_are_refused(tmp_path):
    written(tmp_path, values=[1, 2])
    with pytest.raises(LakhnesError, match="values: must be a"):
        results.read("speed", tmp_path)
    path, deep = written(tmp_path), "[" * 200_000
    text = path.read_text()
    numbers = [
        text.replace('"songs": 3', f'"songs": {number}') for number in ("NaN", "-Infinity", "1e999")
    ]
    for content in ("[]", "{", "\x00", deep, *numbers, text.replace('"speed"', '"other"')):
        (tmp_path / "speed.json").write_text(content)
        with pytest.raises(LakhnesError, match=r"speed\.json: is not a result"):
            results.read("speed", tmp_path)
    with pytest.raises(DataNotFound, match="no such result"):
        results.read("never", tmp_path)


@pytest.mark.parametrize("name", ["", "../speed", "a/b", "Speed", ".hidden"])
def test_names_are_plain(tmp_path, name):
    with pytest.raises(LakhnesError, match="name"):
        write(name, {}, command="x", folder=tmp_path)
    with pytest.raises(LakhnesError, match="name"):
        results.read(name, tmp_path)
