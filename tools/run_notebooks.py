"""Run the course without a screen, for the instructor.

    python tools/run_notebooks.py --profile smoke --only 05

Each notebook and each of its solutions runs in a papermill process of its own, several at a time,
under a time limit. The first one runs alone, since it makes what others need as well: the exported
step of the shipped model and, in larger profiles, the packed data. The rest share no file that they
write. An error ends that notebook alone; all of them are collected. Executed notebooks, a page for
each, and `index.html` with states, minutes, peak memory and previews go to runs/PROFILE as the run
goes on, so killing it leaves what is done.
"""

import argparse
import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import album
import machine
import nbformat
import notebook_report
from notebook_process import COSTS, error_of, execute
from tqdm import tqdm

from lakhnes_lib import profiles
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.files import write_file
from lakhnes_lib.generation.decoding import usable_cores
from lakhnes_lib.listening import results

ROOT = Path(__file__).resolve().parents[1]
LIMIT_MINUTES = {"smoke": 15, "laptop": 240, "paper": 60 * 24 * 4}
MOST_JOBS = 2  # by default: a notebook holds up to a gigabyte, and more where it trains


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


def default_jobs(has_gpu: bool) -> int:
    """How many notebooks run at a time: one for each core, at most two; one if there is a GPU,
    whose memory they would have to share."""
    return 1 if has_gpu else min(usable_cores(), MOST_JOBS)


def core_minutes() -> dict[str, float]:
    """Minutes of a core of each notebook in results/notebooks.json; none before it is measured."""
    try:
        costs = results.read("notebooks")["values"]["notebooks"]
    except LakhnesError:
        return {}
    return {name: cost["core_minutes"] for name, cost in costs.items()}


def measure_published():
    """Measure the authors' checkpoints that are at hand, for notebook 07, and say which are not;
    the run goes on."""
    print("The authors' checkpoints, as far as they are at hand:", flush=True)
    subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "perplexity_table.py", "--published", "--write"],
        check=False,
    )


class NotebookRun:
    """One run over a list of notebooks, so many at a time. `records` is what the index shows;
    `run.json` keeps it for `--only`."""

    def __init__(
        self,
        folder: Path,
        chosen: list[Path],
        out: Path,
        profile: str,
        limit_minutes: float,
        jobs: int | None = None,
    ):
        """jobs: None for the default, by ``default_jobs``."""
        self.folder, self.out, self.profile = folder, out, profile
        self.limit_minutes = limit_minutes
        self.chosen = {self.name(path): path for path in chosen}
        self.profile_name = profiles.load(profile).name  # also where a file was given
        self.is_smoke = self.profile_name == "smoke"
        self.environment = machine.facts()
        self.jobs = jobs or default_jobs(has_gpu=self.environment["GPU"] != "none")
        self.began, self.load, self.interrupts = time.monotonic(), os.getloadavg()[0], 0
        self.lock = threading.Lock()  # held by the thread that changes the report
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

    def minutes(self) -> float:
        """Minutes by the clock since the run began."""
        return (time.monotonic() - self.began) / 60

    def write(self) -> Path:
        """Write the index and the records; called before and after every notebook."""
        records = list(self.records.values())
        done = [record for record in records if "minutes" in record]
        write_file(self.out / "run.json", json.dumps(done, indent=1))
        run = f"{len(self.chosen)} notebooks, {self.jobs} at a time: {self.minutes():.1f} minutes"
        facts = {"This run": f"{run} by the clock"} | self.environment
        return notebook_report.write_index(self.out, self.profile_name, records, facts)

    def run_one(self, name: str):
        """Run one notebook, make its page, and print a line; nothing after Ctrl-C."""
        if self.interrupts:
            return
        target = self.out / f"{name}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        for ending in (".ipynb", ".html", ".log"):
            target.with_suffix(ending).unlink(missing_ok=True)
        record = {"name": name, "state": "running", "profile": self.profile}
        with self.lock:
            self.records[name] = record
            self._show()
        result = self._result_of(name, target)
        with self.lock:
            record |= result
            record["finished"] = time.strftime("%Y-%m-%d %H:%M")
            if target.exists():
                self._make_page(record, target)
            self.progress.write(self._line(record))
            sys.stdout.flush()
            self.progress.update()
            self._show()

    def _show(self):
        """Write the report, and name what runs beside the bar of a terminal."""
        running = [name for name in self.chosen if self.records[name]["state"] == "running"]
        self.progress.set_postfix_str(", ".join(running))
        self.write()

    def _line(self, record: dict) -> str:
        """What is printed of a notebook that has ended."""
        states = [self.records[name]["state"] for name in self.chosen]
        ended = len(states) - states.count("waiting") - states.count("running")
        minutes, core, memory = (record[cost] for cost in COSTS)
        cost = f"{minutes:6.1f} min, {core:5.1f} of a core {memory:7,.0f} MB"
        number = f"[{ended:2}/{len(self.chosen)}]"
        return f"{number} {record['name']:<36} {record['state']:<9} {cost}"

    def _result_of(self, name: str, target: Path) -> dict:
        """Run one notebook: its state, its costs, and its error if it has one."""
        try:
            self._check_parameters(name)
            parameters, limit = {"profile": self.profile}, self.limit_minutes * 60
            source = self.chosen[name]
            state, cost = execute(source, target, parameters, limit, lambda: self.interrupts)
        except (Refused, ValueError, SyntaxError) as error:
            state, cost = "failed", dict.fromkeys(COSTS, 0.0)
            return {"state": state, "error": f"was not run: {error}"} | cost
        result = {"state": state} | cost
        if state == "timed out":
            result["error"] = f"ran past its limit of {self.limit_minutes:g} minutes"
        elif state == "failed":
            result["error"] = error_of(target)
        return result

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
        """Run every chosen notebook; says whether all passed. Raises KeyboardInterrupt after
        Ctrl-C, or SIGTERM, when those that ran are saved."""
        # A notebook's process would ignore Ctrl-C if this one did, as one that a shell started in
        # the background does.
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(each, self._count_interrupt) for each in signals]
        print(f"{len(self.chosen)} notebooks, {self.jobs} at a time", flush=True)
        self.progress = tqdm(total=len(self.chosen), unit="notebook", disable=None)
        try:
            first, *others = self._in_order()
            self.run_one(first)
            with ThreadPoolExecutor(self.jobs) as threads:
                list(threads.map(self.run_one, others))
        finally:
            self.progress.close()
            for each, handler in zip(signals, before, strict=True):
                signal.signal(each, handler)
        if self.interrupts:
            raise KeyboardInterrupt
        return all(self.records[name]["state"] == "passed" for name in self.chosen)

    def _count_interrupt(self, *_):
        self.interrupts += 1

    def _in_order(self) -> list[str]:
        """The chosen notebooks as they are begun: the first, then the longest ones if several run
        at a time, so that none runs alone at the end."""
        first, *others = self.chosen
        if self.jobs > 1:
            minutes = core_minutes()
            others.sort(key=lambda name: -minutes.get(name, 0))
        return [first, *others]


def keep_minutes(run: NotebookRun, folder: Path | None = None) -> Path:
    """Write what the notebooks have cost to results/notebooks.json, or to another folder: of the
    whole course in profile smoke. In another profile, where they may be run one by one into the
    same report, the file has its name, as notebooks_laptop.json."""
    sys.path.append(str(ROOT / "benchmarks"))
    from _shared import write

    notebooks = {
        name: {cost: record[cost] for cost in COSTS} for name, record in run.records.items()
    }
    values = {"jobs": run.jobs, "load_before": run.load, "notebooks": notebooks}
    if run.is_smoke:  # of all, where all were run at once
        # The notebooks', and the runner's own for their pages and the gallery.
        seconds = sum(os.times()[:4])
        values |= {"minutes": run.minutes(), "core_minutes": seconds / 60}
    command, name = f"python tools/run_notebooks.py --jobs {run.jobs} --write", "notebooks"
    if not run.is_smoke:
        command, name = f"{command} --profile {run.profile_name}", f"{name}_{run.profile_name}"
    packages = ("numpy", "torch", "papermill")
    return write(name, values, command=command, packages=packages, folder=folder)


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
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="notebooks that run at a time (default: one for each core, at most"
        f" {MOST_JOBS}, since each holds up to a gigabyte or more; 1 if there is a GPU). With"
        " several, each computes on one core, unless OMP_NUM_THREADS is set",
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
    parser.add_argument(
        "--write",
        action="store_true",
        help="keep the minutes in results/notebooks.json (of the whole course in profile smoke), or"
        " in notebooks_PROFILE.json",
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    profile = arguments.profile
    try:
        profile_name = profiles.load(profile).name  # also where a file was given
        folder = arguments.notebooks.resolve()
        chosen = select(folder, arguments.only)
        is_whole = folder == ROOT / "notebooks" and not arguments.only
        if arguments.jobs is not None and arguments.jobs < 1:
            raise Refused(f"--jobs {arguments.jobs}: at least one notebook runs at a time")
        is_part = profile_name == "smoke" and not is_whole
        if arguments.write and (is_part or folder != ROOT / "notebooks"):
            raise Refused("--write keeps the minutes of the course, in profile smoke of all of it")
        out = (arguments.out or ROOT / "runs" / Path(profile).stem).resolve()
        limit = arguments.timeout_minutes or LIMIT_MINUTES.get(profile_name, 60)
        run = NotebookRun(folder, chosen, out, profile, limit, arguments.jobs)
        if run.jobs > 1:  # two that compute on all cores would wait for one another
            os.environ.setdefault("OMP_NUM_THREADS", "1")
        if profile_name == "paper" and any(path.stem.startswith("07") for path in chosen):
            measure_published()
        passed = run.run()
        if is_whole:
            album.show(out / "gallery")
        if passed and arguments.write:
            print(keep_minutes(run))
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
