"""The kit for a lent GPU, tried without a network: wheels that pip finds, and a Python that has
only the lent machine's packages."""

import os
import subprocess
import tempfile
import zipfile
from pathlib import Path

from gpu_archive import CARRIED, PLATFORM, with_requirements
from lent_machine import python
from songs import tune

from lakhnes_lib import profiles
from lakhnes_lib.data.corpus import write_corpus

SCRIPT = profiles.root() / "tools" / "gpu_kit.py"


def index(folder, version: str) -> dict[str, str]:
    """Makes wheels of what is installed here and the kit carries, and returns the variables by
    which pip finds these and nothing else. version: the Python's that they say they are for."""
    folder.mkdir()
    tag = "cp" + version.replace(".", "")
    for name, package in with_requirements([CARRIED]).items():
        is_plain = all(file.suffix != ".so" for file in package.files)
        end = "py3-none-any" if is_plain else f"{tag}-{tag}-{PLATFORM}"
        path = folder / f"{name.replace('-', '_')}-{package.version}-{end}.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            for file in package.files:
                if file.parts[0] != ".." and "__pycache__" not in file.parts:
                    wheel.write(file.locate(), str(file))
    only_these = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
    return only_these | {"PIP_CONFIG_FILE": os.devnull}


def small_corpus(folder):
    """A corpus of twelve songs a split."""
    songs = {name: [tune(seed) for seed in range(12)] for name in ("train", "valid", "test")}
    return write_corpus(songs, folder)


def kit(folder, *words, **environment) -> str:
    """Runs the kit in a folder as on the lent machine, and returns what it prints."""
    begins, variables = python(Path(tempfile.mkdtemp(dir=folder)) / "packages")
    ended = subprocess.run(
        [*begins, str(SCRIPT), *map(str, words)],
        cwd=folder,
        env=variables | environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout
