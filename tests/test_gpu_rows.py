"""The rows of results/gpu.json: what runs leave is added up, and each says where it comes from."""

import json

import gpu_rows
import pytest

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.listening import results


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The file that ``collect`` writes, in another folder."""
    path = results.path_of
    monkeypatch.setattr(gpu_rows.results, "path_of", lambda name, _=None: path(name, tmp_path))
    return tmp_path / "gpu.json"


def run(folder, row, date, device="a GPU", lakh=None, losses=(), **more):
    """What one run leaves in a folder: losses on valid after 1, 2, … steps."""
    folder.mkdir()
    circumstances = {"versions": {"torch": "2"}, "hardware": {"cpu": "c", "cores": 1}}
    about = {"row": row, "device": device, "seed": 3, "data_fingerprint": "ab"}
    about |= {"circumstances": circumstances | {"commit": None, "date": date}}
    if lakh:
        about["lakh"] = {"seed": 4, "data_fingerprint": "cd"}
        (folder / "lakh_log.jsonl").write_text(json.dumps(lakh) + "\n")
    about |= {"seconds_since_start": 1.0}
    (folder / "checks.json").write_text(json.dumps(about | {"speed": {}}))
    lines = [
        {"step": step, "events": 10 * step, "seconds": 2 * step, "valid_loss": loss}
        for step, loss in enumerate(losses, 1)
    ]
    if lines:
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if more:
        (folder / "results.json").write_text(json.dumps(about | more))
    return folder


def test_the_goes_of_one_row_are_added_up(tmp_path, written):
    lakh = {"step": 7, "events": 70, "seconds": 9.0, "train_loss": 1.0}
    one = run(tmp_path / "one", "r", "2026-01-01", lakh=lakh, losses=[3.0, 2.0])
    two = run(tmp_path / "two", "r", "2026-01-02", "another", losses=[2.1], test={"exact": 4})
    gpu_rows.collect([one, two])
    result = results.read("gpu")
    row = result["values"]["rows"]["r"]
    assert row["trained"] == {"step": 3, "events": 30, "seconds": 6} and row["goes"] == 2
    points = [(line["step"], line["valid_loss"]) for line in row["valid_curve"]]
    assert points == [(1, 3.0), (2, 2.0), (3, 2.1)]
    assert row["lakh"] == {"step": 7, "events": 70, "seconds": 9.0} and row["test"] == {"exact": 4}
    first, second = row["runs"]
    assert (first["device"], second["device"]) == ("a GPU", "another")
    assert first["seed"] == 3 and first["lakh"] == {"seed": 4, "data_fingerprint": "cd"}
    assert second["versions"] == {"torch": "2"} and second["data_fingerprint"] == "ab"
    assert result["date"] == "2026-01-02" and result["data_fingerprint"] == "ab"


def test_rows_of_other_runs_stay(tmp_path, written):
    gpu_rows.collect([run(tmp_path / "one", "r", "2026-01-02", losses=[3.0])])
    gpu_rows.collect([run(tmp_path / "two", "s", "2026-01-01", losses=[2.0])])
    gpu_rows.collect([run(tmp_path / "three", "r", "2026-01-03", losses=[1.0, 0.5])])
    rows = json.loads(written.read_text())["values"]["rows"]
    assert {name: len(row["valid_curve"]) for name, row in rows.items()} == {"r": 2, "s": 1}
    assert len(rows["r"]["runs"]) == 1


def test_another_folder_is_refused(tmp_path, written):
    with pytest.raises(LakhnesError, match="holds no checks.json"):
        gpu_rows.collect([tmp_path])


def test_every_row_says_its_device_seed_and_data():
    for row in results.read("gpu")["values"]["rows"].values():
        assert len(row["runs"]) == row["goes"]
        for each in row["runs"]:
            assert each["device"] and each["seed"] >= 0 and len(each["data_fingerprint"]) == 64
