"""Training: it learns, saves its best weights, and ends when it should."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_runs import new_run, profile, rows, train
from songs import tune

from lakhnes_lib.data import corpus
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.models import checkpoints
from lakhnes_lib.training import snapshots, trainer
from lakhnes_lib.training.learner import Learner

pytest_plugins = ["small_runs"]
pytestmark = pytest.mark.usefixtures("short_log")

ROOT = Path(__file__).resolve().parents[1]


def test_it_learns_and_keeps_its_best(six_songs, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "LOG_EVERY", 10)
    run = train(six_songs, tmp_path, profile(steps=60, evaluate_every=20))
    log = rows(tmp_path)
    losses = [row["train_loss"] for row in log if "train_loss" in row]
    assert [row["step"] for row in log if "train_loss" in row] == [10, 20, 30, 40, 50, 60]
    assert losses[0] > 5 and losses[-1] < losses[0] - 1
    valid = {row["step"]: row["valid_loss"] for row in log if "valid_loss" in row}
    assert set(valid) == {20, 40, 60} and run.best == pytest.approx(min(valid.values()), abs=1e-5)
    about = checkpoints.details(tmp_path / "best")
    assert (
        about["data"] == six_songs.fingerprint and about["seed"] == 3 and about["profile"] == "tiny"
    )
    assert about["training"]["steps"] == 60 and about["metrics"]["step"] == run.best_step
    measured = perplexity.exact(
        checkpoints.load(tmp_path / "best"),
        six_songs["valid"].framed(),
        progress=False,
        **run.measured.segments,
    )
    assert measured.nats == pytest.approx(run.best, abs=1e-6)


def test_the_best_weights_are_saved_and_not_the_last(six_songs, tmp_path, monkeypatch):
    """Whatever training does after its best evaluation."""
    scores, weights = iter([3.0, 2.0, 4.0, 2.5]), []

    def scripted(model, songs, **options):
        weights.append({name: part.clone() for name, part in model.state_dict().items()})
        nats = next(scores)
        return SimpleNamespace(nats=nats, perplexity=np.exp(nats), targets=10)

    monkeypatch.setattr(trainer.perplexity, "exact", scripted)
    run = train(six_songs, tmp_path, profile(steps=8, evaluate_every=2))
    assert (run.best, run.best_step, run.step) == (2.0, 4, 8)
    saved = checkpoints.load(tmp_path / "best").state_dict()
    assert all(torch.equal(saved[name], weights[1][name]) for name in saved)
    assert not torch.equal(saved["u"], weights[3]["u"])


def test_the_average_of_the_weights_is_measured_and_saved(six_songs, tmp_path, monkeypatch):
    """Against an average by hand: the first step's weights, then a tenth of each later step's."""
    update, by_hand = Learner._update_weights, {}

    def noting(learner):
        update(learner)
        for name, part in learner.model.state_dict().items():
            before = by_hand.get(name)
            by_hand[name] = part.clone() if before is None else 0.9 * before + 0.1 * part

    monkeypatch.setattr(Learner, "_update_weights", noting)
    run = train(six_songs, tmp_path, profile(steps=6, evaluate_every=6, average=0.9))
    saved, last = checkpoints.load(tmp_path / "best").state_dict(), run.model.state_dict()
    assert all(torch.allclose(saved[name], by_hand[name], atol=1e-5) for name in saved)
    assert not any(torch.allclose(saved[name], last[name], atol=1e-5) for name in saved)
    measured = perplexity.exact(
        checkpoints.load(tmp_path / "best"),
        six_songs["valid"].framed(),
        progress=False,
        **run.measured.segments,
    )
    assert measured.nats == pytest.approx(run.best, abs=1e-6)


def test_what_nothing_beats_is_kept(six_songs, tmp_path):
    """Fine-tuning that only loses leaves the weights that it began from as the best."""
    first = train(six_songs, tmp_path / "first", profile(steps=20, evaluate_every=10))
    spoiling = profile(
        steps=4, warmup=0, learning_rate=3.0, matrix_learning_rate=3.0, evaluate_every=2
    )
    run = train(six_songs, tmp_path / "tuned", spoiling, start=tmp_path / "first/best")
    assert run.best_step == 0 and run.best == pytest.approx(first.best, abs=1e-6)
    assert [row["step"] for row in rows(tmp_path / "tuned") if "valid_loss" in row] == [0, 2, 4]
    tuned, begun = (
        checkpoints.load(tmp_path / name / "best").state_dict() for name in ("tuned", "first")
    )
    assert all(torch.equal(tuned[name], begun[name]) for name in begun)


def test_fine_tuning_begins_where_the_checkpoint_ends(six_songs, tmp_path):
    first = train(six_songs, tmp_path / "first", profile(steps=6, evaluate_every=6))
    tuned = train(
        six_songs,
        tmp_path / "tuned",
        profile(steps=10),
        start=tmp_path / "first/best",
        max_minutes=0.0,
    )
    for one, other in zip(first.model.parameters(), tuned.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert tuned.model.memory_length == 12


def test_the_songs_of_valid_are_evenly_spaced(tmp_path):
    songs = {"train": [tune(0)], "valid": [tune(seed, beats=6 + seed) for seed in range(7)]}
    music = corpus.write_corpus(songs, tmp_path / "corpus")
    framed = music["valid"].framed()
    for wanted, numbers in (
        (0, range(7)),
        (2, (0, 4)),
        (3, (0, 3, 6)),
        (7, range(7)),
        (9, range(7)),
    ):
        chosen = new_run(music, tmp_path, profile(valid_songs=wanted)).valid
        assert [song.tobytes() for song in chosen] == [framed[n].tobytes() for n in numbers]


def test_early_stopping(six_songs, tmp_path):
    """With no learning no evaluation is better than the first: the run ends after as many as
    patience says."""
    run = train(
        six_songs,
        tmp_path,
        profile(
            steps=500, learning_rate=0.0, matrix_learning_rate=0.0, evaluate_every=2, patience=3
        ),
    )
    assert (run.step, run.best_step, run.since_best) == (8, 2, 3)
    valid = [row["step"] for row in rows(tmp_path) if "valid_loss" in row]
    assert valid == [2, 4, 6, 8]
    assert checkpoints.details(tmp_path / "best")["metrics"]["step"] == 2


def test_minutes_bring_the_learning_rate_down_in_time(six_songs, tmp_path, clock):
    """A machine too slow for all the steps ends as one that is not, at a rate of nothing."""
    wanted = profile(
        steps=1_000_000,
        minutes=0.5,  # thirty steps of a second
        schedule="linear",
        decay_share=1.0,
        warmup=0,
        evaluate_every=10**9,
    )
    run = train(six_songs, tmp_path, wanted, max_minutes=0.25)
    half = [row["rate"] for row in rows(tmp_path) if "rate" in row]
    assert (run.step, run.best_step) == (15, 0)
    assert half == pytest.approx([1 - step / 30 for step in (2, 5, 8, 11, 14)])
    run = train(six_songs, tmp_path, wanted, resume=True)
    rates = [row["rate"] for row in rows(tmp_path) if "rate" in row]
    assert rates[:5] == half and rates[-1] == pytest.approx(1 / 30)
    assert (run.step, run.seconds, run.best_step) == (30, 30.0, 30), "its last step is evaluated"
    assert train(six_songs, tmp_path / "fast", profile(steps=5, minutes=60.0)).step == 5


def test_time_limit(six_songs, tmp_path, clock):
    run = train(six_songs, tmp_path, max_minutes=0.0)
    assert run.step == 0 and snapshots.exists(tmp_path)
    run = train(six_songs, tmp_path, profile(), resume=True, max_minutes=0.1)
    assert run.step == 6
    assert train(six_songs, tmp_path, profile(), resume=True).step == 12


def test_warm_up_goes_by_steps_whatever_the_clock_says(six_songs, tmp_path, monkeypatch):
    wanted = profile(
        steps=1000, minutes=1.0, warmup=40, schedule="linear", decay_share=1.0, evaluate_every=10**9
    )
    monkeypatch.setattr(trainer.TrainingRun, "progress_in_steps", 500)
    run = new_run(six_songs, tmp_path, wanted)
    for steps, rate in ((1, 2 / 40), (100, 0.5)):
        run.step = steps
        run.train_step()
        assert run.rate == pytest.approx(rate)
        for optimiser, highest in zip(run.learner.optimisers, (0.02, 0.01), strict=True):
            assert optimiser.param_groups[0]["lr"] == pytest.approx(rate * highest)


def test_snapshots_are_as_frequent_as_the_profile_says(six_songs, tmp_path, clock, monkeypatch):
    steps = []
    monkeypatch.setattr(trainer.TrainingRun, "snapshot", lambda run: steps.append(run.step))
    train(six_songs, tmp_path, profile(snapshot_minutes=0.07))  # 4.2 seconds
    assert steps == [1, 6, 11, 12], "one at once, so that a run can always go on"


# What it runs without


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        blocked = "symusic pretty_midi mido typer matplotlib IPython ipywidgets"
        if name.split(".")[0] in blocked.split():
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
sys.path.insert(0, "tests")
import small_runs
from lakhnes_lib.generation import sampling
from lakhnes_lib.data import corpus
music = corpus.open_corpus(sys.argv[1])
run = small_runs.train(music, sys.argv[2], small_runs.profile(steps=5))
print(run.step, run.best > 0, len(sampling.sample(run.model, n=1, length=20)[0]) > 0)
"""


def test_a_packed_corpus_needs_no_midi_library(six_songs, tmp_path):
    """Training, evaluation and sampling run where no library for MIDI, pictures or the command line
    is."""
    command = [sys.executable, "-c", BLOCKED, str(six_songs.folder), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout.split()) == (0, ["5", "True", "True"]), done.stderr
