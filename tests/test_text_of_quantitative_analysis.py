"""What notebook 07 says of the measured models in words: true of the numbers in ``results``."""

import json
from collections import defaultdict
from math import exp, log

import numpy as np
import pytest

from lakhnes_lib import profiles
from lakhnes_lib.listening import aggregates, reproduction, results

PAPERS = "here, paper's protocol"
AUGMENTED = "Transformer-XL, augmented"
AFTER_LAKH = f"{AUGMENTED}, after Lakh"


@pytest.fixture(scope="module")
def runs():
    """The small runs on a tenth of the songs."""
    return json.loads(results.path_of("findings").read_text(encoding="utf-8"))


def after_lakh() -> list[dict]:
    """For each seed with Lakh: units of Lakh and the perplexity after them, without Lakh first."""
    lines = reproduction.figure_3().items()
    return [dict(zip(*line, strict=True)) for name, line in lines if "here" in name]


def test_rows_without_a_network_are_met():
    rows = {row.title: row for row in reproduction.table_2()}
    for title in ("random", "unigram"):
        assert abs(rows[title].perplexity[PAPERS] / rows[title].paper - 1) < 0.01
    counted = rows["5-gram, back-off (inferred)"]
    assert abs(counted.perplexity["here, exact"] / counted.paper - 1) < 0.01


def test_models_of_the_papers_size_are_below_its_rows():
    rows = reproduction.table_2()
    ours = {r.title: r.perplexity[PAPERS] for r in rows if (r.name or "").startswith("paper/")}
    paper = {row.title: row.paper for row in rows if row.paper}
    assert ours[AUGMENTED] < paper[AUGMENTED]
    assert abs(ours[AUGMENTED] / paper[AFTER_LAKH] - 1) < 0.02  # about as low as LakhNES
    assert ours[AFTER_LAKH] < 0.97 * paper[AFTER_LAKH]


def test_the_shipped_transformer_xl_is_close_with_an_eighth_of_the_weights():
    (paper,) = {row.paper for row in reproduction.table_2() if row.title == "Transformer-XL"}
    shipped = reproduction.measured()["transformer_xl"]
    assert 0.01 < shipped["test"]["paper"] / paper - 1 < 0.05
    assert 7 < 41e6 / shipped["parameters"] < 9


def test_small_models_heard_each_song_less_than_once_and_augmentation_harms_them():
    of_train = aggregates.load("nesmdb")["facts"]["kinds"]["splits"]["train"]["framed"]
    models = reproduction.measured()
    minutes = [name for name in models if name.startswith("laptop/") and "_hours" not in name]
    assert max(models[name]["events"] for name in minutes) < of_train
    for name in ("lstm", "transformer_xl"):
        plain, augmented = (models[f"laptop/{name}{end}"]["test"] for end in ("", "_augmented"))
        assert plain["paper"] < augmented["paper"]


def test_small_models_gain_from_lakh_and_less_so_from_more():
    models, ends = reproduction.measured(), ("augmented", "lakh_1", "lakh_2", "lakh_4")
    without, *lakh = (models[f"laptop/transformer_xl_{end}"]["test"]["exact"] for end in ends)
    assert lakh == sorted(lakh) and lakh[-1] < without
    assert profiles.load("laptop").training["lakh_1"].steps == 240


def test_most_lakh_took_twice_as_long_as_the_songs_after_it(runs):
    events = {(run["name"], run["seed"]): run["events"] for run in runs}
    assert 1.9 < events["lakh_4", 0] / events["after_lakh_4", 0] < 2.2


def test_the_lstm_has_another_optimiser_and_more_but_shorter_excerpts_in_a_batch():
    training = profiles.load("laptop").training
    lstm, transformer = training["few_lstm"], training["few_transformer_xl"]
    assert lstm.optimizer != transformer.optimizer
    assert lstm.batch > transformer.batch and lstm.segment < transformer.segment


def test_a_seed_changes_about_as_much_as_lakh_and_less_after_it(runs):
    of_setting = defaultdict(list)
    for run in runs:
        if "test" in run and "gram" not in run["name"]:
            of_setting[run["name"]].append(exp(run["test"]["nats"]))
    apart = {
        name: max(values) / min(values) for name, values in of_setting.items() if len(values) > 1
    }
    by_seed = max(apart.values())
    by_seed_after_lakh = max(apart[name] for name in apart if name.startswith("after_lakh"))
    seeds = after_lakh()
    amounts = [[value for units, value in each.items() if units] for each in seeds]
    by_amount = max(max(values) / min(values) for values in amounts)
    assert by_seed > 1.1 and by_amount < by_seed_after_lakh < by_seed
    by_lakh = np.mean([log(each[0] / each[max(each)]) for each in seeds])
    assert 0.5 < by_lakh / log(by_seed) < 2
