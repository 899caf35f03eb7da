"""Profiles are strict: an unknown key, a wrong type or an impossible value is named."""

import inspect
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import ValidationError
from songs import tune

from lakhnes_lib import profiles
from lakhnes_lib.cli.generate import generate
from lakhnes_lib.cli.train import evaluate
from lakhnes_lib.data import corpus
from lakhnes_lib.errors import BadProfile
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.listening import reproduction
from lakhnes_lib.models import checkpoints
from lakhnes_lib.training import trainer

GOOD = {
    "name": "mine",
    "seed": 1,
    "corpus": "songbook",
    "models": {"small": {"architecture": "transformer_xl", "layers": 1}},
    "training": {"small": {"steps": 5, "batch": 2, "segment": 8, "learning_rate": 1}},
    "evaluation": {"batch": 3},
}


@pytest.fixture
def load(tmp_path):
    """Loads these values from ``mine.yaml``."""

    def work(values):
        text = values if isinstance(values, str) else yaml.safe_dump(values)
        (tmp_path / "mine.yaml").write_text(text)
        return profiles.load(tmp_path / "mine.yaml")

    return work


def test_values_and_defaults(load):
    profile = load(GOOD)
    assert profile.training["small"].learning_rate == 1.0 and profile.training["small"].clip == 0.25
    assert type(profile.training["small"].learning_rate) is float
    assert (profile.evaluation.batch, profile.evaluation.segment, profile.sampling.top_k) == (
        3,
        128,
        0,
    )
    with pytest.raises(ValidationError, match="frozen"):
        profile.seed = 2
    assert profile.model_copy(update={"seed": 2}).seed == 2


def shapes_of(model):
    """A model of a profile, without values."""
    with torch.device("meta"), checkpoints._NothingDrawn():
        return checkpoints.build(**model)


@pytest.mark.parametrize("name", profiles.names())
def test_those_of_the_repository(name):
    """Each loads, is called as its file is, and all its models can be built."""
    profile = profiles.load(name)
    assert profile.name == name
    assert set(profile.training) <= set(profile.models)
    for model in profile.models.values():
        shapes_of(model)


def test_the_three_that_are_promised():
    assert {"smoke", "laptop", "paper"} <= set(profiles.names())
    paper = profiles.load("paper")
    model, training = paper.models["transformer_xl"], paper.training["transformer_xl"]
    assert [model[key] for key in ("layers", "width", "heads", "head_width", "feed_forward")] == [
        12,
        512,
        8,
        64,
        2048,
    ]
    assert (model["memory_length"], training.segment, training.learning_rate) == (512, 512, 2e-5)


def test_paper_can_train_every_row_of_table_2_at_its_size():
    """Table 2's parameters, in millions: LSTM 40 (ours 40.5), Transformer-XL 41; and Figure 3's
    amounts of Lakh."""
    paper = profiles.load("paper")
    rows = [
        row["name"]
        for row in reproduction.known_answers()["table_2"]
        if row["title"].startswith(("LSTM", "Transformer-XL"))
    ]
    rows += ["lakh_1", "lakh_2", "lakh_4", "own_music"]
    ours = {"transformer_xl_minutes", "transformer_xl_minutes_augmented", "modern_decoder"}
    ours |= {"lakh_minutes", "mini_minutes"}
    assert {*rows, *ours} == set(paper.training) == set(paper.models)
    assert all(0 < paper.training[name].minutes <= 10 for name in ours)
    for name in rows:
        size = 40_539_191 if name.startswith("lstm") else 41_274_487
        assert shapes_of(paper.models[name]).parameter_count() == size
        how = paper.training[name]
        assert how.augment == (
            "none" if name in ("lstm", "transformer_xl", "own_music") else "paper"
        )
        if name != "own_music":
            assert (how.batch * how.segment, how.streams) == (30 * 512, "endless")
    assert [paper.training[f"lakh_{n}"].steps for n in (1, 2, 4)] == [100_000, 200_000, 400_000]


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Four small songs to train on and one to stop by."""
    songs = {"train": [tune(seed) for seed in range(4)], "valid": [tune(4)]}
    return corpus.write_corpus(songs, tmp_path_factory.mktemp("music") / "corpus")


@pytest.mark.parametrize("name", profiles.load("paper").training)
def test_a_shrunken_paper_model_trains(tmp_path, music, monkeypatch, name):
    """Two steps of a small copy, with all else as in the profile; what would be compiled is not."""
    monkeypatch.setattr(torch, "compile", lambda step: step)
    paper = profiles.load("paper")
    small = {
        "embedding": 4,
        "units": 16,
        "layers": 1,
        "width": 16,
        "heads": 2,
        "head_width": 8,
        "feed_forward": 16,
    }
    model = {key: small.get(key, value) for key, value in paper.models[name].items()}
    changes = {"steps": 2, "batch": 2, "segment": 32, "valid_songs": 1}
    how = paper.training[name].model_copy(update=changes)
    settings = paper.model_copy(update={"models": {name: model}, "training": {name: how}})
    run = trainer.train(settings, music, tmp_path, model=name, device="cpu", progress=False)
    assert (run.step, run.best_step) == (2, 2)


def test_the_command_lines_defaults_are_the_profiles():
    """They are written there again, since profiles take long to import."""

    def defaults(verb):
        parameters = inspect.signature(verb).parameters.values()
        return {parameter.name: parameter.default for parameter in parameters}

    measured, drawn = profiles.Evaluation(), profiles.Sampling()
    options = defaults(evaluate)
    assert options["batch"] == measured.batch
    # A segment is as long as the protocol has it, if the command line does not say.
    assert options["segment"] is None and defaults(perplexity.exact)["segment"] == measured.segment
    assert options["memory"] == measured.memory_length
    options = defaults(generate)
    assert options["memory"] == drawn.memory_length
    for name in ("pieces", "seconds", "temperature", "top_k", "top_p"):
        assert options[name] == getattr(drawn, name)


def changed(path, value):
    """GOOD with another value at a dotted path; None removes it."""
    values = yaml.safe_load(yaml.safe_dump(GOOD))
    *parents, last = path.split(".")
    inner = values
    for key in parents:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("colour", 1, "has the unknown key 'colour'; known are name, seed, corpus"),
        ("training.small.step", 5, "training: small: has the unknown key 'step'; known are steps"),
        ("evaluation.speed", 5, "evaluation: has the unknown key 'speed'"),
        ("seed", None, "seed: is missing"),
        ("training.small.steps", None, "training: small: steps: is missing"),
        ("seed", "one", "seed: must be a valid integer, not 'one'"),
        ("seed", "1", "seed: must be a valid integer, not '1'"),
        ("seed", 1.0, "seed: must be a valid integer, not 1.0"),
        ("seed", True, "seed: must be a valid integer, not True"),
        ("name", 3, "name: must be a valid string, not 3"),
        ("training.small.learning_rate", "1e-3", "learning_rate: must be a valid number, not '1e-"),
        ("training.small.learning_rate", True, "learning_rate: must be a valid number, not True"),
        ("training.small.compile", 1, "training: small: compile: must be a valid boolean, not 1"),
        ("training", [1], "training: must be a table of values, not [1]"),
        ("training.small", 5, "training: small: must be a table of values, not 5"),
        ("models", "none", "models: must be a table of values, not 'none'"),
        (
            "training.small.optimizer",
            "sgd",
            "optimizer: must be 'adam', 'adamw' or 'muon', not 'sg",
        ),
        ("training.small.schedule", "up", "schedule: must be 'cosine', 'constant' or 'linear'"),
        ("training.small.streams", "rivers", "must be 'endless', 'songs' or 'segments', not 'rive"),
        (
            "training.small.augment",
            "all",
            "augment: must be 'none', 'paper', 'published' or 'trans",
        ),
        (
            "training.small.precision",
            "fp8",
            "precision: must be 'auto', 'bf16' or 'fp32', not 'fp8",
        ),
        ("training.small.draws", "some", "draws: must be 'fresh' or 'published', not 'some'"),
        ("training.small.steps", 0, "small: steps: must be greater than or equal to 1, not 0"),
        ("training.small.batch", -1, "batch: must be greater than or equal to 1, not -1"),
        ("training.small.patience", 0, "patience: must be greater than or equal to 1"),
        ("training.small.learning_rate", float("nan"), "learning_rate: must be a finite number"),
        ("training.small.learning_rate", float("inf"), "must be a finite number, not inf"),
        ("training.small.weight_decay", -1, "weight_decay: must be greater than or equal to 0"),
        ("training.small.warmup", -5, "warmup: must be greater than or equal to 0"),
        ("training.small.clip", 0.0, "clip: must be greater than 0"),
        ("training.small.decay_share", 0.0, "decay_share: must be greater than 0, not 0.0"),
        (
            "training.small.decay_share",
            1.1,
            "decay_share: must be less than or equal to 1, not 1.1",
        ),
        ("training.small.average", 1.0, "average: must be less than 1, not 1.0"),
        ("training.small.train_songs", -1, "train_songs: must be greater than or equal to 0"),
        (
            "evaluation.memory_length",
            -5,
            "evaluation: memory_length: must be greater than or equal",
        ),
        ("seed", -1, "seed: must be greater than or equal to 0"),
        ("seed", 2**70, "seed: must be less than or equal to 2147483647, not 11805"),
        ("name", "../../x", "name: must match pattern '^[\\w-]+$', not '../../x'"),
        ("models.small", "x", "models: small: must be a table of values, not 'x'"),
        ("models.small", {"layers": 2}, "models: small: must be a table of values with an archi"),
        ("models.small", {"architecture": "lstm", 5: 6}, "models: small: 5: a key must be text"),
        ("models", {5: {"architecture": "lstm"}}, "models: 5: a key must be text"),
        ("training.small", {5: 6}, "training: small: has the unknown key '5'; known are steps"),
        ("seed", [[["laughs"] * 99] * 99] * 99, "seed: must be a valid integer, not [[["),
    ],
)
def test_bad_values(load, tmp_path, path, value, message):
    with pytest.raises(BadProfile) as raised:
        load(changed(path, value))
    assert str(raised.value).startswith(f"{tmp_path / 'mine.yaml'}: ") and message in str(
        raised.value
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1\n",
        "just text",
        "a: [",
        "a: b: c",
        "!!python/object/apply:os.getcwd []",
        "name: 2020-99-99",
        "[" * 5000,
        "? {a: 1}\n: 2\n",
    ],
)
def test_what_is_no_profile(load, text):
    with pytest.raises(BadProfile, match="mine.yaml: (is not YAML|must be a table of values)"):
        load(text)


def test_what_is_not_there(tmp_path):
    with pytest.raises(
        BadProfile, match="huge: there is no such profile; there are .*laptop, paper, smoke"
    ):
        profiles.load("huge")
    with pytest.raises(BadProfile, match="none.yaml: there is no such profile"):
        profiles.load(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(BadProfile, match="binary.yaml: is not YAML"):
        profiles.load(tmp_path / "binary.yaml")


def test_a_model_that_cannot_be_built_is_the_profiles_fault_and_leaves_nothing(
    load, music, tmp_path
):
    settings = load(changed("models.small", {"architecture": "transformer_xl", "colour": 1}))
    with pytest.raises(
        BadProfile, match="profile mine: models: small: a transformer_xl cannot be built .*colour"
    ):
        trainer.train(
            settings,
            music,
            tmp_path / "run",
            model="small",
            device="cpu",
            progress=False,
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("training", "batch"),
        ("training", "segment"),
        ("training", "accumulate"),
        ("evaluation", "batch"),
        ("evaluation", "segment"),
        ("sampling", "pieces"),
        ("sampling", "length"),
    ],
)
def test_sizes_that_no_memory_holds(part, key, tmp_path):
    """Such a run would fill the memory before its first step."""
    values = yaml.safe_load((profiles.root() / "profiles/smoke.yaml").read_text())
    table = values["training"]["transformer_xl"] if part == "training" else values.get(part) or {}
    table[key] = 2**31 - 1
    if part != "training":
        values[part] = table
    (tmp_path / "large.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(BadProfile, match=f"large.yaml: {part}: .*{key}: must be less than"):
        profiles.load(tmp_path / "large.yaml")


def test_what_an_installed_library_brings_is_there_from_any_folder(tmp_path, monkeypatch):
    brought, elsewhere = tmp_path / "share", tmp_path / "elsewhere"
    (brought / "assets/pretrained/mini").mkdir(parents=True)
    (elsewhere / "assets/songbook").mkdir(parents=True)
    monkeypatch.setenv("LAKHNES_ROOT", str(brought))
    monkeypatch.chdir(elsewhere)
    mini, songbook = Path("assets/pretrained/mini"), Path("assets/songbook")
    assert profiles.shipped(mini) == brought / mini
    assert profiles.shipped(str(songbook)) == songbook  # what is here comes first
    assert profiles.shipped("runs/mine") == Path("runs/mine")  # neither here nor there
    assert profiles.workspace() == Path()  # not the folder of the installed files
    (brought / "pyproject.toml").touch()
    assert profiles.workspace() == brought
