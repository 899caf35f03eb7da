"""A small archive of made files, a local server for it, and what a fetch should leave."""

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lakhnes_lib.data import fetching

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


def slow_fingerprint(files: dict[str, bytes]) -> str:
    """The definition, written out once more."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(
            hashlib.sha256(files[name]).hexdigest().encode() + b"  " + name.encode() + b"\n"
        )
    return whole.hexdigest()


ARCHIVE = gzip.compress(tar_of(FILES), mtime=0)


class Server:
    """Answers each request with the next of ``parts``, and then with the last one for ever."""

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
    """Serves ``data`` from the byte that is asked for; the connection breaks at byte ``stop``."""

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
        request.send_header(
            "Content-Encoding", "x-gzip"
        )  # as some servers mark .tar.gz: it must not be unpacked
        request.end_headers()
        request.wfile.write(data[first : len(data) if stop is None else stop])

    return part


def fetch(home, **options):
    return fetching.fetch("nesmdb-midi", home=home, progress=False, **options)


def fails(error, home, *words, remaining=(), **options):
    """Fetches; the failure is one sentence with ``words``, and only ``remaining`` stays."""
    with pytest.raises(error) as caught:
        fetch(home, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert (
        sorted(path.name for path in home.rglob("*")) == sorted(remaining)
        if home.exists()
        else not remaining
    )
    return message


def assert_here(folder):
    there = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    receipt = json.loads(there.pop("receipt.json"))
    assert there == FILES
    assert receipt["fingerprint"] == slow_fingerprint(FILES)
    assert receipt["files"] == len(FILES)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
