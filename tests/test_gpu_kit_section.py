"""The section on the GPU kit's trial: what was written at each stage, and checks that gave no
number."""

import copy

import gpu_kit_section
import pytest

from lakhnes_lib.listening import results


@pytest.fixture
def trial(monkeypatch):
    """The trial's values, to be changed before the section is made."""
    result = copy.deepcopy(results.read("gpu_kit_trial"))
    monkeypatch.setattr(gpu_kit_section, "value", lambda _: result["values"])
    return result["values"]


def test_what_is_written_on_end_is_one_stage(trial):
    def at(seconds, name, **files):
        return {"seconds": seconds, "written": name, "bytes": files}

    trial["stages"] = [
        at(1.0, "checks.json", a=1000),
        at(2.0, "checks.json", a=1500),
        at(9.0, "weights", a=1500, b=500),
    ]
    lines = gpu_kit_section.section().splitlines()
    assert "| `checks.json` | 1 to 2 | 2 | 1 | 2 |" in lines
    assert "| `weights` | 9 | 1 | 2 | 2 |" in lines


@pytest.mark.parametrize(
    ("compiled", "text"),
    [
        ({"error": "x"}, "not measured"),
        ({"not_tried": "no time was left"}, "not measured"),
        ({"layers": 1, "unfinished_after_seconds": 44.2}, "not ready after 44 s"),
    ],
)
def test_a_check_without_a_number_says_so(trial, compiled, text):
    trial["checks"]["compile"] = compiled
    trial["checks"]["speed"]["batch 8"] = {"error": "out of memory"}
    lines = gpu_kit_section.section().splitlines()
    assert f"| compiled step | {text} |" in lines
    assert "| training, batch 8 | not measured |" in lines


def test_no_trial_is_said(monkeypatch):
    monkeypatch.setattr(gpu_kit_section, "value", lambda _: None)
    assert "gpu_kit_trial.py --write" in gpu_kit_section.section()
