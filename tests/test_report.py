"""The README and the model card say what results/ says."""

import importlib.util
import json

import pytest

from lakhnes_lib import profiles
from lakhnes_lib.errors import LakhnesError


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("results_report", profiles.root() / "results" / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_agrees_with_results(report):
    text = (profiles.root() / "README.md").read_text(encoding="utf-8")
    assert report.readme(text) == text, "run `make report`"


def test_model_card_and_config_agree_with_results(report):
    folder = profiles.root() / "assets" / "pretrained" / "mini"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["metrics"] == report.metrics()
    assert (folder / "README.md").read_text(encoding="utf-8") == report.card(config), "run `make report`"


def test_a_changed_number_is_noticed(report):
    text = (profiles.root() / "README.md").read_text(encoding="utf-8")
    found = report.find("perplexity", "mini.test.exact", "{:.3f}")
    assert found in text
    forged = text.replace(found, "1.000")
    assert report.readme(forged) != forged


def test_a_missing_number_and_a_missing_place_are_named(report):
    with pytest.raises(LakhnesError, match="lack 'mini.train'"):
        report.find("perplexity", "mini.train", "{}")
    with pytest.raises(LakhnesError, match="no place for results"):
        report.readme("# A README without markers")
