"""The survey's list of systems, of which notebook 00 draws a timeline: complete, in order, and its
words and notebooks are known ones."""

import re

import pytest
import yaml

from lakhnes_lib import profiles

SURVEY = yaml.safe_load((profiles.root() / "assets/survey.yaml").read_text(encoding="utf-8"))
SYSTEMS = SURVEY["systems"]


def test_every_system_is_there_once_and_in_order_of_time():
    names = [system["name"] for system in SYSTEMS]
    dates = [system["date"] for system in SYSTEMS]
    assert len(names) == len(set(names)) == 38, "so many lines has the survey's timeline"
    assert dates == sorted(dates)
    assert all(re.fullmatch(r"\d{4}(-(0[1-9]|1[0-2]))?", date) for date in dates)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system["name"])
def test_a_system_is_described_in_the_words_that_the_file_explains(system):
    assert system["representation"] in SURVEY["representations"]
    assert system["architecture"] in SURVEY["architectures"]
    assert system["source"] and 5 < len(system["idea"]) < 50
    folder = profiles.root() / "notebooks"
    for notebook in system["notebooks"]:
        assert len(list(folder.glob(f"{notebook}_*.ipynb"))) == 1


def test_every_word_is_used_and_lakhnes_is_everywhere():
    for kind in ("representation", "architecture"):
        assert {system[kind] for system in SYSTEMS} == set(SURVEY[f"{kind}s"])
    (lakhnes,) = (system for system in SYSTEMS if system["name"] == "LakhNES")
    assert lakhnes["notebooks"] == [f"{number:02d}" for number in range(10)]


def test_dates_agree_with_the_numbers_that_arxiv_gave():
    """An arXiv number begins with the year and month of a paper's first version."""
    for system in SYSTEMS:
        match = re.match(r"arXiv (\d\d)(\d\d)\.\d{5}$", system["source"])
        if match and system["name"] != "Jukebox":  # published a week before it was on arXiv
            assert system["date"] == f"20{match[1]}-{match[2]}", system["name"]
