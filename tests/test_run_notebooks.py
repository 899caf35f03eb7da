"""The runner of the notebooks and its report, on a tiny course."""

import base64
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import nbformat
import notebook_process
import notebook_report
import pytest
import run_notebooks
import scrub

from lakhnes_lib.listening import results

ROOT = Path(run_notebooks.__file__).parents[1]

PNG = base64.b64encode(
    base64.b64decode(
        b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
        b"+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    )
)


def tiny_wave() -> str:
    """A hundredth of a second of silence as a base64 WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setparams((1, 2, 22050, 0, "NONE", ""))
        sound.writeframes(bytes(440))
    return base64.b64encode(buffer.getvalue()).decode()


def write_notebook(path: Path, title: str, *code: str, parameters: str | None = 'profile = "none"'):
    """A scrubbed notebook of a title, a parameters cell (unless None) and some code."""
    cells = [nbformat.v4.new_markdown_cell(title)]
    if parameters:
        cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    cells += [nbformat.v4.new_code_cell(source) for source in code]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(scrub.scrub(nbformat.v4.new_notebook(cells=cells)), path)


PLAYS = f"""from IPython.display import HTML, Image, display
import base64
display(Image(data=base64.b64decode({PNG.decode()!r}), format="png"))
display(HTML('<audio controls src="data:audio/wav;base64,{tiny_wave()}"></audio>'))
print("the profile is", profile)"""


def start(folder: Path, out: Path, *options: str) -> subprocess.Popen:
    """The runner in a process of its own, on a folder of notebooks."""
    command = [
        sys.executable,
        str(ROOT / "tools" / "run_notebooks.py"),
        "--notebooks",
        str(folder),
        "--out",
        str(out),
        *options,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A run over a course with a notebook of every fate: its folder, exit code and what was
    printed."""
    folder = tmp_path_factory.mktemp("course")
    formula = "$$\\begin{aligned}a &= b\\end{aligned}$$"
    prose = f"With $a_1$, [the next](01_fails.ipynb), [a module](../m.py) and {formula}"
    write_notebook(folder / "00_plays.ipynb", f"# Plays <b>&</b> shows, §3\n\n{prose}", PLAYS)
    write_notebook(
        folder / "01_fails.ipynb",
        "# Fails",
        "print('before')",
        "{}['<i>no key</i>']",
        "print('after')",
    )
    write_notebook(folder / "solutions/01_fails.ipynb", "# Solved", "assert profile == 'smoke'")
    write_notebook(folder / "02_deaf.ipynb", "# Deaf", "print('never')", parameters="speed = 3")
    process = start(folder, folder / "out")
    printed, errors = process.communicate(timeout=600)
    return folder / "out", process.returncode, printed, errors


def pretend(source, target, *_):
    """Instead of ``run_notebooks.execute``: each notebook passes, and costs 1 of everything."""
    shutil.copy(source, target)
    return "passed", dict.fromkeys(notebook_process.COSTS, 1.0)


def records(out: Path) -> dict[str, dict]:
    """The runner's records by the notebook's name."""
    return {
        record["name"]: record
        for record in json.loads((out / "run.json").read_text(encoding="utf-8"))
    }


def test_runner_goes_on_after_errors_and_names_them(course):
    out, code, printed, errors = course
    assert code == 1 and not errors
    states = {name: record["state"] for name, record in records(out).items()}
    assert states == {
        "00_plays": "passed",
        "01_fails": "failed",
        "solutions/01_fails": "passed",
        "02_deaf": "failed",
    }
    assert list(states) == ["00_plays", "01_fails", "solutions/01_fails", "02_deaf"]
    assert "FAILED 01_fails: cell 4: KeyError: '<i>no key</i>'" in printed
    assert "FAILED 02_deaf: was not run: it has no parameter named profile" in printed
    assert printed.splitlines()[-1] == f"The report is at {out / 'index.html'}"


def test_executed_notebooks_hold_what_ran(course):
    out, *_ = course
    cells = nbformat.read(out / "00_plays.ipynb", as_version=4).cells
    assert "the profile is smoke" in cells[-1].outputs[-1].text
    failed = nbformat.read(out / "01_fails.ipynb", as_version=4)
    assert "before" in str(failed.cells) and "'after\\n'" not in str(failed.cells)
    assert not (out / "02_deaf.ipynb").exists()


def test_time_limit_ends_the_kernel_and_saves_what_ran(tmp_path, monkeypatch):
    """An hour passes in the moment in which the second cell has begun."""
    begun = tmp_path / "pid"
    hangs = f"import os, time; open({str(begun)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    path = tmp_path / "00_hangs.ipynb"
    write_notebook(path, "# Hangs", "held = bytearray(b'x') * 400_000_000; print('before')", hangs)
    clock = SimpleNamespace(sleep=time.sleep, strftime=time.strftime)
    clock.monotonic = lambda: time.monotonic() + 3600 * begun.exists()
    monkeypatch.setattr(notebook_process, "time", clock)
    run = run_notebooks.NotebookRun(tmp_path, [path], tmp_path / "out", "smoke", limit_minutes=30)
    assert not run.run()
    record = run.records["00_hangs"]
    assert record["state"] == "timed out"
    assert record["error"] == "ran past its limit of 30 minutes"
    assert "before" in (tmp_path / "out/00_hangs.ipynb").read_text(encoding="utf-8")
    # Linux counts what the parent held when it started the process, here these tests themselves.
    tests_hold = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    assert 400 < record["peak_megabytes"] < max(700, 1.1 * tests_hold), "the kernel holds 400 MB"
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)


def test_minutes_and_memory_are_measured(course):
    out, *_ = course
    ran = [record for record in records(out).values() if record["name"] != "02_deaf"]
    assert all(record["minutes"] > 0 and record["core_minutes"] > 0 for record in ran)
    assert all(20 < record["peak_megabytes"] < 400 for record in ran)


def test_report_is_escaped_and_needs_no_network(course):
    out, *_ = course
    index = (out / "index.html").read_text(encoding="utf-8")
    assert notebook_report.SMOKE_REMARK in index
    assert "&lt;i&gt;no key&lt;/i&gt;" in index and "<i>no key" not in index
    assert "Plays &lt;b&gt;&amp;&lt;/b&gt; shows, §3" in index
    assert "torch" in index and "Processor" in index
    for page in out.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"(?:src|href)=[\"'](?:https?:)?//", text)
        for target in re.findall(r"(?:src|href)=\"([^\"#]+)\"", text):
            if not target.startswith("data:"):
                assert (page.parent / target).exists(), f"{page.name} leads to {target}"


def test_page_shows_formulas_links_and_sound(course):
    out, *_ = course
    page = (out / "00_plays.html").read_text(encoding="utf-8")
    assert page.count("<math") == 2 and "<mtable" in page
    assert 'href="01_fails.html"' in page and "a module" in page and "m.py" not in page
    assert "data:audio/wav;base64," in page and "data:image/png;base64," in page
    assert notebook_report.SMOKE_REMARK in page


def test_previews_are_the_first_picture_and_sound(course):
    out, *_ = course
    assert (out / "previews/00_plays.png").read_bytes() == base64.b64decode(PNG)
    with wave.open(str(out / "previews/00_plays.wav")) as sound:
        assert sound.getnframes() == 220


def test_only_keeps_the_rest_of_the_report(course):
    out, *_ = course
    before = records(out)
    process = start(out.parent, out, "--only", "00")
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0 and "[ 1/1] 00_plays" in printed
    after = records(out)
    assert after.keys() == before.keys() and after["01_fails"] == before["01_fails"]


@pytest.mark.parametrize("named", ["paper", "file"])
def test_a_profile_may_be_given_as_a_file(named, tmp_path, monkeypatch):
    """The paper's is the paper's, however it is named: checkpoints are measured, and the limit is
    its own."""
    write_notebook(tmp_path / "07_table.ipynb", "# Table", "pass")
    profile, seen = named if named == "paper" else str(ROOT / "profiles/paper.yaml"), []
    monkeypatch.setattr(run_notebooks, "measure_published", lambda: seen.append("measured"))
    NotebookRun = run_notebooks.NotebookRun
    monkeypatch.setattr(NotebookRun, "run", lambda self: not seen.append(self.limit_minutes))
    words = ["--profile", profile, "--notebooks", str(tmp_path), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["run_notebooks.py", *words])
    assert run_notebooks.main() == 0 and seen == ["measured", run_notebooks.LIMIT_MINUTES["paper"]]


WAITS = """import os, time
open({mine!r}, "w").write(str(os.getpid()))
end = time.monotonic() + 300
while not os.path.exists({other!r}):
    assert time.monotonic() < end
    time.sleep(0.05)
"""


def test_two_notebooks_run_side_by_side_after_the_first(tmp_path):
    """Each of the two ends only if the other has begun, and says whether the first had ended."""
    first, *names = ("00_first", "01_one", "02_other")
    done, *begun = (str(tmp_path / name) for name in (first, *names))
    ends = f"import time; time.sleep(1); open({done!r}, 'w').close()"
    write_notebook(tmp_path / f"{first}.ipynb", "# First", ends)
    for name, mine, other in zip(names, begun, reversed(begun), strict=True):
        waits = WAITS.format(mine=mine, other=other)
        write_notebook(
            tmp_path / f"{name}.ipynb",
            "# Waits",
            f"import os; assert os.path.exists({done!r})",
            waits,
        )
    process = start(tmp_path, tmp_path / "out", "--jobs", "2")
    printed, errors = process.communicate(timeout=900)
    assert process.returncode == 0 and not errors
    title, *lines = printed.splitlines()
    assert title == "3 notebooks, 2 at a time"
    assert lines[0].startswith("[ 1/3] 00_first ")
    ended = {line.split()[2] for line in lines[1:3]}
    assert ended == set(names) and [line[:6] for line in lines[1:3]] == ["[ 2/3]", "[ 3/3]"]
    index = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert "3 notebooks, 2 at a time: " in index and "3 passed; " in index


@pytest.mark.parametrize(
    ("jobs", "given", "threads"), [("1", None, None), ("2", None, "1"), ("2", "3", "3")]
)
def test_side_by_side_a_notebook_computes_on_one_core(jobs, given, threads, tmp_path, monkeypatch):
    """Unless one has chosen the threads. With one notebook at a time, the libraries choose."""
    write_notebook(tmp_path / "00_quick.ipynb", "# Quick", "1 + 1")
    monkeypatch.setenv("OMP_NUM_THREADS", given or "")
    if not given:
        monkeypatch.delenv("OMP_NUM_THREADS")
    seen = []

    def execute(*arguments):
        seen.append(os.environ.get("OMP_NUM_THREADS"))
        return pretend(*arguments)

    monkeypatch.setattr(run_notebooks, "execute", execute)
    words = ["--jobs", jobs, "--notebooks", str(tmp_path), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["run_notebooks.py", *words])
    assert run_notebooks.main() == 0 and seen == [threads]


@pytest.mark.parametrize(
    ("has_gpu", "cores", "jobs"), [(False, 1, 1), (False, 2, 2), (False, 64, 2), (True, 64, 1)]
)
def test_how_many_run_at_a_time_by_default(has_gpu, cores, jobs, monkeypatch):
    monkeypatch.setattr(run_notebooks, "usable_cores", lambda: cores)
    assert run_notebooks.default_jobs(has_gpu) == jobs


@pytest.mark.parametrize(
    ("jobs", "order"), [(1, "00 01 solutions/01 02"), (2, "00 02 solutions/01 01")]
)
def test_long_notebooks_begin_early_where_several_run(jobs, order, tmp_path, monkeypatch):
    """But the first is always the first, and the report is in the order of the course."""
    for name in ("00", "01", "solutions/01", "02"):
        write_notebook(tmp_path / f"{name}.ipynb", "# Quick", "1 + 1")
    costs = {"00": 0.1, "02": 3.0, "solutions/01": 2.0}  # 01 is new
    monkeypatch.setattr(run_notebooks, "core_minutes", lambda: costs)
    chosen, began = run_notebooks.select(tmp_path, []), []

    def execute(source, *arguments):
        began.append(source)
        return pretend(source, *arguments)

    monkeypatch.setattr(run_notebooks, "execute", execute)
    monkeypatch.setattr(run_notebooks, "ThreadPoolExecutor", lambda _: ThreadPoolExecutor(1))
    run = run_notebooks.NotebookRun(tmp_path, chosen, tmp_path / "out", "smoke", 9, jobs)
    assert run.run() and " ".join(map(run.name, began)) == order
    assert list(records(tmp_path / "out")) == ["00", "01", "solutions/01", "02"]


def test_minutes_of_a_whole_run_become_a_result(tmp_path, monkeypatch):
    monkeypatch.setattr(run_notebooks, "execute", pretend)
    for name in ("00_one", "solutions/00_one"):
        write_notebook(tmp_path / f"{name}.ipynb", "# Quick", "1 + 1")
    chosen = run_notebooks.select(tmp_path, [])
    run = run_notebooks.NotebookRun(tmp_path, chosen, tmp_path / "out", "smoke", 9, jobs=2)
    assert run.run()
    run_notebooks.keep_minutes(run, tmp_path)
    values = results.read("notebooks", tmp_path)["values"]
    cost = {"minutes": 1.0, "core_minutes": 1.0, "peak_megabytes": 1.0}
    assert values["notebooks"] == {"00_one": cost, "solutions/00_one": cost}
    assert (
        values["jobs"] == 2 and 0 < values["minutes"] < values["minutes"] + values["core_minutes"]
    )
    index = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert "2 passed; 2.0 minutes of a core in all" in index


@pytest.mark.parametrize(("sent", "jobs"), [(signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_stopped_runner_ends_what_runs_and_leaves_what_is_done(sent, jobs, tmp_path):
    names = ("01_slow", "02_slow", "03_slow")
    begun = {name: tmp_path / name for name in names}
    write_notebook(tmp_path / "00_quick.ipynb", "# Quick", "1 + 1")
    for name in names:
        waits = WAITS.format(mine=str(begun[name]), other=str(tmp_path / "never"))
        write_notebook(tmp_path / f"{name}.ipynb", "# Slow", waits)
    process = start(tmp_path, tmp_path / "out", "--jobs", str(jobs))
    end = time.monotonic() + 600
    while not all(begun[name].exists() and begun[name].read_text() for name in names[:jobs]):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.1)
    process.send_signal(sent)
    printed, errors = process.communicate(timeout=600)
    assert process.returncode == 130 and not errors and "stopped" in printed.splitlines()
    states = {name: record["state"] for name, record in records(tmp_path / "out").items()}
    assert states == {"00_quick": "passed"} | dict.fromkeys(names[:jobs], "stopped")
    for name in names[:jobs]:
        with pytest.raises(ProcessLookupError):
            os.kill(int(begun[name].read_text()), 0)
    assert not begun[names[-1]].exists()
    index = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert f"{3 - jobs} not run yet" in index


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--only", "77"], "77"),
        (["--profile", "nosuch"], "nosuch"),
        (["--jobs", "0"], "--jobs 0"),
        (["--write"], "--write"),
    ],
    ids=["notebook", "profile", "jobs", "write"],
)
def test_impossible_request_is_one_line(tmp_path, options, named, monkeypatch, capsys):
    """The minutes of another folder than the course's are none to keep."""
    write_notebook(tmp_path / "00_quick.ipynb", "# Quick", "1 + 1")
    words = ["run_notebooks.py", "--notebooks", str(tmp_path), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [*words, *options])
    assert run_notebooks.main() == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1 and named in errors


def test_a_page_that_cannot_be_made_does_not_end_the_run(tmp_path, monkeypatch):
    write_notebook(tmp_path / "00_quick.ipynb", "# Quick", "1 + 1")
    path, out = tmp_path / "00_quick.ipynb", tmp_path / "out"
    run = run_notebooks.NotebookRun(tmp_path, [path], out, "smoke", limit_minutes=9)

    def write_page(*_):
        raise KeyError("broken")

    monkeypatch.setattr(run_notebooks, "execute", pretend)
    monkeypatch.setattr(notebook_report, "write_page", write_page)
    assert not run.run()
    record = run.records["00_quick"]
    assert record["error"] == "its page could not be made: KeyError: 'broken'"
    assert record["state"] == "failed" and record["links"] == {
        "executed notebook": "00_quick.ipynb"
    }


@pytest.mark.parametrize("source", ["profile = open('x')", "import os", "a = b = 1"])
def test_parameters_are_plain_values(source):
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    with pytest.raises(run_notebooks.Refused):
        run_notebooks.parameters_of(nbformat.v4.new_notebook(cells=[cell]))
