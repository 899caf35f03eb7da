"""The paper's Table 2 and Figure 3, its findings, and the reproduction on one page."""

import json

import findings_table
import gpu_kit
import pages
import perplexity_tables
import pytest
import reproduction_page
import table_figures
import trainings
from finding_runs import a_run

from lakhnes_lib import profiles
from lakhnes_lib.data import registry
from lakhnes_lib.listening import reproduction


def test_the_table_has_every_row_of_the_paper():
    cited = {row.paper for row in reproduction.table_2()}
    assert {631.00, 198.14, 37.25, 14.11, 12.64, 3.501, 2.741, 2.460} <= cited
    pictures = {path.stem for path in (profiles.root() / "results").glob("*.png")}
    assert pictures >= table_figures.figures().keys(), "run `make report`"


def test_rows_take_runs_first_and_those_after_most_of_lakh():
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
    models |= {"laptop/transformer_xl_lakh_1": {"test": {"exact": 6}}}
    models |= {
        "laptop/transformer_xl_lakh_2": {},
        "laptop/lakh_4": {"curve": [{"events": 9, "valid_loss": 1}]},
    }
    models |= {
        f"paper/transformer_xl_lakh_{n}": {"parameters": 41, "test": {"exact": 3 - n}}
        for n in (1, 2)
    }
    best = ["laptop/transformer_xl_lakh_4", "paper/transformer_xl_lakh_2"]
    assert reproduction.runs("transformer_xl_lakh", models) == best
    models |= {"other/transformer_xl_lakh": {"parameters": 50, "test": {"exact": 2}}}
    assert reproduction.runs("transformer_xl_lakh", models) == [*best, "other/transformer_xl_lakh"]
    assert not table_figures.training_curves("laptop", models), "lakh_4 has another valid split"
    rows = {row.title: row for row in reproduction.table_2(models)}
    assert rows["LSTM"].name == "paper/lstm" and rows["LSTM"].perplexity == {
        "paper": 14.11,
        "here, exact": 40,
    }
    assert rows["unigram"].name is None and rows["unigram"].perplexity == {"paper": 198.14}


def test_figure_3_has_a_line_for_each_seed_of_two_amounts(tmp_path, monkeypatch):
    named = {0: "few_transformer_xl_augmented", 1: "after_lakh_1", 4: "after_lakh_4"}
    values = {0: {0: 9.0, 1: 8.0, 4: 7.0}, 1: {0: 9.5, 1: 8.5}, 2: {0: 6.0}}
    runs = [
        a_run(named[amount], seed, value, "test")
        for seed, points in values.items()
        for amount, value in points.items()
    ]
    runs += [a_run("lakh_4", 0, 2.0, "valid"), a_run("few_lstm", 0, 30.0, "test")]
    path = tmp_path / "findings.json"
    path.write_text(json.dumps(runs))
    plain = reproduction.results.path_of
    monkeypatch.setattr(
        reproduction.results, "path_of", lambda name: path if name == "findings" else plain(name)
    )
    lines = reproduction.figure_3()
    assert lines.pop("paper: epochs of Lakh") == ([0, 1, 2, 4], [2.741, 2.545, 2.472, 2.46])
    assert lines == {
        "here: units of Lakh, seed 0": ((0, 1, 4), (9.0, 8.0, 7.0)),
        "here: units of Lakh, seed 1": ((0, 1), (9.5, 8.5)),
    }
    path.write_text("[]")
    assert list(reproduction.figure_3()) == ["paper: epochs of Lakh"]


def test_figure_3_is_drawn_beside_the_perplexity_without_lakh():
    lines = {"paper": ([0, 1, 4], [4.0, 3.0, 2.0]), "here": ((0, 4), (10.0, 9.0))}
    late = {"here, begun late": ((1, 4), (8.0, 7.0))}
    changes = table_figures.changes_by_lakh(lines | late)
    assert changes.keys() == lines.keys()
    assert changes["paper"][1].tolist() == [0, -25, -50]
    assert changes["here"][1] == pytest.approx([0, -10])
    (axes,) = table_figures.figure_3(changes, title="made").axes
    assert [line.get_xdata().tolist() for line in axes.lines] == [[0, 1, 2], [0, 2]]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1", "4"]
    assert not table_figures.changes_by_lakh({"paper": lines["paper"]} | late)


def test_a_run_that_goes_on_begins_where_the_model_before_it_ended():
    def entry(data, *events):
        points = [{"events": each, "valid_loss": 1.0 - each / 1e9} for each in events]
        return {"data": data, "curve": points, "events": events[-1]}

    nes, lakh = "of NES-MDB", "of Lakh"
    models = {
        "laptop/lstm": entry(nes, 10**6),
        "laptop/transformer_xl_hours_end": entry(nes, 0, 2 * 10**6),
        "laptop/transformer_xl_hours_lakh": entry(nes, 0, 10**6),
        "laptop/lakh_hours": entry(lakh, 5 * 10**6),
    }
    lines = table_figures.training_curves("laptop", models)
    assert {name: line[0] for name, line in lines.items()} == {
        "lstm": [1],
        "transformer_xl_hours_end": [0, 2],
        "transformer_xl_hours_lakh": [0, 1],
    }
    models["transformer_xl"] = reproduction.measured()["transformer_xl"] | {"data": nes}
    lines = table_figures.training_curves("laptop", models)
    shipped = lines["shipped transformer_xl"][0]
    assert lines["transformer_xl_hours_end"][0] == pytest.approx([shipped[-1], shipped[-1] + 2])
    drawn = table_figures.training(lines, title="made")
    assert [len(axes.lines) for axes in drawn.axes] == [1, 3], "minutes, and hours below"


def test_rows_of_table_2s_picture_can_be_told_apart():
    labels = [label for label, _ in table_figures.labelled(reproduction.table_2())]
    assert len(set(labels)) == len(labels)
    assert {"Transformer-XL, augmented, 5.3 M", "Transformer-XL"} < set(labels)


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
    assert not table_figures.training_curves("smoke", models) and table_figures.training_curves(
        "laptop", models
    )


# The reproduction on one page


def test_the_summary_is_one_page_that_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(findings_table, "runs", list)
    page = reproduction_page.page(pages.hardware())
    assert len(page.splitlines()) < 120 and max(map(len, page.splitlines())) < 400
    exactly = "Reproduced exactly, and two numbers fitted"
    large = "Trained at full size, by a recipe of our own"
    for heading in ("Scope", exactly, large, "Reproduced in small", "Cost", "What was hard"):
        assert f"\n## {heading}\n" in page
    assert page.count("not measured yet") == 10 and "could not be had here" in page


def test_rows_of_the_papers_size_stand_once():
    """Those of full size are not among the small ones, nor the authors' own among either."""
    large = [row.title for row in reproduction_page.full_size()]
    small = [cells[:2] for cells in reproduction_page.networks()]
    of_paper = ["Transformer-XL, augmented", "Transformer-XL, augmented, after Lakh"]
    assert large[:2] == of_paper and large[2].endswith("assets/pretrained/paper_size")
    assert len(small) == 8 and all(float(size.split()[0]) < 6 for _, size in small)
    known = reproduction.Row("the authors' checkpoint", "41 M", 2.46, "published/nes", {})
    known = known._replace(ours={"parameters": 41_274_487, "architecture": "transformer_xl"})
    assert not reproduction_page.is_of_papers_size(known)
    assert reproduction_page.is_of_papers_size(known._replace(name="paper/nes"))


def test_the_summary_says_of_which_weights_a_row_is():
    rows = {row.title: row for row in reproduction_page.full_size()}
    row = rows["Transformer-XL, augmented"]
    assert row.packed and row.on_gpu != row.streams, "measured as a shipped model, in few bits"
    assert not rows["Transformer-XL, augmented, after Lakh"].packed


def test_rows_that_were_not_run_at_full_size_are_named():
    run, not_run = reproduction_page.epochs_of_the_paper()
    augmented = "Transformer-XL, augmented"
    assert run == {augmented: 350, f"{augmented}, after Lakh": 250}
    assert not_run == {"LSTM": 18, "LSTM, augmented": 35, "Transformer-XL": 76}
    page = reproduction_page.page(pages.hardware()).replace("\n", " ")
    assert "LSTM; LSTM, augmented; Transformer-XL, were not run" in page
    # The page says that the kit trains each row of the Transformer-XL, and has no LSTM.
    rows = {row["name"] for row in reproduction.known_answers()["table_2"]}
    assert {name for name in rows if "transformer_xl" in name} < gpu_kit.ROWS.keys()
    assert not any("lstm" in row for row in gpu_kit.ROWS)


def test_lakh_and_the_goes_of_the_row_after_it_are_told_apart():
    curve = [{"events": events} for events in (0, 10, 30, 30, 40, 70)]
    row = {"valid_curve": curve, "trained": {"events": 70}}
    assert reproduction_page.events_of_goes(row) == [30, 40]
    row = {"valid_curve": curve[:3], "trained": {"events": 35}}
    assert reproduction_page.events_of_goes(row) == [35]
    after, _ = reproduction_page.lakh_and_all()
    goes = reproduction_page.events_of_goes(after)
    assert len(goes) == after["goes"] and sum(goes) == after["trained"]["events"]
    page = reproduction_page.page(pages.hardware()).replace("\n", " ")
    assert "42 M events of Lakh, 0.7% of the paper's 6.1 billion" in page
    assert "(98 M in one go with Lakh, 145 M in a second one)" in page


def a_training(profile: str, minutes: float, **more) -> dict:
    about = {"profile": profile, "events": 10**6, "minutes": minutes, "curve": [minutes]}
    return about | {"weights": str(minutes), "seed": 0} | more


def test_costs_count_the_same_training_once(monkeypatch):
    scores = {"test": {"seconds": 1800}, "valid": {"seconds": 1800}}
    entry = a_training("laptop", 60, **scores)
    models = {"laptop/lstm": entry, "lstm": entry | {"weights": "rounded"}}
    models |= {"random": {"test": {"seconds": 0}}, "paper/lstm": a_training("paper", 6)}
    scored = a_run("few_lstm", 0, 30.0) | {"valid_seconds": 1800.0}
    monkeypatch.setattr(findings_table, "runs", lambda: [scored, scored | {"test_seconds": 3600}])
    rows = {row[0]: row[1:] for row in reproduction_page.costs(models, {"mini": {"seconds": 3600}})}
    assert rows["training on all songs, on cores"] == ("1", "1.0", "2.0")
    assert rows["training on all songs, on one GPU"] == ("1", "0.1", "–")
    assert rows["training for the findings, Lakh included"] == ("2", "1.0", "1.0")
    assert rows["exact evaluation for the findings"] == ("3", "2.0", "2.0")
    assert rows["exact evaluation of the others"] == ("5", "2.0", "4.0")
    assert rows["evaluation song by song"] == ("1", "1.0", "1.0")
    assert rows["in all"] == ("–", "7.1", "10.0")


# Where a model was trained


def test_stages_of_shipped_models_are_on_their_own_devices():
    models = reproduction.measured()
    first, *later = trainings.stages("mini_memory", models["mini_memory"])
    assert "H100" in first.device and not any(stage.device for stage in later)
    whole = first.minutes + sum(stage.minutes for stage in later)
    assert whole == pytest.approx(models["mini"]["minutes"])
    assert trainings.minutes("mini", models["mini"]) == f"{whole:.0f} ({first.minutes:.0f} on H100)"
    assert {"paper_size", "paper/transformer_xl_lakh"} - trainings.each_once(models).keys() == {
        "paper/transformer_xl_lakh"
    }
    assert {trainings.short(device) for device in trainings.devices(models)} == {"H100", "H200"}


def test_a_run_is_on_the_gpu_that_it_or_its_result_names():
    for name, entry, said in (
        ("laptop/lstm", a_training("laptop", 9), "9"),
        ("laptop/lstm", a_training("laptop", 9, device="NVIDIA T4"), "9 (T4)"),
        ("paper/transformer_xl_augmented", a_training("paper", 9), "9 (H100)"),
        ("paper/lstm", a_training("paper", 9), "9 (GPU)"),
    ):
        assert trainings.minutes(name, entry) == said
    assert trainings.stages("random", {}) == ()


def test_events_count_up_to_the_weights_that_went_on():
    assert trainings.learned_in({"events": 600, "step": 30, "best_step": 20}) == 400
    assert trainings.learned_in({"events": 600, "step": 30}) == 600
    losses = {10: 3.0, 20: 2.0, 30: 2.5}
    curve = [{"events": events, "valid_loss": loss} for events, loss in losses.items()]
    assert trainings.learned("laptop/lstm", {"events": 30, "curve": curve}) == 20
    assert trainings.learned("laptop/lstm", {"events": 30}) == 30
    models = reproduction.measured()
    for name in ("mini", "mini_memory"):
        assert trainings.learned(name, models[name]) == 140_247_040 < models[name]["events"]
    cells = {row.name: perplexity_tables.compared(row) for row in reproduction.table_2()}
    assert cells["mini"][-2] == "140.2 M"


@pytest.mark.parametrize("name", ["mini", "paper_size", "transformer_xl"])
def test_the_best_step_of_a_shipped_stage_is_that_of_its_log(name):
    folder = profiles.root() / "assets" / "pretrained" / name
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    begin = 0
    for stage in json.loads((folder / "config.json").read_text())["stages"]:
        own = {}  # of two measurements at one step the first ends a stage
        for row in log:
            if "valid_loss" in row and begin < row["step"] <= begin + stage["step"]:
                own.setdefault(row["step"] - begin, row["valid_loss"])
        if "best_step" in stage:
            assert stage["best_step"] == min(own, key=own.get)
        else:  # of valid of Lakh no log came back
            assert (name, begin) == ("paper_size", 0)
        begin += stage["step"]


def test_what_lakh_took_is_said_not_to_be_counted():
    models = reproduction.measured()
    for name, left_out in (
        ("laptop/transformer_xl_lakh_4", True),
        ("paper/transformer_xl_lakh", False),
        ("paper/transformer_xl_augmented", False),
        ("paper_size", False),
    ):
        assert trainings.lakh_is_left_out(name, models[name]) is left_out
    cells = {row.name: perplexity_tables.compared(row) for row in reproduction.table_2()}
    assert cells["laptop/transformer_xl_lakh_4"][-1].endswith(" + Lakh")
    assert cells["laptop/transformer_xl_lakh_4"][-2] == "1.9 M + 2.0 M of Lakh"
    for name in ("paper/transformer_xl_lakh", "paper_size"):
        assert cells[name][-2:] == ("243.6 M + 41.9 M of Lakh", "17 (H200)")
    assert cells["paper/transformer_xl_augmented"][-2] == "148.8 M"
