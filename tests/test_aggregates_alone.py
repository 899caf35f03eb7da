"""Facts measured without the others: legato, tokens of bands; and how a file gets some anew."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import exercises
import numpy as np
import pytest
from test_mapping import CHORDS, line, voices

from lakhnes_lib.companions import band_parts
from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.listening import aggregates
from lakhnes_lib.music.nes import TICKS_PER_SECOND as SECOND
from lakhnes_lib.music.tracks import TRACK_NOTE

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools" / "aggregates"))
import lakh_facts
import lakh_tokens
import model_scores
import nesmdb_facts
import polyphonic_parts
import write_aggregates

# --- legato


def notes(*seconds):
    """A part of notes from (start, end) in seconds."""
    rows = [(round(a * SECOND), round(b * SECOND), 60 + n, 64) for n, (a, b) in enumerate(seconds)]
    return np.array(rows, TRACK_NOTE)


def drawn(rng):
    starts = np.cumsum(rng.uniform(0.02, 0.5, 4))
    return notes(*zip(starts, starts + rng.uniform(0.02, 0.4, 4), strict=True))


PARTS = {  # by the longest overlap
    0.05: notes((0, 0.55), (0.5, 1.04), (1, 1.5)),
    0.15: notes((0, 0.65), (0.5, 1)),
    np.inf: notes((0, 1), (0.02, 1), (2, 3)),
    0: notes((0, 1)),
}


@pytest.mark.parametrize("longest", PARTS)
def test_overlaps_are_measured(longest):
    overlap = polyphonic_parts.longest_overlap(PARTS[longest])
    assert overlap == pytest.approx(longest, abs=1e-4)


def test_the_notebook_has_the_same_rule():
    names = {"np": np, "SECOND": SECOND}
    exec(exercises.function_of("03_lakh_to_nes", "is_legato"), names)
    rng = np.random.default_rng(0)
    parts = [*PARTS.values(), *(drawn(rng) for _ in range(300))]
    legato = [polyphonic_parts.longest_overlap(part) < 0.1 for part in parts]
    assert legato == [names["is_legato"](part) for part in parts]
    assert 30 < sum(legato) < 270


def test_parts_of_refused_files_are_counted(tmp_path):
    legato = [(start, end + 67, pitch) for start, end, pitch in line()]  # 70 ms longer
    too_high = [(start, end, pitch + 50) for start, end, pitch in CHORDS]
    files = {
        "stays": voices((0, line()), (1, CHORDS)),
        "chords": voices((0, CHORDS), (1, CHORDS), (2, too_high)),
        "legato": voices((0, CHORDS), (1, legato), (9, legato)),
        "short": voices((0, CHORDS[:4])),
        "unreadable": b"hello",
    }
    for name, data in files.items():
        (tmp_path / f"{name}.mid").write_bytes(data)
    refused = polyphonic_parts.refused_parts(sorted(tmp_path.iterdir()))
    assert refused["files"] == 2 and refused["parts"] == 4
    assert refused["legato_parts"].tolist() == [0, 0, 1, 1]
    assert refused["files_with_legato_part"].tolist() == [0, 0, 1, 1]


def test_parts_are_those_of_the_funnel():
    facts = aggregates.load("lakh")["facts"]
    polyphonic, refused = facts["polyphonic"], facts["funnel"]["refused"]
    assert polyphonic["files"] == refused["polyphonic"] < polyphonic["parts"]
    for part, whole in (("legato_parts", "parts"), ("files_with_legato_part", "files")):
        assert (np.diff(polyphonic[part]) > 0).all() and polyphonic[part][-1] < polyphonic[whole]
    assert (polyphonic["files_with_legato_part"] < polyphonic["legato_parts"]).all()


# --- tokens


def test_tokens_are_counted_before_and_after_merging(monkeypatch, tmp_path):
    """Two made pieces, of which each part's base tokens are counted from MidiTok's own."""
    part = np.array([(at, 4, 48 + at % 24, 79) for at in range(0, 128, 4)])
    pieces = {"train": [[part, part[::2]]], "valid": [[part[:8], part[:0]]]}
    tokenizer = band_parts.trained(pieces["train"])
    monkeypatch.setattr(lakh_tokens.tasks, "band_data", lambda bars, runs: (pieces, tokenizer))
    monkeypatch.setattr(lakh_tokens.tasks, "LAKH", tmp_path / "none")
    assert lakh_tokens.tokens()["splits"] == {}
    monkeypatch.setattr(lakh_tokens.tasks, "LAKH", tmp_path)
    splits = lakh_tokens.tokens()["splits"]
    for split, (piece,) in pieces.items():
        for name, number in (("piano", band_parts.PIANO), ("bass", band_parts.BASS)):
            counts, plain = splits[split][name], band_parts.remi()
            expected = np.bincount(band_parts.tokens_of(plain, piece[number]), minlength=197)
            assert counts["base"].tolist() == expected.tolist()
            assert counts["merged"].sum() <= counts["base"].sum()
    silent = {name: splits["valid"][name]["silent_bars"] for name in ("piano", "bass")}
    assert silent == {"piano": 7, "bass": 8}  # of eight
    assert [splits["valid"][name]["silent_pieces"] for name in ("piano", "bass")] == [0, 1]
    assert (
        splits["train"]["bass"]["merged"].sum()
        < splits["train"]["bass"]["base"].sum()
        == 4 + 16 * 4
    )


def test_merging_leaves_fewer_tokens_of_lakh():
    for split in aggregates.load("lakh")["facts"]["tokens"]["splits"].values():
        for name in ("piano", "bass"):
            base, merged = split[name]["base"], split[name]["merged"]
            assert len(base) == 197 and not base[:4].any() and base[165:].all()  # the 32 positions
            # Each token stands for one base token or more, and a base token may stand by itself.
            assert base.sum() / 2 < merged.sum() < base.sum() and (merged[:197] <= base).all()


# --- some facts of a file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of one file, ``lakh.json`` of two facts, one of which can be measured alone."""
    monkeypatch.setattr(write_aggregates, "FOLDER", tmp_path)
    corpus = SimpleNamespace(fingerprint="abc", splits={})
    monkeypatch.setitem(write_aggregates.FILES, "lakh", ("Made.", lambda: corpus, None))
    fact = {"description": "Anew.", "counts": np.arange(3)}
    monkeypatch.setitem(write_aggregates.ALONE, "lakh", lambda _, names: {n: fact for n in names})
    old = {"data_fingerprint": "abc", "date": "then", "facts": {"a": {"n": 1}, "b": {"n": 2}}}
    (tmp_path / "lakh.json").write_text(json.dumps(old))
    return tmp_path


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["write_aggregates.py", *words])
    return write_aggregates.main()


def test_only_some_facts_are_measured_anew(folder, monkeypatch):
    assert run(monkeypatch, "lakh", "--only", "b", "c") == 0
    content = json.loads((folder / "lakh.json").read_text())
    assert content["facts"]["a"] == {"n": 1} and content["date"] == "then"
    assert content["facts"]["b"] == content["facts"]["c"]
    assert content["facts"]["b"] == {"description": "Anew.", "counts": [0, 1, 2]}
    assert {"versions", "hardware", "commit", "date"} <= content["measured_alone"]["c"].keys()
    assert content["measured_alone"].keys() == {"b", "c"}
    assert list(content)[-1] == "facts"


def test_a_file_of_other_data_stays_as_it_is(folder):
    path = folder / "lakh.json"
    path.write_text(path.read_text().replace("abc", "another"))
    before = path.read_bytes()
    with pytest.raises(DataNotFound, match="write it whole"):
        write_aggregates.write_only("lakh", ["b"])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "words", [["--only", "b"], ["lakh", "models", "--only", "b"], ["paper", "--only", "b"]]
)
def test_only_goes_with_one_file_that_has_such_facts(folder, monkeypatch, words, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, *words)
    assert "--only goes with one of nesmdb, lakh, models" in capsys.readouterr().err


@pytest.mark.parametrize("module", [lakh_facts, nesmdb_facts, model_scores])
def test_unknown_facts_are_named(folder, monkeypatch, module):
    monkeypatch.setitem(write_aggregates.ALONE, "lakh", module.alone)
    with pytest.raises(DataNotFound, match="lakh has no fact 'nothing' that is measured alone"):
        write_aggregates.write_only("lakh", ["nothing"])


def test_facts_measured_alone_are_among_the_facts():
    for name in write_aggregates.ALONE:
        content = aggregates.load(name)
        assert content.get("measured_alone", {}).keys() <= content["facts"].keys()
