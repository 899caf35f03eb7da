"""What a report says of the machine it was made on and of the versions that made it."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def facts() -> dict[str, str]:
    """What the report says of the machine and the versions."""
    facts = {
        "System": platform.platform(),
        "Python": platform.python_version(),
        "Processor": _processor(),
    }
    facts["Memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    facts["GPU"] = (
        _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader") or "none"
    )
    facts["Commit"] = (
        _output("git", "-C", str(ROOT), "describe", "--always", "--dirty=, with local changes")
        or "none"
    )
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [line.split("==")[0] for line in requirements if "==" in line]
    facts["Packages"] = ", ".join(f"{name} {_version(name)}" for name in names)
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.processor() or platform.machine()}, {usable} cores"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(done.stdout.split("\n")).strip("; ")
