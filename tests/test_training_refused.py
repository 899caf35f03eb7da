"""What training refuses: to write over a run, to go on with another profile, damaged files."""

import pytest
import torch
from small_runs import DECODER, profile, train
from songs import tune

from lakhnes_lib import files
from lakhnes_lib.data import corpus
from lakhnes_lib.errors import BadCheckpoint, LakhnesError
from lakhnes_lib.models import checkpoints
from lakhnes_lib.training import snapshots

pytest_plugins = ["small_runs"]
pytestmark = pytest.mark.usefixtures("short_log")


def test_nothing_is_overwritten_or_resumed_from_nothing(six_songs, tmp_path):
    with pytest.raises(LakhnesError, match="none: holds no snapshot to resume from"):
        train(six_songs, tmp_path / "none", resume=True)
    train(six_songs, tmp_path / "run", profile(steps=2))
    before = (tmp_path / "run/log.jsonl").read_bytes()
    with pytest.raises(
        LakhnesError, match="run: already holds a training run; resume it, or choose another folder"
    ):
        train(six_songs, tmp_path / "run")
    assert (tmp_path / "run/log.jsonl").read_bytes() == before
    (tmp_path / "run/snapshot.pt").unlink()  # large, and not needed once a run is done
    with pytest.raises(LakhnesError, match="run: already holds a training run"):
        train(six_songs, tmp_path / "run")
    with pytest.raises(
        LakhnesError, match="profile tiny: has no model 'lstm', only transformer_xl"
    ):
        train(six_songs, tmp_path / "other", model="lstm")


def test_two_processes_do_not_train_in_one_folder(six_songs, tmp_path):
    """Each would take the other's snapshot away."""
    train(six_songs, tmp_path, max_minutes=0.0)
    with (
        files.locked(tmp_path),
        pytest.raises(LakhnesError, match="another process is training there"),
    ):
        train(six_songs, tmp_path, resume=True)
    assert train(six_songs, tmp_path, resume=True).step == 12


def test_weights_of_another_kind_or_none_are_refused(six_songs, tmp_path):
    """A modern decoder's would enter Table 2 as a Transformer-XL's."""
    checkpoints.save(checkpoints.build(**DECODER), tmp_path / "decoder")
    with pytest.raises(
        LakhnesError,
        match="decoder: is a modern_decoder, and transformer_xl of profile tiny is a tr",
    ):
        train(six_songs, tmp_path / "run", start=tmp_path / "decoder")
    checkpoints.save(checkpoints.build("random"), tmp_path / "random")
    with pytest.raises(LakhnesError, match="a random model has no weights to train"):
        train(six_songs, tmp_path / "run", start=tmp_path / "random")
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
def test_another_profile_does_not_go_on(six_songs, tmp_path, other):
    train(six_songs, tmp_path, max_minutes=0.0)
    with pytest.raises(
        LakhnesError,
        match="was begun with another profile, seed or corpus; resume with the same ones",
    ):
        train(six_songs, tmp_path, other, resume=True)


def test_another_corpus_does_not_go_on(six_songs, tmp_path):
    train(six_songs, tmp_path / "run", max_minutes=0.0)
    other = corpus.write_corpus({"train": [tune(9)], "valid": [tune(8)]}, tmp_path / "corpus")
    with pytest.raises(LakhnesError, match="was begun with another profile, seed or corpus"):
        train(other, tmp_path / "run", resume=True)


def test_damaged_snapshot(six_songs, tmp_path):
    train(six_songs, tmp_path, max_minutes=0.0)
    path = tmp_path / "snapshot.pt"
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"[]", whole[len(whole) // 2 :]):
        path.write_bytes(content)
        with pytest.raises(BadCheckpoint, match="snapshot.pt: the snapshot is damaged"):
            train(six_songs, tmp_path, resume=True)
    torch.save({"model": {}}, path)
    with pytest.raises(BadCheckpoint, match="snapshot.pt: the snapshot is damaged"):
        train(six_songs, tmp_path, resume=True)


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
def test_snapshot_of_other_types(six_songs, tmp_path, name, value):
    train(six_songs, tmp_path, max_minutes=0.0)
    snapshots.write(tmp_path, snapshots.read(tmp_path) | {name: value})
    with pytest.raises(BadCheckpoint, match="snapshot.pt or log.jsonl is damaged"):
        train(six_songs, tmp_path, resume=True)


@pytest.mark.parametrize("line", ["\0\0\0", "[]", '{"stop": 1}', '{"step": "one"}'])
def test_damaged_log(six_songs, tmp_path, line):
    train(six_songs, tmp_path, max_minutes=0.0)
    (tmp_path / "log.jsonl").write_text(f"{line}\n")
    with pytest.raises(BadCheckpoint, match="snapshot.pt or log.jsonl is damaged"):
        train(six_songs, tmp_path, resume=True)
