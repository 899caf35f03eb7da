"""The machine that something is measured or reported on, and the versions that do it."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from lakhnes_lib.generation.decoding import usable_cores

ROOT = Path(__file__).resolve().parents[1]


def facts() -> dict[str, str]:
    """Title -> text of everything that the report's last section lists."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [line.split("==")[0] for line in requirements if "==" in line]
    return {
        "System": platform.platform(),
        "Python": platform.python_version(),
        "Processor": f"{processor()}, cores: {usable_cores()}",
        "Memory": f"{gigabytes:.1f} GiB",
        "GPU": _graphics_cards() or "none",
        "Commit": (commit() or "none").replace("+", ", with local changes"),
        "Packages": ", ".join(f"{name} {_version(name)}" for name in names),
    }


def circumstances(packages=("numpy",)) -> dict:
    """What numbers measured now may depend on: versions of Python and of these packages, hardware,
    commit, date."""
    versions = {package: metadata.version(package) for package in packages}
    return {
        "versions": {"python": platform.python_version()} | versions,
        "hardware": hardware(),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def hardware() -> dict:
    """cpu: the processor's name; cores: how many of its cores this process may use; gpu: its name,
    if there is one."""
    import torch  # here, since the report does without it

    known = {"cpu": processor(), "cores": usable_cores()}
    return known | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def processor() -> str:
    """The processor's name, as far as the system tells it, and whether it has the instructions for
    products of 8 bits (VNNI), which composing gains most from."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    named = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    vnni = " with VNNI" if re.search(r"\bavx(512)?_vnni\b", text) else ""
    return named[1] + vnni if named else platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the repository, with a plus if tracked files differ from it; None outside of
    git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12"]
    command += ["--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _graphics_cards() -> str:
    """Names and memory by NVIDIA's own tool: PyTorch knows them, too, but takes seconds to load."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(answer.stdout.splitlines())
