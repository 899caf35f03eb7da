"""Fetching: every way in which a download can go wrong, played by a local server; and a mirror's real archives."""

import bz2
import errno
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import tarfile
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lakhnes_lib.data import archives, datasets, registry
from lakhnes_lib.data import download as download_module
from lakhnes_lib.errors import BadArchive, DataNotFound, LakhnesError, OutOfSpace

MIRROR = os.environ.get("LAKHNES_MIRROR")
FILES = {
    "train/a.mid": os.urandom(300_000),
    "train/b.mid": b"",
    "valid/c.mid": b"MThd two",
    "test/d.mid": os.urandom(120_000),
}


def tar_of(files: dict[str, bytes], top="nesmdb_midi/", *members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(top + name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in members:
            tar.addfile(member)
    return out.getvalue()


def member_of(name, kind=tarfile.REGTYPE, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def slow_fingerprint(files: dict[str, bytes]) -> str:
    """The definition, written out once more."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(hashlib.sha256(files[name]).hexdigest().encode() + b"  " + name.encode() + b"\n")
    return whole.hexdigest()


ARCHIVE = gzip.compress(tar_of(FILES), mtime=0)


class Server:
    """Answers each request with the next of ``parts``, the last one for ever; keeps the requests."""

    def __init__(self):
        self.parts, self.requests = [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.requests.append(self)
                part = outer.parts.pop(0) if len(outer.parts) > 1 else outer.parts[0]
                part(self)
                self.close_connection = True

            def end_headers(self):
                self.send_header("Connection", "close")
                super().end_headers()

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/uc?export=download&id=song"

    def close(self):
        self.http.shutdown()
        self.http.server_close()


def answer(status, body=b"", **headers):
    def part(request):
        request.send_response(status)
        for key, value in ({"Content-Length": len(body)} | headers).items():
            request.send_header(key.replace("_", "-"), str(value))
        request.end_headers()
        request.wfile.write(body)

    return part


def archive(data=ARCHIVE, stop=None, ranges=True, say_length=True):
    """Serves ``data``, from the Range that was asked for on; the connection breaks after ``stop`` bytes of the file."""

    def part(request):
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        first = int(asked[1]) if asked and ranges else 0
        if asked and ranges and first >= len(data):
            return answer(416, Content_Range=f"bytes */{len(data)}")(request)
        request.send_response(206 if asked and ranges else 200)
        if asked and ranges:
            request.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        if say_length:
            request.send_header("Content-Length", str(len(data) - first))
        request.send_header("Content-Type", "application/x-gzip")
        request.send_header("Content-Encoding", "x-gzip")  # as some servers mark .tar.gz: it must not be unpacked
        request.end_headers()
        request.wfile.write(data[first : len(data) if stop is None else stop])

    return part


def warning_page(action="/download", method="get"):
    return answer(
        200,
        f"""<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
        <form action="/search"><input name="q" value="no"></form>
        <form id="download-form" action="{action}" method="{method}"><input type="submit" value="Download anyway"/>
        <input type="hidden" name="id" value="song"><input type="hidden" name="confirm" value="t&amp;x">
        </form></body></html>""".encode(),
        Content_Type="text/html; charset=utf-8",
    )


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def use(monkeypatch, server):
    """Puts an entry for FILES into the registry under the name nesmdb-midi, with changes."""
    monkeypatch.delenv("LAKHNES_MIRROR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def put(**changes):
        entry = replace(
            registry.REGISTRY["nesmdb-midi"],
            url=server.url,
            sha256=hashlib.sha256(ARCHIVE).hexdigest(),
            fingerprint=slow_fingerprint(FILES),
            files=len(FILES),
            most_bytes=2_000_000,
            most_members=20,
        )
        monkeypatch.setitem(registry.REGISTRY, "nesmdb-midi", replace(entry, **changes))

    put()
    return put


def fetch(home, **options):
    return datasets.fetch("nesmdb-midi", home=home, progress=False, **options)


def fails(error, home, *words, kept=(), **options):
    """Fetches; the failure is one sentence with ``words``, and only ``kept`` stays."""
    with pytest.raises(error) as caught:
        fetch(home, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert sorted(path.name for path in home.rglob("*")) == sorted(kept) if home.exists() else not kept
    return message


def assert_here(place):
    there = {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    receipt = json.loads(there.pop("receipt.json"))
    assert there == FILES
    assert receipt["fingerprint"] == slow_fingerprint(FILES)
    assert (receipt["files"], receipt["bytes"]) == (len(FILES), sum(map(len, FILES.values())))
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_download_then_reuse(server, use, home):
    server.parts = [archive()]
    place = fetch(home)
    assert place == home / "nesmdb_midi"
    assert_here(place)
    assert fetch(home) == place
    assert len(server.requests) == 1


def test_progress_bar(server, use, home, capsys):
    server.parts = [archive()]
    datasets.fetch("nesmdb-midi", home=home)
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
    quota = answer(200, b"<html><title>Google Drive -\n Quota exceeded</title></html>", Content_Type="text/html")
    server.parts = [warning_page(), quota]
    fails(
        DataNotFound, home, "web page ('Google Drive - Quota exceeded')", "github.com/chrisdonahue/nesmdb", "--mirror"
    )
    server.parts = [quota]
    fails(DataNotFound, home, "Quota exceeded")


# The line


def test_lost_connection_is_taken_up_again(server, use, home):
    server.parts = [archive(stop=50_000), archive(stop=200_000), archive()]
    assert_here(fetch(home))
    assert [request.headers.get("Range") for request in server.requests] == [None, "bytes=50000-", "bytes=200000-"]


def test_server_that_hangs_up_is_called_again(server, use, home):
    server.parts = [lambda request: None, archive(stop=50_000), lambda request: None, archive()]
    assert_here(fetch(home))


def test_line_that_stays_down_leaves_a_part_and_the_next_fetch_goes_on(server, use, home):
    server.parts = [archive(stop=150_000)]
    fails(DataNotFound, home, "lost after 0.1 of 0.4 MB", "goes on from there", kept=[".nesmdb-midi.part"])
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
    server.parts = [archive(stop=50_000), answer(206, b"x" * 10, Content_Range="bytes 3-12/400000")] * 5
    fails(DataNotFound, home, "does not go on where the last download broke off")
    assert len(server.requests) == 6


@pytest.mark.parametrize("status", [404, 403, 410])
def test_gone(server, use, home, status):
    server.parts = [answer(status, b"<html>gone</html>", Content_Type="text/html")]
    fails(DataNotFound, home, str(status), "is not at http://127.0.0.1", "github.com/chrisdonahue/nesmdb")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_keeps_what_is_here(server, use, home, status):
    home.mkdir()
    (home / ".nesmdb-midi.part").write_bytes(ARCHIVE[:1000])
    server.parts = [answer(status)]
    fails(DataNotFound, home, str(status), "later", kept=[".nesmdb-midi.part"])
    assert (home / ".nesmdb-midi.part").stat().st_size == 1000


def test_no_network(server, use, home):
    server.close()
    fails(DataNotFound, home, "no connection to 127.0.0.1", "github.com/chrisdonahue/nesmdb", "--mirror")


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


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress, bytes])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_archive_cut_off(use, home, tmp_path, pack, share):
    whole = pack(tar_of(FILES))
    (tmp_path / "nesmdb_midi.tar").write_bytes(whole[: int(len(whole) * share)])
    fails(BadArchive, home, "nesmdb_midi.tar", mirror=tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"not a tar" * 200, b"\x1f\x8b", b"BZh9xxxxxxxx", b"\xfd7zXZ\x00yyyyyyy", b"\0" * 4096]
)
def test_no_archive(use, home, tmp_path, data):
    (tmp_path / "nesmdb_midi.tar").write_bytes(data)
    fails(BadArchive, home, "nesmdb_midi.tar", mirror=tmp_path)


def test_damaged_checksum(use, home, tmp_path):
    damaged = bytearray(ARCHIVE)
    damaged[-5] ^= 1  # in gzip's trailer, after all of the tar
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(damaged)
    fails(BadArchive, home, "damaged", mirror=tmp_path)


HOSTILE = {
    "absolute": [member_of("/train/x.mid")],
    "parent": [member_of("../../train/x.mid")],
    "parent inside": [member_of("nesmdb_midi/train/../../../x.mid")],
    "backslash": [member_of("nesmdb_midi\\train\\x.mid")],
    "drive": [member_of("C:train/x.mid")],
    "symbolic link": [member_of("nesmdb_midi/train/x.mid", tarfile.SYMTYPE, "../../secret")],
    "symbolic link as a folder": [member_of("nesmdb_midi/train", tarfile.SYMTYPE, "..")],
    "hard link": [member_of("nesmdb_midi/train/x.mid", tarfile.LNKTYPE, "../../secret")],
    "device": [member_of("nesmdb_midi/train/x.mid", tarfile.CHRTYPE)],
    "pipe": [member_of("nesmdb_midi/train/x.mid", tarfile.FIFOTYPE)],
    "twice": [member_of("nesmdb_midi/train/a.mid")],
    "many": [member_of(f"elsewhere/{i}") for i in range(20)],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archive(use, home, tmp_path, kind):
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(gzip.compress(tar_of(FILES, "nesmdb_midi/", *HOSTILE[kind])))
    fails(BadArchive, home, "nesmdb_midi.tar.gz", mirror=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nesmdb_midi.tar.gz"]


def test_hostile_download(server, use, home):
    data = gzip.compress(tar_of(FILES, "nesmdb_midi/", *HOSTILE["parent"]))
    use(sha256=hashlib.sha256(data).hexdigest())
    server.parts = [archive(data)]
    fails(BadArchive, home, "leads out of its folder")


def test_bomb(use, home, tmp_path):
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(gzip.compress(tar_of({"train/x.mid": bytes(50_000_000)})))
    fails(BadArchive, home, "more than 2,000,000 bytes", mirror=tmp_path)


def test_bomb_behind_the_end(use, home, tmp_path):
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(gzip.compress(tar_of(FILES) + bytes(50_000_000)))
    fails(BadArchive, home, "more than 2,000,000 bytes", mirror=tmp_path)


def test_bomb_in_a_header(use, home, tmp_path):
    use(most_bytes=10**12)
    head = tarfile.TarInfo("././@PaxHeader")
    head.type, head.size = tarfile.XHDTYPE, 5 * 10**9
    (tmp_path / "nesmdb_midi.tar").write_bytes(head.tobuf() + bytes(100_000))
    fails(BadArchive, home, "header of 5,000,000,000 bytes", mirror=tmp_path)


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


@pytest.mark.parametrize("module, size", [(download_module, 100_000), (archives, 350_000)])
def test_full_disk(server, use, home, monkeypatch, module, size):
    """While downloading, and while unpacking."""
    room = [size]

    def narrow(path, mode="r", **options):
        return FullDisk(open(path, mode, **options), room) if set(mode) & set("wxa") else open(path, mode, **options)

    monkeypatch.setattr(module, "open", narrow, raising=False)
    server.parts = [archive()]
    fails(OutOfSpace, home, "disk is full", "nothing of")
    monkeypatch.undo()


def test_interrupted_while_unpacking(server, use, home, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    server.parts = [archive()]
    with monkeypatch.context() as patch:
        patch.setattr(archives, "_write", interrupt)
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
    with pytest.raises(LakhnesError, match="cannot be made"):
        fetch(tmp_path / "file" / "home")


def test_two_at_once(server, use, home):
    server.parts = [archive()]
    places = []
    threads = [threading.Thread(target=lambda: places.append(fetch(home))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert places == [home / "nesmdb_midi"] * 4
    assert_here(places[0])
    assert len(server.requests) == 1


# What is here already


@pytest.mark.parametrize(
    "change",
    [
        lambda place: (place / "valid/c.mid").write_bytes(b"MThd 2wo"),
        lambda place: (place / "valid/c.mid").unlink(),
        lambda place: (place / "valid/c.mid").rename(place / "train/c.mid"),
        lambda place: (place / "train/new.mid").write_bytes(b""),
        lambda place: (place / "receipt.json").write_text("[]"),
        lambda place: (place / "receipt.json").write_bytes(b"\xff\xfe"),
    ],
)
def test_changed_folder_is_noticed(server, use, home, change):
    server.parts = [archive()]
    place = fetch(home)
    change(place)
    with pytest.raises(BadArchive, match="remove .* fetch nesmdb-midi again"):
        fetch(home)
    assert place.is_dir()


def test_quick_check_sees_missing_bytes(server, use, home):
    server.parts = [archive()]
    (fetch(home) / "valid/c.mid").write_bytes(b"short")
    with pytest.raises(BadArchive, match="other files"):
        fetch(home, verify=False)


def test_folder_unpacked_by_hand(use, home):
    for name, data in (FILES | {"vocab.txt": b"kept", "train/.DS_Store": b"not counted"}).items():
        path = home / "nesmdb_midi" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert fetch(home) == home / "nesmdb_midi"
    use(fingerprint=None)
    with pytest.raises(BadArchive, match=r"has no receipt.json"):
        fetch(home)


# Mirrors


@pytest.mark.parametrize(
    "pack, ending", [(lzma.compress, ".tar.xz"), (bz2.compress, ".tar.bz2"), (gzip.compress, ".tgz")]
)
@pytest.mark.parametrize("top", ["nesmdb_midi/", "./some/where/nesmdb_midi/", ""])
def test_mirror_by_content(use, home, tmp_path, pack, ending, top):
    """Packed otherwise, with other folders around and hidden files: the same content."""
    (tmp_path / f"nesmdb_midi{ending}").write_bytes(pack(tar_of(FILES | {"train/._a.mid": b"x", "README": b"y"}, top)))
    assert_here(fetch(home, mirror=tmp_path))


def test_mirror_by_hash_whatever_its_name(use, home, tmp_path):
    (tmp_path / "download (1).tar.gz").write_bytes(ARCHIVE)
    (tmp_path / "other.tar.gz").write_bytes(b"something else")
    assert_here(fetch(home, mirror=tmp_path))


def test_mirror_with_other_content(use, home, tmp_path):
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(gzip.compress(tar_of(FILES | {"valid/c.mid": b"MThd 2wo"})))
    fails(BadArchive, home, "other bytes than were published", mirror=tmp_path)
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(gzip.compress(tar_of(FILES | {"valid/e.mid": b""})))
    fails(BadArchive, home, "holds 5 files of it, not 4", mirror=tmp_path)


def test_mirror_of_a_set_without_fingerprint_needs_the_official_archive(use, home, tmp_path):
    use(fingerprint=None, files=None)
    (tmp_path / "nesmdb_midi.tar.xz").write_bytes(lzma.compress(tar_of(FILES)))
    fails(BadArchive, home, "is not the published file", mirror=tmp_path)
    (tmp_path / "nesmdb_midi.tar.xz").rename(tmp_path / "nesmdb_midi-repacked.tar.xz")
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(ARCHIVE)
    assert_here(fetch(home, mirror=tmp_path))


def test_mirror_from_the_environment(server, use, home, tmp_path, monkeypatch):
    """It is asked first; what it lacks comes from the official address, unless the mirror was given by name."""
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("LAKHNES_MIRROR", str(tmp_path / "mirror"))
    fails(DataNotFound, home, "holds no nesmdb_midi.tar.gz", mirror=tmp_path / "mirror")
    fails(DataNotFound, home, "is not a folder", mirror=tmp_path / "nothing")
    server.parts = [archive()]
    assert_here(fetch(home))
    (tmp_path / "mirror/nesmdb_midi.tar.gz").write_bytes(ARCHIVE)
    assert_here(fetch(tmp_path / "second"))
    assert len(server.requests) == 1


def test_names_that_are_md5(use, home, tmp_path):
    data = b"MThd whatever was found"
    name = f"5/{hashlib.md5(data).hexdigest()}.mid"
    changes = dict(
        content=registry.REGISTRY["lmd-full"].content, md5_names=True, fingerprint=None, files=None, sha256=None
    )
    use(**changes)
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(gzip.compress(tar_of({name: data + b"!"}, "lmd_full/")))
    fails(BadArchive, home, name, "md5", mirror=tmp_path)
    (tmp_path / "nesmdb_midi.tar.gz").write_bytes(gzip.compress(tar_of({name: data}, "lmd_full/")))
    place = fetch(home, mirror=tmp_path)
    assert (place / name).read_bytes() == data
    assert fetch(home) == place
    (place / name).write_bytes(data + b"!")
    with pytest.raises(BadArchive, match="other bytes"):
        fetch(home)


def test_checkpoint_archive(server, use, home):
    """Without a pattern: everything, less the archive's first folder."""
    data = gzip.compress(tar_of({"model.pt": b"weights", "scripts/train.py": b"code"}, "LakhNES/"))
    use(content=None, fingerprint=None, files=None, sha256=hashlib.sha256(data).hexdigest(), folder="published/LakhNES")
    server.parts = [archive(data)]
    place = fetch(home)
    assert place == home / "published/LakhNES"
    assert (place / "model.pt").read_bytes() == b"weights"
    assert (place / "scripts/train.py").read_bytes() == b"code"
    assert fetch(home) == place
    (place / "model.pt").write_bytes(b"Weights")
    with pytest.raises(BadArchive, match="other bytes"):
        fetch(home)


# The registry


def test_registry_is_complete():
    for name, entry in registry.REGISTRY.items():
        assert entry.name == name
        assert entry.licence and entry.citation and entry.size and entry.page.startswith("https://")
        assert entry.url or entry.fingerprint
        assert entry.sha256 or entry.fingerprint or entry.md5_names, f"{name} could not be verified"
        for value in (entry.sha256, entry.fingerprint):
            assert value is None or re.fullmatch("[0-9a-f]{64}", value)
    hashes = [entry.sha256 for entry in registry.REGISTRY.values() if entry.sha256]
    folders = [entry.folder for entry in registry.REGISTRY.values()]
    assert len(set(hashes)) == len(hashes) == 9
    assert len(set(folders)) == len(folders) == 12


def test_unknown_name(home):
    with pytest.raises(DataNotFound, match="'nesmbd' is not in the registry; there are: nesmdb-midi, "):
        datasets.fetch("nesmbd", home=home)


def test_subset_that_only_mirrors_have(home, monkeypatch):
    monkeypatch.delenv("LAKHNES_MIRROR", raising=False)
    with pytest.raises(DataNotFound, match="no official archive of its own"):
        datasets.fetch("lmd-full-5", home=home)
    assert not home.exists()


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("LAKHNES_HOME", str(tmp_path / "elsewhere"))
    assert datasets.home() == tmp_path / "elsewhere"
    assert datasets.folder("nesmdb-midi") == tmp_path / "elsewhere/nesmdb_midi"
    monkeypatch.delenv("LAKHNES_HOME")
    monkeypatch.delenv("LAKHNES_ROOT", raising=False)
    assert datasets.home() == Path(__file__).resolve().parents[1] / "data"
    monkeypatch.setenv("LAKHNES_ROOT", str(tmp_path / "site-packages"))
    assert datasets.home() == Path.home() / ".cache/lakhnes"


@pytest.mark.skipif(not MIRROR, reason="LAKHNES_MIRROR names no folder of real archives")
@pytest.mark.parametrize("name", ["nesmdb-midi", "nesmdb-tx1", "lmd-full-5-sample"])
def test_real_archives(name, home):
    """The registry's fingerprints are those of the published songs."""
    place = datasets.fetch(name, mirror=MIRROR, home=home, progress=False)
    entry = registry.find(name)
    inventory = archives.fingerprint(place, entry.content)
    assert (inventory.files, inventory.fingerprint) == (entry.files, entry.fingerprint)
    if name.startswith("nesmdb"):
        assert [len(list((place / split).iterdir())) for split in ("train", "valid", "test")] == [4502, 403, 373]
    else:
        assert all(hashlib.md5(path.read_bytes()).hexdigest() == path.stem for path in place.rglob("*.mid"))
    assert datasets.fetch(name, mirror=MIRROR, home=home) == place
