"""Training: what was interrupted goes on with the same losses, and nothing is overwritten."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from interrupts import interrupt
from songs import tune

from lakhnes_lib import files
from lakhnes_lib.data import corpus
from lakhnes_lib.errors import BadCheckpoint, LakhnesError
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import augmentation
from lakhnes_lib.profiles import Evaluation, Profile, Training
from lakhnes_lib.training import learner, snapshots, trainer
from lakhnes_lib.training.learner import Learner

ROOT = Path(__file__).resolve().parents[1]
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
KILLED_STEPS = 40
"""Steps of the run that is killed: enough to be in the midst of it."""


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


@pytest.fixture(autouse=True)
def short_log(monkeypatch):
    """A line of the log every third step."""
    monkeypatch.setattr(trainer, "LOG_EVERY", 3)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A corpus of six small songs to train on and two to stop by."""
    songs = {"train": [tune(seed) for seed in range(6)], "valid": [tune(6), tune(7, beats=9)]}
    return corpus.write_corpus(songs, tmp_path_factory.mktemp("music") / "corpus")


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


@pytest.fixture
def clock(monkeypatch):
    """A clock for training that a step puts forward by one second, whatever the machine does."""
    now, step = [1000.0], trainer.TrainingRun.train_step

    def slow(run):
        now[0] += 1
        step(run)

    monkeypatch.setattr(trainer, "monotonic", lambda: now[0])
    monkeypatch.setattr(trainer.TrainingRun, "train_step", slow)


def test_it_learns_and_keeps_its_best(music, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "LOG_EVERY", 10)
    run = train(music, tmp_path, profile(steps=60, evaluate_every=20))
    log = rows(tmp_path)
    losses = [row["train_loss"] for row in log if "train_loss" in row]
    assert [row["step"] for row in log if "train_loss" in row] == [10, 20, 30, 40, 50, 60]
    assert losses[0] > 5 and losses[-1] < losses[0] - 1
    valid = {row["step"]: row["valid_loss"] for row in log if "valid_loss" in row}
    assert set(valid) == {20, 40, 60} and run.best == pytest.approx(min(valid.values()), abs=1e-5)
    about = checkpoints.details(tmp_path / "best")
    assert about["data"] == music.fingerprint and about["seed"] == 3 and about["profile"] == "tiny"
    assert about["training"]["steps"] == 60 and about["metrics"]["step"] == run.best_step
    measured = perplexity.exact(
        checkpoints.load(tmp_path / "best"),
        music["valid"].framed(),
        progress=False,
        **run.measured.segments,
    )
    assert measured.nats == pytest.approx(run.best, abs=1e-6)


def test_the_best_weights_are_saved_and_not_the_last(music, tmp_path, monkeypatch):
    """Whatever training does after its best evaluation."""
    scores, weights = iter([3.0, 2.0, 4.0, 2.5]), []

    def scripted(model, songs, **options):
        weights.append({name: part.clone() for name, part in model.state_dict().items()})
        nats = next(scores)
        return SimpleNamespace(nats=nats, perplexity=np.exp(nats), targets=10)

    monkeypatch.setattr(trainer.perplexity, "exact", scripted)
    run = train(music, tmp_path, profile(steps=8, evaluate_every=2))
    assert (run.best, run.best_step, run.step) == (2.0, 4, 8)
    saved = checkpoints.load(tmp_path / "best").state_dict()
    assert all(torch.equal(saved[name], weights[1][name]) for name in saved)
    assert not torch.equal(saved["u"], weights[3]["u"])


PROGRAM = """
import json, sys, torch
sys.path.insert(0, "tests")
import test_training
from lakhnes_lib.data import corpus
torch.set_num_threads(1)
wanted = test_training.profile(steps=test_training.KILLED_STEPS)
test_training.train(corpus.open_corpus(sys.argv[1]), sys.argv[2], wanted)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_and_resumed_is_as_if_never_stopped(music, tmp_path, monkeypatch):
    """kill -9 amid a run with a snapshot after each step; the log and the weights are the same."""
    monkeypatch.setattr(trainer, "LOG_EVERY", 10)  # the other process' too
    wanted, killed = profile(steps=KILLED_STEPS), tmp_path / "killed"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        unbroken = train(music, tmp_path / "unbroken", wanted)
        command = [sys.executable, "-c", PROGRAM, str(music.folder), str(killed)]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        log = killed / "log.jsonl"
        for _ in range(12_000):
            if process.poll() is not None or log.exists() and log.stat().st_size:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate(timeout=600)
        assert process.returncode == -signal.SIGKILL, err
        assert rows(killed)[-1]["step"] < KILLED_STEPS
        with pytest.raises(LakhnesError, match="killed: already holds a training run; resume it"):
            train(music, killed, wanted)
        resumed = train(music, killed, wanted, resume=True)
    finally:
        torch.set_num_threads(threads)
    assert rows(killed) == rows(tmp_path / "unbroken")
    one, other = resumed.model.state_dict(), unbroken.model.state_dict()
    assert unbroken.step == KILLED_STEPS and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", ["songs", "endless", "segments"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": "adam", "accumulate": 1, "augment": "paper", "average": 0.9}],
    ids=["muon", "adam, averaged"],
)
def test_interrupted_anywhere_goes_on_with_the_same_losses(
    music, tmp_path, monkeypatch, kind, changes
):
    """Between two lines of the log, and twice."""
    wanted = profile(streams=kind, **changes)
    train(music, tmp_path / "unbroken", wanted)
    for step in (4, 8):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            interrupt(patched, step)
            train(music, tmp_path / "broken", wanted, resume=step > 4)
    train(music, tmp_path / "broken", wanted, resume=True)
    assert rows(tmp_path / "broken") == rows(tmp_path / "unbroken")
    one, other = (
        checkpoints.load(tmp_path / name / "best").state_dict() for name in ("broken", "unbroken")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_lines_after_the_snapshot_are_dropped(music, tmp_path, monkeypatch):
    """A run killed after it wrote to its log, but before its snapshot: half a line, and lines of
    steps done again."""
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt(patched, 7)
        train(music, tmp_path)
    before = rows(tmp_path)
    with open(tmp_path / "log.jsonl", "a") as log:
        log.write(json.dumps({"step": 8, "valid_loss": 0.0}) + "\n" + '{"step": 1')
    train(music, tmp_path, resume=True)
    after = rows(tmp_path)
    assert after[: len(before)] == before and all(row.get("valid_loss") != 0.0 for row in after)


def test_goes_on_in_the_arithmetic_it_began_with(music, tmp_path, monkeypatch):
    """On another machine another may be faster, but the losses would be others."""
    wanted = profile(precision="auto")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    begun = train(music, tmp_path, wanted, max_minutes=0.0)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert begun.learner.bf16 and train(music, tmp_path, wanted, resume=True).learner.bf16
    assert not train(music, tmp_path / "other", wanted, max_minutes=0.0).learner.bf16


def test_a_compiler_that_fails_costs_nothing_but_time(music, tmp_path, monkeypatch, capsys):
    def fails(step):
        def compiled(*inputs):
            raise RuntimeError("no compiler here")

        return compiled

    train(music, tmp_path / "plain", profile({"dropout": 0.0}, streams="endless"))
    monkeypatch.setattr(torch, "compile", fails)
    train(music, tmp_path / "compiled", profile({"dropout": 0.0}, streams="endless", compile=True))
    assert "no compiler here" in capsys.readouterr().err
    for one, other in zip(rows(tmp_path / "compiled"), rows(tmp_path / "plain"), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


DECODER = {
    "architecture": "modern_decoder",
    "layers": 1,
    "width": 16,
    "heads": 2,
    "feed_forward": 32,
}


@pytest.mark.parametrize("streams", ["songs", "endless"])
@pytest.mark.parametrize(
    "model", [MODEL, DECODER | {"memory_length": 24}], ids=["transformer_xl", "modern_decoder"]
)
def test_a_compiled_step_has_the_same_shapes_from_the_first_step_on(
    music, tmp_path, monkeypatch, model, streams
):
    """Or it would be compiled once more."""
    seen = []

    def noting(step):
        def compiled(ids, targets, state):
            tensors = [tensor for layer in state.layers for tensor in layer]
            seen.append([(tensor.shape, tensor.dtype, tensor.data_ptr()) for tensor in tensors])
            return step(ids, targets, state)

        return compiled

    monkeypatch.setattr(torch, "compile", noting)
    wanted = profile(steps=4, accumulate=1, compile=True, streams=streams)
    wanted = wanted.model_copy(update={"models": {"transformer_xl": model}})
    train(music, tmp_path, wanted)
    kinds = [[entry[:2] for entry in step] for step in seen]
    assert len(seen) == 5 and all(step == kinds[0] for step in kinds)
    assert len({entry[2] for entry in seen[0]}) == len(seen[0]), "no tensor stands for two"


def test_minutes_bring_the_learning_rate_down_in_time(music, tmp_path, clock):
    """A machine too slow for all the steps ends as one that is not, at a rate of nothing."""
    wanted = profile(
        steps=1_000_000,
        minutes=0.5,  # thirty steps of a second
        schedule="linear",
        decay_share=1.0,
        warmup=0,
        evaluate_every=10**9,
    )
    run = train(music, tmp_path, wanted, max_minutes=0.25)
    half = [row["rate"] for row in rows(tmp_path) if "rate" in row]
    assert (run.step, run.best_step) == (15, 0)
    assert half == pytest.approx([1 - step / 30 for step in (2, 5, 8, 11, 14)])
    run = train(music, tmp_path, wanted, resume=True)
    rates = [row["rate"] for row in rows(tmp_path) if "rate" in row]
    assert rates[:5] == half and rates[-1] == pytest.approx(1 / 30)
    assert (run.step, run.seconds, run.best_step) == (30, 30.0, 30), "its last step is evaluated"
    assert train(music, tmp_path / "fast", profile(steps=5, minutes=60.0)).step == 5


def test_time_limit(music, tmp_path, clock):
    run = train(music, tmp_path, max_minutes=0.0)
    assert run.step == 0 and snapshots.exists(tmp_path)
    run = train(music, tmp_path, profile(), resume=True, max_minutes=0.1)
    assert run.step == 6
    assert train(music, tmp_path, profile(), resume=True).step == 12


def test_snapshots_are_as_frequent_as_the_profile_says(music, tmp_path, clock, monkeypatch):
    steps = []
    monkeypatch.setattr(trainer.TrainingRun, "snapshot", lambda run: steps.append(run.step))
    train(music, tmp_path, profile(snapshot_minutes=0.07))  # 4.2 seconds
    assert steps == [1, 6, 11, 12], "one at once, so that a run can always go on"


def test_early_stopping(music, tmp_path):
    """With no learning no evaluation is better than the first: the run ends after as many as
    patience says."""
    run = train(
        music,
        tmp_path,
        profile(
            steps=500, learning_rate=0.0, matrix_learning_rate=0.0, evaluate_every=2, patience=3
        ),
    )
    assert (run.step, run.best_step, run.since_best) == (8, 2, 3)
    valid = [row["step"] for row in rows(tmp_path) if "valid_loss" in row]
    assert valid == [2, 4, 6, 8]
    assert checkpoints.details(tmp_path / "best")["metrics"]["step"] == 2


def test_what_nothing_beats_is_kept(music, tmp_path):
    """Fine-tuning that only loses leaves the weights that it began from as the best."""
    first = train(music, tmp_path / "first", profile(steps=20, evaluate_every=10))
    spoiling = profile(
        steps=4, warmup=0, learning_rate=3.0, matrix_learning_rate=3.0, evaluate_every=2
    )
    run = train(music, tmp_path / "tuned", spoiling, start=tmp_path / "first/best")
    assert run.best_step == 0 and run.best == pytest.approx(first.best, abs=1e-6)
    assert [row["step"] for row in rows(tmp_path / "tuned") if "valid_loss" in row] == [0, 2, 4]
    kept, begun = (
        checkpoints.load(tmp_path / name / "best").state_dict() for name in ("tuned", "first")
    )
    assert all(torch.equal(kept[name], begun[name]) for name in begun)


def test_a_lost_loss_leaves_the_last_good_snapshot(music, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt(patched, 5)
        train(music, tmp_path)
    whole = Learner.forward

    def lost(learner, *inputs):
        scores, state = whole(learner, *inputs)
        return scores * float("nan"), state

    monkeypatch.setattr(Learner, "forward", lost)
    with pytest.raises(
        LakhnesError, match="step 6: the loss became nan, with .*; lower the learning rate"
    ):
        train(music, tmp_path, resume=True)
    assert snapshots.read(tmp_path)["counts"]["step"] == 5


def test_a_lost_gradient_does_not_reach_the_weights(music, tmp_path, monkeypatch):
    """The loss may be fine still; a snapshot of weights that are no numbers would be the end of the
    run."""
    train(music, tmp_path, max_minutes=0.0)
    monkeypatch.setattr(
        learner, "clip_grad_norm_", lambda weights, limit: torch.tensor(float("nan"))
    )
    with pytest.raises(
        LakhnesError, match=r"step 1: the loss became 6.\d+, with a gradient of length nan"
    ):
        train(music, tmp_path, resume=True)
    saved = snapshots.read(tmp_path)
    weights = saved["learner"]["model"].values()
    assert saved["counts"]["step"] == 0 and all(tensor.isfinite().all() for tensor in weights)


def test_warm_up_goes_by_steps_whatever_the_clock_says(music, tmp_path, monkeypatch):
    wanted = profile(
        steps=1000, minutes=1.0, warmup=40, schedule="linear", decay_share=1.0, evaluate_every=10**9
    )
    monkeypatch.setattr(trainer.TrainingRun, "progress_in_steps", 500)
    run = new_run(music, tmp_path, wanted)
    for steps, rate in ((1, 2 / 40), (100, 0.5)):
        run.step = steps
        run.train_step()
        assert run.rate == pytest.approx(rate)
        for optimiser, highest in zip(run.learner.optimisers, (0.02, 0.01), strict=True):
            assert optimiser.param_groups[0]["lr"] == pytest.approx(rate * highest)


def test_an_interrupt_while_the_last_evaluation_runs_loses_nothing(music, tmp_path, monkeypatch):
    """The step, its evaluation and the best weights are there when the run has stopped."""
    measure = trainer.TrainingRun.evaluate

    def pressed(run, *given):
        signal.raise_signal(signal.SIGINT)
        return measure(run, *given)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(trainer.TrainingRun, "evaluate", pressed)
        train(music, tmp_path, profile(steps=5, evaluate_every=5))
    assert snapshots.read(tmp_path)["counts"]["best_step"] == 5
    assert checkpoints.details(tmp_path / "best")["metrics"]["step"] == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_interrupt_is_not_waited_for(music, tmp_path, monkeypatch):
    whole = Learner.forward

    def pressed(learner, *inputs):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return whole(learner, *inputs)

    monkeypatch.setattr(Learner, "forward", pressed)
    with pytest.raises(KeyboardInterrupt):
        train(music, tmp_path, profile(snapshot_minutes=60.0))
    assert not snapshots.exists(tmp_path)


def test_best_weights_that_are_gone_are_found_anew(music, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt(patched, 7)
        train(music, tmp_path)
    shutil.rmtree(tmp_path / "best")
    run = train(music, tmp_path, resume=True)
    assert (
        run.step == 12
        and checkpoints.details(tmp_path / "best")["metrics"]["step"] == run.best_step
    )


# --- what is refused


def test_nothing_is_overwritten_or_resumed_from_nothing(music, tmp_path):
    with pytest.raises(LakhnesError, match="none: holds no snapshot to resume from"):
        train(music, tmp_path / "none", resume=True)
    train(music, tmp_path / "run", profile(steps=2))
    before = (tmp_path / "run/log.jsonl").read_bytes()
    with pytest.raises(
        LakhnesError, match="run: already holds a training run; resume it, or choose another folder"
    ):
        train(music, tmp_path / "run")
    assert (tmp_path / "run/log.jsonl").read_bytes() == before
    (tmp_path / "run/snapshot.pt").unlink()  # large, and not needed once a run is done
    with pytest.raises(LakhnesError, match="run: already holds a training run"):
        train(music, tmp_path / "run")
    with pytest.raises(
        LakhnesError, match="profile tiny: has no model 'lstm', only transformer_xl"
    ):
        train(music, tmp_path / "other", model="lstm")


def test_two_processes_do_not_train_in_one_folder(music, tmp_path):
    """Each would take the other's snapshot away."""
    train(music, tmp_path, max_minutes=0.0)
    with (
        files.locked(tmp_path),
        pytest.raises(LakhnesError, match="another process is training there"),
    ):
        train(music, tmp_path, resume=True)
    assert train(music, tmp_path, resume=True).step == 12


def test_weights_of_another_kind_or_none_are_refused(music, tmp_path):
    """A modern decoder's would enter Table 2 as a Transformer-XL's."""
    checkpoints.save(checkpoints.build(**DECODER), tmp_path / "decoder")
    with pytest.raises(
        LakhnesError,
        match="decoder: is a modern_decoder, and transformer_xl of profile tiny is a tr",
    ):
        train(music, tmp_path / "run", start=tmp_path / "decoder")
    checkpoints.save(checkpoints.build("random"), tmp_path / "random")
    with pytest.raises(LakhnesError, match="a random model has no weights to train"):
        train(music, tmp_path / "run", start=tmp_path / "random")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "other",
    [
        profile(learning_rate=0.02),
        profile(steps=26),
        profile(streams="endless"),
        profile(seed=4),
        profile(name="other"),
        profile(model={"memory_length": 20}),
        profile(model={"width": 32}),
    ],
)
def test_another_profile_does_not_go_on(music, tmp_path, other):
    train(music, tmp_path, max_minutes=0.0)
    with pytest.raises(
        LakhnesError,
        match="was begun with another profile, seed or corpus; resume with the same ones",
    ):
        train(music, tmp_path, other, resume=True)


def test_another_corpus_does_not_go_on(music, tmp_path):
    train(music, tmp_path / "run", max_minutes=0.0)
    other = corpus.write_corpus({"train": [tune(9)], "valid": [tune(8)]}, tmp_path / "corpus")
    with pytest.raises(LakhnesError, match="was begun with another profile, seed or corpus"):
        train(other, tmp_path / "run", resume=True)


def test_damaged_snapshot(music, tmp_path):
    train(music, tmp_path, max_minutes=0.0)
    path = tmp_path / "snapshot.pt"
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"[]", whole[len(whole) // 2 :]):
        path.write_bytes(content)
        with pytest.raises(BadCheckpoint, match="snapshot.pt: the snapshot is damaged"):
            train(music, tmp_path, resume=True)
    torch.save({"model": {}}, path)
    with pytest.raises(BadCheckpoint, match="snapshot.pt: the snapshot is damaged"):
        train(music, tmp_path, resume=True)


@pytest.mark.parametrize(
    "name, value",
    [
        ("streams", 7),
        ("counts", {"step": "two"}),
        ("counts", None),
        ("learner", []),
        ("learner", {}),
    ],
)
def test_snapshot_of_other_types(music, tmp_path, name, value):
    train(music, tmp_path, max_minutes=0.0)
    snapshots.write(tmp_path, snapshots.read(tmp_path) | {name: value})
    with pytest.raises(BadCheckpoint, match="snapshot.pt or log.jsonl is damaged"):
        train(music, tmp_path, resume=True)


@pytest.mark.parametrize("line", ["\0\0\0", "[]", '{"stop": 1}', '{"step": "one"}'])
def test_damaged_log(music, tmp_path, line):
    train(music, tmp_path, max_minutes=0.0)
    (tmp_path / "log.jsonl").write_text(f"{line}\n")
    with pytest.raises(BadCheckpoint, match="snapshot.pt or log.jsonl is damaged"):
        train(music, tmp_path, resume=True)


# --- steps


def test_accumulated_gradients_are_those_of_one_big_batch(music, tmp_path):
    weights = []
    for batch, accumulate in ((4, 1), (2, 2), (1, 4)):
        wanted = profile(
            model={"dropout": 0.0}, batch=batch, accumulate=accumulate, optimizer="adamw", steps=6
        )
        weights.append(train(music, tmp_path / str(accumulate), wanted).model.state_dict())
    first = rows(tmp_path / "1")
    for accumulate, other in ((2, weights[1]), (4, weights[2])):
        for one, two in zip(first, rows(tmp_path / str(accumulate)), strict=True):
            assert one == pytest.approx(two, abs=2e-4)
        assert all(torch.allclose(weights[0][key], other[key], atol=2e-3) for key in other)


@pytest.mark.parametrize("clip", [1e9, 0.05])
def test_gradient_of_a_step_is_that_of_the_mean_loss(music, tmp_path, monkeypatch, clip):
    """The sum of the parts' gradients against a loss written out over all rows at once, shortened
    to the limit, before the optimiser moves."""
    run = new_run(music, tmp_path, profile({"dropout": 0.0}, clip=clip, optimizer="adam"))
    model, applied = run.model, {}
    segment = next(trainer.Streams(music["train"].framed(), 4, 16, 3, "songs"))
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self: applied.update({n: p.grad.clone() for n, p in model.named_parameters()}),
    )
    ids, targets = torch.from_numpy(segment.ids), torch.from_numpy(segment.targets)
    log_probs, _ = model.log_probs(ids)
    used = targets >= 0
    loss = -log_probs[used].gather(1, targets[used].unsqueeze(1)).mean()
    loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    length = torch.stack([part.norm() for part in expected.values()]).norm()
    assert 0.05 < length < 1e9
    model.zero_grad()
    run.train_step()
    assert run.window[-1] == pytest.approx(loss.item(), rel=1e-6)
    assert applied.keys() == expected.keys() and run.events == int(used.sum())
    for name in expected:
        shortened = expected[name] * min(1.0, clip / float(length))
        assert torch.allclose(applied[name], shortened, atol=1e-6), name


def test_a_song_begins_without_the_memory_of_the_one_before(music, tmp_path):
    """Under songs, the loss of a song's first segment is that of a model without any memory."""
    run = new_run(music, tmp_path, profile({"dropout": 0.0}, batch=1, accumulate=1))
    for weight in run.model.parameters():
        weight.data.normal_(0.0, 0.5)  # so large that a memory makes a difference
    segments = trainer.Streams(music["train"].framed(), 1, 16, 3, "songs")
    for step in range(60):
        segment = next(segments)
        ids, targets = torch.from_numpy(segment.ids), torch.from_numpy(segment.targets)
        with torch.no_grad():
            alone, _ = run.model.target_log_probs(ids, targets)
        run.train_step()
        loss = -float(alone.sum()) / int((targets >= 0).sum())
        assert (run.window[-1] == pytest.approx(loss, rel=1e-5)) == segment.fresh[0], step
        if step and segment.fresh[0]:
            return
    pytest.fail("no song ended")


# --- the average of the weights, songs and seeds


def test_the_average_of_the_weights_is_measured_and_saved(music, tmp_path, monkeypatch):
    """Against an average by hand: the first step's weights, then a tenth of each later step's."""
    update, by_hand = Learner._update_weights, {}

    def noting(learner):
        update(learner)
        for name, part in learner.model.state_dict().items():
            before = by_hand.get(name)
            by_hand[name] = part.clone() if before is None else 0.9 * before + 0.1 * part

    monkeypatch.setattr(Learner, "_update_weights", noting)
    run = train(music, tmp_path, profile(steps=6, evaluate_every=6, average=0.9))
    saved, last = checkpoints.load(tmp_path / "best").state_dict(), run.model.state_dict()
    assert all(torch.allclose(saved[name], by_hand[name], atol=1e-5) for name in saved)
    assert not any(torch.allclose(saved[name], last[name], atol=1e-5) for name in saved)
    measured = perplexity.exact(
        checkpoints.load(tmp_path / "best"),
        music["valid"].framed(),
        progress=False,
        **run.measured.segments,
    )
    assert measured.nats == pytest.approx(run.best, abs=1e-6)


def test_the_seed_draws_the_songs_of_training(music, tmp_path):
    """The same seed the same songs, in every epoch; another seed others; never twice the same."""

    def heard(seed, epoch=0):
        songs = augmentation.songs_by_epoch(music["train"], "none", seed, count=3)(epoch)
        return [song.tobytes() for song in songs]

    everything = {song.tobytes() for song in music["train"].framed()}
    assert heard(1) == heard(1, epoch=5) and len(set(heard(1))) == 3 and set(heard(1)) < everything
    assert len({tuple(heard(seed)) for seed in range(6)}) > 1
    runs = [
        new_run(music, tmp_path, profile(seed=seed, train_songs=3, batch=1, accumulate=1))
        for seed in (1, 1, 2)
    ]
    read = [np.concatenate([next(run.streams).ids[0] for _ in range(60)]) for run in runs]
    assert np.array_equal(read[0], read[1]) and not np.array_equal(read[0], read[2])
    drawn = set(np.frombuffer(b"".join(heard(1)), np.uint16).tolist())
    assert set(read[0].tolist()) <= drawn


def test_a_later_stage_draws_by_its_own_seed(music, tmp_path):
    wanted = profile(seed=3)
    later = wanted.training["transformer_xl"].model_copy(update={"seed": 2})
    wanted = wanted.model_copy(update={"training": {"transformer_xl": later}})
    run = new_run(music, tmp_path, wanted)
    assert run.streams.seed == run.details["seed"] == 5


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


def test_the_command_line_gives_the_seed(tmp_path, monkeypatch):
    from lakhnes_lib.__main__ import main

    seeds = []

    def stop(settings, *arguments, **options):
        seeds.append(settings.seed)
        raise LakhnesError("enough")

    monkeypatch.setattr(trainer, "train", stop)
    command = ["train", "--profile", "smoke", "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main(command) == main([*command, "--seed", "5"]) == 1
    assert seeds == [0, 5]


def test_the_command_line_says_that_nothing_was_learned(tmp_path, monkeypatch, capsys):
    from lakhnes_lib.__main__ import main

    run = SimpleNamespace(
        step=4, events=9, seconds=1.0, best=2.0, best_step=0, settings=SETTINGS, folder=tmp_path
    )
    monkeypatch.setattr(trainer, "train", lambda *arguments, **options: run)
    command = ["train", "--profile", "smoke", "--from", "begun", "--out", str(tmp_path / "run")]
    assert main(command) == 0
    assert "nothing was learned: no step was better than begun" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_not_the_profiles_fault(capsys):
    from lakhnes_lib.__main__ import main

    assert main(["train", "--data", "/typo"]) == 1
    assert "/typo: is neither a corpus folder" in capsys.readouterr().err


def test_fine_tuning_begins_where_the_checkpoint_ends(music, tmp_path):
    first = train(music, tmp_path / "first", profile(steps=6, evaluate_every=6))
    tuned = train(
        music, tmp_path / "tuned", profile(steps=10), start=tmp_path / "first/best", max_minutes=0.0
    )
    for one, other in zip(first.model.parameters(), tuned.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert tuned.model.memory_length == 12


# --- what it runs without

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        blocked = "symusic pretty_midi mido typer matplotlib IPython ipywidgets"
        if name.split(".")[0] in blocked.split():
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
sys.path.insert(0, "tests")
import test_training
from lakhnes_lib.generation import sampling
from lakhnes_lib.data import corpus
music = corpus.open_corpus(sys.argv[1])
run = test_training.train(music, sys.argv[2], test_training.profile(steps=5))
print(run.step, run.best > 0, len(sampling.sample(run.model, n=1, length=20)[0]) > 0)
"""


def test_a_packed_corpus_needs_no_midi_library(music, tmp_path):
    """Training, evaluation and sampling run where no library for MIDI, pictures or the command line
    is."""
    command = [sys.executable, "-c", BLOCKED, str(music.folder), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout.split()) == (0, ["5", "True", "True"]), done.stderr
