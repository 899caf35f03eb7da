"""A listening test on the command line, from songs to p-values."""

import io
import json
import sys

import simulate_study
from small_study import music

from lakhnes_lib.__main__ import main
from lakhnes_lib.music import midi

pytest_plugins = ["small_study"]


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
