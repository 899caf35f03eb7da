"""The benchmark that measures perplexities: the models it finds, and what it says of each."""

import json
import sys

import cards
import perplexity_table
import pytest
from songs import tune

from lakhnes_lib import profiles
from lakhnes_lib.data.corpus import write_corpus
from lakhnes_lib.listening import reproduction, results
from lakhnes_lib.models import checkpoints


def test_what_was_measured_is_what_is_shipped(monkeypatch):
    for folder in cards.shipped():
        entry = reproduction.measured()[folder.name]
        assert entry["weights"] == perplexity_table.weights(folder), (
            f"{folder.name}: measure it again"
        )
        name = folder.name + reproduction.MEMORY
        whole = reproduction.measured().get(name)
        assert (whole is not None) == (name in perplexity_table.folders())
        assert not perplexity_table.own_memory(folder.name, folder)
        if whole:
            assert whole["weights"] == entry["weights"], f"{folder.name}: measure it again"
            assert (
                whole["memory_length"]
                == perplexity_table.memory(folder)
                > perplexity_table.SETTINGS["memory_length"]
            )
            assert perplexity_table.own_memory(name, folder) == {
                "memory_length": whole["memory_length"]
            }
        assert entry["parameters"] == json.loads((folder / "config.json").read_text())["parameters"]
    # A run whose model's name ends like that is measured as any other.
    run = profiles.root() / "runs/laptop/modern_decoder_memory/best"
    assert not perplexity_table.own_memory(
        "laptop/modern_decoder_memory", run
    ) and not perplexity_table.own_memory("random", None)


def test_every_measured_model_says_how_it_came_about():
    for name, entry in reproduction.measured().items():
        test = entry["test"]
        assert test["exact"] > 1, name
        if "paper" in test:
            assert test["targets"] == test["paper_targets"] + test["paper_unscored"], name
        said = entry["measured"].keys()
        assert {"date", "device", "hardware"} <= said and entry["architecture"], name
        assert said <= {"date", "device", "hardware", "command", "commit", "versions"}, name
        if "training" in entry:
            assert entry["profile"] != "smoke" and entry["minutes"] > 0 and entry["seed"] >= 0
            assert any(point["valid_loss"] > 0 for point in entry["curve"])


def test_published_checkpoints_are_measured_where_they_are_at_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAKHNES_HOME", str(tmp_path))
    monkeypatch.delenv("LAKHNES_MIRROR", raising=False)

    converted = tmp_path / "converted" / "nes-aug"
    checkpoints.save(
        checkpoints.build("transformer_xl", layers=1, width=8, heads=1, head_width=8), converted
    )
    assert perplexity_table.published() == {"published/nes-aug": converted}
    printed = capsys.readouterr().out.splitlines()
    assert (
        "published/nes: not at hand; `lakhnes data fetch nes` brings it" in printed
        and len(printed) == 5
    )
    monkeypatch.setenv("LAKHNES_MIRROR", str(tmp_path))
    assert perplexity_table.published() == {"published/nes-aug": converted}
    assert "holds no NES.tar.gz" in capsys.readouterr().out


@pytest.fixture
def benchmark(tmp_path, monkeypatch, capsys):
    """benchmark(*options) runs benchmarks/perplexity_table.py on a tiny corpus; returns the exit
    code and its output.

    Models are at ``tmp_path / "converted"``, and what is fetched at ``tmp_path / "published"``."""

    monkeypatch.setenv("LAKHNES_HOME", str(tmp_path))
    monkeypatch.delenv("LAKHNES_MIRROR", raising=False)
    songs = [tune(seed, beats=8) for seed in range(12)]
    corpus = write_corpus({"train": songs, "valid": songs, "test": songs}, tmp_path / "corpus")
    monkeypatch.setattr(perplexity_table, "corpus_at_hand", lambda: corpus)
    monkeypatch.setattr(results, "path_of", lambda name, folder=None: tmp_path / f"{name}.json")

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["benchmarks/perplexity_table.py", *options])
        try:
            perplexity_table.main()
            code = 0
        except SystemExit as end:
            code = end.code
        return code, "".join(capsys.readouterr())

    return run


TINY = {"layers": 1, "width": 8, "heads": 1, "head_width": 8, "feed_forward": 8, "memory_length": 8}


def test_a_model_that_was_measured_says_by_what(benchmark, tmp_path):
    options = ["--only", "random", "--split", "test", "--exact", "--write"]
    assert benchmark(*options)[0] == 0
    told = results.read("perplexity")
    said = told["values"]["models"]["random"]["measured"]
    assert (
        said["command"]
        == told["command"]
        == f"python benchmarks/perplexity_table.py {' '.join(options)}"
    )
    assert (said["commit"], said["versions"]) == (told["commit"], told["versions"])
    assert benchmark("--only", "unigram", "--split", "test", "--exact", "--write")[0] == 0
    assert results.read("perplexity")["values"]["models"]["random"]["measured"] == said


def test_damaged_and_missing_published_checkpoints_do_not_stop_the_others(benchmark, tmp_path):
    damaged, whole = tmp_path / "converted/nes", tmp_path / "converted/nes-aug"
    for folder in (damaged, whole):
        checkpoints.save(checkpoints.build("transformer_xl", **TINY), folder)
    (damaged / "model.safetensors").write_bytes(b"cut off")
    code, said = benchmark("--published", "--exact", "--split", "test", "--write")
    assert (
        code == 0
        and "nes: its model.safetensors cannot be read" in said
        and "`lakhnes data fetch nes` brings it" in said
    )
    assert results.read("perplexity")["values"]["models"].keys() == {"published/nes-aug"}
    code, said = benchmark("--published", "--only", "published/lakhnes-400k")
    assert (
        code == 1
        and "published/lakhnes-400k: not at hand; `lakhnes data fetch lakhnes-400k` brings it"
        in said
    )
    assert (
        said.splitlines()[-1] == "not measured: published/lakhnes-400k"
        and "published/nes:" not in said
    )
    code, said = benchmark("--published", "--only", "published/none")
    assert code == 2 and "there is no model published/none, only published/lakhnes-400k, " in said


def test_a_damaged_converted_checkpoint_is_converted_anew(benchmark, tmp_path, monkeypatch):
    fetched, damaged, seen = tmp_path / "published/NES", tmp_path / "converted/nes", []
    for name in ("a.pt", "model.pt", "z.pt"):
        (fetched / "inner").mkdir(parents=True, exist_ok=True)
        (fetched / "inner" / name).touch()
    damaged.mkdir(parents=True)
    (damaged / "config.json").write_text("{")

    def convert(file, folder):
        seen.append(file)
        checkpoints.save(checkpoints.build("transformer_xl", **TINY), folder)

    monkeypatch.setattr(checkpoints, "convert_published", convert)
    monkeypatch.setattr(perplexity_table.fetching, "fetch", lambda name, mirror: fetched)
    monkeypatch.setattr(perplexity_table.fetching, "folder", lambda name: fetched)
    for _ in range(2):
        assert perplexity_table.published(["published/nes"]) == {"published/nes": damaged}
    assert seen == [fetched / "inner" / "model.pt"], "once, and the model of all that is there"


def test_a_run_that_is_damaged_does_not_stop_the_others(benchmark, tmp_path, monkeypatch):
    for name in ("a", "b"):
        checkpoints.save(checkpoints.build("transformer_xl", **TINY), tmp_path / name)
    (tmp_path / "a/model.safetensors").unlink()
    monkeypatch.setattr(perplexity_table, "BASELINES", {})
    monkeypatch.setattr(
        perplexity_table, "folders", lambda: {name: tmp_path / name for name in ("a", "b")}
    )
    code, said = benchmark("--exact", "--split", "test", "--write")
    assert code == 1 and said.splitlines()[-1] == "not measured: a" and "model.safetensors" in said
    assert results.read("perplexity")["values"]["models"].keys() == {"b"}
