"""Profiles are strict: an unknown key, a wrong type or an impossible value is named with its place."""

import dataclasses

import pytest
import torch
import yaml

from lakhnes_lib import profiles
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.errors import BadProfile
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
        32,
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.seed = 2


@pytest.mark.parametrize("name", profiles.names())
def test_those_of_the_repository(name):
    """Each loads, is called as its file is, and all its models can be built."""
    profile = profiles.load(name)
    assert profile.name == name
    assert set(profile.training) <= set(profile.models)
    for model in profile.models.values():
        with torch.device("meta"):  # shapes alone, no numbers
            checkpoints.build(**model)


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
    """Table 2's parameters, in millions: LSTM 40 (ours 40.5), Transformer-XL 41; and Figure 3's amounts of Lakh."""
    paper = profiles.load("paper")
    rows = [
        name
        for title, _, _, name in reproduction.TABLE_2
        if title.startswith(("LSTM", "Transformer-XL"))
    ]
    rows += ["lakh_1", "lakh_2", "lakh_4", "own_music"]
    ours = {"transformer_xl_minutes", "transformer_xl_minutes_augmented", "modern_decoder"}
    assert {*rows, *ours} == set(paper.training) == set(paper.models)
    assert all(paper.training[name].minutes == 10 for name in ours)
    for name in rows:
        model = paper.models[name]
        with torch.device("meta"):
            built = checkpoints.build(**model)
        assert built.parameter_count() == (40_539_191 if name.startswith("lstm") else 41_274_487)
        how = paper.training[name]
        assert how.augment == (
            "none" if name in ("lstm", "transformer_xl", "own_music") else "paper"
        )
        if name != "own_music":
            assert (how.batch * how.segment, how.streams) == (30 * 512, "endless")
    assert [paper.training[f"lakh_{n}"].steps for n in (1, 2, 4)] == [100_000, 200_000, 400_000]


@pytest.mark.parametrize("name", profiles.load("paper").training)
def test_a_shrunken_paper_model_trains(tmp_path, name):
    """Two steps of a small copy, with all else as in the profile."""
    paper, corpus = profiles.load("paper"), prepare("songbook")
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
    how = dataclasses.replace(paper.training[name], steps=2, batch=2, segment=32, valid_songs=1)
    settings = dataclasses.replace(paper, models={name: model}, training={name: how})
    run = trainer.train(settings, corpus, tmp_path, model=name, device="cpu", progress=False)
    assert (run.step, run.best_step) == (2, 2)


def changed(place, value):
    """GOOD with another value at a dotted place; None removes it."""
    values = yaml.safe_load(yaml.safe_dump(GOOD))
    *path, last = place.split(".")
    inner = values
    for key in path:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return values


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("colour", 1, "has the unknown key 'colour'; known are name, seed, corpus"),
        (
            "training.small.step",
            5,
            "training: small: has the unknown key 'step'; known are steps, batch",
        ),
        ("evaluation.speed", 5, "evaluation: has the unknown key 'speed'"),
        ("seed", None, "lacks 'seed'"),
        ("training.small.steps", None, "training: small: lacks 'steps'"),
        ("seed", "one", "seed: must be int, not 'one'"),
        ("seed", 1.0, "seed: must be int, not 1.0"),
        ("seed", True, "seed: must be int, not True"),
        ("name", 3, "name: must be str, not 3"),
        (
            "training.small.learning_rate",
            "1e-3",
            "training: small: learning_rate: must be float, not '1e-3'",
        ),
        ("training.small.compile", 1, "training: small: compile: must be bool, not 1"),
        ("training", [1], "training: must be a table of values, not [1]"),
        ("training.small", 5, "training: small: must be a table of values, not 5"),
        ("models", "none", "models: must be dict, not 'none'"),
        (
            "training.small.optimizer",
            "sgd",
            "training: small: optimizer: must be adam or adamw or muon, not 'sgd'",
        ),
        (
            "training.small.schedule",
            "up",
            "schedule: must be cosine or constant or linear, not 'up'",
        ),
        (
            "training.small.streams",
            "rivers",
            "streams: must be endless or songs or segments, not 'rivers'",
        ),
        (
            "training.small.augment",
            "all",
            "augment: must be none or paper or published or transposed, not 'all'",
        ),
        ("training.small.precision", "fp8", "precision: must be auto or bf16 or fp32, not 'fp8'"),
        (
            "training.small.steps",
            0,
            "training: small: steps: must be at least 1 and at most 2,147,483,647, not 0",
        ),
        ("training.small.batch", -1, "must be at least 1"),
        ("training.small.patience", 0, "patience: must be at least 1"),
        (
            "training.small.learning_rate",
            float("nan"),
            "learning_rate: must be at least 0 and at most 2,147,483,647",
        ),
        ("training.small.learning_rate", float("inf"), "not inf"),
        ("training.small.weight_decay", -1, "weight_decay: must be at least 0"),
        ("training.small.warmup", -5, "warmup: must be at least 0"),
        ("training.small.clip", 0.0, "clip: must be above 0"),
        ("training.small.decay_share", 0.0, "decay_share: must be above 0 and at most 1"),
        ("training.small.mix_share", 1.0, "mix_share: must be at least 0 and below 1, not 1.0"),
        ("evaluation.memory_length", -5, "evaluation: memory_length: must be at least 0"),
        ("seed", -1, "seed: must be at least 0"),
        ("seed", 2**70, "seed: must be at least 0 and at most 2,147,483,647"),
        ("name", "../../x", "name: must be letters, digits, - and _, not '../../x'"),
        ("models.small", "x", "models: small: must be a table of values with an architecture"),
        (
            "models.small",
            {"layers": 2},
            "models: small: must be a table of values with an architecture",
        ),
        ("seed", [[["laughs"] * 99] * 99] * 99, "seed: must be int, not [[["),
    ],
)
def test_bad_values(load, tmp_path, place, value, said):
    with pytest.raises(BadProfile) as raised:
        load(changed(place, value))
    assert str(raised.value).startswith(f"{tmp_path / 'mine.yaml'}: ") and said in str(raised.value)


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


def test_a_model_that_cannot_be_built_is_the_profiles_fault_and_leaves_nothing(load, tmp_path):
    settings = load(changed("models.small", {"architecture": "transformer_xl", "colour": 1}))
    with pytest.raises(
        BadProfile, match="profile mine: models: small: a transformer_xl cannot be built .*colour"
    ):
        trainer.train(
            settings,
            prepare("songbook"),
            tmp_path / "run",
            model="small",
            device="cpu",
            progress=False,
        )
    assert not (tmp_path / "run").exists()
