"""The README, the pages and the models' cards say what results/ says."""

import json
import math
import sys

import cards
import composing_speed
import filling
import findings_table
import modern_decoder_changes
import numpy as np
import pages
import perplexity_table
import perplexity_tables
import pytest
import reproduction_page
import song_by_song
import table_figures
from scipy import stats
from songs import tune

from lakhnes_lib import profiles
from lakhnes_lib.data import registry
from lakhnes_lib.data.corpus import write_corpus
from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.listening import reproduction, results
from lakhnes_lib.models import checkpoints


@pytest.fixture
def measured(monkeypatch):
    """measured(name, values) makes a result say these values; None: it was never measured."""
    real, made, hardware = results.read, {}, pages.hardware()
    monkeypatch.setattr(pages, "hardware", lambda: hardware)

    def read(name):
        if name in made and made[name] is None:
            raise DataNotFound(name)
        return {"values": made[name]} if name in made else real(name)

    monkeypatch.setattr(results, "read", read)
    return made.__setitem__


def test_every_page_agrees_with_results():

    texts = pages.pages()
    names = {path.relative_to(profiles.root()).as_posix() for path in texts}
    documents = {f"docs/{name}.md" for name in ("results", "reproduction", "scaling")}
    assert documents | {"README.md"} < names
    assert {f"assets/pretrained/mini/{name}" for name in ("README.md", "config.json")} < names
    for path, text in texts.items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run `make report`"


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

    cited = {row.paper for row in reproduction.table_2()}
    assert {631.00, 198.14, 37.25, 14.11, 12.64, 3.501, 2.741, 2.460} <= cited
    pictures = {path.stem for path in (profiles.root() / "results").glob("*.png")}
    assert pictures >= table_figures.figures().keys(), "run `make report`"


def test_rows_take_runs_first_and_figure_3_reads_how_much_of_lakh():
    sizes = {
        "paper/lstm": 40,
        "laptop/lstm": 4,
        "lstm": 4,
        "published/lstm": 1,
        "laptop/transformer_xl_lakh_4": 5,
    }
    models = {name: {"parameters": size, "test": {"exact": size}} for name, size in sizes.items()}
    assert reproduction.runs("lstm", models) == ["laptop/lstm", "paper/lstm"]
    assert (
        reproduction.runs("lstm", {"lstm": {}}) == ["lstm"]
        and reproduction.runs("gru", models) == []
    )
    assert reproduction.runs("transformer_xl_lakh", models) == ["laptop/transformer_xl_lakh_4"]
    assert len(reproduction.figure_3(models)) == 1, "one point is no line"
    models |= {"laptop/transformer_xl_lakh_1": {"test": {"exact": 6}}}
    models |= {"laptop/transformer_xl_augmented": {"parameters": 5, "test": {"exact": 7}}}
    models |= {
        "laptop/transformer_xl_lakh_2": {},
        "laptop/lakh_4": {"curve": [{"events": 9, "valid_loss": 1}]},
    }
    assert reproduction.figure_3(models)["here: profile laptop"] == ((0, 1, 4), (7, 6, 5))
    models |= {
        f"paper/transformer_xl_lakh_{n}": {"parameters": 41, "test": {"exact": 3 - n}}
        for n in (1, 2)
    }
    assert reproduction.figure_3(models)["here: profile paper"] == ((1, 2), (2, 1)), (
        "a line for each profile"
    )
    models |= {"other/transformer_xl_augmented": {"parameters": 41, "test": {"exact": 3}}}
    assert len(reproduction.figure_3(models)) == 3, "no line of a profile without Lakh"
    best = ["laptop/transformer_xl_lakh_4", "paper/transformer_xl_lakh_2"]
    assert reproduction.runs("transformer_xl_lakh", models) == best
    assert not table_figures.training_curves("laptop", models), "lakh_4 has another valid split"
    rows = {row.title: row for row in reproduction.table_2(models)}
    assert rows["LSTM"].name == "paper/lstm" and rows["LSTM"].perplexity == {
        "paper": 14.11,
        "here, exact": 40,
    }
    assert rows["unigram"].name is None and rows["unigram"].perplexity == {"paper": 198.14}


def test_the_papers_numbers_have_as_many_digits_as_the_paper_gives():

    names = [row["name"] for row in reproduction.known_answers()["published"]]
    assert len(names) == sum(
        entry.folder.startswith("published/") for entry in registry.REGISTRY.values()
    )
    models = {name: {"parameters": 41_274_487, "test": {"exact": 2.5}} for name in names}
    shown = [perplexity_tables.compared(row)[3] for row in reproduction.table_2(models)]
    table_2 = ["631.00", "198.14", "37.25", "–", "14.11", "12.64", "3.501", "2.741", "2.460"]
    assert shown == [*table_2, "3.501", "2.741", "2.545", "2.472", "2.460", "5.541"]


def test_smoke_results_never_enter():
    entry = {"parameters": 1, "test": {"exact": 9.0}, "curve": [{"events": 9, "valid_loss": 1}]}
    models = {f"{profile}/lstm": entry for profile in ("smoke", "laptop")}
    models |= {f"smoke/transformer_xl_{end}": entry for end in ("augmented", "lakh_1", "lakh_2")}
    assert [row.name for row in reproduction.table_2(models) if row.name] == ["laptop/lstm"]
    assert len(reproduction.figure_3(models)) == 1
    assert not table_figures.training_curves("smoke", models) and table_figures.training_curves(
        "laptop", models
    )


def test_a_changed_number_is_noticed():
    text = (profiles.root() / "README.md").read_text(encoding="utf-8")
    perplexity = filling.number("perplexity.models.mini.test.exact", ".3f")
    assert perplexity in text
    forged = text.replace(perplexity, "1.000")
    assert pages.readme(forged) != forged


def test_a_missing_number_and_missing_marks_are_named():
    with pytest.raises(LakhnesError, match="lack 'models.mini.train'"):
        filling.value("perplexity.models.mini.train")
    with pytest.raises(LakhnesError, match="no marks for results"):
        pages.readme("# A README without marks")


def test_a_line_that_needs_a_number_which_was_not_measured_is_left_out(tmp_path, monkeypatch):
    template = """| songs | {{ n("representation.known.songs", ",") }} |
| never | {{ n("never.measured") }} |

{{ n("never.measured", ".1f") }} times

| plain | {{ plain }} |"""
    (tmp_path / "page.md.jinja").write_text(template)
    monkeypatch.setattr(filling, "TEMPLATES", tmp_path)
    assert filling.fill("page.md.jinja", plain=1) == "| songs | 5,278 |\n\n| plain | 1 |\n"


def readme() -> str:
    """The README's tables."""
    return pages.readme("<!-- results:begin --><!-- results:end -->")


def test_speed_of_evaluation_is_shown_once_it_was_measured(measured):
    measured("evaluation", None)
    assert "| evaluating" not in pages.all_results()
    size = {"best_events_a_second": 1234.5, "best_times_plain": 6.78}
    published = {"times_published_derived": 5.4321, "published_derived_events_a_second": 242.3}
    measured("evaluation", {"transformer_xl": size, "paper": size | published})
    shown = "| the same | 1,234 events/s | 5.4 times the published code (242 events/s"
    assert shown in pages.all_results()
    assert pages.all_results().count("6.8 times a plain version in the same run") == 2


def test_speed_of_composing_is_that_of_the_fastest_precision(measured):
    speeds = {"events_a_second": 1, "int8_events_a_second": 20}
    measured("sampling", {"memory": 512, "mini": {"full": speeds}})
    assert composing_speed.fastest_precision("mini", 1) == ("int8_", 8)
    measured("sampling", None)
    assert "composing one piece" not in pages.all_results()
    assert "## Composing" not in pages.all_results()


def test_what_each_change_of_the_modern_decoder_gains(measured):
    measured("modern_decoder", None)
    assert perplexity_tables.left_out() is None
    assert "decoder without" not in pages.all_results()
    names = perplexity_tables.LEFT_OUT
    few = {name: {"valid_perplexity": 11.0} for name in names} | {"all": {"valid_perplexity": 10.0}}
    more = {name: {"valid_perplexity": 7.0} for name in names if name != "tied"}
    measured("modern_decoder", {"left_out": {"9": few, "100": more}})
    shown = pages.all_results()
    assert "| nothing | 10.000 | – |" in shown and "for 9 steps" in shown
    assert "| late keys | 11.000 | +0.095 |" in shown
    more["tied"] = {"valid_perplexity": 7.7}
    measured("modern_decoder", {"left_out": {"9": few, "100": more}})
    shown = pages.all_results()
    assert "| one table for inputs and outputs | 7.700 | +0.095 |" in shown
    assert "for 100 steps" in shown
    measured("modern_decoder", {"left_out": {"100": {"all": {"valid_perplexity": 7.0}}}})
    assert perplexity_tables.left_out() is None, "one variant is no comparison"


def test_every_variant_of_the_modern_decoder_has_a_title():
    assert modern_decoder_changes.VARIANTS.keys() == perplexity_tables.LEFT_OUT.keys()


# The findings


def a_run(name: str, seed: int, perplexity: float, split: str = "valid") -> dict:
    score = {"nats": math.log(perplexity), "perplexity": perplexity}
    return {"name": name, "seed": seed, "minutes": 30, "events": 10**6, split: score}


def test_a_finding_that_was_not_run_is_not_measured():
    for finding in findings_table.FINDINGS:
        one_side = [a_run(finding.better, 0, 5.0)]
        for all_runs in ([], one_side, [*one_side, a_run(finding.worse, 1, 9.0)]):
            assert findings_table.sentence(finding, all_runs).endswith(": not measured yet.")
    assert len(findings_table.FINDINGS) == 6
    assert findings_table.FINDINGS[0].paper == (14.11, 37.25)


def test_a_finding_compares_runs_of_the_same_seed():
    finding = findings_table.FINDINGS[3]
    pairs = {0: (5.0, 10.0), 1: (5.5, 10.0), 2: (6.0, 10.5)}
    all_runs = [a_run(finding.better, seed, pair[0]) for seed, pair in pairs.items()]
    all_runs += [a_run(finding.worse, seed, pair[1]) for seed, pair in pairs.items()]
    all_runs += [a_run(finding.better, 3, 400.0)]  # has no run to be compared with
    said = findings_table.sentence(finding, all_runs)
    assert "(paper: 2.741 against 3.501, -22%): here 5.50 ± 0.50 against 10.17 ± 0.29" in said
    mean = math.prod(a / b for a, b in pairs.values()) ** (1 / 3) - 1
    assert f", {mean:+.1%}, 3 seeds, paired t-test p = " in said and said.endswith(" on valid.")
    differences = [math.log(a / b) for a, b in pairs.values()]
    p = stats.ttest_1samp(differences, 0).pvalue
    assert f"p = {p:.2g}," in said
    all_runs += [a_run(name, 0, 7.0, "test") for name in (finding.better, finding.worse)]
    assert "one seed, so no test, on test." in findings_table.sentence(finding, all_runs)


def test_a_finding_that_is_not_seen_is_said_to_be_not_seen():
    finding = findings_table.FINDINGS[2]
    all_runs = [a_run(finding.better, 0, 12.0), a_run(finding.worse, 0, 10.0)]
    said = findings_table.sentence(finding, all_runs)
    assert "not seen here: 12.00 against 10.00, +20.0%, one seed, so no test, on valid." in said


@pytest.mark.parametrize("values, seen", [((8, 6, 5.5), "seen here"), ((8, 7, 4), "not seen here")])
def test_diminishing_returns_need_all_three_amounts(monkeypatch, values, seen):
    all_runs = [
        a_run(name, 0, value) for name, value in zip(findings_table.LAKH, values, strict=True)
    ]
    monkeypatch.setattr(findings_table, "runs", lambda: all_runs)
    gains = [math.log(a / b) for a, b in zip(values[:2], values[1:], strict=True)]
    shown = f": {seen}, {gains[0]:+.3f} and {gains[1]:+.3f} nats an event on valid."
    assert findings_table.diminishing().endswith(shown)
    del all_runs[1]
    assert findings_table.diminishing().endswith(": not measured yet.")


# Song by song


def test_songs_stand_in_the_same_order_as_the_published_ones():
    names, targets, known = song_by_song.published()
    assert names == sorted(names) and len(names) == 373 and targets.sum() == 407_641
    assert song_by_song.total() == 2.4519956
    for name, entry in song_by_song.measured().items():
        assert entry["targets"] == targets.sum() and len(entry["songs"]) == len(names), name
        mean = (targets * np.log(entry["songs"])).sum() / targets.sum()
        assert math.exp(mean) == pytest.approx(entry["perplexity"], rel=1e-4), name
        # Hard songs are hard for every model, so songs that were mixed up would be noticed.
        assert np.corrcoef(np.log(entry["songs"]), np.log(known))[0, 1] > 0.9, name


def test_shipped_models_were_measured_song_by_song():
    for folder in cards.shipped():
        entry = song_by_song.measured()[folder.name]
        assert entry["weights"] == perplexity_table.weights(folder), f"{folder.name}: measure again"


def test_the_songs_that_differ_most(measured):
    names, targets, known = song_by_song.published()
    long = np.flatnonzero(targets >= song_by_song.SHORTEST_LISTED)
    ours = known * 1.5
    ours[long[7]], ours[long[9]] = known[long[7]] / 2, known[long[9]] * 4
    ours[np.flatnonzero(targets < 10)] = 1.0  # too short to be listed
    entry = {"perplexity": 3.5, "targets": 407_641, "songs": ours.tolist(), "seconds": 60}
    measured("per_song", {"models": {"mini": entry, "other": entry | {"perplexity": 4.0}}})
    assert song_by_song.best() == "mini"
    nearest, furthest = song_by_song.furthest("mini")
    assert len(nearest) == len(furthest) == 10
    assert (nearest[0][0], nearest[0][-1]) == (names[long[7]], "0.50")
    assert (furthest[0][0], furthest[0][-1]) == (names[long[9]], "4.00")
    assert f"| {names[long[9]]} | {targets[long[9]]:,} |" in pages.all_results()
    assert song_by_song.picture("Songs").png().startswith(b"\x89PNG")
    mini = next(row for row in reproduction.table_2() if row.name == "mini")
    assert perplexity_tables.compared(mini)[7] == "3.500"
    measured("per_song", None)
    assert perplexity_tables.compared(mini)[7] == "–" and song_by_song.best() is None
    assert (
        "## Song by song" in pages.all_results() and "song_by_song.png" not in pages.all_results()
    )


# The reproduction on one page


def test_the_summary_is_one_page_that_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(findings_table, "runs", list)
    page = reproduction_page.page(pages.hardware())
    assert len(page.splitlines()) < 120 and max(map(len, page.splitlines())) < 400
    for heading in ("Scope", "Reproduced exactly", "Reproduced in small", "Cost", "What was hard"):
        assert f"\n## {heading}\n" in page
    assert page.count("not measured yet") == 7 and "could not be had here" in page


def test_costs_count_the_same_weights_once():
    entry = {"weights": "a", "minutes": 60, "test": {"seconds": 1800}, "valid": {"seconds": 1800}}
    models = {"mini": entry, "mini_memory": entry, "random": {"test": {"seconds": 0}}}
    models["paper/lstm"] = {"weights": "b", "minutes": 6, "profile": "paper"}
    rows = {row[0]: row[1:] for row in reproduction_page.costs(models, {"mini": {"seconds": 3600}})}
    assert rows["training on all songs"] == ("1", "1.0", "2.0")
    assert rows["the same on one GPU"] == ("1", "0.1", "–")
    assert rows["exact evaluation"] == ("5", "2.0", "4.0")
    assert rows["evaluation song by song"] == ("1", "1.0", "1.0")
