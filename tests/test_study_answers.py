"""Answers of listening tests: each is read, bad ones are named, some listeners are left out."""

import csv

import pytest
import questionnaire

from lakhnes_lib.errors import BadStudy
from lakhnes_lib.study import answers, designs
from lakhnes_lib.study.answers import Judgement

pytest_plugins = ["small_study"]


def lines_of(design, listener="ann", choices="aaaaaaaaaa"):
    print_id = design.fingerprint
    return [
        f"{listener},{print_id},{t.id},{c},x" for t, c in zip(design.trials, choices, strict=True)
    ]


def test_a_choice_is_the_method_of_that_side(design, tmp_path):
    path = tmp_path / "a.csv"
    lines = lines_of(design, choices="abbaababba") + lines_of(design, "bob", "b" * 10)[:1]
    path.write_text("\n".join(["listener,design,trial,choice,time", *lines]))
    given = answers.read(design, [path])
    pairs = [trial.methods for trial in design.trials]
    wanted = [
        pair if choice == "a" else pair[::-1]
        for pair, choice in zip(pairs, "abbaababba", strict=True)
    ]
    assert [(j.chosen, j.other) for j in given.judgements] == [*wanted, pairs[0][::-1]]
    assert given.listeners == ["ann", "bob"] and not given.refused and not given.replaced


def test_an_answer_that_was_taken_back_does_not_count(design, tmp_path):
    """As in files of the widget of earlier versions."""
    path, lines = tmp_path / "a.csv", lines_of(design, choices="a" * 10)
    undone = lines_of(design, choices=["undone"] * 10)[1]
    rows = [*lines[:2], undone, *lines[2:], lines_of(design, choices="b" * 10)[1]]
    path.write_text("\n".join(["listener,design,trial,choice,time", *rows]))
    given = answers.read(design, [path])
    assert len(given.judgements) == 10 and not given.refused and not given.replaced
    assert given.judgements[-1].chosen == design.trials[1].methods[1]
    path.write_text("\n".join(["listener,design,trial,choice,time", *lines[:2], undone]))
    assert len(answers.read(design, [path]).judgements) == 1


def test_every_bad_row_is_named_and_no_other_is_lost(design, tmp_path):
    good = lines_of(design)
    other = designs.plan("turing", ["real", "b"], seed=9).fingerprint
    bad = [
        f"bob,{other},{design.trials[0].id},a,x",
        good[0].replace(",a,", ",c,"),
        good[0].replace("t", "tt", 1),
        "bob,",
    ]
    path = tmp_path / "a.csv"
    path.write_text(
        "\n".join(
            [
                "listener,design,trial,choice,time",
                *good,
                *bad,
                *good[:3],
                good[3].replace(",a,", ",b,"),
            ]
        )
    )
    given = answers.read(design, [path])
    assert len(given.judgements) == 10 and given.replaced == 4
    assert given.judgements[-1].chosen == design.trials[3].methods[1], "the last counts"
    for words, number, sentence in zip(
        ("another study", "neither a nor b", "no trial", "cut off"),
        range(12, 16),
        given.refused,
        strict=True,
    ):
        assert words in sentence and f"line {number}:" in sentence


@pytest.mark.parametrize("separator", [";", "\t"])
def test_spreadsheets_separators_and_marks(design, tmp_path, separator):
    path = tmp_path / "excel.csv"
    text = "\r\n".join(["listener,design,trial,choice,time", *lines_of(design)]).replace(
        ",", separator
    )
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(answers.read(design, [path]).judgements) == 10


def test_unusable_files(design, tmp_path):
    path = tmp_path / "a.csv"
    for content, words in (
        (b"", "first line"),
        (b"\xff\xfe\x00", "cannot be read"),
        (
            b"listener,design,trial,choice,time\nann,dffff,t1,a,x\n",
            "no answer to this study .* another study",
        ),
    ):
        path.write_bytes(content)
        with pytest.raises(BadStudy, match=words):
            answers.read(design, [path])


def test_merge_keeps_all_and_overwrites_nothing(design, tmp_path):
    head = "listener,design,trial,choice,time"
    for name in ("ann", "bob"):
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *lines_of(design, name)]))
    files = [tmp_path / "ann.csv", tmp_path / "bob.csv", tmp_path / "ann.csv"]
    assert answers.merge(files, tmp_path / "all.csv") == 20
    one, many = answers.read(design, [tmp_path / "all.csv"]), answers.read(design, files)
    assert sorted(one.judgements) == sorted(many.judgements) and many.replaced == 10
    with pytest.raises(BadStudy, match="never written over"):
        answers.merge(files, tmp_path / "all.csv")


def test_filter(design):
    rows = []
    for listener, count in (("all", 10), ("half", 5), ("part", 7), ("deaf", 10)):
        for trial in design.trials[:count]:
            right = "ab"[trial.methods.index("real")]
            rows.append(
                (listener, trial.id, "ba"["ab".index(right)] if listener == "deaf" else right)
            )
    given = answers.answers_of(design, rows)
    filtered, dropped = answers.filter_listeners(given, batches=2)
    assert filtered.listeners == ["all"] and set(dropped) == {"half", "part", "deaf"}
    assert "1 of at least 2" in dropped["part"] and "random events" in dropped["deaf"]
    assert answers.filter_listeners(given, batches=1)[0].listeners == ["all", "half", "part"]
    assert answers.filter_listeners(given, batches=0, controls=False)[0].listeners == [
        "all",
        "half",
        "part",
        "deaf",
    ]
    with pytest.raises(BadStudy, match="none of 4 listeners"):
        answers.filter_listeners(given, batches=3)


def test_the_authors_questionnaire(tmp_path, capsys):
    key, path = tmp_path / "key.csv", tmp_path / "batch.csv"
    names = ["real_data", "control", "lstm", "lakhnes"]
    key.write_text(
        "uuid,method,path\n"
        + "".join(f"{name[:4]}{n},{name},x\n" for name in names for n in range(9))
    )
    pairs = [("real_data", "control"), ("lstm", "real_data"), ("real_data", "lakhnes")]
    head = ["WorkerId", "AssignmentId"]
    for i in range(len(pairs)):
        head += [
            f"Input.pair_{i}_clip_a_url",
            f"Input.pair_{i}_clip_b_url",
            f"Answer.pair_{i}_pref",
        ]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for worker, choices in (("W1", "ABA"), ("W1", "AAA"), ("W2", "BBX")):
            row = [worker, "z"]
            for n, ((a, b), choice) in enumerate(zip(pairs, choices, strict=True)):
                row += [
                    f"https://x.org/s/{a[:4]}{n}.mp3",
                    f"https://x.org/s/{b[:4]}{n}.mp3",
                    choice,
                ]
            writer.writerow(row)
    given = questionnaire.read([path], key)
    assert given.kind == "turing" and list(given.pairs.values()) == [3, 3, 3]
    assert len(given.refused) == 1 and "'x'" in given.refused[0]
    assert given.judgements[0] == Judgement("W1", f"{path}, line 2", "real", "random")
    filtered, dropped = answers.filter_listeners(given, batches=2)
    assert filtered.listeners == ["W1"] and "0 of at least 2" in dropped["W2"]
    assert questionnaire.main([str(key), str(path), "--min-batches", "2"]) == 0
    assert "# Turing test" in capsys.readouterr().out
    (tmp_path / "other.csv").write_text("uuid,method\nabc,lstm\n")
    with pytest.raises(BadStudy, match="no answer of a questionnaire"):
        questionnaire.read([path], tmp_path / "other.csv")
