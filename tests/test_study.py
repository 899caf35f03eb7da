"""Listening tests: designs that are fair and give nothing away, answers that survive, statistics
that are right."""

import csv
import io
import json
import sys
import wave
from collections import Counter

import numpy as np
import pytest
import questionnaire
import simulate_study
from hypothesis import given, settings
from hypothesis import strategies as st
from quartets import quartet

from lakhnes_lib.__main__ import main
from lakhnes_lib.errors import BadSetting, BadStudy, LakhnesError
from lakhnes_lib.models.language_model import RandomModel
from lakhnes_lib.music import events
from lakhnes_lib.sound import apu
from lakhnes_lib.study import answers, clips, designs, study_page
from lakhnes_lib.study.answers import Judgement
from lakhnes_lib.study.clips import make_study

OPTIONS = dict(seconds=1.0, batches=2, pairs=5, controls=1, seed=3, progress=False)


def music(first: int, count: int = 12):
    return [quartet(seed) for seed in range(first, first + count)]


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    """A Turing test of made songs, with a model among the methods."""
    sources = {"real": music(0), "tunes": music(20), "noise": RandomModel()}
    return make_study(
        "turing", sources, tmp_path_factory.mktemp("study") / "design", length=200, **OPTIONS
    )


def samples(design, name):
    with wave.open(str(design.folder / "clips" / f"{name}.wav")) as sound:
        assert sound.getparams()[:3] == (1, 2, 22_050)
        return np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32767


# Designs


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(designs.SECONDS)),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(2, 12),
    st.integers(0, 99),
)
def test_plan_is_balanced(kind, others, batches, pairs, seed):
    methods = ["real", *(f"m{number}" for number in range(others))]
    controls = min(2, pairs - 1)
    made = designs.plan(kind, methods, batches=batches, pairs=pairs, controls=controls, seed=seed)
    assert len(made.trials) == batches * pairs
    names = [name for trial in made.trials for name in trial.clips]
    assert len(set(names)) == len(names), "no clip comes twice"
    assert len({trial.id for trial in made.trials}) == len(made.trials)
    for number in range(batches):
        assert sum("random" in trial.methods for trial in made.batch(number)) == controls
    judged = [trial for trial in made.trials if "random" not in trial.methods]
    heard = Counter({method: 0 for method in methods})
    heard.update(method for trial in judged for method in trial.methods)
    if kind == "turing":
        assert heard.pop("real") == len(judged)
    assert max(heard.values()) - min(heard.values()) <= 1, "every method equally often"
    assert all(trial.methods[0] != trial.methods[1] for trial in made.trials)


def test_sides_are_even_and_order_is_drawn():
    made = designs.plan("turing", ["real", "model"], batches=50, seed=1)
    first = np.array([[trial.methods[0] == "real" for trial in made.batch(n)] for n in range(50)])
    assert (first.sum(1) == 5).all(), "who always says A is right half the time"
    assert (abs(first.mean(0) - 0.5) < 0.25).all()
    controls = np.array([["random" in trial.methods for trial in made.batch(n)] for n in range(50)])
    assert (controls.any(0)).all()


def test_same_seed_same_files(design, tmp_path):
    sources = {"real": music(0), "tunes": music(20), "noise": RandomModel()}
    again = make_study("turing", sources, tmp_path / "again", length=200, **OPTIONS)
    files = {
        path.relative_to(design.folder): path.read_bytes()
        for path in design.folder.rglob("*")
        if path.is_file()
    }
    others = {
        path.relative_to(again.folder): path.read_bytes()
        for path in again.folder.rglob("*")
        if path.is_file()
    }
    assert files == others and len(files) == 1 + 2 * len(design.trials)
    assert (
        designs.plan("turing", sources, seed=4).fingerprint
        != designs.plan("turing", sources, seed=3).fingerprint
    )


def test_clips_are_equally_loud_and_long_and_full(design):
    rms, length, peaks = [], set(), []
    for name in design.clips:
        sound = samples(design, name)
        rms.append(np.sqrt(np.mean(sound**2)))
        length.add(len(sound))
        peaks.append(abs(sound).max())
        assert (abs(sound) > 0.01).mean() > 0.05
    assert length == {22_050}
    assert max(rms) / min(rms) < 1.002 and max(peaks) < 1


def test_clips_are_faded_for_five_milliseconds_and_no_longer():
    """Both ends rise from nothing and fall to it within 5 ms; all between is as it was."""
    width = round(0.005 * clips.PREVIEW_RATE)
    faded = clips._fade(np.ones(clips.PREVIEW_RATE, np.float32))
    assert faded[0] == faded[-1] == 0 and (np.diff(faded[:width]) > 0).all()
    assert faded[width // 2] == pytest.approx(0.5, abs=0.02)
    assert (faded[width:-width] == 1).all()
    np.testing.assert_allclose(faded, faded[::-1])


def test_clips_are_the_music_but_for_their_ends_and_their_loudness(design):
    """Within the fades a clip is the excerpt that its design names, louder or softer."""
    pieces = {piece.name: piece for piece in music(0) + music(20)}
    width = round(0.005 * clips.PREVIEW_RATE)
    for name, clip in design.clips.items():
        if clip.method not in ("real", "tunes"):
            continue
        piece = events.decode(events.encode(pieces[clip.piece]))
        wanted = apu.render(piece.excerpt(clip.start, clip.start + 1), clips.PREVIEW_RATE)
        sound = samples(design, name)
        assert abs(sound[[0, -1]]).max() < 1e-3
        gain = np.abs(sound).max() / np.abs(wanted).max()
        inside = slice(width, -width)
        np.testing.assert_allclose(sound[inside], gain * wanted[inside], atol=2e-3)


def test_clips_are_slices_of_the_pieces_without_overlap(design):
    pieces = {piece.name: piece for piece in music(0) + music(20)}
    starts = {}
    for clip in design.clips.values():
        if clip.method in ("real", "tunes"):
            cut = pieces[clip.piece].excerpt(clip.start, clip.start + 1)
            assert all(len(cut.voice(voice)) for voice in range(4))
            starts.setdefault(clip.piece, []).append(clip.start)
    for found in starts.values():
        assert (np.diff(sorted(found)) >= 1).all()


@pytest.mark.parametrize(
    ("sources", "options", "words"),
    [
        ({"real": music(0)}, {}, "at least one other method"),
        ({"a": music(0), "b": music(9)}, {}, "'real'"),
        ({"real": [quartet(1).excerpt(0, 0.5)], "b": music(9)}, {}, "real: 5 clips of 1 s"),
        (
            {"real": music(0), "b": [song.only([0, 1, 2]) for song in music(9)]},
            {},
            "all four voices",
        ),
        ({"real": music(0), "b": music(9)}, {"controls": 5}, "fewer controls than pairs"),
        ({"real": music(0), "b": music(9)}, {"seconds": float("nan")}, "0.5 to 60 seconds"),
        ({"real": music(0), "b": music(9)}, {"pairs": 10**12}, "7,200 s of sound at most"),
        ({"real": music(0), "b": music(9)}, {"batches": 10**12}, "7,200 s of sound at most"),
    ],
)
def test_impossible_designs(sources, options, words, tmp_path):
    with pytest.raises((BadSetting, BadStudy), match=words):
        make_study("turing", sources, tmp_path / "x", **(OPTIONS | {"batches": 1} | options))
    assert not (tmp_path / "x").exists()


def test_a_study_is_written_over_nothing(design, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(LakhnesError, match="holds thesis.txt, which would be lost"):
        make_study("turing", {"real": music(0), "b": music(9)}, tmp_path, **OPTIONS)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_damaged_designs(design, tmp_path):
    text = (design.folder / "design.json").read_text()
    values, name = json.loads(text), next(iter(design.clips))

    def changed(**parts):
        return json.dumps(values | parts)

    clip = values["clips"][name]
    without_hash = {key: value for key, value in clip.items() if key != "sha256"}
    first, *others = values["trials"]
    for broken, words in (
        (text.replace("tunes", "tunas", 1), "was changed"),
        (text[:-20], "no design of a study"),
        ("[]", "no design of a study"),
        ("[" * 100_000, "no design of a study"),
        (changed(format=9), "format: must be 1, not 9"),
        (changed(seconds=0.1), "seconds: must be greater than or equal to 0.5, not 0.1"),
        (changed(seconds="5"), "seconds: must be a valid number, not '5'"),
        (changed(kind="taste"), "kind: must be 'turing' or 'preference', not 'taste'"),
        (changed(trials=[]), "trials: "),
        (changed(trials=[first | {"a": "c0"}, *others]), "has a clip c0 that is not listed"),
        (changed(trials=[first | {"c": "x"}, *others]), "trials: 0: c: is not known"),
        (changed(trials=[first | {"methods": ["a", "b"]}, *others]), "methods: is not known"),
        (changed(colour="blue"), "colour: is not known"),
        (changed(clips=values["clips"] | {name: without_hash}), "was changed"),
        (changed(clips=values["clips"] | {name: clip | {"sha256": "12"}}), f"{name}: sha256: "),
        (changed(fingerprint=None), "was changed"),
    ):
        (tmp_path / "design.json").write_text(broken)
        with pytest.raises(BadStudy, match=words) as raised:
            designs.open_design(tmp_path)
        assert str(raised.value).startswith(f"{tmp_path / 'design.json'}: ")
        assert "\n" not in str(raised.value)
    with pytest.raises(BadStudy, match="cannot be read"):
        designs.open_design(tmp_path / "nowhere")
    (tmp_path / "design.json").write_text(text)
    with pytest.raises(BadStudy, match="cannot be read"):
        study_page.write(designs.open_design(tmp_path), tmp_path / "page.html")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / f"{design.trials[0].clips[0]}.wav").write_bytes(b"other")
    with pytest.raises(BadStudy, match="not the clip"):
        study_page.write(designs.open_design(tmp_path), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_page_gives_nothing_away(design, tmp_path):
    text = study_page.write(
        design, tmp_path / "page.html", [1], title="A </script> & b"
    ).read_text()
    data = json.loads(text.split('type="application/json" id="trials">')[1].split("</script>")[0])
    assert [trial["id"] for trial in data["trials"]] == [trial.id for trial in design.batch(1)]
    for secret in [
        "tunes",
        "noise",
        *design.clips,
        *(clip.piece for clip in design.clips.values()),
    ]:
        assert f'"{secret}"' not in text
    assert not any(f"http{s}:" in text for s in ("", "s")) and "A &lt;/script&gt; &amp; b" in text
    assert {len(clip) for trial in data["trials"] for clip in trial["clips"]} == {
        len(data["trials"][0]["clips"][0])
    }
    with pytest.raises(BadStudy, match="no batch 7, only 0 to 1"):
        study_page.write(design, tmp_path / "page.html", [7])


# Answers


def lines_of(design, listener="ann", choices="aaaaaaaaaa"):
    print_id = design.fingerprint
    return [
        f"{listener},{print_id},{t.id},{c},x" for t, c in zip(design.trials, choices, strict=True)
    ]


def test_an_answer_that_was_taken_back_does_not_count(design, tmp_path):
    """As in files of the widget of earlier versions."""
    path, lines = tmp_path / "a.csv", lines_of(design, choices="a" * 10)
    undone = lines_of(design, choices=["undone"] * 10)[1]
    rows = [*lines[:2], undone, *lines[2:], lines_of(design, choices="b" * 10)[1]]
    path.write_text("\n".join(["listener,design,trial,choice,time", *rows]))
    found = answers.read(design, [path])
    assert len(found.judgements) == 10 and not found.refused and not found.replaced
    assert found.judgements[-1].chosen == design.trials[1].methods[1]
    path.write_text("\n".join(["listener,design,trial,choice,time", *lines[:2], undone]))
    assert len(answers.read(design, [path]).judgements) == 1


def test_a_choice_is_the_method_of_that_side(design, tmp_path):
    path = tmp_path / "a.csv"
    lines = lines_of(design, choices="abbaababba") + lines_of(design, "bob", "b" * 10)[:1]
    path.write_text("\n".join(["listener,design,trial,choice,time", *lines]))
    found = answers.read(design, [path])
    pairs = [trial.methods for trial in design.trials]
    wanted = [
        pair if choice == "a" else pair[::-1]
        for pair, choice in zip(pairs, "abbaababba", strict=True)
    ]
    assert [(j.chosen, j.other) for j in found.judgements] == [*wanted, pairs[0][::-1]]
    assert found.listeners == ["ann", "bob"] and not found.refused and not found.replaced


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
    found = answers.read(design, [path])
    assert len(found.judgements) == 10 and found.replaced == 4
    assert found.judgements[-1].chosen == design.trials[3].methods[1], "the last counts"
    for words, number, sentence in zip(
        ("another study", "neither a nor b", "no trial", "cut off"),
        range(12, 16),
        found.refused,
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
    kept, dropped = answers.filter_listeners(given, batches=2)
    assert kept.listeners == ["all"] and set(dropped) == {"half", "part", "deaf"}
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
    found = questionnaire.read([path], key)
    assert found.kind == "turing" and list(found.pairs.values()) == [3, 3, 3]
    assert len(found.refused) == 1 and "'x'" in found.refused[0]
    assert found.judgements[0] == Judgement("W1", f"{path}, line 2", "real", "random")
    kept, dropped = answers.filter_listeners(found, batches=2)
    assert kept.listeners == ["W1"] and "0 of at least 2" in dropped["W2"]
    assert questionnaire.main([str(key), str(path), "--min-batches", "2"]) == 0
    assert "# Turing test" in capsys.readouterr().out
    (tmp_path / "other.csv").write_text("uuid,method\nabc,lstm\n")
    with pytest.raises(BadStudy, match="no answer of a questionnaire"):
        questionnaire.read([path], tmp_path / "other.csv")


# The command line, from songs to p-values


def test_a_report_on_a_terminal_that_knows_only_ascii(design, tmp_path, monkeypatch):
    rows = [(f"p{n}", trial.id, "ab"[n % 2]) for n in range(4) for trial in design.trials]
    simulate_study.save(tmp_path / "a.csv", design, rows)
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    command = ["study", "report", str(design.folder), str(tmp_path / "a.csv"), "--no-controls"]
    assert main([*command, "--remark", "naïve – listeners"]) == 0
    terminal.flush()
    assert b"na?ve ? listeners" in terminal.buffer.getvalue()


def test_one_command_after_another(tmp_path, capsys):
    from lakhnes_lib.music import midi

    for name in ("people", "machine"):
        (tmp_path / name).mkdir()
        for number, song in enumerate(music(0 if name == "people" else 30, 9)):
            midi.write(song, tmp_path / name / f"{number}.mid")
    at = {
        name: str(tmp_path / name)
        for name in ("design", "page.html", "s1.csv", "s2.csv", "all.csv", "report")
    }
    make = [
        "study",
        "make",
        "preference",
        at["design"],
        "--real",
        str(tmp_path / "people"),
        "--method",
    ]
    make += [f"machine={tmp_path / 'machine'}", "--seconds", "1", "--pairs", "5", "--controls", "1"]
    assert main([*make, "--seed", "4"]) == 0
    assert main(["study", "page", at["design"], at["page.html"], "--batch", "0"]) == 0
    options = ["--strength", "real=1", "--strength", "machine=-1", "--strength", "random=-9"]
    for seed in "12":
        command = [at["design"], at[f"s{seed}.csv"], "--seed", seed, *options]
        assert simulate_study.main(command) == 0
    assert simulate_study.main(command) == 1, "nothing is written over"
    assert main(["study", "merge", at["all.csv"], at["s1.csv"], at["s2.csv"]]) == 0
    capsys.readouterr()
    assert (
        main(
            [
                "study",
                "report",
                at["design"],
                at["all.csv"],
                "--out",
                at["report"],
                "--remark",
                "Made up.",
            ]
        )
        == 0
    )
    text = capsys.readouterr().out
    assert (tmp_path / "report" / "report.md").read_text(encoding="utf-8") == text
    assert "Made up." in text and "| machine |" in text and "Bradley–Terry" in text
    values = json.loads((tmp_path / "report" / "report.json").read_text())
    assert values["shares"][0]["name"] == "real" and values["shares"][0]["share"] > 0.5
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        "report.json", "report.md", "shares.png", "strengths.png"
    ]  # fmt: skip
    for wrong, words in (
        ([], "no strength is given for"),
        (["--listeners", "1000000000"], "1 to 100,000 listeners"),
        (["--seed", "-1"], "a seed is 0 or more"),
        (["--careless", "nan"], "a share of 0 to 1"),
        (["--strength", "real=nan"], "strengths are finite"),
        (["--strength", "real=1"], "no strength is given for"),
        ([*options, "--strength", "mine=1"], "the test has no method mine"),
    ):
        assert simulate_study.main([at["design"], str(tmp_path / "x.csv"), *wrong]) == 2
        assert words in capsys.readouterr().err
    make[3] = str(tmp_path / "none")
    for wrong, words in (
        (["--method", "real=songbook"], "a name of its own"),
        (["--method", f"machine={tmp_path / 'people'}"], "a name of its own"),
        (["--length", "9"], "no model composes"),
        (["--controls", "5"], "fewer controls than pairs"),
        (["--seconds", "90"], "clips of 0.5 to 60 seconds"),
    ):
        assert main([*make, *wrong]) == 2 and words in capsys.readouterr().err
    assert main([*make[:2], "other", *make[3:]]) == 2 == main([*make[:6]])
