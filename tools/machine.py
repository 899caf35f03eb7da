"""What a report says of the machine it was made on and of the versions that made it."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from lakhnes_lib.listening import results

ROOT = Path(__file__).resolve().parents[1]


def facts() -> dict[str, str]:
    """Title -> text of everything that the report's last section lists."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [line.split("==")[0] for line in requirements if "==" in line]
    return {
        "System": platform.platform(),
        "Python": platform.python_version(),
        "Processor": f"{results.processor()}, cores: {results.usable_cores()}",
        "Memory": f"{gigabytes:.1f} GiB",
        "GPU": _graphics_cards() or "none",
        "Commit": (results.commit() or "none").replace("+", ", with local changes"),
        "Packages": ", ".join(f"{name} {_version(name)}" for name in names),
    }


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
