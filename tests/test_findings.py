"""The paper's findings as sentences, and the runs behind them as tables and a picture."""

import itertools
import math

import findings_context
import findings_runs
import findings_table
import pytest
from finding_runs import a_run
from scipy import stats


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
    mean = (5 + 5.5 + 6) / (10 + 10 + 10.5) - 1
    assert f" on valid, {mean:+.1%}, lower with 3 of 3 seeds (p = " in said
    differences = [math.log(a / b) for a, b in pairs.values()]
    p = stats.ttest_1samp(differences, 0).pvalue
    assert said.endswith(f"(p = {p:.2g}).") and findings_table.said_p(0.0009) == "p < 0.001"
    other = findings_table.sentence(finding, [*all_runs, a_run(finding.worse, 3, 399.0)])
    assert "lower with 3 of 4 seeds" in other
    all_runs += [a_run(name, 0, 7.0, "test") for name in (finding.better, finding.worse)]
    assert " on test, +0.0%, one seed, so no test." in findings_table.sentence(finding, all_runs)


def test_a_finding_that_is_not_seen_is_said_to_be_not_seen():
    finding = findings_table.FINDINGS[2]
    all_runs = [a_run(finding.better, 0, 12.0), a_run(finding.worse, 0, 10.0)]
    said = findings_table.sentence(finding, all_runs)
    assert "not seen here: 12.00 against 10.00 on valid, +20.0%, one seed, so no test." in said


@pytest.mark.filterwarnings("ignore:Precision loss")  # two seeds that are the same
@pytest.mark.parametrize("values, seen", [((12, 8, 6, 5.5), "seen"), ((12, 8, 7, 4), "not seen")])
def test_diminishing_returns_need_all_amounts(monkeypatch, values, seen):
    names = (findings_table.XL_AUGMENTED, *findings_table.LAKH)
    all_runs = [a_run(name, 0, value) for name, value in zip(names, values, strict=True)]
    monkeypatch.setattr(findings_table, "runs", lambda: all_runs)
    steps = [math.log(a / b) for a, b in itertools.pairwise(values)]
    by_unit = f" The first unit gains {steps[0]:.3f}, each of the 3 after it"
    by_unit += f" {sum(steps[1:]) / 3:.3f} (paper: 0.074 and 0.011)"
    one_seed = ", ".join(f"{step:.3f}" for step in steps)
    alike = ", ".join(f"{step:.3f} ± 0.000" for step in steps)
    said = findings_table.diminishing()
    papers = "From 0 to 1, 1 to 2, 2 to 4 units the paper gains 0.074, 0.029, 0.005 nats"
    assert f"gains less**: {seen}. {papers}; here " in said
    shown = f"; here {one_seed} on valid (one seed, which is no finding yet).{by_unit}."
    assert said.endswith(shown)
    all_runs += [a_run(name, 1, 100.0) for name in names[::2]]  # not comparable
    assert findings_table.diminishing() == said
    all_runs += [each | {"seed": 2} for each in all_runs[:4]]
    shown = f"; here {alike} on valid (2 seeds).{by_unit}"
    assert shown in findings_table.diminishing()
    for run in [run for run in all_runs if run["name"] == names[1]]:
        all_runs.remove(run)
    assert findings_table.diminishing().endswith(": not measured yet.")


def test_a_step_of_lakh_that_loses_is_named(monkeypatch):
    names = (findings_table.XL_AUGMENTED, *findings_table.LAKH)
    values = {0: (12, 8, 9, 5.0), 1: (13, 9, 10, 5.5), 2: (12, 8, 7.9, 5)}
    all_runs = [
        a_run(name, seed, value)
        for seed, of_seed in values.items()
        for name, value in zip(names, of_seed, strict=True)
    ]
    monkeypatch.setattr(findings_table, "runs", lambda: all_runs)
    lost = [math.log(one / two) for _, one, two, _ in values.values()]
    p = stats.ttest_1samp(lost, 0).pvalue
    first = [math.log(none / one) for none, one, _, _ in values.values()]
    each = [math.log(one / four) / 3 for _, one, _, four in values.values()]
    p_by_unit = stats.ttest_rel(first, each).pvalue
    said = findings_table.diminishing()
    assert f"(3 seeds); 2 units are worse than 1 in 2 of 3 seeds, p = {p:.2g}. " in said
    assert said.endswith(f", the later ones less with 3 of 3 seeds, p = {p_by_unit:.2g}.")


def test_overfitting_is_later_where_valid_turns_later(monkeypatch):
    plain, augmented = (
        f"{name}_{findings_table.FEWEST_SONGS}"
        for name in (findings_table.LSTM, findings_table.LSTM_AUGMENTED)
    )
    turned = [[[200, 4.5], [400, 4.0], [600, 3.0]], [[200, 3.9], [400, 4.1], [600, 4.1]]]
    curves = {
        plain: [[[200, 4.0], [400, 3.5], [600, 3.75]], [[200, 4.0], [400, 4.5], [600, 4.75]]],
        augmented: turned,
    }
    all_runs = [
        a_run(name, seed, 9.0) | {"curve": curve}
        for name, of_seeds in curves.items()
        for seed, curve in enumerate(of_seeds)
    ]
    monkeypatch.setattr(findings_table, "runs", lambda: all_runs)
    of_lstm, of_transformer = findings_table.overfitting()
    with_it = "With it, valid is lowest after 400 ± 283 steps, and 0.10 nats higher at the last one"
    without = (
        "Without it, valid is lowest after 300 ± 141 steps, and 0.50 nats higher at the last one"
    )
    assert f"(112 songs). {with_it}. {without}." in of_lstm
    assert of_lstm.endswith(" That is earlier with 1 of 2 seeds.")
    assert of_transformer.endswith("Transformer-XL's overfitting**: not measured yet.")
    assert findings_table.further()[2:] == [f"{of_lstm} {of_transformer}"]
    assert findings_table.further(measured_only=True) == [of_lstm]
    turned[1][-1][1] = 3.8  # with both seeds valid falls to the last step: no turn was seen
    assert "With it, valid still falls at the last step, 600." in findings_table.overfitting()[0]


def test_a_setting_stands_beside_the_same_seed_of_its_row(monkeypatch):
    row = findings_table.XL_AUGMENTED
    of_row = [a_run(row, seed, value) for seed, value in enumerate((8.0, 9.0))]
    changed = {"row": row, "changes": {"dropout": 0.2}}
    other = {"row": "few_lstm", "changes": {"learning_rate": 0.1}}
    all_runs = [each | {"row": row, "changes": {}} for each in of_row]
    all_runs += [
        a_run("dropout_0.2", seed, value) | changed for seed, value in ((0, 8.8), (1, 9.0))
    ]
    all_runs += [a_run("lstm_rate_0.1", 0, 30.0) | other]
    all_runs += [a_run("decay_0.3", 0, 8.0) | {"row": row, "changes": {"weight_decay": 0.3}}]
    monkeypatch.setattr(findings_table, "runs", lambda: all_runs)
    again, cells = findings_runs.changes(row)
    assert again[0] == "nothing, the row once more (weight decay 0.3)"
    assert findings_runs.winners(row) == []
    assert findings_runs.rate("few_lstm") == "LSTM, whose own learning rate is 0.002"
    assert findings_runs.rate(row).endswith(", whose own learning rate of the matrices is 0.02")
    all_runs += [
        a_run("average_0.99", seed, 7.9 + seed) | {"row": row, "changes": {"average": 0.99}}
        for seed in (0, 1)
    ]
    assert findings_runs.winners(row) == ["moving average of the weights 0.99"]
    assert findings_runs.spread(row) == (2, pytest.approx(math.log(9 / 8)))
    difference = math.log(8.8 / 8)
    means = "8.90 ± 0.14", f"{difference:+.3f}, +0.000", f"{difference / 2:+.3f}"
    assert cells == ("dropout 0.2", "2", *means)


def test_what_the_planned_seeds_left_open_is_named(monkeypatch):
    assert findings_context.parameters("few_lstm") > 1e6
    open_one, sure = findings_table.FINDINGS[3], findings_table.FINDINGS[0]
    values = {open_one.better: (8, 9, 8), open_one.worse: (9, 8.5, 9.5)}
    values |= {sure.better: (38, 39, 40), sure.worse: (56, 57, 58.5)}
    all_runs = [
        a_run(name, seed, value, "test")
        for name, of_seed in values.items()
        for seed, value in enumerate(of_seed)
    ]
    monkeypatch.setattr(findings_table, "runs", lambda: all_runs)
    assert findings_context.left_open() == [4]
    p = [findings_table.p_with(finding) for finding in (open_one, sure)]
    said = findings_context.about_seeds()
    assert f"p was above 0.05 in finding 4: with 3 seeds p is {p[0]:.2g} in finding 4. " in said
    # The rows make three of the pairs: Holm takes the smallest p times 3, the next times 2.
    between = findings_table.p_with(findings_table.FINDINGS[1])
    corrected = max(p * (3 - rank) for rank, p in enumerate(sorted([*p, between])))
    assert said.endswith(f"for 3 tests at once (Holm's method), p = {corrected:.2g} at most.")
    fourth = [a_run(open_one.better, 3, 8.0, "test"), a_run(open_one.worse, 3, 9.2, "test")]
    monkeypatch.setattr(findings_table, "runs", lambda: [*all_runs, *fourth])
    p_of_four = findings_table.p_with(open_one)
    said = findings_context.about_seeds()
    assert f"so more were run, of every row: with 3 and 4 seeds p is {p[0]:.2g} and" in said
    assert f" and {p_of_four:.2g} in finding 4. " in said and "take finding 4 as likely" in said
    monkeypatch.setattr(findings_table, "runs", lambda: all_runs[:-1])
    assert findings_table.p_with(sure, 3) is None
    monkeypatch.setattr(findings_table, "runs", list)
    assert findings_context.about_seeds() == "Three seeds were planned."
    assert findings_context.small_models() is None


def test_small_models_are_measured_by_their_own_songs():
    small = findings_context.small_models()
    counted = next(r for r in findings_table.runs() if r["name"] == findings_table.NGRAM)
    assert 0.7e6 < counted["events"] < 1e6 and 4 < small["passes"] < 8
    assert small["ours"] == pytest.approx(small["weights"]["few_transformer_xl"] / 0.84e6, rel=0.1)
    assert small["paper"] == pytest.approx(41.3 / 8.4, rel=0.02)
    assert small["times"] == pytest.approx(1 + 9.8 / 4.75, rel=0.02)
