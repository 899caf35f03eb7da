"""A notebook's process: what becomes of a kernel that ends before its first cell."""

import notebook_process
import pytest


@pytest.mark.parametrize(("deaths", "state", "runs"), [(1, "passed", 2), (9, "failed", 3)])
def test_a_kernel_that_ended_before_its_first_cell_is_begun_again(
    tmp_path, monkeypatch, deaths, state, runs
):
    (tmp_path / "papermill_saving.py").write_text(
        "from pathlib import Path\n"
        f"runs = Path({str(tmp_path / 'runs')!r})\n"
        "number = len(runs.read_text()) if runs.exists() else 0\n"
        "runs.write_text('x' * (number + 1))\n"
        f"if number < {deaths}:\n"
        f"    raise RuntimeError({notebook_process.NEVER_BEGAN!r})\n"
    )
    monkeypatch.setattr(notebook_process, "__file__", str(tmp_path / "notebook_process.py"))
    source, target = tmp_path / "a.ipynb", tmp_path / "out.ipynb"
    ended, cost = notebook_process.execute(source, target, {}, 60)
    assert ended == state and len((tmp_path / "runs").read_text()) == runs
    assert cost["core_minutes"] > 0
