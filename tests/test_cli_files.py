"""The command line and files of music: every form there and back, folders, and nothing lost."""

import contextlib
import os
import re
import wave

import numpy as np
import pytest

from lakhnes_lib.__main__ import main
from lakhnes_lib.data import build, corpus
from lakhnes_lib.music import events, midi
from lakhnes_lib.songbook import tunes
from lakhnes_lib.sound import song_files


@pytest.fixture(scope="module")
def song():
    return tunes.scores("test")[0].excerpt(0, 3)


def test_every_form_of_file(song, tmp_path, capsys):
    """MIDI to everything and back: notes and timing stay, sound sounds."""
    midi.write(song, tmp_path / "a.mid")
    text = events.to_tx1(song)
    for ending in ("tx1.txt", "TX1", "vgm", "vgz", "midi"):
        assert main(["render", str(tmp_path / "a.mid"), str(tmp_path / f"b.{ending}")]) == 0
        assert (
            main(["render", str(tmp_path / f"b.{ending}"), str(tmp_path / f"back.{ending}.mid")])
            == 0
        )
        assert events.to_tx1(midi.read(tmp_path / f"back.{ending}.mid")) == text
        assert capsys.readouterr().out.startswith(
            f"{tmp_path / 'b'}.{ending}: 3.0 s, {len(song.notes)} notes\n"
        )
        assert main(["tokens", str(tmp_path / f"b.{ending}")]) == 0
        assert capsys.readouterr() == (text, "")
    assert main(["tokens", str(tmp_path / "b.vgm"), str(tmp_path / "c.tx1.txt")]) == 0
    assert (tmp_path / "c.tx1.txt").read_bytes().decode() == text
    assert (
        main(["render", str(tmp_path / "b.vgz"), str(tmp_path / "new/c.wav"), "--rate", "11025"])
        == 0
    )
    with wave.open(str(tmp_path / "new/c.wav")) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (11025, -(-song.length // 4))
        assert np.abs(np.frombuffer(sound.readframes(-1), "<i2")).max() > 1000


def test_file_errors(song, tmp_path, one_line):
    midi.write(song, tmp_path / "a.mid")
    (tmp_path / "bad.mid").write_bytes(b"MThd")
    assert "a.mp3: its ending is none of those" in one_line(
        "render", tmp_path / "a.mid", tmp_path / "a.mp3"
    )
    assert "bad.mid" in one_line("render", tmp_path / "bad.mid", tmp_path / "a.wav")
    assert "none.vgm" in one_line("tokens", tmp_path / "none.vgm")
    (tmp_path / "a.mp3").touch()
    assert (
        "a.mp3: its ending is none of those that can be read as music (.mid, .midi, .rmi, "
        in one_line("tokens", tmp_path / "a.mp3")
    )
    (tmp_path / "bad.tx1.txt").write_text("P1_NOTEON_60\nHELLO\n")
    assert f"{tmp_path / 'bad.tx1.txt'}: line 2 holds 'HELLO'" in one_line(
        "tokens", tmp_path / "bad.tx1.txt"
    )
    (tmp_path / "bad.tx1.txt").unlink()
    (tmp_path / "a.mp3").unlink()
    assert "written as event text" in one_line("tokens", tmp_path / "a.mid", tmp_path / "a.wav")
    assert "a.mid" in one_line("render", tmp_path / "a.mid", tmp_path / "a.mid/a.wav")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mid", "bad.mid"]
    assert (
        main(["tokens", str(tmp_path)])
        == 2
        == main(["tokens", str(tmp_path / "a.mid"), "--workers", "1"])
    )


def test_lead_sheets(tmp_path, capsys, one_line):
    """ABC is read: the songbook's pieces as arranged there, others in a style of their metre."""
    assert build.read_song(tunes.FOLDER / "cancan.abc") == tunes.score("cancan")
    text = (tunes.FOLDER / "greensleeves.abc").read_text()
    (tmp_path / "mine.abc").write_text(text.replace("T:Greensleeves", "T:Mine"))
    assert main(["render", str(tmp_path / "mine.abc"), str(tmp_path / "mine.mid")]) == 0
    mine = midi.read(tmp_path / "mine.mid")
    assert mine.name == "mine" and all(len(mine.voice(voice)) for voice in range(4))
    for broken in (
        "",
        "no music\n",
        text.replace("K:Am", ""),
        text.replace("M:6/8", "M:1/0"),
        text.replace("M:6/8", "M:999999999/1"),
    ):
        (tmp_path / "bad.abc").write_text(broken)
        assert "bad.abc: " in one_line("tokens", tmp_path / "bad.abc")
    assert "none.abc: there is no such file" in one_line("tokens", tmp_path / "none.abc")


def test_nothing_is_written_over(song, tmp_path, capsys):
    for ending in ("mid", "tx1.txt"):
        song_files.write_song(song, tmp_path / f"a.{ending}")
    assert main(["render", str(tmp_path), str(tmp_path / "out"), "--to", "vgm"]) == 0
    out, err = capsys.readouterr()
    assert "out: 1 files rendered, 1 left out" in out and "a.tx1.txt: would become " in err
    before = (tmp_path / "a.mid").read_bytes()
    assert (
        main(["render", str(tmp_path), str(tmp_path), "--to", "mid", "--volume", "3"]) == 0
    )  # out/a.vgm alone
    assert (tmp_path / "a.mid").read_bytes() == before and midi.read(tmp_path / "out/a.mid")


def test_what_is_read_is_not_written(song, tmp_path, monkeypatch, capsys, one_line):
    for name in ("a.mid", "a.tx1"):
        song_files.write_song(song, tmp_path / name)
    (tmp_path / "link.mid").symlink_to("a.mid")
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / "a.mid").read_bytes()
    for words in ("a.mid a.mid", "a.mid ./a.mid", "a.mid link.mid", "link.mid a.mid"):
        assert f"{words.split()[1][-5:]}: is the file that is read" in one_line(
            "render", *words.split(), "--volume", 3
        )
    assert "a.tx1: is the file that is read" in one_line("tokens", "a.tx1", "a.tx1")
    (tmp_path / "same").symlink_to(".")
    assert main(["render", ".", "same", "--to", "mid", "--volume", "3"]) == 1
    assert "which is taken" in capsys.readouterr().err
    assert (tmp_path / "a.mid").read_bytes() == before
    for note in ("", ", in place of an earlier file"):
        assert main(["render", "a.mid", "b.vgm"]) == 0
        out = capsys.readouterr().out
        assert out == f"b.vgm: 3.0 s, {len(song.notes)} notes{note}\n"


def test_files_of_a_folder_that_cannot_be_read_are_named(song, tmp_path, capsys):
    for name in "abc":
        midi.write(song, tmp_path / f"music/{name}.mid")
    (tmp_path / "music/broken.mid").symlink_to("nowhere")
    os.mkfifo(tmp_path / "music/pipe.vgm")
    assert main(["tokens", str(tmp_path / "music"), str(tmp_path / "out"), "--workers", "1"]) == 0
    out, err = capsys.readouterr()
    assert "left out: 2 files" in out
    assert "broken.mid: cannot be read" in err and "pipe.vgm: cannot be read" in err


def test_paths_that_are_not_there_or_not_of_their_kind(song, tmp_path, monkeypatch, one_line):
    monkeypatch.chdir(tmp_path)
    assert "music: there is no such file or folder" in one_line("render", "music", "out")
    assert "music: there is no such file or folder" in one_line("tokens", "music")
    (tmp_path / "a.abc").write_text("X:1")
    assert "out: has no ending" in one_line("render", "a.abc", "out")
    assert "a.abc: is a file, and a folder" in one_line(
        "train", "--profile", "smoke", "--out", "a.abc"
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.safetensors").touch()
    assert "model: holds model.safetensors, which would be lost" in one_line(
        "convert", "model.pt", "model"
    )


def test_workers_are_at_most_one_for_each_core(song, tmp_path, monkeypatch):
    midi.write(song, tmp_path / "music/a.mid")
    asked = []
    monkeypatch.setattr(build, "build_corpus", lambda *_, workers, **__: asked.append(workers))
    for number in (1, -1, 10**9):
        with contextlib.suppress(AttributeError):  # there is no corpus
            main(["tokens", str(tmp_path / "music"), "out", "--workers", str(number)])
    assert asked == [1, -1, os.cpu_count()]


@pytest.mark.parametrize(
    "options",
    [
        "a.mid a.vgm --rate 8000",
        "a.mid a.wav --rate 1",
        "a.mid a.tx1 --duty 1",
        "a.mid a.wav --to wav",
        ". out --rate 1",
        ". out --to mp3",
        ". out --to mid --rate 8000",
        ". out --to tx1.txt --volume 3",
    ],
)
def test_options_of_render_that_do_not_fit(song, tmp_path, monkeypatch, capsys, options):
    midi.write(song, tmp_path / "a.mid")
    monkeypatch.chdir(tmp_path)
    assert main(["render", *options.split()]) == 2
    assert "Error: Invalid value for " in capsys.readouterr().err and os.listdir(tmp_path) == [
        "a.mid"
    ]


def test_folders(song, tmp_path, capsys, one_line):
    for name in ("train/a", "valid/b.c", "test/d"):
        midi.write(song, tmp_path / f"music/{name}.mid")
    (tmp_path / "music/train/bad.mid").write_bytes(b"MThd")
    assert main(["render", str(tmp_path / "music"), str(tmp_path / "out"), "--to", "tx1.txt"]) == 0
    out, err = capsys.readouterr()
    assert (
        out == f"{tmp_path / 'out'}: 3 files rendered, 1 left out\n"
        and err.startswith("left out: ")
        and "bad.mid" in err
    )
    names = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")
    )
    assert names == ["test/d.tx1.txt", "train/a.tx1.txt", "valid/b.c.tx1.txt"]
    assert (
        main(["tokens", str(tmp_path / "music"), str(tmp_path / "packed"), "--workers", "1"]) == 0
    )
    out, err = capsys.readouterr()
    assert (
        re.search(r"^train: 1 songs, [\d,]+ notes, 0.00 h$", out, re.M)
        and "left out: 1 files" in out
    )
    opened = corpus.open_corpus(tmp_path / "packed")
    assert opened["test"].score(0) == song and list(opened.manifest["rejected"])
    (tmp_path / "empty").mkdir()
    assert "empty" in one_line("render", tmp_path / "empty", tmp_path / "nothing")
    assert "empty" in one_line("tokens", tmp_path / "empty", tmp_path / "nothing")
    (tmp_path / "empty/bad.mid").write_bytes(b"MThd")
    assert "none of its 1 files" in one_line(
        "tokens", tmp_path / "empty", tmp_path / "nothing", "--workers", 1
    )
