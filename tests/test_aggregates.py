"""The facts in assets/aggregates: whole, small, of the data they name, and true."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lakhnes_lib.companions import agreement
from lakhnes_lib.data import corpus
from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.listening import aggregates, results
from lakhnes_lib.music.nes import NO, P1, P2, TR, VOICES
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.songbook import tunes

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools" / "aggregates"))
import event_counts
import event_pairs
import lakh_facts
import nesmdb_facts
import note_counts
import training_curves
import write_aggregates

FOLDER = write_aggregates.FOLDER
SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def nes_facts():
    return aggregates.load("nesmdb")["facts"]


@pytest.fixture(scope="module")
def lakh():
    return aggregates.load("lakh")["facts"]


@pytest.fixture(scope="module")
def models():
    return aggregates.load("models")["facts"]


def read(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


# --- the files


def test_files_are_those_that_the_command_writes_and_small():
    paths = list(FOLDER.glob("*.json"))
    assert {path.stem for path in paths} == write_aggregates.FILES.keys()
    assert sum(path.stat().st_size for path in paths) < 1_000_000


@pytest.mark.parametrize("name", write_aggregates.FILES)
def test_file_says_what_it_is(name):
    content = read(name)
    assert content["name"] == name
    assert content["command"] == f"python tools/aggregates/write_aggregates.py {name}"
    assert {"description", "data_fingerprint", "songs", "versions", "date"} <= content.keys()
    for title, fact in content["facts"].items():
        assert fact["description"].endswith("."), title
        assert len(fact) > 1, title
    assert json.loads(write_aggregates.as_text(content)) == content


def test_fingerprints_are_those_of_the_results():
    measured = results.read("perplexity")["data_fingerprint"]
    for name in ("nesmdb", "models", "curves", "songs"):
        assert read(name)["data_fingerprint"] == measured
        assert read(name)["songs"] == {"train": 4502, "valid": 403, "test": 373}
    assert read("lakh")["data_fingerprint"] == results.read("lakh")["data_fingerprint"]
    assert read("lakh")["compared_with"] == measured
    assert read("lakh")["songs"] == results.read("lakh")["values"]["songs"]


def test_loader_gives_arrays_and_names_what_there_is(nes_facts):
    counts = nes_facts["pitches"]["splits"]["all"]["P1"]
    assert counts.dtype == np.int64 and counts.shape == (108 - 33 + 1,)
    assert nes_facts["sizes"]["voices"] == list(VOICES)
    with pytest.raises(DataNotFound, match="nothing: .*only curves, lakh, models, nesmdb"):
        aggregates.load("nothing")
    with pytest.raises(DataNotFound, match="there are no such facts"):
        aggregates.load("../songbook/songbook")


# --- NES-MDB


@pytest.mark.parametrize("split", [*SPLITS, "all"])
def test_histograms_add_up_to_the_counts(nes_facts, split):
    facts = {
        name: fact["splits"][split] for name, fact in nes_facts.items() if name in NES_HISTOGRAMS
    }
    sizes, kinds = facts["sizes"], facts["kinds"]
    songs, notes = sizes["songs"], sizes["notes_of_voice"]
    assert notes.sum() == sizes["notes"] == kinds["note_on"]
    for voice, name in enumerate(VOICES):
        assert facts["pitches"][name].sum() == notes[voice]
        assert facts["note_lengths"][name].sum() == notes[voice]
        assert facts["velocities"][name].sum() == notes[voice]
        assert facts["timbres"][name].sum() == notes[voice]
        assert facts["intervals"][name].sum() == notes[voice] - sizes["songs_with_voice"][voice]
    assert facts["pitch_classes"].sum() == notes[:3].sum()
    assert facts["ids"].sum() == sum(facts["table_1"].values()) == kinds["raw"] + 2 * songs
    assert kinds["wait"] + kinds["note_on"] + kinds["note_off"] == kinds["raw"]
    assert facts["waits"]["counts"].sum() == facts["waits"]["waits"] == kinds["wait"]
    for part in ("events_a_second", "events_a_song", "seconds_a_song"):
        assert facts["rates"][part].sum() == songs
    keys = facts["keys"]
    assert keys["major"].sum() + keys["minor"].sum() + keys["without_key"] == songs
    seconds = facts["together"]["seconds_of_set"]
    assert seconds.sum() == pytest.approx(3600 * sizes["hours"], rel=1e-5)
    for voice, name in enumerate(VOICES):
        sounding = seconds[np.arange(16) >> voice & 1 == 1].sum()
        assert facts["pitch_seconds"][name].sum() == pytest.approx(sounding, rel=1e-4)


NES_HISTOGRAMS = (nesmdb_facts.MUSIC | nesmdb_facts.LOUDNESS).keys()


def test_all_songs_are_those_of_the_splits(nes_facts):
    for name in ("ids", "pitch_classes"):
        splits = nes_facts[name]["splits"]
        assert (sum(splits[split] for split in SPLITS) == splits["all"]).all()
    for name in ("pitches", "intervals", "note_lengths", "velocities", "timbres"):
        splits = nes_facts[name]["splits"]
        for voice in VOICES:
            assert (sum(splits[split][voice] for split in SPLITS) == splits["all"][voice]).all()


def test_facts_agree_with_the_results(nes_facts):
    known = results.read("representation")["values"]
    for split in SPLITS:
        assert nes_facts["kinds"]["splits"][split]["raw"] == known["known"]["events"][split]
        overall = nes_facts["seconds_of_512_events"]["splits"][split]["overall"]
        assert overall == pytest.approx(known["seconds_of_512_events"][split]["overall"], rel=1e-5)
    every = {n: fact["splits"]["all"] for n, fact in nes_facts.items() if n in NES_HISTOGRAMS}
    grid = known["time_grid"]
    assert every["waits"]["waits"] == grid["waits"]
    assert 1 - every["waits"]["on_the_grid_share"] == pytest.approx(
        grid["waits_off_the_grid"], abs=1e-5
    )
    ties = every["waits"]["halfway_between_two_values_share"] * grid["waits"]
    assert ties == pytest.approx(grid["waits_on_a_tie"], rel=1e-5)
    assert every["waits"]["too_long"] == grid["waits_cut"]
    assert every["quantisation"]["songs_cut"] == grid["songs_cut"]
    for part, value in grid["onset_error_ms"].items():
        assert every["quantisation"]["onset_error_ms"][part] == pytest.approx(value, rel=1e-5)
    assert every["round_trips"]["events_to_score_to_events"] == 5278
    assert every["sizes"]["songs_with_all_four"] == 2821
    assert nes_facts["games"]["in_two_splits"] == 0


def test_facts_of_the_test_split_are_measured_again(nes_facts, nesmdb):
    names = ("sizes", "kinds", "ids", "pitches", "intervals", "together", "waits", "onsets")
    names += ("velocities", "velocity_changes", "timbres", "rates", "jingles")
    wanted = {name: (nesmdb_facts.MUSIC | nesmdb_facts.LOUDNESS)[name] for name in names}
    again = write_aggregates.plain(nesmdb_facts.of_splits({"test": nesmdb["test"]}, wanted))
    stored = read("nesmdb")["facts"]
    for name in names:
        assert again[name]["splits"]["test"] == stored[name]["splits"]["test"], name


# --- Lakh


def test_funnel_is_that_of_the_mapping(lakh):
    funnel, known = lakh["funnel"], results.read("lakh")["values"]
    files = known["files"]
    assert funnel["files"][0] == files["seen"] and funnel["files"][-1] == files["accepted"]
    assert (np.diff(funnel["files"]) == [-number for number in funnel["refused"].values()]).all()
    assert {reason: n for reason, n in funnel["refused"].items() if n} == files["rejected"]
    assert {name: funnel[name] for name in ("examples", "events")} == {
        name: known["published_examples"][name] for name in ("examples", "events")
    }
    parts = lakh["parts"]
    assert parts["songs_by_melodies"].sum() == parts["songs_by_drum_tracks"].sum() == 5840
    drawn = sum(int(draws) * songs for draws, songs in parts["songs_by_draws"].items())
    assert 0 <= drawn - funnel["examples"] < 0.01 * drawn  # some examples have no note
    assert lakh["tempos"]["counts"].sum() == lakh["tempos"]["files"] > 2000


def test_divergences_are_of_the_histograms(lakh, nes_facts):
    ours, theirs = nes_facts["ids"]["splits"]["all"], lakh["ids"]["splits"]["mapped"]
    again = lakh_facts.divergence(ours, theirs)
    for name, value in lakh["divergences"]["divergences"]["events"].items():
        assert again[name] == pytest.approx(value, rel=1e-5)
    for row in lakh["divergences"]["divergences"].values():
        assert 0 < row["jensen_shannon"] < np.log(2)
    shares = lakh["vocabulary"]
    assert (shares["seen_in_lakh_share"] < shares["seen_in_train_share"])[1:].all()


def test_divergence_by_hand():
    assert lakh_facts.divergence([5, 7, 0], [5, 7, 0])["jensen_shannon"] == 0
    apart = lakh_facts.divergence([0, 1], [1, 0])  # with half a count: 1/4, 3/4 and 3/4, 1/4
    assert apart["nes_from_lakh"] == pytest.approx(np.log(3) / 2)
    assert apart["jensen_shannon"] == pytest.approx((np.log(1 / 2) + 3 * np.log(3 / 2)) / 4)


# --- models and curves


def test_groups_add_up_to_the_whole(models):
    whole = models["whole"]
    for name in ("by_kind", "by_voice", "by_position", "by_song_length", "by_song"):
        targets = models[name]["targets"]
        assert targets.sum() == whole["targets"]
        for model, perplexities in models[name]["perplexity"].items():
            nats = np.nansum(targets * np.log(perplexities)) / targets.sum()
            assert np.exp(nats) == pytest.approx(whole["perplexity"][model], rel=1e-4)


def test_note_ons_of_all_voices_are_those_of_the_kind(models):
    of_voices, of_kinds = models["note_ons_by_voice"], models["by_kind"]
    targets, index = of_voices["targets"], of_kinds["labels"].index("note-on")
    assert targets.sum() == of_kinds["targets"][index]
    for model, perplexities in of_voices["perplexity"].items():
        nats = (targets * np.log(perplexities)).sum() / targets.sum()
        assert np.exp(nats) == pytest.approx(of_kinds["perplexity"][model][index], rel=1e-4)


def test_models_stand_as_in_the_results(models):
    perplexity = models["whole"]["perplexity"]
    assert perplexity["random"] == pytest.approx(631, rel=1e-5)
    known = results.read("perplexity")["values"]["models"]
    for name in ("mini", "transformer_xl", "unigram", "5-gram_backoff", "5-gram_kneser_ney"):
        # A quarter of the songs is not all of them, and yet no other music.
        assert perplexity[name] == pytest.approx(known[name]["valid"]["exact"], rel=0.15)
    counting = [perplexity[f"{order}-gram_kneser_ney"] for order in (2, 3, 4, 5)]
    assert perplexity["unigram"] > counting[0] > counting[1] > perplexity["transformer_xl"]
    memory = models["by_memory"]
    for model in ("mini", "transformer_xl"):
        assert len(memory["perplexity"][model]) == len(memory["memory_length"])
        assert memory["perplexity"][model][0] > memory["perplexity"][model][4]
    sizes = results.read("ngram")["values"]["ngrams_by_order"]
    assert models["ngrams_seen_in_train"]["different_in_train"].tolist() == sizes


def test_curve_of_a_log(tmp_path):
    rows = [{"step": 10 * n, "events": n, "train_loss": float(n)} for n in range(1, 241)]
    rows.insert(100, {"step": 1000, "events": 100, "valid_loss": 2.5})
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 24')
    curve = training_curves.curve(training_curves.read_log(path))
    assert curve["valid_step"] == [1000] and curve["valid_loss"] == [2.5]
    assert len(curve["train_loss"]) == 60 and curve["train_step"][-1] == 2400
    assert curve["train_loss"][0] == pytest.approx(2.5)  # of the rows 1 to 4
    assert training_curves.curve([])["train_loss"] == []


# --- counting, by hand

TICKS = 44_100


def made_split():
    """Two songs. In the first P1 plays 60 and then 64, TR plays 40 under both, NO hits once."""
    notes = [(P1, 0, TICKS, 60, 15), (TR, 0, 2 * TICKS, 40, 1), (P1, TICKS, 2 * TICKS, 64, 7)]
    notes += [(NO, 0, TICKS // 2, 3, 9)]
    controls = [(P1, 0, TIMBRE_CHANGE, 2), (P1, TICKS, TIMBRE_CHANGE, 3)]
    controls += [(P1, 100, VELOCITY_CHANGE, 5)]
    first = Score.build(notes, 3 * TICKS, controls, "000_A_00")
    second = Score.build([(P1, 0, TICKS, 70, 15), (P2, 0, TICKS, 75, 4)], TICKS, name="001_B_00")
    return corpus.pack("made", [first, second])


def test_notes_are_counted():
    split = made_split()
    sizes = note_counts.sizes(split)
    assert sizes["notes_of_voice"].tolist() == [3, 1, 1, 1]
    assert sizes["songs_with_voice"].tolist() == [2, 1, 1, 1] and not sizes["songs_with_all_four"]
    assert note_counts.pitches(split)["P1"].nonzero()[0].tolist() == [60 - 33, 64 - 33, 70 - 33]
    steps = note_counts.intervals(split)["P1"]  # none leads from one song to the next
    assert steps.sum() == 1 and steps[75 + 4] == 1
    assert note_counts.pitch_seconds(split)["TR"][40 - 21] == 2
    assert note_counts.velocities(split)["P1"].tolist() == [0] * 6 + [1] + [0] * 7 + [2]
    assert note_counts.velocity_changes(split)["P1"].nonzero()[0].tolist() == [5]
    assert note_counts.timbres(split)["P1"].tolist() == [1, 0, 1, 1]  # a new song begins with 0
    assert note_counts.note_lengths(split)["P1"].sum() == 3


def test_time_is_shared_out():
    together = note_counts.together(made_split())
    seconds = dict(zip(note_counts.SETS, together["seconds_of_set"], strict=True))
    assert seconds["P1+TR+NO"] == 0.5 and seconds["P1+TR"] == 1.5
    assert seconds["P1+P2"] == 1 and seconds["none"] == 1
    assert together["seconds_of_number"].tolist() == [1, 0, 2.5, 0.5, 0]
    assert together["triangle_below_pulses_share"] == 1 and together["p1_above_p2_share"] == 0
    assert together["pulses_in_unison_share"] == 0
    notes = [(P1, 0, 300, 60, 15), (P2, 0, 100, 60, 9), (P2, 200, 400, 64, 9), (TR, 0, 400, 40, 1)]
    together = note_counts.together(corpus.pack("", [Score.build(notes)]))
    assert together["pulses_in_unison_share"] == 0.5  # 100 ticks of 200


def test_events_are_counted():
    split = made_split()
    assert event_counts.table_1(split)["<S>"] == 4
    kinds = event_counts.kinds(split)
    assert kinds["note_on"] == 6 and kinds["note_off"] == 5 and kinds["wait"] == 5
    waits = event_counts.waits(split)
    assert waits["waits"] == 5 and waits["commonest_ticks"].tolist() == [44_100, 22_050]
    assert waits["on_the_grid_share"] == 0 and waits["too_long"] == 0
    assert event_counts.onsets(split)["notes_that_begin_with_the_one_before_share"] == 3 / 6
    assert event_counts.jingles(split)["under 2 s"] == 1
    assert nesmdb_facts.games(split) == {"000", "001"}


def test_pairs_of_events_are_counted_by_group(nes_facts):
    """An event in a framed song is one of a pair but for the last; ids have a group each."""
    song = Score.build([(P1, 0, 100, 60, 9), (P1, 100, 250, 61, 9), (TR, 250, 300, 40, 1)])
    groups = event_pairs.GROUPS
    counted = event_pairs.following(corpus.pack("", [song]))
    pairs = {(groups[a], groups[b]): int(counted[a, b]) for a, b in np.argwhere(counted).tolist()}
    wait = "11–100 ticks", "101–1,000 ticks"
    assert pairs == {
        ("<S>", "P1 octave 4"): 1, ("P1 octave 4", wait[0]): 1, ("P1 octave 4", wait[1]): 1,
        (wait[0], "P1 octave 4"): 1, (wait[1], "P1 off"): 1, ("P1 off", "TR octave 2"): 1,
        ("TR octave 2", wait[0]): 1, (wait[0], "TR off"): 1, ("TR off", "<S>"): 1,
    }  # fmt: skip
    known, train = nes_facts["following"], "train"
    assert list(known["groups"]) == groups
    framed, songs = (nes_facts[fact]["splits"][train] for fact in ("kinds", "sizes"))
    assert np.sum(known["splits"][train]) == framed["framed"] - songs["songs"]


def test_rolls_of_both_rules():
    step = TICKS / 24
    edges = [0, 0.9, 1.1, 2.6, 4]  # steps
    notes = [
        (P1, round(a * step), round(b * step), pitch, 15)
        for a, b, pitch in zip(edges[:-1], edges[1:], (60, 61, 62, 63), strict=True)
    ]
    before = Score.build([(TR, 0, 3 * TICKS // 48, 50, 1)])  # a step and a half
    split = corpus.pack("", [before, Score.build(notes)])
    assert event_counts.sampled(split)[:, P1].tolist() == [0, 0, 60, 61, 62, 63]
    assert event_counts.frequent(split)[:, P1].tolist() == [0, 0, 60, 62, 62, 63]
    assert event_counts.sampled(split)[:, TR].tolist() == [50, 50, 0, 0, 0, 0]
    repeats = event_counts.repeated_steps(split)  # shares of 1/2 and 0, and of 1/2 and 1/4
    assert repeats["by_moment"]["counts"].nonzero()[0].tolist() == [0, 10]
    assert repeats["by_frequency"]["counts"].nonzero()[0].tolist() == [5, 10]
    # Of the first song's pitches half repeat; of the second one's 9 of 16, or 10 of 16.
    medians = {"by_moment": (1 / 2 + 9 / 16) / 2, "by_frequency": (1 / 2 + 10 / 16) / 2}
    for rule, median in medians.items():
        assert repeats[rule]["pitches_least"] == 1 / 2 and repeats[rule]["pitches_median"] == median
        assert repeats[rule]["pitches_majority_share"] == 1 / 2


def test_keys_and_scales_are_those_of_the_library():
    names = ("greensleeves", "minuet_in_g", "amazing_grace", "turkish_march")
    split = corpus.pack("songbook", [tunes.score(name) for name in names])
    best = [int(agreement.keys(split.score(index)).argmax()) for index in range(len(split))]
    keys = note_counts.keys(split)
    counts = np.concatenate([keys["major"], keys["minor"]])
    assert (counts == np.bincount(best, minlength=24)).all() and keys["without_key"] == 0
    shares = musical_metrics.measure([split.score(i) for i in range(len(split))])
    edges = np.arange(21) / 20
    expected = np.histogram(shares["scale_consistency"], edges)[0]
    assert note_counts.scale_shares(split).tolist() == expected.tolist()


def test_same_songs_are_seen_as_such():
    split, slower = made_split(), made_split()
    slower.songs["length"] *= 2
    slower.notes["start"] *= 2
    slower.notes["end"] *= 2
    twice = corpus.pack("twice", [split.score(0), split.score(0)])
    long = Score.build([(P1, n * 100, n * 100 + 50, 60 + n, 15) for n in range(9)])
    longer = Score.build([(P1, n * 200, n * 200 + 70, 60 + n, 15) for n in range(9)])
    duplicates = event_counts.duplicates(
        {"train": twice, "valid": split, "test": corpus.pack("t", [long])}
    )
    assert duplicates["same_events"]["within"] == {"train": 1, "valid": 0, "test": 0}
    assert duplicates["same_events"]["between"]["valid also in train"] == 1
    one, other = (event_counts.pitch_prints(corpus.pack("", [song])) for song in (long, longer))
    assert one == other and len(one) == 1
    assert event_counts.pitch_prints(slower) == []  # too few notes to tell


def test_plain_values_are_rounded_and_json():
    values = {"a": np.float64(1 / 3), "b": np.arange(2), "c": 2.0, 4: [None, True, "x"]}
    plain = write_aggregates.plain(values)
    assert plain == {"a": 0.333333, "b": [0, 1], "c": 2, "4": [None, True, "x"]}
    text = write_aggregates.as_text(plain)
    assert '"b": [0, 1]' in text and json.loads(text) == plain
    tricky = {"names": ["a, b", 'say "x"', "[1]"], "rows": [[1, 2], [3]], "none": []}
    assert json.loads(write_aggregates.as_text(tricky)) == tricky
    with pytest.raises(TypeError, match="set"):
        write_aggregates.plain({"a": {1, 2}})
