"""Run the course without a screen, for the instructor.

    python tools/run_notebooks.py --profile smoke --only 05

Each notebook, and after it its solutions, runs in a papermill process of its own, in order, under a
time limit. An error ends that notebook alone; all of them are collected. Executed notebooks, a page
for each, and `index.html` with states, minutes, peak memory and previews go to runs/PROFILE as the
run goes on, so killing it leaves what is done.
"""

import argparse
import ast
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import album
import machine
import nbformat
import notebook_report

from lakhnes_lib import profiles
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.files import write_file

ROOT = Path(__file__).resolve().parents[1]
LIMIT_MINUTES = {"smoke": 15, "laptop": 240, "paper": 60 * 24 * 4}
COSTS = ("minutes", "core_minutes", "peak_megabytes")
GRACE_SECONDS = 20  # for papermill to stop its kernel and save what there is


class Refused(Exception):
    """A request that cannot be run at all; the message says why."""


def parameters_of(notebook) -> dict[str, object]:
    """The names and plain values of a notebook's one cell tagged `parameters`.

    Raises: Refused: There is no such cell, there are several, or one holds more than names and
        plain values.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise Refused(f"it has {len(cells)} cells tagged 'parameters' where one is needed")
    parameters = {}
    for statement in ast.parse(cells[0].source).body:
        try:
            (target,) = statement.targets
            parameters[target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError):
            raise Refused("it has more than `name = plain value` in its parameters cell") from None
    return parameters


def select(folder: Path, only: list[str]) -> list[Path]:
    """The notebooks of a folder in order, each followed by its solutions; `only` picks by the start
    of the name."""
    lessons = sorted(folder.glob("[0-9]*.ipynb"))
    solutions = sorted((folder / "solutions").glob("[0-9]*.ipynb"))
    in_order = sorted(lessons + solutions, key=lambda path: (path.stem, path in solutions))
    chosen = [path for path in in_order if not only or path.stem.startswith(tuple(only))]
    if not chosen:
        wanted = f" whose name starts with {' or '.join(only)}" if only else ""
        raise Refused(f"there is no notebook in {folder}{wanted}")
    return chosen


def execute(source: Path, target: Path, parameters: dict, limit_seconds: float) -> tuple[str, dict]:
    """Run one notebook in its own papermill process. Returns its state, and what it cost: minutes
    by the clock, minutes of a core, and peak megabytes."""
    command = [sys.executable, "-m", "papermill", str(source), str(target)]
    command += ["-y", json.dumps(parameters), "--log-output", "--no-progress-bar"]
    began = time.monotonic()
    with target.with_suffix(".log").open("w", encoding="utf-8") as log:
        # A process ignores Ctrl-C if its parent does, as one that a shell started in the
        # background.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        signal.signal(signal.SIGINT, before)
        stopped, usage = _wait(process, limit_seconds)
    bytes_per_unit = 1 if platform.system() == "Darwin" else 1024
    state = stopped or ("failed" if process.returncode else "passed")
    return state, {
        "minutes": (time.monotonic() - began) / 60,
        "core_minutes": (usage.ru_utime + usage.ru_stime) / 60,
        "peak_megabytes": usage.ru_maxrss * bytes_per_unit / 1e6,
    }


def _wait(process: subprocess.Popen, limit_seconds: float):
    """Wait for a process: at the limit or on Ctrl-C ask it to end, and after the grace (or a second
    Ctrl-C) end it."""
    stopped, deadline = None, time.monotonic() + limit_seconds
    while True:
        wanted = None
        try:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return stopped, usage
            time.sleep(0.1)
            if time.monotonic() > deadline:
                wanted = "timed out"
        except KeyboardInterrupt:
            wanted = "stopped"
        if wanted and stopped:
            _kill(process.pid)
        elif wanted:
            stopped, deadline = wanted, time.monotonic() + GRACE_SECONDS
            process.send_signal(signal.SIGINT)


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


def measure_published():
    """Measure the authors' checkpoints that are at hand, for notebook 07, and say which are not;
    the run goes on."""
    print("The authors' checkpoints, as far as they are at hand:", flush=True)
    subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "perplexity_table.py", "--published", "--write"],
        check=False,
    )


class NotebookRun:
    """One run over a list of notebooks. `records` is what the index shows; `run.json` keeps it for
    `--only`."""

    def __init__(
        self, folder: Path, chosen: list[Path], out: Path, profile: str, limit_minutes: float
    ):
        self.folder, self.out, self.profile = folder, out, profile
        self.limit_minutes = limit_minutes
        self.chosen = {self.name(path): path for path in chosen}
        self.profile_name = profiles.load(profile).name  # also where a file was given
        self.is_smoke = self.profile_name == "smoke"
        self.environment = machine.facts()
        records = self._earlier_records()
        records |= {name: {"name": name, "state": "waiting"} for name in self.chosen}
        names = [self.name(path) for path in select(folder, [])]
        self.records = {name: records[name] for name in names if name in records}

    def name(self, path: Path) -> str:
        """A notebook's name in the report: its path below the folder, without the ending."""
        return str(path.relative_to(self.folder).with_suffix(""))

    def _earlier_records(self) -> dict[str, dict]:
        """Records of an earlier run into the same folder, so that `--only` leaves the rest of the
        report as it was."""
        try:
            records = json.loads((self.out / "run.json").read_text(encoding="utf-8"))
            ours = [record for record in records if record["profile"] == self.profile]
            return {record["name"]: record for record in ours}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def write(self) -> Path:
        """Write the index and the records; called after every notebook."""
        records = list(self.records.values())
        done = [record for record in records if "minutes" in record]
        write_file(self.out / "run.json", json.dumps(done, indent=1))
        return notebook_report.write_index(self.out, self.profile_name, records, self.environment)

    def run_one(self, name: str) -> dict:
        """Run one notebook, make its page, and return its record."""
        target = self.out / f"{name}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        for ending in (".ipynb", ".html", ".log"):
            target.with_suffix(ending).unlink(missing_ok=True)
        self.records[name] = record = {"name": name, "state": "running", "profile": self.profile}
        self.write()
        try:
            self._check_parameters(name)
            limit = self.limit_minutes * 60
            state, cost = execute(self.chosen[name], target, {"profile": self.profile}, limit)
        except (Refused, ValueError, SyntaxError) as error:
            state, cost = "failed", dict.fromkeys(COSTS, 0.0)
            record["error"] = f"was not run: {error}"
        record |= {"state": state} | cost
        record["finished"] = time.strftime("%Y-%m-%d %H:%M")
        if state == "timed out":
            record["error"] = f"ran past its limit of {self.limit_minutes:g} minutes"
        elif state == "failed" and "error" not in record:
            record["error"] = error_of(target)
        if target.exists():
            self._make_page(record, target)
        self.write()
        return record

    def _check_parameters(self, name: str):
        """Papermill only warns of a parameter that a notebook does not have."""
        notebook = nbformat.read(self.chosen[name], as_version=4)
        if "profile" not in parameters_of(notebook):
            raise Refused("it has no parameter named profile")

    def _make_page(self, record: dict, target: Path):
        """The page of an executed notebook; one that cannot be made must not cost the run."""
        page, log = target.with_suffix(".html"), target.with_suffix(".log")
        preview = self.out / "previews" / record["name"].replace("/", "-")
        remark = notebook_report.SMOKE_REMARK if self.is_smoke else f"profile {self.profile}"
        try:
            record |= notebook_report.write_page(target, page, preview, remark)
        except Exception as error:  # nbconvert and the formulas raise errors of many kinds
            record.setdefault(
                "error", f"its page could not be made: {type(error).__name__}: {error}"
            )
            record["state"] = "failed" if record["state"] == "passed" else record["state"]
        links = {"read": page, "executed notebook": target, "log": log}
        record["links"] = {
            text: str(path.relative_to(self.out)) for text, path in links.items() if path.exists()
        }

    def run(self) -> bool:
        """Run every chosen notebook; says whether all passed. Ctrl-C ends the run after the current
        one is saved."""
        for number, name in enumerate(self.chosen, start=1):
            print(f"[{number:2}/{len(self.chosen)}] {name:<36}", end=" ", flush=True)
            record = self.run_one(name)
            minutes, core, memory = (record[name] for name in COSTS)
            cost = f"{minutes:6.1f} min, {core:5.1f} of a core {memory:7,.0f} MB"
            print(f"{record['state']:<9} {cost}", flush=True)
            if record["state"] == "stopped":
                raise KeyboardInterrupt
        return all(self.records[name]["state"] == "passed" for name in self.chosen)


def main() -> int:
    """The command line. Exit code 0 if every notebook passed, 1 if one failed, 2 for a wrong
    request."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--profile", default="smoke", help="smoke, laptop, paper, or a YAML file (default: smoke)"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="02",
        help="notebooks whose name starts so; repeatable",
    )
    parser.add_argument("--out", type=Path, help="where the report goes (default: runs/PROFILE)")
    parser.add_argument(
        "--timeout-minutes",
        type=float,
        help="limit for each notebook (default: by profile, smoke 15)",
    )
    parser.add_argument(
        "--notebooks", type=Path, default=ROOT / "notebooks", help="the folder of notebooks"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    profile = arguments.profile
    try:
        profile_name = profiles.load(profile).name  # also where a file was given
        folder = arguments.notebooks.resolve()
        chosen = select(folder, arguments.only)
        out = (arguments.out or ROOT / "runs" / Path(profile).stem).resolve()
        limit = arguments.timeout_minutes or LIMIT_MINUTES.get(profile_name, 60)
        run = NotebookRun(folder, chosen, out, profile, limit)
        if profile_name == "paper" and any(path.stem.startswith("07") for path in chosen):
            measure_published()
        passed = run.run()
        if folder == ROOT / "notebooks" and not arguments.only:
            album.show(out / "gallery")
        code = 0 if passed else 1
    except (Refused, LakhnesError) as error:
        print(f"run_notebooks.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped")
        code = 130
    for record in map(run.records.get, run.chosen):
        if record.get("error"):
            print(f"{record['state'].upper()} {record['name']}: {record['error']}")
    print(f"The report is at {run.write()}")
    return code


if __name__ == "__main__":
    sys.exit(main())
