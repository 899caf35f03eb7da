"""``lakhnes map``: what the verb says."""

import os
from pathlib import Path

import bands
import pytest

from lakhnes_lib.__main__ import main
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.errors import DataNotFound


def test_verb_tells_what_it_did(music, tmp_path, capsys):
    assert main(["map", str(music), str(tmp_path / "corpus"), "--workers", "1", "--seed", "7"]) == 0
    told = capsys.readouterr().out
    assert "published draws: " in told and "left out: 3 unreadable" in told and "songs, " in told
    assert prepare(tmp_path / "corpus")["train"].seed == 7


def test_verb_tells_what_is_wrong(tmp_path, capsys):
    def error(*words):
        assert main(["map", *map(str, words), str(tmp_path / "out"), "--workers", "1"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "nothing: there is no such folder or archive" in error(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "empty: holds no MIDI file (.mid, .midi, .rmi)" in error(tmp_path / "empty")
    assert not list(tmp_path.glob("*.partial"))
    (tmp_path / "a.tar").write_bytes(b"no archive")
    assert "a.tar: is damaged or cut off" in error(tmp_path / "a.tar")
    (tmp_path / "notes.pdf").write_bytes(b"no archive")
    assert "notes.pdf: is neither a folder nor an archive" in error(tmp_path / "notes.pdf")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.mid").write_bytes(b"no music")
    assert "bad: none of its 1 files can be used; " in error(tmp_path / "bad")
    with pytest.raises(DataNotFound):
        prepare(tmp_path / "nothing")


@pytest.mark.parametrize("verb", ["map", "tokens"])
@pytest.mark.parametrize("workers", ["0", "-2"])
def test_a_number_of_workers_that_is_none(verb, workers, tmp_path, capsys):
    assert main([verb, str(tmp_path), str(tmp_path / "out"), "--workers", workers]) == 2
    assert "or -1 for one per core" in capsys.readouterr().err


def test_workers_and_a_scheduler(tmp_path, capsys):
    assert (
        main(
            [
                "map",
                str(tmp_path),
                str(tmp_path / "out"),
                "--workers",
                "2",
                "--scheduler",
                "tcp://host:1",
            ]
        )
        == 2
    )
    assert "--scheduler has workers of its own" in capsys.readouterr().err


def test_a_pipe_in_the_folder_is_counted(tmp_path, capsys):
    """It would never answer."""
    (tmp_path / "music").mkdir()
    os.mkfifo(tmp_path / "music/pipe.mid")
    for name, data in bands.files().items():
        (tmp_path / "music" / Path(name).name).write_bytes(data)
    words = ["map", str(tmp_path / "music"), str(tmp_path / "out"), "--workers", "1"]
    assert main(words) == 0
    assert "1 no_access" in capsys.readouterr().out
