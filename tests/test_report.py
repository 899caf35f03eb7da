"""The README, the pages and the models' cards say what results/ says."""

import json

import pytest

from lakhnes_lib import profiles, reproduction, results
from lakhnes_lib.data import registry
from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.models import checkpoints


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """Tests import the files of results/ by their names."""
    monkeypatch.syspath_prepend(profiles.root() / "results")


@pytest.fixture
def measured(monkeypatch):
    """measured(name, values) makes a result say these values; None: it was never measured."""
    real, made = results.read, {}

    def read(name):
        if name in made and made[name] is None:
            raise DataNotFound(name)
        return {"values": made[name]} if name in made else real(name)

    monkeypatch.setattr(results, "read", read)
    return made.__setitem__


def test_every_page_agrees_with_results():
    import pages

    made = pages.pages()
    assert {"README.md", "docs/results.md", "docs/scaling.md"} < {
        path.relative_to(profiles.root()).as_posix() for path in made
    }
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run `make report`"


def test_cards_and_configs_of_shipped_models_agree_with_results():
    import cards

    assert profiles.root() / "assets" / "pretrained" / "mini" in cards.shipped()
    for folder, config in cards.shipped().items():
        assert json.loads((folder / "config.json").read_text(encoding="utf-8")) == config, "run `make report`"
        assert (folder / "README.md").read_text(encoding="utf-8") == cards.card(folder.name, config)


def test_what_was_measured_is_what_is_shipped(monkeypatch):
    monkeypatch.syspath_prepend(profiles.root() / "benchmarks")
    import cards
    import perplexity

    for folder in cards.shipped():
        entry = reproduction.measured()[folder.name]
        assert entry["weights"] == perplexity.weights(folder), f"{folder.name}: measure it again"
        name = folder.name + reproduction.MEMORY
        whole = reproduction.measured().get(name)
        assert (whole is not None) == (name in perplexity.folders())
        assert not perplexity.own_memory(folder.name, folder)
        if whole:
            assert whole["weights"] == entry["weights"], f"{folder.name}: measure it again"
            assert whole["memory_length"] == perplexity.memory(folder) > perplexity.SETTINGS["memory_length"]
            assert perplexity.own_memory(name, folder) == {"memory_length": whole["memory_length"]}
        assert entry["parameters"] == json.loads((folder / "config.json").read_text())["parameters"]
    # A run whose model's name ends like that is measured as any other.
    run = profiles.root() / "runs/laptop/modern_decoder_memory/best"
    assert not perplexity.own_memory("laptop/modern_decoder_memory", run) and not perplexity.own_memory("random", None)


def test_published_checkpoints_are_measured_where_they_are_at_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(profiles.root() / "benchmarks")
    monkeypatch.setenv("LAKHNES_HOME", str(tmp_path))
    monkeypatch.delenv("LAKHNES_MIRROR", raising=False)
    import perplexity

    converted = tmp_path / "converted" / "nes-aug"
    checkpoints.save(checkpoints.build("transformer_xl", layers=1, width=8, heads=1, head_width=8), converted)
    assert perplexity.published() == {"published/nes-aug": converted}
    printed = capsys.readouterr().out.splitlines()
    assert "published/nes: not at hand; `lakhnes data fetch nes` brings it" in printed and len(printed) == 5
    monkeypatch.setenv("LAKHNES_MIRROR", str(tmp_path))
    assert perplexity.published() == {"published/nes-aug": converted}
    assert "holds no NES.tar.gz" in capsys.readouterr().out


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


def test_the_table_has_every_row_of_the_paper():
    import figures

    cited = {row.paper for row in reproduction.table_2()}
    assert {631.00, 198.14, 37.25, 14.11, 12.64, 3.501, 2.741, 2.460} <= cited
    pictures = {path.stem for path in (profiles.root() / "results").glob("*.png")}
    assert pictures >= figures.figures().keys(), "run `make report`"


def test_rows_take_runs_first_and_figure_3_reads_how_much_of_lakh():
    sizes = {"paper/lstm": 40, "laptop/lstm": 4, "lstm": 4, "published/lstm": 1, "laptop/transformer_xl_lakh_4": 5}
    models = {name: {"parameters": size, "test": {"exact": size}} for name, size in sizes.items()}
    assert reproduction.runs("lstm", models) == ["laptop/lstm", "paper/lstm"]
    assert reproduction.runs("lstm", {"lstm": {}}) == ["lstm"] and reproduction.runs("gru", models) == []
    assert reproduction.runs("transformer_xl_lakh", models) == ["laptop/transformer_xl_lakh_4"]
    assert len(reproduction.figure_3(models)) == 1, "one point is no line"
    models |= {f"laptop/transformer_xl_lakh_{n}": {"test": {"exact": 7 - n}} for n in (1, 0)}
    models |= {"laptop/transformer_xl_lakh_2": {}, "laptop/lakh_4": {"curve": [{"seconds": 60, "valid_loss": 1}]}}
    assert reproduction.figure_3(models)["here: profile laptop"] == ((0, 1, 4), (7, 6, 5))
    models |= {f"paper/transformer_xl_lakh_{n}": {"parameters": 41, "test": {"exact": 3 - n}} for n in (0, 2)}
    assert reproduction.figure_3(models)["here: profile paper"] == ((0, 2), (3, 1)), "a line for each profile"
    best = ["laptop/transformer_xl_lakh_4", "paper/transformer_xl_lakh_2"]
    assert reproduction.runs("transformer_xl_lakh", models) == best
    own = models | {"laptop/transformer_xl_lakh": {"parameters": 5}}
    assert reproduction.runs("transformer_xl_lakh", own) == ["laptop/transformer_xl_lakh", best[1]], "the row's own run"
    assert reproduction.figure_3(own) == reproduction.figure_3(models)
    assert not reproduction.training_curves("laptop", models), "lakh_4 has another valid split"
    rows = {row.title: row for row in reproduction.table_2(models)}
    assert rows["LSTM"].name == "paper/lstm" and rows["LSTM"].perplexity == {"paper": 14.11, "here, exact": 40}
    assert rows["unigram"].name is None and rows["unigram"].perplexity == {"paper": 198.14}


def test_the_papers_numbers_have_as_many_digits_as_the_paper_gives():
    import perplexity_tables

    names = [name for *_, name in reproduction.PUBLISHED]
    assert len(names) == sum(entry.folder.startswith("published/") for entry in registry.REGISTRY.values())
    models = {name: {"parameters": 41_274_487, "test": {"exact": 2.5}} for name in names}
    shown = [perplexity_tables.compared(row)[3] for row in reproduction.table_2(models)]
    table_2 = ["631.00", "198.14", "37.25", "–", "14.11", "12.64", "3.501", "2.741", "2.460"]
    assert shown == [*table_2, "3.501", "2.741", "2.545", "2.472", "2.460", "5.541"]


def test_smoke_results_never_enter():
    entry = {"parameters": 1, "test": {"exact": 9.0}, "curve": [{"seconds": 60, "valid_loss": 1}]}
    models = {f"{profile}/lstm": entry for profile in ("smoke", "laptop")}
    models |= {f"smoke/transformer_xl_lakh{end}": entry for end in ("", "_0", "_1")}
    assert [row.name for row in reproduction.table_2(models) if row.name] == ["laptop/lstm"]
    assert len(reproduction.figure_3(models)) == 1
    assert not reproduction.training_curves("smoke", models) and reproduction.training_curves("laptop", models)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {"test": {"exact": 2.5}},
        {"parameters": "41 M"},
        {"parameters": 1, "minutes": None},
        {"parameters": 1, "test": {}},
        {"parameters": 1, "test": [2.5]},
        {"parameters": 1, "test": {"exact": "2.5"}},
        {"parameters": 1, "test": {"exact": 2.5, "paper": {}}},
        {"parameters": 1, "valid": {"exact": None}},
        {"parameters": 1, "curve": [{"seconds": 1}]},
        {"parameters": 1, "curve": [{"seconds": 1, "valid_loss": "1"}]},
        {"parameters": 1, "curve": [1]},
        {"parameters": 1, "curve": 1},
    ],
    ids=str,
)
def test_what_is_no_measurement_is_named(measured, entry):
    measured("perplexity", {"models": {"mini": {"parameters": 1, "test": {"exact": 2.5}}, "laptop/lstm": entry}})
    with pytest.raises(LakhnesError, match="perplexity.json: laptop/lstm is not as it was measured"):
        reproduction.measured()


@pytest.mark.parametrize("values", [{}, {"models": None}, {"models": 3}], ids=str)
def test_models_that_are_none(measured, values):
    measured("perplexity", values)
    with pytest.raises(LakhnesError, match="perplexity.json: models is not as it was measured"):
        reproduction.measured()


def test_a_changed_number_is_noticed():
    import pages
    import tables

    text = (profiles.root() / "README.md").read_text(encoding="utf-8")
    found = tables.find("perplexity", "models.mini.test.exact", "{:.3f}")
    assert found in text
    forged = text.replace(found, "1.000")
    assert pages.readme(forged) != forged


def test_a_missing_number_and_a_missing_place_are_named():
    import pages
    import tables

    with pytest.raises(LakhnesError, match="lack 'models.mini.train'"):
        tables.find("perplexity", "models.mini.train")
    with pytest.raises(LakhnesError, match="no place for results"):
        pages.readme("# A README without markers")


def test_a_number_that_was_not_measured_leaves_its_row_out():
    import tables

    assert tables.fill("of {representation.known.songs:,} songs") == "of 5,278 songs"
    assert tables.fill("{never.measured:.1f} times") is None
    rows = [("songs", "{representation.known.songs}"), ("never", "{never.measured}"), ("plain", 1)]
    assert tables.table(("what", "number"), rows).splitlines()[2:] == ["| songs | 5278 |", "| plain | 1 |"]


def test_speed_of_evaluation_is_shown_once_it_was_measured(measured):
    import speed_tables

    measured("evaluation", None)
    assert "evaluating" not in speed_tables.short() + speed_tables.complete()
    size = {"best_events_a_second": 1234.5, "best_times_plain": 6.78}
    published = {"times_published_derived": 5.4321, "published_derived_events_a_second": 242.3}
    measured("evaluation", {"transformer_xl": size, "paper": size | published})
    assert "paper's size | 1,234 events/s | 5.4 times the published code (242 events/s" in speed_tables.short()
    assert speed_tables.complete().count("6.8 times a plain version in the same run") == 2


def test_speed_of_composing_is_that_of_the_fastest_precision(measured):
    import speed_tables
    import tables

    full = {"events_a_second": 1, "fp16_events_a_second": 30, "int8_events_a_second": 20, "fp16_times_anew": 7}
    measured("sampling", {"memory": 512, "mini": {"full": full}})
    title, speed, note = map(tables.fill, speed_tables.best("mini", speed_tables.ONE))
    assert title.endswith("with 512 events of memory, weights in 16 bits")
    assert (speed, note) == ("30 events/s", "7.0 times reading all anew each time")
    measured("sampling", None)
    assert "composing" not in speed_tables.short()


def test_what_each_change_of_the_modern_decoder_gains(measured):
    import pages
    import perplexity_tables

    measured("modern_decoder", None)
    assert perplexity_tables.gains() is None and "modern decoder gains" not in pages.everything()
    variants = {"late_keys": {"steps": 9, "valid_perplexity": 11.0}, "all": {"steps": 9, "valid_perplexity": 10.0}}
    measured("modern_decoder", {"left_out": variants})
    shown = perplexity_tables.gains()
    assert "| nothing | 10.000 | – |\n| late keys | 11.000 | +0.095 |\n\n" in shown and "for 9 steps" in shown
    assert shown in pages.everything() and "modern decoder gains" in perplexity_tables.perplexities()
    variants["tied"] = {"steps": 8, "valid_perplexity": 12.0}
    with pytest.raises(LakhnesError, match=r"after \[8, 9\] steps do not compare"):
        perplexity_tables.gains()
    del variants["all"], variants["tied"]
    assert "| late keys | 11.000 | – |" in perplexity_tables.gains()


def test_every_variant_of_the_modern_decoder_has_a_title(monkeypatch):
    monkeypatch.syspath_prepend(profiles.root() / "benchmarks")
    import modern_decoder
    import perplexity_tables

    assert modern_decoder.VARIANTS.keys() == perplexity_tables.LEFT_OUT.keys()
