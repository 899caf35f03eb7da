"""A step of training: its gradient, its songs and memory, its compiled form."""

import numpy as np
import pytest
import torch
from small_runs import DECODER, MODEL, new_run, profile, rows, train

from lakhnes_lib.music import augmentation
from lakhnes_lib.training import trainer

pytest_plugins = ["small_runs"]
pytestmark = pytest.mark.usefixtures("short_log")


def test_accumulated_gradients_are_those_of_one_big_batch(six_songs, tmp_path):
    weights = []
    for batch, accumulate in ((4, 1), (2, 2), (1, 4)):
        wanted = profile(
            model={"dropout": 0.0}, batch=batch, accumulate=accumulate, optimizer="adamw", steps=6
        )
        weights.append(train(six_songs, tmp_path / str(accumulate), wanted).model.state_dict())
    first = rows(tmp_path / "1")
    for accumulate, other in ((2, weights[1]), (4, weights[2])):
        for one, two in zip(first, rows(tmp_path / str(accumulate)), strict=True):
            assert one == pytest.approx(two, abs=2e-4)
        assert all(torch.allclose(weights[0][key], other[key], atol=2e-3) for key in other)


@pytest.mark.parametrize("clip", [1e9, 0.05])
def test_gradient_of_a_step_is_that_of_the_mean_loss(six_songs, tmp_path, monkeypatch, clip):
    """The sum of the parts' gradients against a loss written out over all rows at once, shortened
    to the limit, before the optimiser moves."""
    run = new_run(six_songs, tmp_path, profile({"dropout": 0.0}, clip=clip, optimizer="adam"))
    model, applied = run.model, {}
    segment = next(trainer.Streams(six_songs["train"].framed(), 4, 16, 3, "songs"))
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


def test_a_song_begins_without_the_memory_of_the_one_before(six_songs, tmp_path):
    """Under songs, the loss of a song's first segment is that of a model without any memory."""
    run = new_run(six_songs, tmp_path, profile({"dropout": 0.0}, batch=1, accumulate=1))
    for weight in run.model.parameters():
        weight.data.normal_(0.0, 0.5)  # so large that a memory makes a difference
    segments = trainer.Streams(six_songs["train"].framed(), 1, 16, 3, "songs")
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


def test_the_seed_draws_the_songs_of_training(six_songs, tmp_path):
    """The same seed the same songs, in every epoch; another seed others; never twice the same."""

    def heard(seed, epoch=0):
        songs = augmentation.songs_by_epoch(six_songs["train"], "none", seed, count=3)(epoch)
        return [song.tobytes() for song in songs]

    everything = {song.tobytes() for song in six_songs["train"].framed()}
    assert heard(1) == heard(1, epoch=5) and len(set(heard(1))) == 3 and set(heard(1)) < everything
    assert len({tuple(heard(seed)) for seed in range(6)}) > 1
    runs = [
        new_run(six_songs, tmp_path, profile(seed=seed, train_songs=3, batch=1, accumulate=1))
        for seed in (1, 1, 2)
    ]
    read = [np.concatenate([next(run.streams).ids[0] for _ in range(60)]) for run in runs]
    assert np.array_equal(read[0], read[1]) and not np.array_equal(read[0], read[2])
    drawn = set(np.frombuffer(b"".join(heard(1)), np.uint16).tolist())
    assert set(read[0].tolist()) <= drawn


def test_a_later_stage_draws_by_its_own_seed(six_songs, tmp_path):
    wanted = profile(seed=3)
    later = wanted.training["transformer_xl"].model_copy(update={"seed": 2})
    wanted = wanted.model_copy(update={"training": {"transformer_xl": later}})
    run = new_run(six_songs, tmp_path, wanted)
    assert run.streams.seed == run.details["seed"] == 5


def test_a_compiler_that_fails_costs_nothing_but_time(six_songs, tmp_path, monkeypatch, capsys):
    def fails(step):
        def compiled(*inputs):
            raise RuntimeError("no compiler here")

        return compiled

    train(six_songs, tmp_path / "plain", profile({"dropout": 0.0}, streams="endless"))
    monkeypatch.setattr(torch, "compile", fails)
    train(
        six_songs, tmp_path / "compiled", profile({"dropout": 0.0}, streams="endless", compile=True)
    )
    assert "no compiler here" in capsys.readouterr().err
    for one, other in zip(rows(tmp_path / "compiled"), rows(tmp_path / "plain"), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("streams", ["songs", "endless"])
@pytest.mark.parametrize(
    "model", [MODEL, DECODER | {"memory_length": 24}], ids=["transformer_xl", "modern_decoder"]
)
def test_a_compiled_step_has_the_same_shapes_from_the_first_step_on(
    six_songs, tmp_path, monkeypatch, model, streams
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
    train(six_songs, tmp_path, wanted)
    kinds = [[entry[:2] for entry in step] for step in seen]
    assert len(seen) == 5 and all(step == kinds[0] for step in kinds)
    assert len({entry[2] for entry in seen[0]}) == len(seen[0]), "no tensor stands for two"
