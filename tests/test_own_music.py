"""A folder of the user's own files: what is taken and why not, what is held back, and a model tuned
on it."""

import re
import shutil

import pytest
import symusic
import torch

from lakhnes_lib import profiles
from lakhnes_lib.__main__ import main
from lakhnes_lib.data.build import read_any
from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import events, midi
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import tunes
from lakhnes_lib.training import own_music, snapshots


def general_midi(path, chords: bool = False):
    """A tune for flute and bass as any sequencer writes it, or for a piano in chords."""
    song = symusic.Score(480)
    for program, pitch in ((73, 72), (33, 36)) if not chords else ((0, 60),):
        track = symusic.Track(program=program)
        for beat in range(24):
            for voice in range(3 if chords else 1):
                track.notes.append(symusic.Note(beat * 480, 400, pitch + beat % 5 + 4 * voice, 90))
        song.tracks.append(track)
    path.parent.mkdir(exist_ok=True)
    song.dump_midi(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five NES songs in three forms, two files for other instruments, four files that cannot be
    used."""
    music = tmp_path_factory.mktemp("mine")
    for number, song in enumerate(tunes.scores("train")[:5]):
        song = song.excerpt(0, 8)
        if number == 4:
            (music / "text.tx1.txt").write_text(events.to_tx1(song))
        else:
            midi.write(song, music / f"nes {number}.mid")
    general_midi(music / "deeper/flute.MID")
    general_midi(music / "piano.mid", chords=True)
    shutil.copy(music / "nes 0.mid", music / "nes 0 (copy).mid")
    (music / "broken.mid").write_bytes(b"MThd")
    (music / "notes.tx1").write_text("no events at all\n")
    midi.write(Score.build([], 44_100), music / "silence.mid")
    (music / "cover.jpg").write_bytes(b"\xff")
    return music


@pytest.fixture(scope="module")
def corpus(folder):
    return own_music.gather(folder, progress=False)


def test_what_is_taken_and_why_not(folder, corpus):
    taken, rejected = corpus.manifest["taken"], corpus.manifest["rejected"]
    assert {name: len(files) for name, files in taken.items()} == {
        "train": 5,
        "valid": 1,
        "test": 1,
    }
    used = [name for files in taken.values() for name in files]
    assert len(set(used) | {"nes 0.mid", "nes 0 (copy).mid"}) == 8 and "deeper/flute.MID" in used
    assert rejected.keys() >= {"broken.mid", "notes.tx1", "silence.mid"} and len(rejected) == 4
    assert "no event of Table 1" in rejected["notes.tx1"]
    said = own_music.describe(corpus).splitlines()
    assert re.fullmatch(r"train: 5 files, 5 songs, \d\.\d minutes", said[-7])
    assert sum(line.endswith(": has the same content as another file") for line in said) == 1
    assert [line.startswith("left out: ") for line in said[-4:]] == [True] * 4
    arranged = [line for line in said if " plays track " in line]
    assert len(arranged) == 4 and any("piano.mid: TR plays track 1" in line for line in arranged)
    assert len(said) == len(arranged) + 3 + 4


def test_songs_are_the_files(folder, corpus):
    """Every file is one song, in one part; music for other instruments goes by role."""
    for part, files in corpus.manifest["taken"].items():
        songs = [corpus[part].score(number) for number in range(len(corpus[part]))]
        assert songs == [read_any(folder / name) for name in files]


def test_names_count_for_nothing(folder, corpus, tmp_path):
    for number, path in enumerate(sorted(folder.rglob("*.*"), reverse=True)):
        shutil.copy(path, tmp_path / f"{number}{''.join(path.suffixes)}")
    again = own_music.gather(tmp_path, progress=False)
    for name, split in corpus.splits.items():
        assert split.notes.tobytes() == again[name].notes.tobytes()
    assert own_music.gather(folder, progress=False).fingerprint == corpus.fingerprint


def test_too_little(tmp_path):
    for song in tunes.scores("train")[:4]:
        midi.write(song, tmp_path / f"{song.name}.mid")
    (tmp_path / "bad.mid").write_bytes(b"MThd")
    with pytest.raises(
        DataNotFound, match=r"4 of its 5 files can be used, and at least 5 .*; .*bad\.mid: is a"
    ):
        own_music.gather(tmp_path, progress=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataNotFound, match="empty: holds no music file"):
        own_music.gather(tmp_path / "empty", progress=False)


@pytest.fixture(scope="module")
def profile():
    """The smoke profile with an entry that learns by heart in seconds."""
    smoke = profiles.load("smoke")
    changes = {"steps": 12, "batch": 4, "learning_rate": 0.01, "evaluate_every": 6}
    quick = smoke.training["own_music"].model_copy(update=changes)
    sizes = smoke.models["own_music"] | {"layers": 1, "width": 32, "head_width": 16}
    return smoke.model_copy(
        update={
            "models": smoke.models | {"own_music": sizes},
            "training": smoke.training | {"own_music": quick},
        }
    )


def test_tuning_helps_on_what_was_held_back(profile, corpus, tmp_path):
    torch.manual_seed(0)
    start = tmp_path / "start"
    checkpoints.save(checkpoints.build(**profile.models["own_music"]), start)
    tuned = own_music.tune(
        profile, corpus, tmp_path / "run", start=start, device="cpu", progress=False
    )
    assert tuned.run.step == 12 and tuned.before > 500 and tuned.after < 0.9 * tuned.before
    assert (
        checkpoints.load(tuned.run.folder / "best").memory_length
        == profile.models["own_music"]["memory_length"]
    )
    fresh = own_music.tune(
        profile, corpus, tmp_path / "new", device="cpu", max_minutes=0, progress=False
    )
    assert (fresh.before, fresh.after, fresh.run.step) == (None, None, 0)


def test_measuring_shows_a_bar_and_counts_as_time(profile, corpus, tmp_path, monkeypatch, capfd):
    start, clock = tmp_path / "start", [0.0]
    checkpoints.save(checkpoints.build(**profile.models["own_music"]), start)
    measure = own_music.perplexity.exact

    def slow(*arguments, **options):
        clock[0] += 40
        return measure(*arguments, **options)

    monkeypatch.setattr(own_music.perplexity, "exact", slow)
    monkeypatch.setattr(own_music.time, "monotonic", lambda: clock[0])
    tuned = own_music.tune(
        profile, corpus, tmp_path / "run", start=start, device="cpu", max_minutes=1
    )
    assert tuned.run.step == 0 and tuned.before and "measuring perplexity" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["smoke", "laptop"])
def test_profiles_have_an_entry(name):
    profile = profiles.load(name)
    assert own_music.MODEL in profile.models and own_music.MODEL in profile.training


def test_command_line(folder, tmp_path, capsys, monkeypatch):
    """`lakhnes train --from … --data FOLDER` alone; here with the profile of the smallest sizes."""
    smoke, loaded = profiles.load("smoke"), []
    monkeypatch.setattr(profiles, "load", lambda name: loaded.append(name) or smoke)
    checkpoints.save(checkpoints.build(**smoke.models["own_music"]), tmp_path / "start")
    command = [
        "train",
        "--from",
        str(tmp_path / "start"),
        "--data",
        str(folder),
        "--out",
        str(tmp_path / "run"),
    ]
    assert main([*command, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert loaded == ["laptop"]
    assert "\ntrain: 5 files, 5 songs" in out and out.count("left out: ") == 4
    assert re.search(r"^6 of 6 steps, [\d,]+ events, [\d.]+ minutes$", out, re.M)
    assert re.search(r"^perplexity of the files held back: [\d.]+, [\d.]+ before$", out, re.M)
    assert snapshots.exists(tmp_path / "run")
    assert main([*command, "--resume", "--device", "cpu"]) == 0
    (tmp_path / "few").mkdir()
    shutil.copy(folder / "piano.mid", tmp_path / "few")
    assert main([*command[:3], "--data", str(tmp_path / "few")]) == 1
    assert "1 of its 1 files can be used" in capsys.readouterr().err
