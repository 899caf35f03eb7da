"""Pieces read event by event: exported steps and the key/value cache against whole segments."""

import shutil

import numpy as np
import pytest
import torch

from lakhnes_lib.generation import decoding, sampling
from lakhnes_lib.models import checkpoints, fast
from lakhnes_lib.models.fast import engine
from lakhnes_lib.models.language_model import RandomModel
from lakhnes_lib.models.lstm import LSTM
from lakhnes_lib.models.modern_decoder import ModernDecoder
from lakhnes_lib.models.transformer_xl import TransformerXL
from lakhnes_lib.music import events, grammar
from lakhnes_lib.profiles import root

CLOSE = 1e-4
EIGHTH = 0.5
"""What weights and inputs of 8 bits may change, in nats, of log-probabilities that span 10."""


def far_from_start(model):
    """The model with every parameter, biases and gains too, far from its first value."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def relative(**settings) -> TransformerXL:
    torch.manual_seed(1)
    sizes = dict(layers=2, width=32, heads=2, head_width=16, feed_forward=64, memory_length=16)
    return far_from_start(TransformerXL(**sizes | settings))


def modern(**settings) -> ModernDecoder:
    torch.manual_seed(1)
    sizes = dict(layers=2, width=32, heads=2, feed_forward=64, memory_length=16)
    return far_from_start(ModernDecoder(**sizes | settings))


MODELS = {
    "transformer_xl": relative,
    "pre_norm": lambda: relative(pre_norm=True, heads=3),
    "modern_decoder": modern,
    "modern_without": lambda: modern(rotary=False, late_keys=False, tied=False, previous=0),
    "modern_otherwise": lambda: modern(qk_norm=False, activation="swiglu", heads=1),
}


@pytest.fixture(autouse=True)
def switched_on():
    """Also where the suite runs with ``LAKHNES_FAST=0``."""
    with fast.switched(True):
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Checkpoint folders of the models by name; their steps are exported when first used."""
    home = tmp_path_factory.mktemp("checkpoints")
    for name, make in MODELS.items():
        checkpoints.save(make(), home / name)
    return home


def songs(rows: int, time: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 631, (rows, time))


@torch.inference_mode()
def read(model, ids: np.ndarray, memory_length: int) -> np.ndarray:
    """What the readable model says after each event, read one by one: (rows, time, 631)."""
    state, said = None, []
    with fast.switched(False):
        for column in torch.from_numpy(ids).T:
            log_probs, state = model.log_probs(
                column.unsqueeze(1), state, memory_length=memory_length
            )
            said.append(log_probs[:, 0].numpy())
    return np.stack(said, 1)


def opened(model, rows: int, memory_length: int, precision: str = "fp32", beginning=None):
    beginning = np.array([events.START]) if beginning is None else beginning
    return decoding.begin(model, beginning, rows, memory_length, precision)


# Exported steps


@pytest.mark.parametrize("name", MODELS)
def test_exported_steps_are_the_readable_model(folders, name):
    """Memories shorter and longer than the piece, whose arrays grow, and whose events move up."""
    model, ids = checkpoints.load(folders / name), songs(2, 150)
    for memory_length in (0, 1, 5, 70, 1000):
        expected = read(model, ids, memory_length)
        pieces = opened(folders / name, 2, memory_length)
        assert isinstance(pieces.pieces[0], engine.Piece)
        for step in range(150):
            gap = np.abs(pieces.feed(ids[:, step]) - expected[:, step]).max()
            assert gap < CLOSE, (memory_length, step)


@pytest.mark.parametrize("name", ["pre_norm", "modern_decoder"])
def test_steps_in_8_bits_are_near_the_readable_model(folders, name):
    expected = read(checkpoints.load(folders / name), songs(1, 60), 16)
    pieces = opened(folders / name, 1, 16, "int8")
    gaps = [
        np.abs(pieces.feed(songs(1, 60)[:, step]) - expected[:, step]).max() for step in range(60)
    ]
    assert 1e-4 < max(gaps) < EIGHTH


@pytest.mark.parametrize("name", ["mini", "transformer_xl"])
def test_shipped_steps_are_shipped_models(name):
    """The file in 8 bits that lies beside them is used as it is."""
    folder = root() / "assets/pretrained" / name
    shipped = (folder / "step.int8.onnx").read_bytes()
    pieces = opened(folder, 1, 512, "int8")
    assert (folder / "step.int8.onnx").read_bytes() == shipped
    ids = np.concatenate(sampling.sample(folder, n=1, length=100, seed=1, precision="int8"))
    ids = np.concatenate([[events.START], ids.astype(np.int64)])
    expected = read(checkpoints.load(folder), ids[None, :-1], 512)[0]
    said = np.concatenate([pieces.feed(ids[step : step + 1]) for step in range(len(ids) - 1)])
    losses = [-part[np.arange(len(part)), ids[1:]].mean() for part in (said, expected)]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


@pytest.mark.parametrize("precision", engine.FILES)
def test_a_step_does_not_tell_where_it_was_made(folders, precision):
    opened(folders / "modern_decoder", 1, 16, precision)
    shipped = root().glob("assets/pretrained/*/step.int8.onnx")
    for path in (folders / "modern_decoder" / engine.FILES[precision], *shipped):
        assert b"step_export.py" not in path.read_bytes(), path


def test_a_file_that_does_not_fit_is_made_anew(folders, tmp_path, capsys):
    shutil.copytree(folders / "modern_decoder", tmp_path / "model")
    shutil.copy(folders / "pre_norm/model.safetensors", tmp_path / "other.safetensors")
    path = tmp_path / "model/step.onnx"
    ids = songs(1, 1)[:, 0]
    path.unlink(missing_ok=True)
    right = opened(tmp_path / "model", 1, 16).feed(ids)
    good = path.read_bytes()
    assert "exporting the step" in capsys.readouterr().err
    opened(tmp_path / "model", 1, 16)
    assert not capsys.readouterr().err, "exported once"
    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 1
    for content in (b"", b"nonsense", bytes(damaged), good[:-1], good[: len(good) // 2]):
        path.write_bytes(content)
        assert np.array_equal(opened(tmp_path / "model", 1, 16).feed(ids), right)
        assert path.read_bytes() == good

    checkpoints.save(modern(layers=1), tmp_path / "model")
    opened(tmp_path / "model", 1, 16)
    model = modern(layers=1)
    with torch.no_grad():
        model.embeddings[0].weight.mul_(1.5)
    shutil.copy(tmp_path / "model/step.onnx", tmp_path / "old.onnx")
    checkpoints.save(model, tmp_path / "model")
    assert not (tmp_path / "model/step.onnx").exists()
    shutil.copy(tmp_path / "old.onnx", tmp_path / "model/step.onnx")
    ids = songs(1, 1)
    gap = opened(tmp_path / "model", 1, 16).feed(ids[:, 0]) - read(model, ids, 16)[:, 0]
    assert np.abs(gap).max() < CLOSE


def test_a_folder_that_cannot_be_written_is_no_matter(tmp_path, monkeypatch, capsys):
    def refuse(path, content):
        raise OSError(f"{path}: cannot be written")

    monkeypatch.setattr(engine, "write_file", refuse)
    checkpoints.save(modern(layers=1), tmp_path / "model")
    ids = songs(1, 1)
    for _ in range(2):
        gap = opened(tmp_path / "model", 1, 16).feed(ids[:, 0]) - read(modern(layers=1), ids, 16)
        assert np.abs(gap).max() < CLOSE
    assert capsys.readouterr().err.count("exporting the step") == 1, "it is kept in memory"


def test_longer_memories_than_a_step_was_exported_for(folders):
    opened(folders / "transformer_xl", 1, 16)
    ids = songs(1, 8)
    pieces = opened(folders / "transformer_xl", 1, 600)
    expected = read(checkpoints.load(folders / "transformer_xl"), ids, 600)
    said = np.stack([pieces.feed(ids[:, step]) for step in range(8)], 1)
    assert np.abs(said - expected).max() < CLOSE


def test_which_models_have_an_exported_step(folders, tmp_path):
    model = checkpoints.load(folders / "modern_decoder")
    assert engine.folder_of(model) == folders / "modern_decoder"
    assert isinstance(opened(model, 1, 16).pieces[0], engine.Piece)
    with fast.switched(False):
        assert isinstance(opened(model, 1, 16).pieces[0], decoding.CachedPieces)
    with torch.no_grad():
        model.embeddings[1].weight[3, 4] += 1e-3
    assert engine.folder_of(model) is None, "its weights are others now"
    assert engine.folder_of(modern()) is None
    checkpoints.save(LSTM(embedding=4, units=8), tmp_path / "lstm")
    assert isinstance(opened(tmp_path / "lstm", 1, 16).pieces[0], decoding.CachedPieces)
    assert isinstance(opened(RandomModel(), 3, 16), decoding.CachedPieces)


def test_a_seed_gives_piece_i_the_same_notes_whatever_n(folders):
    for precision in ("fp32", "int8"):
        options = dict(length=40, seed=5, memory_length=12, precision=precision)
        several = sampling.sample(folders / "modern_decoder", n=5, **options)
        for n in (1, 3):
            fewer = sampling.sample(folders / "modern_decoder", n=n, **options)
            assert [ids.tolist() for ids in fewer] == [ids.tolist() for ids in several[:n]]
        assert len({ids.tobytes() for ids in several}) == 5
        for ids in several:
            grammar.check(ids)


# All ways to read pieces


@pytest.mark.parametrize("kind", ["exported", "cached", "lstm", "random"])
def test_pieces_are_dropped_copied_and_reordered(folders, kind):
    models = {"cached": modern, "lstm": lambda: LSTM(embedding=4, units=8), "random": RandomModel}
    model = folders / "modern_decoder" if kind == "exported" else models[kind]().eval()
    readable = checkpoints.load(model) if kind == "exported" else model
    ids, rows = songs(3, 50), np.array([2, 0, 2, 1, 2])
    pieces = opened(model, 3, 12)
    for step in range(20):
        pieces.feed(ids[:, step])
    pieces.select(rows)
    other = songs(5, 30, seed=1)
    expected = read(readable, np.concatenate([ids[rows, :20], other], 1), 12)[:, 20:]
    for step in range(30):
        assert np.abs(pieces.feed(other[:, step]) - expected[:, step]).max() < CLOSE


@pytest.mark.parametrize("length", [1, 17, 200])
@pytest.mark.parametrize("kind", ["exported", "cached", "together"])
def test_pieces_that_go_on_from_a_beginning(folders, kind, length):
    model = folders / "transformer_xl" if kind == "exported" else relative()
    beginning = np.append(events.START, songs(1, 200)[0, : length - 1])
    memory_length = 300
    if kind == "together":
        pieces = decoding.CachedPieces(model, memory_length)
        pieces.read(beginning[:-1])
        pieces.select(np.zeros(3, np.int64))
    else:
        pieces = decoding.begin(model, beginning, 3, memory_length, "fp32")
    expected = read(relative(), beginning[None], memory_length)[0, -1]
    said = pieces.feed(np.repeat(beginning[-1], 3))
    assert said.shape == (3, 631) and np.abs(said - expected).max() < CLOSE
