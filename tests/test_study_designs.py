"""Designs of listening tests: fair, balanced, the same for the same seed, and nothing is lost."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quartets import quartet
from small_study import OPTIONS, music

from lakhnes_lib.errors import BadSetting, BadStudy, LakhnesError
from lakhnes_lib.models.language_model import RandomModel
from lakhnes_lib.study import designs, study_page
from lakhnes_lib.study.clips import make_study

pytest_plugins = ["small_study"]


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
