"""Training: what was interrupted goes on with exactly the same losses, and nothing is overwritten."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from interrupts import interrupt
from songs import tune

from lakhnes_lib import files
from lakhnes_lib.data import corpus
from lakhnes_lib.errors import BadCheckpoint, LakhnesError
from lakhnes_lib.models import checkpoints, devices
from lakhnes_lib.profiles import Evaluation, Profile, Training
from lakhnes_lib.training import snapshots, trainer

ROOT = Path(__file__).resolve().parents[1]
MODEL = dict(
    architecture="transformer_xl",
    layers=2,
    width=16,
    heads=2,
    head_width=8,
    feed_forward=32,
    memory_length=12,
)
SETTINGS = Training(
    steps=25,
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


def profile(model=None, **changes):
    """A profile of a tiny model with dropout; changes: to its training."""
    return Profile(
        name="tiny",
        seed=3,
        corpus="songbook",
        models={"transformer_xl": MODEL | {"dropout": 0.1} | (model or {})},
        training={"transformer_xl": replace(SETTINGS, **changes)},
        evaluation=Evaluation(batch=2, segment=16, memory_length=32),
    )


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


def test_it_learns_and_keeps_its_best(music, tmp_path):
    run = train(music, tmp_path, profile(steps=60, evaluate_every=20))
    log = rows(tmp_path)
    losses = [row["train_loss"] for row in log if "train_loss" in row]
    assert [row["step"] for row in log if "train_loss" in row] == [10, 20, 30, 40, 50, 60]
    assert losses[0] > 5 and losses[-1] < losses[0] - 1
    valid = {row["step"]: row["valid_loss"] for row in log if "valid_loss" in row}
    assert set(valid) == {20, 40, 60} and run.best == pytest.approx(min(valid.values()), abs=1e-5)
    said = checkpoints.details(tmp_path / "best")
    assert said["data"] == music.fingerprint and said["seed"] == 3 and said["profile"] == "tiny"
    assert said["training"]["steps"] == 60 and said["metrics"]["step"] == run.best_step
    if run.best_step == run.step:
        loaded = checkpoints.load(tmp_path / "best")
        assert all(
            torch.equal(a, b)
            for a, b in zip(loaded.parameters(), run.model.parameters(), strict=True)
        )


PROGRAM = """
import json, sys, torch
sys.path.insert(0, "tests")
import test_training
from lakhnes_lib.data import corpus
torch.set_num_threads(1)
test_training.train(corpus.open_corpus(sys.argv[1]), sys.argv[2], resume=sys.argv[3] == "resume")
"""


def start(music, folder, how):
    command = [sys.executable, "-c", PROGRAM, str(music.folder), str(folder), how]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_and_resumed_is_as_if_never_stopped(music, tmp_path):
    """kill -9 in the midst of a run that keeps a snapshot after each step; the log and the weights are the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        unbroken = train(music, tmp_path / "unbroken")
    finally:
        torch.set_num_threads(threads)
    process = start(music, tmp_path / "killed", "new")
    for _ in range(6000):
        log = tmp_path / "killed" / "log.jsonl"
        if process.poll() is not None or (
            log.exists() and log.stat().st_size and rows(tmp_path / "killed")
        ):
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    assert rows(tmp_path / "killed")[-1]["step"] < 25
    with pytest.raises(LakhnesError, match="killed: already holds a training run; resume it"):
        train(music, tmp_path / "killed")
    process = start(music, tmp_path / "killed", "resume")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert rows(tmp_path / "killed") == rows(tmp_path / "unbroken")
    one, other = (
        snapshots.read(tmp_path / name / "snapshot")["model"] for name in ("killed", "unbroken")
    )
    assert (
        unbroken.step == 25
        and one.keys() == other.keys()
        and all(torch.equal(one[key], other[key]) for key in one)
    )


@pytest.mark.parametrize("kind", ["songs", "endless", "segments"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": "adam", "accumulate": 1, "augment": "paper"}],
    ids=["muon", "adam"],
)
def test_interrupted_anywhere_goes_on_with_the_same_losses(
    music, tmp_path, monkeypatch, kind, changes
):
    """Between two lines of the log, and twice."""
    wanted = profile(streams=kind, **changes)
    train(music, tmp_path / "unbroken", wanted)
    for step in (7, 13):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            interrupt(patched, step)
            train(music, tmp_path / "broken", wanted, resume=step > 7)
    train(music, tmp_path / "broken", wanted, resume=True)
    assert rows(tmp_path / "broken") == rows(tmp_path / "unbroken")


def test_lines_after_the_snapshot_are_dropped(music, tmp_path, monkeypatch):
    """A run killed after it wrote to its log, but before its snapshot: half a line, and lines of steps done again."""
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt(patched, 12)
        train(music, tmp_path)
    before = rows(tmp_path)
    with open(tmp_path / "log.jsonl", "a") as log:
        log.write(json.dumps({"step": 15, "valid_loss": 0.0}) + "\n" + '{"step": 1')
    train(music, tmp_path, resume=True)
    after = rows(tmp_path)
    assert after[: len(before)] == before and all(row.get("valid_loss") != 0.0 for row in after)


def test_goes_on_in_the_arithmetic_it_began_with(music, tmp_path, monkeypatch):
    """On another machine another may be faster, but the losses would be others."""
    wanted = profile(precision="auto")
    monkeypatch.setattr(devices, "_multiplies_bf16_faster", lambda: True)
    begun = train(music, tmp_path, wanted, max_minutes=0.0)
    monkeypatch.setattr(devices, "_multiplies_bf16_faster", lambda: False)
    assert begun.bf16 and train(music, tmp_path, wanted, resume=True).bf16
    assert not train(music, tmp_path / "other", wanted).bf16


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
    "layers": 2,
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
    wanted = replace(
        profile(steps=4, accumulate=1, compile=True, streams=streams),
        models={"transformer_xl": model},
    )
    train(music, tmp_path, wanted)
    kinds = [[entry[:2] for entry in step] for step in seen]
    assert len(seen) == 5 and all(step == kinds[0] for step in kinds)
    assert len({entry[2] for entry in seen[0]}) == len(seen[0]), "no tensor stands for two"


def test_minutes_bring_the_learning_rate_down_in_time(music, tmp_path):
    """A machine too slow for all the steps ends as one that is not, at a rate of nothing; and goes on by its clock."""
    wanted = profile(
        steps=1_000_000,
        minutes=0.1,
        schedule="linear",
        decay_share=1.0,
        warmup=0,
        evaluate_every=10**9,
    )
    run = train(music, tmp_path, wanted, max_minutes=0.05)
    half = [row["rate"] for row in rows(tmp_path) if "rate" in row]
    assert 0.2 < half[-1] < 0.8 and half == sorted(half, reverse=True) and not run.best_step
    run = train(music, tmp_path, wanted, resume=True)
    rate = [row["rate"] for row in rows(tmp_path) if "rate" in row]
    assert rate[: len(half)] == half and rate[-1] < half[-1] and rate == sorted(rate, reverse=True)
    assert 6 <= run.seconds < 60 and run.best_step == run.step < 100_000, (
        "its last step is evaluated"
    )
    assert train(music, tmp_path / "fast", profile(steps=5, minutes=60.0)).step == 5


def test_time_limit(music, tmp_path):
    run = train(music, tmp_path, max_minutes=0.0)
    assert run.step == 0 and snapshots.exists(tmp_path / "snapshot")
    run = train(music, tmp_path, profile(), resume=True)
    assert run.step == 25
    long = profile(steps=10**6, evaluate_every=10**6)
    started = time.monotonic()
    run = train(music, tmp_path / "long", long, max_minutes=0.01)
    assert 1 < run.step < 10**6 and 0.6 <= time.monotonic() - started < 30


def test_early_stopping(music, tmp_path):
    """With no learning no evaluation is better than the first: the run ends after as many as patience says."""
    run = train(
        music,
        tmp_path,
        profile(
            steps=500, learning_rate=0.0, matrix_learning_rate=0.0, evaluate_every=2, patience=3
        ),
    )
    assert (run.step, run.best_step, run.since_best) == (8, 2, 3)
    assert [row["step"] for row in rows(tmp_path)] == [2, 4, 6, 8]
    assert checkpoints.details(tmp_path / "best")["metrics"]["step"] == 2


def test_what_nothing_beats_is_kept(music, tmp_path):
    """Fine-tuning that only loses leaves the weights that it began from as the best."""
    first = train(music, tmp_path / "first", profile(steps=40, evaluate_every=20))
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
    whole = trainer.Run._loss

    def lost(run, *inputs):
        scores, state = whole(run, *inputs)
        return scores * float("nan"), state

    monkeypatch.setattr(trainer.Run, "_loss", lost)
    with pytest.raises(
        LakhnesError, match="the loss became nan, with .* at step 6; lower the learning rate"
    ):
        train(music, tmp_path, resume=True)
    assert snapshots.read(tmp_path / "snapshot")["counts"]["step"] == 5


def test_a_lost_gradient_does_not_reach_the_weights(music, tmp_path, monkeypatch):
    """The loss may be fine still; a snapshot of weights that are no numbers would be the end of the run."""
    train(music, tmp_path, max_minutes=0.0)
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda weights, limit: torch.tensor(float("nan"))
    )
    with pytest.raises(
        LakhnesError, match=r"became 6.\d+, with a gradient of length nan, at step 1"
    ):
        train(music, tmp_path, resume=True)
    kept = snapshots.read(tmp_path / "snapshot")
    assert kept["counts"]["step"] == 0 and all(
        tensor.isfinite().all() for tensor in kept["model"].values()
    )


def test_warm_up_goes_by_steps_whatever_the_clock_says(music, tmp_path, monkeypatch):
    wanted = profile(
        steps=1000, minutes=1.0, warmup=40, schedule="linear", decay_share=1.0, evaluate_every=10**9
    )
    monkeypatch.setattr(trainer.Run, "place", 500)
    run = train(music, tmp_path, wanted, max_minutes=0.0)
    run.step = 1
    run._train_step()
    assert run.rate == pytest.approx(2 / 40)
    run.step = 100
    run._train_step()
    assert run.rate == pytest.approx(0.5)


def test_an_interrupt_while_the_last_evaluation_runs_loses_nothing(music, tmp_path, monkeypatch):
    """The step, its evaluation and the best weights are there when the run has stopped."""
    measure = trainer.Run._evaluate

    def pressed(run, *given):
        signal.raise_signal(signal.SIGINT)
        return measure(run, *given)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(trainer.Run, "_evaluate", pressed)
        train(music, tmp_path, profile(steps=5, evaluate_every=5))
    assert snapshots.read(tmp_path / "snapshot")["counts"]["best_step"] == 5
    assert checkpoints.details(tmp_path / "best")["metrics"]["step"] == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_interrupt_is_not_waited_for(music, tmp_path, monkeypatch):
    whole = trainer.Run._loss

    def pressed(run, *inputs):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return whole(run, *inputs)

    monkeypatch.setattr(trainer.Run, "_loss", pressed)
    with pytest.raises(KeyboardInterrupt):
        train(music, tmp_path, profile(snapshot_minutes=60.0))
    assert not snapshots.exists(tmp_path / "snapshot")


def test_best_weights_that_are_gone_are_found_anew(music, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt(patched, 12)
        train(music, tmp_path)
    shutil.rmtree(tmp_path / "best")
    run = train(music, tmp_path, resume=True)
    assert (
        run.step == 25
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
    shutil.rmtree(tmp_path / "run/snapshot")  # large, and not needed once a run is done
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
    assert train(music, tmp_path, resume=True).step == 25


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
        replace(profile(), seed=4),
        replace(profile(), name="other"),
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
    (tensors,) = (tmp_path / "snapshot").glob("*.safetensors")
    for path in (tensors, tmp_path / "snapshot/values.json"):
        whole = path.read_bytes()
        for content in (b"", whole[: len(whole) // 2], b"[]"):
            path.write_bytes(content)
            with pytest.raises(BadCheckpoint, match="snapshot: the snapshot is damaged"):
                train(music, tmp_path, resume=True)
        path.write_bytes(whole)
    tensors.unlink()
    with pytest.raises(BadCheckpoint, match="snapshot: the snapshot is damaged"):
        train(music, tmp_path, resume=True)


# --- steps


def test_accumulated_gradients_are_those_of_one_big_batch(music, tmp_path):
    weights = []
    for batch, accumulate in ((4, 1), (2, 2), (1, 4)):
        wanted = profile(
            model={"dropout": 0.0}, batch=batch, accumulate=accumulate, optimizer="adamw", steps=12
        )
        weights.append(train(music, tmp_path / str(accumulate), wanted).model.state_dict())
    first = rows(tmp_path / "1")
    for accumulate, other in ((2, weights[1]), (4, weights[2])):
        for one, two in zip(first, rows(tmp_path / str(accumulate)), strict=True):
            assert one == pytest.approx(two, abs=2e-4)
        assert all(torch.allclose(weights[0][key], other[key], atol=2e-3) for key in other)


def test_gradient_of_a_step_is_that_of_the_mean_loss(music, tmp_path, monkeypatch):
    """The sum of the parts' gradients against a loss written out over all rows at once, before the optimiser moves."""
    wanted = profile(model={"dropout": 0.0}, clip=1e9, optimizer="adam").training["transformer_xl"]
    torch.manual_seed(0)
    model = checkpoints.build(**MODEL | {"dropout": 0.0})
    run = trainer.Run(model, wanted, Evaluation(), music, tmp_path, 0, torch.device("cpu"))
    other = trainer.Streams(music["train"].framed(), 4, 16, 0, "songs")
    segment, found = next(other), {}
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self: found.update({n: p.grad.clone() for n, p in model.named_parameters()}),
    )
    model.train()
    ids, targets = torch.from_numpy(segment.ids), torch.from_numpy(segment.targets)
    log_probs, _ = model.log_probs(ids)
    used = targets >= 0
    loss = -log_probs[used].gather(1, targets[used].unsqueeze(1)).mean()
    loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    assert run._train_step() == pytest.approx(loss.item(), rel=1e-6)
    assert found.keys() == expected.keys() and run.events == int(used.sum())
    for name in expected:
        assert torch.allclose(found[name], expected[name], atol=1e-6), name


def test_fine_tuning_begins_where_the_checkpoint_ends(music, tmp_path):
    first = train(music, tmp_path / "first", profile(steps=20, evaluate_every=20))
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
        if name.split(".")[0] in ("symusic", "pretty_midi", "mido", "typer", "matplotlib", "IPython", "ipywidgets"):
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
    """Training, evaluation and sampling run where no library for MIDI, pictures or the command line is."""
    command = [sys.executable, "-c", BLOCKED, str(music.folder), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, ["5", "True", "True"]), done.stderr
