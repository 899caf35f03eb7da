"""A small Turing test of made songs, with a model among its methods.

A test file takes it by ``pytest_plugins = ["small_study"]``.
"""

import pytest
from quartets import quartet

from lakhnes_lib.models.language_model import RandomModel
from lakhnes_lib.study.clips import make_study

OPTIONS = dict(seconds=1.0, batches=2, pairs=5, controls=1, seed=3, progress=False)


def music(first: int, count: int = 12):
    return [quartet(seed) for seed in range(first, first + count)]


@pytest.fixture(scope="session")
def design(tmp_path_factory):
    """A Turing test of made songs, with a model among the methods."""
    sources = {"real": music(0), "tunes": music(20), "noise": RandomModel()}
    return make_study(
        "turing", sources, tmp_path_factory.mktemp("study") / "design", length=200, **OPTIONS
    )
