"""The rows of results/gpu.json: what folders that gpu_kit.py has left say of each.

Each of a row's ``runs``, one a folder, says its device, versions, seed and data. The oldest ones
did not: what was recorded of them elsewhere stands there with ``recalled_from``, and what was not,
as the versions of mini's run, is missing.
"""

import json
from pathlib import Path

from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.files import write_file
from lakhnes_lib.listening import results

COUNTS = ("step", "events", "seconds")
ORIGIN = ("device", "seed", "data_fingerprint", "lakh")
"""What a run says of itself, beside its circumstances."""


def collect(folders: list[Path]) -> Path:
    """Writes results/gpu.json, and returns its path: of each row the checks, the end of training,
    perplexities, and of each of its runs the device, the versions, the seed and the data.

    A row of several folders, named in their order, was trained in several goes: its steps, events
    and seconds go on from one to the next. Rows that no folder is of stay as they were.
    """
    rows: dict[str, dict] = {}
    for folder in folders:
        name, values = read(folder)
        row = rows.setdefault(name, {"runs": []})
        origin = {key: values.pop(key) for key in ORIGIN if key in values}
        row["runs"].append(origin | values.pop("circumstances"))
        row |= values | {"device": origin["device"]}
        if (folder / "log.jsonl").exists():
            add_log(row, lines(folder / "log.jsonl"))
        if (folder / "lakh_log.jsonl").exists():
            row["lakh"] = {key: lines(folder / "lakh_log.jsonl")[-1][key] for key in COUNTS}
    return write(earlier() | rows)


def read(folder: Path) -> tuple[str, dict]:
    """The name of a folder's row, and what its files of JSON say, the later ones last."""
    if not (folder / "checks.json").exists():
        raise LakhnesError(f"{folder}: holds no checks.json, so it is nothing that `run` wrote")
    values = {}
    for path in (folder / "checks.json", folder / "results.json"):
        if path.exists():
            values |= json.loads(path.read_text(encoding="utf-8"))
    del values["seconds_since_start"]
    return values.pop("row"), values


def lines(path: Path) -> list[dict]:
    """The lines of a log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def add_log(row: dict, log: list[dict]) -> None:
    """Adds one go's log to what a row was trained before."""
    before = row.get("trained", dict.fromkeys(COUNTS, 0))
    log = [line | {key: line[key] + before[key] for key in COUNTS} for line in log]
    row["trained"] = {key: log[-1][key] for key in COUNTS}
    row["goes"] = row.get("goes", 0) + 1
    row["valid_curve"] = row.get("valid_curve", []) + [
        {key: line[key] for key in (*COUNTS, "valid_loss")} for line in log if "valid_loss" in line
    ]


def earlier() -> dict[str, dict]:
    """The rows that results/gpu.json holds by now."""
    try:
        return results.read("gpu")["values"]["rows"]
    except DataNotFound:
        return {}


def write(rows: dict[str, dict]) -> Path:
    """Writes the rows below the circumstances of the newest run, and returns the file's path. The
    data are named there if they are those of all runs."""
    runs = [run for row in rows.values() for run in row["runs"]]
    newest = max((run for run in runs if "date" in run), key=lambda run: run["date"])
    names = ("versions", "hardware", "commit", "date")
    data = {run.get("data_fingerprint") for run in runs}
    result = {"name": "gpu", "command": "python tools/gpu_kit.py run KIT.tar.xz OUT --row ROW"}
    result |= {"data_fingerprint": data.pop() if len(data) == 1 else None}
    result |= {name: newest[name] for name in names} | {"values": {"rows": rows}}
    path = results.path_of("gpu")
    write_file(path, json.dumps(result, indent=1) + "\n")
    return path
