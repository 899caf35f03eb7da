"""``import lakhnes_lib as nes``: every name loads late and is explained, and all examples run."""

import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lakhnes_lib as nes

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "lakhnes_lib").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def test_importing_loads_nothing():
    code = (
        "import sys; before = set(sys.modules); import lakhnes_lib; "
        "print(sorted(name for name in set(sys.modules) - before if 'editable' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "['lakhnes_lib']\n"


def test_names_are_listed_and_loaded_once():
    assert set(nes.__all__) <= set(dir(nes))
    assert all(getattr(nes, name) is getattr(nes, name) for name in nes.__all__)
    with pytest.raises(AttributeError, match="'lakhnes_lib' has no attribute 'compose_opera'"):
        nes.compose_opera  # noqa: B018


@pytest.mark.parametrize("name", [name for name in nes.__all__ if name != "__version__"])
def test_every_name_is_explained_by_an_example(name):
    assert ">>> " in getattr(nes, name).__doc__


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_run(module, monkeypatch):
    monkeypatch.chdir(ROOT)
    results = doctest.testmod(import_module(module), optionflags=doctest.ELLIPSIS)
    assert results.attempted and not results.failed


def test_the_ten_lines_of_the_readme_run(tmp_path, monkeypatch):
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
    (code,) = [block.split("```")[0] for block in blocks if "import lakhnes_lib as nes" in block]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    variables = {}
    exec(code.replace("length=500", "length=40"), variables)
    assert nes.read(tmp_path / "piece.mid").seconds == variables["piece"].seconds > 8


def test_files_by_their_ending(tmp_path):
    song = nes.read(ROOT / "assets/songbook/greensleeves.abc")
    for ending in ("mid", "tx1.txt", "vgm"):
        nes.write(song, tmp_path / f"song.{ending}")
        assert (nes.encode(nes.read(tmp_path / f"song.{ending}")) == nes.encode(song)).all()
    with pytest.raises(nes.LakhnesError, match="song.mp3: its ending is none of those"):
        nes.write(song, tmp_path / "song.mp3")
