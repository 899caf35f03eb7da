"""The README and the model card say what results/ says."""

import importlib.util
import json

import pytest

from lakhnes_lib import profiles, reproduction
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.models import checkpoints


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("results_report", profiles.root() / "results" / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_agrees_with_results(report):
    text = (profiles.root() / "README.md").read_text(encoding="utf-8")
    assert report.readme(text) == text, "run `make report`"


def test_cards_and_configs_of_shipped_models_agree_with_results(report):
    assert profiles.root() / "assets" / "pretrained" / "mini" in report.shipped()
    for folder, config in report.shipped().items():
        assert json.loads((folder / "config.json").read_text(encoding="utf-8")) == config, "run `make report`"
        assert (folder / "README.md").read_text(encoding="utf-8") == report.card(folder.name, config)


def test_what_was_measured_is_what_is_shipped(report, monkeypatch):
    monkeypatch.syspath_prepend(profiles.root() / "benchmarks")
    import perplexity

    for folder in report.shipped():
        entry = reproduction.measured()[folder.name]
        assert entry["weights"] == perplexity.weights(folder), f"{folder.name}: measure it again"
        assert entry["parameters"] == json.loads((folder / "config.json").read_text())["parameters"]


def test_published_checkpoints_are_measured_where_they_are_at_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(profiles.root() / "benchmarks")
    monkeypatch.setenv("LAKHNES_HOME", str(tmp_path))
    monkeypatch.delenv("LAKHNES_MIRROR", raising=False)
    import perplexity

    converted = tmp_path / "converted" / "nes-aug"
    checkpoints.save(checkpoints.build("transformer_xl", layers=1, width=8, heads=1, head_width=8), converted)
    assert perplexity.published() == {"published/nes-aug": converted}
    printed = capsys.readouterr().out.splitlines()
    assert "published/nes: not at hand; `lakhnes data fetch nes` brings it" in printed and len(printed) == 5
    monkeypatch.setenv("LAKHNES_MIRROR", str(tmp_path))
    assert perplexity.published() == {"published/nes-aug": converted}
    assert "holds no NES.tar.gz" in capsys.readouterr().out


def test_every_measured_model_says_how_it_came_about(report):
    for name, entry in reproduction.measured().items():
        test = entry["test"]
        assert test["exact"] > 1, name
        if "paper" in test:
            assert test["targets"] == test["paper_targets"] + test["paper_unscored"], name
        assert entry["measured"].keys() == {"date", "device", "hardware"} and entry["architecture"]
        if "training" in entry:
            assert entry["profile"] != "smoke" and entry["minutes"] > 0 and entry["seed"] >= 0
            assert any(point["valid_loss"] > 0 for point in entry["curve"])


def test_the_table_has_every_row_of_the_paper(report):
    cited = {row.paper for row in reproduction.table_2()}
    assert {631.00, 198.14, 37.25, 14.11, 12.64, 3.50, 2.74, 2.46} <= cited
    pictures = {path.stem for path in (profiles.root() / "results").glob("*.png")}
    assert pictures >= report.figures().keys(), "run `make report`"


def test_rows_take_runs_first_and_figure_3_reads_how_much_of_lakh():
    sizes = {"paper/lstm": 40, "laptop/lstm": 4, "lstm": 4, "published/lstm": 1, "laptop/transformer_xl_lakh_4": 5}
    models = {name: {"parameters": size, "test": {"exact": size}} for name, size in sizes.items()}
    assert reproduction.runs("lstm", models) == ["laptop/lstm", "paper/lstm"]
    assert reproduction.runs("lstm", {"lstm": {}}) == ["lstm"] and reproduction.runs("gru", models) == []
    assert reproduction.runs("transformer_xl_lakh", models) == ["laptop/transformer_xl_lakh_4"]
    assert len(reproduction.figure_3(models)) == 1, "one point is no line"
    models |= {f"laptop/transformer_xl_lakh_{n}": {"test": {"exact": 7 - n}} for n in (1, 0)}
    models |= {"laptop/transformer_xl_lakh_2": {}, "laptop/lakh_4": {"curve": [{"seconds": 60, "valid_loss": 1}]}}
    assert reproduction.figure_3(models)["here: profile laptop"] == ((0, 1, 4), (7, 6, 5))
    models |= {f"paper/transformer_xl_lakh_{n}": {"parameters": 41, "test": {"exact": 3 - n}} for n in (0, 2)}
    assert reproduction.figure_3(models)["here: profile paper"] == ((0, 2), (3, 1)), "a line for each profile"
    best = ["laptop/transformer_xl_lakh_4", "paper/transformer_xl_lakh_2"]
    assert reproduction.runs("transformer_xl_lakh", models) == best
    assert not reproduction.training_curves("laptop", models), "lakh_4 has another valid split"
    rows = {row.title: row for row in reproduction.table_2(models)}
    assert rows["LSTM"].name == "paper/lstm" and rows["LSTM"].perplexity == {"paper": 14.11, "here, exact": 40}
    assert rows["unigram"].name is None and rows["unigram"].perplexity == {"paper": 198.14}


def test_a_changed_number_is_noticed(report):
    text = (profiles.root() / "README.md").read_text(encoding="utf-8")
    found = report.find("perplexity", "models.mini.test.exact", "{:.3f}")
    assert found in text
    forged = text.replace(found, "1.000")
    assert report.readme(forged) != forged


def test_a_missing_number_and_a_missing_place_are_named(report):
    with pytest.raises(LakhnesError, match="lack 'models.mini.train'"):
        report.find("perplexity", "models.mini.train", "{}")
    with pytest.raises(LakhnesError, match="no place for results"):
        report.readme("# A README without markers")
