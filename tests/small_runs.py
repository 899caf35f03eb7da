"""Training runs of a few steps of a tiny model on six small songs.

A test file takes the fixtures by ``pytest_plugins = ["small_runs"]``.
"""

import json

import pytest
import torch
from songs import tune

from lakhnes_lib.data import corpus
from lakhnes_lib.models import checkpoints
from lakhnes_lib.profiles import Evaluation, Profile, Training
from lakhnes_lib.training import trainer

CPU = torch.device("cpu")
MODEL = dict(
    architecture="transformer_xl",
    layers=1,
    width=16,
    heads=2,
    head_width=8,
    feed_forward=32,
    memory_length=12,
)
DECODER = {
    "architecture": "modern_decoder",
    "layers": 1,
    "width": 16,
    "heads": 2,
    "feed_forward": 32,
}
SETTINGS = Training(
    steps=12,
    batch=2,
    segment=16,
    learning_rate=0.01,
    optimizer="muon",
    accumulate=2,
    warmup=3,
    clip=1.0,
    streams="songs",
    precision="fp32",
    evaluate_every=5,
    patience=100,
    snapshot_minutes=0.0,
)


def profile(model=None, seed=3, name="tiny", **changes):
    """A profile of a tiny model with dropout; changes: to its training."""
    return Profile(
        name=name,
        seed=seed,
        corpus="songbook",
        models={"transformer_xl": MODEL | {"dropout": 0.1} | (model or {})},
        training={"transformer_xl": SETTINGS.model_copy(update=changes)},
        evaluation=Evaluation(batch=2, segment=16, memory_length=32),
    )


@pytest.fixture
def short_log(monkeypatch):
    """A line of the log every third step."""
    monkeypatch.setattr(trainer, "LOG_EVERY", 3)


@pytest.fixture(scope="session")
def six_songs(tmp_path_factory):
    """A corpus of six small songs to train on and two to stop by."""
    songs = {"train": [tune(seed) for seed in range(6)], "valid": [tune(6), tune(7, beats=9)]}
    return corpus.write_corpus(songs, tmp_path_factory.mktemp("music") / "corpus")


@pytest.fixture
def clock(monkeypatch):
    """A clock for training that a step puts forward by one second, whatever the machine does."""
    now, step = [1000.0], trainer.TrainingRun.train_step

    def slow(run):
        now[0] += 1
        step(run)

    monkeypatch.setattr(trainer, "monotonic", lambda: now[0])
    monkeypatch.setattr(trainer.TrainingRun, "train_step", slow)


def rows(folder):
    """The log without what a clock says."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if key not in ("seconds", "speed")}
        for line in lines
    ]


def train(music, folder, wanted=None, **options):
    """A run of the tiny profile, or of another."""
    return trainer.train(
        wanted or profile(), music, folder, device="cpu", progress=False, **options
    )


def new_run(music, folder, wanted=None):
    """A run that has not begun."""
    wanted = wanted or profile()
    torch.manual_seed(0)
    model = checkpoints.build(**wanted.models["transformer_xl"]).train()
    return trainer.TrainingRun(model, wanted, "transformer_xl", music, folder, CPU)
