"""Composed pieces as files: every form, the page that plays them, and a disk that is full."""

import json
import wave

import pytest
from composed import SONG

from lakhnes_lib.data.build import read_song
from lakhnes_lib.errors import OutOfSpace
from lakhnes_lib.listening import gallery
from lakhnes_lib.music import events


def test_every_form_comes_back_and_the_gallery_shows_it(tmp_path):
    song = SONG.renamed("<a> & b")
    gallery.save_pieces([song], tmp_path, "piece", "from <nothing>")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["index.html", *(f"piece_00.{ending}" for ending in (*gallery.ENDINGS, "png", "json"))]
    )
    assert read_song(tmp_path / "piece_00.mid") == song and len(
        read_song(tmp_path / "piece_00.vgm").notes
    )
    assert events.to_tx1(read_song(tmp_path / "piece_00.tx1.txt")) == events.to_tx1(song)
    with wave.open(str(tmp_path / "piece_00.wav")) as sound:
        assert sound.getnframes() == song.length
    assert json.loads((tmp_path / "piece_00.json").read_text())["caption"] == "from <nothing>"
    (tmp_path / "config.json").write_text('{"layers": 3}')  # of something else, so no piece
    page = gallery.write_gallery(tmp_path).read_text(encoding="utf-8")
    assert page.count("<figure") == 1
    assert "&lt;a&gt; &amp; b" in page and "<nothing>" not in page
    assert all(f'"piece_00.{ending}"' in page for ending in (*gallery.ENDINGS, "png"))


def test_a_full_disk_loses_the_sound_alone(tmp_path, monkeypatch):
    """The notes of every piece are saved, and the page shows them."""
    write = gallery.write_song

    def full(score, path, **options):
        if path.endswith(".wav"):
            raise OutOfSpace(f"{path}: the disk is full; nothing of it was saved")
        write(score, path, **options)

    monkeypatch.setattr(gallery, "write_song", full)
    with pytest.raises(OutOfSpace, match="piece_00.wav: the disk is full"):
        gallery.save_pieces([SONG, SONG.renamed("second")], tmp_path, "piece")
    assert [read_song(tmp_path / f"piece_0{number}.mid") for number in range(2)] == [SONG, SONG]
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 2 and "second" in page
