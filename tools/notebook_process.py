"""One notebook in a papermill process of its own: run, measured, and ended in time.

An error, the time limit or Ctrl-C ends the notebook's process alone; papermill then saves the cells
that ran.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import notebook_report

COSTS = ("minutes", "core_minutes", "peak_megabytes")
GRACE_SECONDS = 20  # for papermill to stop its kernel and save what there is
TRIES = 3
NEVER_BEGAN = "Kernel died before replying to kernel_info"
"""Papermill's last words if a kernel ends before it has run a cell. When two kernels start at the
same time, both may choose the same port (papermill's issue 511); the one that comes second ends."""


def execute(
    source: Path,
    target: Path,
    parameters: dict,
    limit_seconds: float,
    interrupts: Callable[[], int] = lambda: 0,
) -> tuple[str, dict]:
    """Run one notebook in its own papermill process.

    A notebook whose kernel ended before it ran a cell is begun again, three times at most.
    interrupts: how often Ctrl-C was pressed so far; it is asked all the time. Returns the state,
    and what the notebook cost: minutes by the clock, minutes of a core, and peak megabytes.
    """
    papermill = Path(__file__).with_name("papermill_saving.py")
    command = [sys.executable, str(papermill), str(source), str(target)]
    command += ["-y", json.dumps(parameters), "--log-output", "--no-progress-bar"]
    # A kernel that starts on a busy machine needs longer than papermill waits by itself.
    command += ["--start-timeout", str(round(limit_seconds))]
    began, core_seconds = time.monotonic(), 0.0
    for _ in range(TRIES):
        with target.with_suffix(".log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            left = limit_seconds - (time.monotonic() - began)
            stopped, usage = _wait(process, left, interrupts)
        core_seconds += usage.ru_utime + usage.ru_stime
        if stopped or not process.returncode or NEVER_BEGAN not in error_of(target):
            break
    bytes_per_unit = 1 if platform.system() == "Darwin" else 1024
    state = stopped or ("failed" if process.returncode else "passed")
    return state, {
        "minutes": (time.monotonic() - began) / 60,
        "core_minutes": core_seconds / 60,
        "peak_megabytes": usage.ru_maxrss * bytes_per_unit / 1e6,
    }


def _wait(process: subprocess.Popen, limit_seconds: float, interrupts: Callable[[], int]):
    """Wait for a process: at the limit or on Ctrl-C ask it to end, and after the grace (or a second
    Ctrl-C) end it."""
    stopped, deadline = None, time.monotonic() + limit_seconds
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return stopped, usage
        is_late = time.monotonic() > deadline
        if stopped and (is_late or interrupts() > 1):
            _kill(process.pid)
        elif not stopped and (is_late or interrupts()):
            stopped = "timed out" if is_late else "stopped"
            deadline = time.monotonic() + GRACE_SECONDS
            # Not by Popen, which may wait for the process itself and lose what it has used.
            os.kill(process.pid, signal.SIGINT)
        time.sleep(0.1)


def _kill(pid: int):
    """End a process and those that it started, its kernel among them."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []  # elsewhere a kernel ends by itself when its parent is gone
    for each in [pid, *map(int, children)]:
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            pass


def error_of(target: Path) -> str:
    """Why a notebook failed, in one line: the failing cell's error, otherwise the last line of
    papermill's log."""
    try:
        error = notebook_report.first_error(nbformat.read(target, as_version=4))
    except (OSError, ValueError):
        error = None
    if error:
        return f"cell {error[0]}: {error[1]}"
    lines = target.with_suffix(".log").read_text(encoding="utf-8").split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    return lines[-1] if lines else "papermill ended and left no message"
