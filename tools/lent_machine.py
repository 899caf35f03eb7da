"""A Python that has only what a lent GPU machine has, so that gpu_kit.py can be tried here."""

import os
import sys
from pathlib import Path

from gpu_archive import CARRIED, with_requirements

HAS = ("torch", "numpy", "scipy", "safetensors", "PyYAML", "tqdm", "typer")
"""Packages of that machine; with what they need, but for what the kit carries: its typer is an
older one."""
THIS_PYTHON = ".".join(map(str, sys.version_info[:2]))
"""The version that the kit's wheels must be for here."""


def python(folder: Path) -> tuple[list[str], dict[str, str]]:
    """The beginning of a command line, and its environment.

    folder: a new one, for links to the packages. With -S Python sees no others that are installed,
    this library among them; processes that it starts see the same.
    """
    folder.mkdir()
    for package in with_requirements(HAS, without=[CARRIED]).values():
        for name in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
            (folder / name).symlink_to(package.locate_file(name))
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return [sys.executable, "-S"], environment
