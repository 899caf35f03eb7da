"""Adds what pytest counted on one Python and one PyTorch to results/suite.json.

python tools/suite_result.py REPORT.xml     (nox runs this after each whole suite)

REPORT.xml is what ``pytest --junitxml`` wrote. A later run with the same versions replaces
the row. The exit code is 1 if a test failed.
"""

import argparse
import platform
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import torch

from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.listening import results

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _shared import write


def row_of(report: Path) -> dict:
    """Versions, counts and minutes of one report of pytest."""
    suites = xml.parse(report).getroot().iter("testsuite")
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    seconds = 0.0
    for suite in suites:
        seconds += float(suite.get("time"))
        for name in counts:
            counts[name] += int(suite.get(name))
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    counted = {"passed": passed, "failed": failed, "skipped": counts["skipped"]}
    return versions | counted | {"minutes": seconds / 60}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, metavar="REPORT.xml")
    row = row_of(parser.parse_args().report)
    try:
        rows = results.read("suite")["values"]["rows"]
    except DataNotFound:
        rows = []
    versions = (row["python"], row["torch"])
    rows = [other for other in rows if (other["python"], other["torch"]) != versions] + [row]
    rows.sort(key=lambda row: (row["python"], row["torch"]))
    write("suite", {"rows": rows}, command="make matrix", packages=("numpy", "pytest"))
    print(row)
    return int(row["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
