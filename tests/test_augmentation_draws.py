"""The draws of augmentation: each share is what the setting says."""

import itertools

import numpy as np
import pytest

from lakhnes_lib import profiles
from lakhnes_lib.errors import BadProfile
from lakhnes_lib.music import augmentation, nes
from lakhnes_lib.music.augmentation import DROPPED, SETTINGS

SONGS = 24_000


def near(count, expected, trials=SONGS):
    """Within five standard errors of a share."""
    return abs(count / trials - expected) <= 5 * np.sqrt(expected * (1 - expected) / trials)


def test_transposed_draws_nothing_but_a_key():
    drawn = augmentation.draw("transposed", np.ones((SONGS, 4), bool), np.random.default_rng(5))
    values, counts = np.unique(drawn["semitones"], return_counts=True)
    assert values.tolist() == list(range(-6, 6)) and all(near(count, 1 / 12) for count in counts)
    assert (drawn["speed"] == 1).all() and (drawn["voices"] == range(4)).all()


@pytest.mark.parametrize(
    "setting, semitones", [("paper", range(-6, 6)), ("published", range(-6, 7))]
)
def test_draws_of_the_published_kinds_are_as_the_setting_says(setting, semitones):
    drawn = augmentation.draw(setting, np.ones((SONGS, 4), bool), np.random.default_rng(5))
    values, counts = np.unique(drawn["semitones"], return_counts=True)
    assert values.tolist() == list(semitones)
    assert all(near(count, 1 / len(semitones)) for count in counts)
    speed = drawn["speed"]
    assert 0.95 <= speed.min() < 0.951 and 1.049 < speed.max() <= 1.05
    assert all(near(count, 1 / 10) for count in np.histogram(speed, 10, (0.95, 1.05))[0])
    remaining = drawn["voices"] != DROPPED
    assert near((remaining.sum(1) == 4).sum(), 1 / 2)
    for number in (1, 2, 3):
        assert near((remaining.sum(1) == number).sum(), 1 / 6)
        for voice in range(4):
            assert near((remaining[:, voice] & (remaining.sum(1) == number)).sum(), number / 4 / 6)
    whole = drawn["voices"][remaining.all(1)]
    assert (whole[:, 3] == nes.NO).all()
    for order in itertools.permutations(range(3)):
        share = {(0, 1, 2): 1 / 2, (1, 0, 2): 1 / 2}.get(order, 0)
        if setting == "paper":
            share = 1 / 2 * (order == (0, 1, 2)) + 1 / 12
        assert near((whole[:, :3] == order).all(1).sum(), share, len(whole))
    related = np.corrcoef([drawn["semitones"], speed, remaining.sum(1)]) - np.eye(3)
    assert np.abs(related).max() < 5 / np.sqrt(SONGS)


def test_one_sounding_voice_is_always_left():
    random = np.random.default_rng(0)
    sounding = random.random((4000, 4)) < 0.5
    drawn = augmentation.draw("paper", sounding, random)
    remaining = (drawn["voices"] != DROPPED) & sounding
    assert (remaining.any(1) == sounding.any(1)).all()
    two = sounding.sum(1) == 2
    assert near((remaining[two].sum(1) == 1).sum(), 1 / 2, two.sum())
    assert (remaining[sounding.sum(1) == 1].sum(1) == 1).all()


def test_a_profile_names_its_augmentation(tmp_path):
    text = (profiles.root() / "profiles" / "smoke.yaml").read_text()
    assert all(
        part.augment in ("none", *SETTINGS) for part in profiles.load("smoke").training.values()
    )
    (tmp_path / "odd.yaml").write_text(
        text.replace("    steps:", "    augment: some\n    steps:", 1)
    )
    with pytest.raises(
        BadProfile,
        match="augment: must be 'none', 'paper', 'published' or 'transposed', not 'some'",
    ):
        profiles.load(tmp_path / "odd.yaml")
