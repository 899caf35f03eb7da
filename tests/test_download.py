"""Downloading: the ways in which the line, the server and the machine fail, on a local server."""

import errno
import gzip
import os
import tarfile
import threading
import time

import pytest
from archive_server import ARCHIVE, FILES, answer, archive, assert_here, fails, fetch, tar_of

from lakhnes_lib.data import archives, fetching
from lakhnes_lib.data import download as download_module
from lakhnes_lib.errors import BadArchive, DataNotFound, LakhnesError, OutOfSpace


def warning_page():
    return answer(
        200,
        b"""<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head>
        <body><form action="/search"><input name="q" value="no"></form>
        <form id="download-form" action="/download" method="get">
        <input type="submit" value="Download anyway"/><input type="hidden" name="id" value="song">
        <input type="hidden" name="confirm" value="t&amp;x"></form></body></html>""",
        Content_Type="text/html; charset=utf-8",
    )


def test_download_then_reuse(server, use, home):
    server.parts = [archive()]
    folder = fetch(home)
    assert folder == home / "nesmdb_midi"
    assert_here(folder)
    assert fetch(home) == folder
    assert len(server.requests) == 1


def test_progress_bar(server, use, home, capsys):
    server.parts = [archive()]
    fetching.fetch("nesmdb-midi", home=home)
    assert "nesmdb-midi" in capsys.readouterr().err


@pytest.mark.parametrize("say_length", [True, False])
def test_length_need_not_be_known(server, use, home, say_length):
    server.parts = [archive(say_length=say_length)]
    assert_here(fetch(home))


# Google Drive


def test_confirmation_page_is_followed(server, use, home):
    server.parts = [warning_page(), archive()]
    assert_here(fetch(home))
    assert server.requests[1].path == "/download?id=song&confirm=t%26x"


def test_confirmation_page_before_a_resumed_download(server, use, home):
    server.parts = [warning_page(), archive(stop=100_000), warning_page(), archive()]
    assert_here(fetch(home))
    assert server.requests[3].headers["Range"] == "bytes=100000-"


def test_second_page_is_not_the_file(server, use, home):
    quota = answer(
        200,
        b"<html><title>Google Drive -\n Quota exceeded</title></html>",
        Content_Type="text/html",
    )
    server.parts = [warning_page(), quota]
    fails(
        DataNotFound,
        home,
        "web page ('Google Drive - Quota exceeded')",
        "github.com/chrisdonahue/nesmdb",
        "--mirror",
    )
    server.parts = [quota]
    fails(DataNotFound, home, "Quota exceeded")


# The line


def test_lost_connection_is_taken_up_again(server, use, home):
    server.parts = [archive(stop=50_000), archive(stop=200_000), archive()]
    assert_here(fetch(home))
    assert [request.headers.get("Range") for request in server.requests] == [
        None,
        "bytes=50000-",
        "bytes=200000-",
    ]


def test_server_that_hangs_up_is_called_again(server, use, home):
    server.parts = [lambda request: None, archive(stop=50_000), lambda request: None, archive()]
    assert_here(fetch(home))


def test_line_that_stays_down_leaves_a_part_and_the_next_fetch_goes_on(server, use, home):
    server.parts = [archive(stop=150_000)]
    fails(
        DataNotFound,
        home,
        "lost after 0.1 of 0.4 MB",
        "goes on from there",
        remaining=[".nesmdb-midi.part"],
    )
    server.parts, server.requests[:] = [archive()], []
    assert_here(fetch(home))
    assert [request.headers["Range"] for request in server.requests] == ["bytes=150000-"]


def test_server_without_ranges_starts_over(server, use, home):
    server.parts = [archive(stop=50_000), archive(ranges=False)]
    assert_here(fetch(home))


def test_server_that_goes_on_elsewhere_starts_over(server, use, home):
    elsewhere = answer(206, ARCHIVE[7:], Content_Range=f"bytes 7-{len(ARCHIVE) - 1}/{len(ARCHIVE)}")
    server.parts = [archive(stop=50_000), elsewhere, archive()]
    assert_here(fetch(home))


@pytest.mark.parametrize("left", [ARCHIVE, ARCHIVE + b"more", b"other bytes" * 5000, ARCHIVE[:10]])
def test_whatever_the_part_holds(server, use, home, left):
    home.mkdir()
    (home / ".nesmdb-midi.part").write_bytes(left)
    server.parts = [archive()]
    assert_here(fetch(home))


def test_part_complete_without_a_known_hash(server, use, home):
    use(sha256=None)
    home.mkdir()
    (home / ".nesmdb-midi.part").write_bytes(ARCHIVE)
    server.parts = [archive()]
    assert_here(fetch(home))
    assert len(server.requests) == 1


def test_endless_trouble_ends(server, use, home, monkeypatch):
    """A server that always breaks off and always goes on elsewhere."""
    monkeypatch.setattr(download_module, "ATTEMPTS", 6)
    server.parts = [
        archive(stop=50_000),
        answer(206, b"x" * 10, Content_Range="bytes 3-12/400000"),
    ] * 5
    fails(DataNotFound, home, "sends another part than was asked for")
    assert len(server.requests) == 6


@pytest.mark.parametrize("status", [404, 403, 410])
def test_gone(server, use, home, status):
    server.parts = [answer(status, b"<html>gone</html>", Content_Type="text/html")]
    fails(
        DataNotFound,
        home,
        str(status),
        "is not at http://127.0.0.1",
        "github.com/chrisdonahue/nesmdb",
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_keeps_what_is_here(server, use, home, status):
    home.mkdir()
    (home / ".nesmdb-midi.part").write_bytes(ARCHIVE[:1000])
    server.parts = [answer(status)]
    fails(DataNotFound, home, str(status), "later", remaining=[".nesmdb-midi.part"])
    assert (home / ".nesmdb-midi.part").stat().st_size == 1000


def test_no_network(server, use, home):
    server.close()
    fails(
        DataNotFound,
        home,
        "no connection to 127.0.0.1",
        "github.com/chrisdonahue/nesmdb",
        "--mirror",
    )


def test_unknown_host(use, home):
    use(url="http://nowhere.invalid/nesmdb_midi.tar.gz")
    fails(DataNotFound, home, "no connection to nowhere.invalid")


def test_server_that_never_answers(server, use, home, monkeypatch):
    monkeypatch.setattr(download_module, "TIMEOUT", (0.2, 0.2))
    server.parts = [lambda request: time.sleep(0.6)]
    fails(DataNotFound, home, "no connection")


# What comes


def test_wrong_bytes(server, use, home):
    server.parts = [archive(gzip.compress(tar_of(FILES | {"train/a.mid": b"other"})))]
    fails(BadArchive, home, "is not the published file", "sha256", "github.com/chrisdonahue/nesmdb")


def test_too_many_bytes(server, use, home):
    use(most_bytes=100_000)
    server.parts = [archive()]
    fails(BadArchive, home, "sends more than 100,000 bytes")


# The machine


class FullDisk:
    """A file opened for writing on a disk with room for ``room`` bytes in all."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room[0] -= len(data)
        if self.room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize(
    "module, name, size", [(download_module, "open", 100_000), (tarfile, "bltn_open", 350_000)]
)
def test_full_disk(server, use, home, monkeypatch, module, name, size):
    """While downloading, and while unpacking."""
    room = [size]

    def narrow(path, mode="r", **options):
        file = open(path, mode, **options)
        return FullDisk(file, room) if set(mode) & set("wxa") else file

    monkeypatch.setattr(module, name, narrow, raising=False)
    server.parts = [archive()]
    fails(OutOfSpace, home, "disk is full", "nothing of")
    monkeypatch.undo()


def test_interrupted_while_unpacking(server, use, home, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    server.parts = [archive()]
    with monkeypatch.context() as patch:
        patch.setattr(archives, "_extract", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(home)
    assert [path.name for path in home.iterdir()] == [".nesmdb-midi.part"]
    assert_here(fetch(home))
    assert len(server.requests) == 1  # the part was complete


def test_what_a_killed_process_left_is_removed(server, use, home):
    (home / ".nesmdb_midi-0123abcd/train").mkdir(parents=True)
    server.parts = [archive()]
    assert_here(fetch(home))


def test_home_that_cannot_be_made(use, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LakhnesError, match="cannot be written"):
        fetch(tmp_path / "file" / "home")


def test_two_at_once(server, use, home):
    server.parts = [archive()]
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(fetch(home))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders == [home / "nesmdb_midi"] * 4
    assert_here(folders[0])
    assert len(server.requests) == 1
