"""The archive that gpu_kit.py carries to a lent machine: packed corpora, and as wheels the packages
that training needs and that machine lacks.

This module is read before those packages are there, so at its top it imports nothing that needs
them.
"""

import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

from lakhnes_lib.errors import BadArchive, LakhnesError
from lakhnes_lib.files import replacing

MOST_MEGABYTES = 40.0
PYTHON = "3.12"
PLATFORM = "manylinux2014_x86_64"
CARRIED = "pydantic"
"""What training needs beside PyTorch, NumPy, safetensors, PyYAML, tqdm and SciPy, which are on the
machine; it travels with all that it needs itself."""


def with_requirements(names, without=()) -> dict[str, metadata.Distribution]:
    """The installed packages of these names and all that they need, but for those ``without``."""
    wanted, waiting = {}, list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in wanted or name in without:
            continue
        try:
            wanted[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # a requirement of other systems or versions
        needed = wanted[name].requires or []
        waiting += [re.match(r"[\w.-]+", text)[0] for text in needed if "extra ==" not in text]
    return wanted


def download_wheels(folder: Path, python: str = PYTHON) -> None:
    """Brings the wheels for that version of Python, of the packages' versions that are installed
    here. Raises LakhnesError if the package index does not give them."""
    wanted = with_requirements([CARRIED])
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--retries", "1", "--only-binary=:all:"]
    command += ["--python-version", python, "--platform", PLATFORM, "--dest", str(folder)]
    command += [f"{name}=={wheel.version}" for name, wheel in wanted.items()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (said or done.stderr.splitlines() or ["pip said nothing"])[-1][:200]
        what = f"wheels of {', '.join(wanted)} for Python {python} cannot be had"
        raise LakhnesError(f"{what}, perhaps for want of a network ({reason})")


def pack(
    archive: Path,
    corpora: list[Path],
    python: str = PYTHON,
    most_megabytes: float = MOST_MEGABYTES,
) -> float:
    """Writes wheels and corpora, each corpus below its folder's name, into one archive compressed
    with xz, and returns its megabytes. Raises LakhnesError if it would have more than the most.

    Velocity and timbre changes inside notes, two thirds of NES-MDB's bytes, are left out: training
    does not read them. The copy has another fingerprint; ``copy_of`` in its manifest names the
    original's.
    """
    from lakhnes_lib.data.corpus import Split, open_corpus, write_corpus  # they need pydantic

    with tempfile.TemporaryDirectory() as temporary, replacing(archive) as unchecked:
        wheels = Path(temporary) / "wheels"
        download_wheels(wheels, python)
        with tarfile.open(unchecked, "w:xz", preset=1) as file:  # a tenth larger, far faster
            file.add(wheels, wheels.name)
            for folder in corpora:
                corpus = open_corpus(folder)  # a damaged corpus is noticed here
                if all(isinstance(part, Split) for part in corpus.splits.values()):
                    splits = {name: without_controls(part) for name, part in corpus.splits.items()}
                    folder = Path(temporary) / folder.name
                    write_corpus(splits, folder, copy_of=corpus.fingerprint)
                file.add(folder, folder.name)
        megabytes = unchecked.stat().st_size / 1e6
        if megabytes > most_megabytes:
            sizes = f"would have {megabytes:.1f} MB, and {most_megabytes:g} are the most"
            raise LakhnesError(f"{archive}: {sizes}; leave a corpus out")
    return megabytes


def without_controls(part):
    """The same songs without changes of velocity and timbre inside notes."""
    songs = part.songs.copy()
    songs["controls"] = 0
    return type(part)(part.name, part.names, part.notes, part.controls[:0], songs)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks the archive, and makes what it carries importable if it cannot be imported yet.

    Raises BadArchive if that fails.
    """
    try:
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise BadArchive(f"{archive}: cannot be unpacked ({error})") from None
    if not is_there():
        packages = folder / "wheels" / "unpacked"
        for wheel in sorted((folder / "wheels").glob("*.whl")):
            with zipfile.ZipFile(wheel) as file:
                file.extractall(packages)
        sys.path.insert(0, str(packages))
        if not is_there():
            running = ".".join(map(str, sys.version_info[:2]))
            how = f"pack it with --python {running}"
            raise BadArchive(f"{archive}: has no {CARRIED} that Python {running} can load; {how}")
        print(f"{CARRIED}: from the archive", flush=True)


def is_there() -> bool:
    """Whether the carried package can be imported."""
    try:
        __import__(CARRIED)
    except ImportError:
        return False
    return True
