"""Downloads one file over HTTP: with a progress bar, resumed where it broke off, also from Google
Drive, which puts a page with a form before a large file.

Paper: none. Notebook: none. Nothing that is received is trusted: the caller compares its hash.
"""

import re
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from tqdm import tqdm

from lakhnes_lib.errors import BadArchive, DataNotFound

CHUNK = 1 << 16
TIMEOUT = (20, 60)
"""Seconds to connect, and to wait for the next bytes."""
ATTEMPTS, ATTEMPTS_WITHOUT_PROGRESS = 20, 2
_MOST_CHUNKS_OF_A_PAGE = 16


class Interrupted(DataNotFound):
    """The connection was lost; what was received is kept, and the next attempt goes on there."""


def download(url: str, part, *, what: str, most_bytes: int, progress: bool = False) -> None:
    """Downloads ``url`` into the file ``part``; if that holds the beginning already, goes on there.

    what: the file's name in messages. most_bytes: a larger file is refused. A lost connection is
    taken up again as long as attempts bring something.
    Raises Interrupted when the connection is lost or there is none (``part`` stays as it is),
    DataNotFound when the file is not there, BadArchive when it is too large. OSError of the disk
    and KeyboardInterrupt pass through.
    """
    part, failures = Path(part), 0
    with requests.Session() as session:
        for attempt in range(1, ATTEMPTS + 1):
            size_before = _size(part)
            try:
                return _receive(session, url, part, what, most_bytes, progress)
            except Interrupted:
                failures = 0 if _size(part) > size_before else failures + 1
                if failures == ATTEMPTS_WITHOUT_PROGRESS or attempt == ATTEMPTS:
                    raise


def _receive(session, url: str, part: Path, what: str, most_bytes: int, progress: bool) -> None:
    """One attempt: what is missing of the file is appended to ``part``."""
    received = _size(part)
    try:
        response = _request(session, url, received, what)
    except requests.RequestException as error:
        message = f"{what}: no connection to {_host(url)} ({type(error).__name__})"
        raise Interrupted(message) from None
    if response.status_code == 416:  # there is nothing behind what is here
        return
    goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {received}-")
    if response.status_code == 206 and not goes_on:
        part.unlink(missing_ok=True)
        raise Interrupted(f"{what}: {_host(url)} sends another part than was asked for; try again")
    first = received if goes_on else 0
    length = response.headers.get("Content-Length", "")
    size = first + int(length) if length.isdigit() else None
    look = dict(desc=what, unit="B", unit_scale=True, disable=not progress)
    bar = tqdm(initial=first, total=size, **look)
    # response.iter_content would unpack what a server calls "Content-Encoding: gzip".
    stream = response.raw.stream(CHUNK, decode_content=False)
    position = first
    with response, bar, open(part, "ab" if first else "wb") as file:
        try:
            for chunk in stream:
                position += len(chunk)
                if position > most_bytes:
                    raise BadArchive(f"{what}: {_host(url)} sends more than {most_bytes:,} bytes")
                file.write(chunk)
                bar.update(len(chunk))
        except requests.exceptions.BaseHTTPError:  # also for fewer bytes than were announced
            share = f" of {size / 1e6:.1f}" if size else ""
            lost = f"the connection was lost after {position / 1e6:.1f}{share} MB"
            advice = "the same command goes on from there"
            raise Interrupted(f"{what}: {lost}; {advice}") from None


def _request(session, url: str, received: int, what: str):
    """The response that holds the file from byte ``received`` on."""
    headers = {"Accept-Encoding": "identity"}
    if received:
        headers["Range"] = f"bytes={received}-"
    options = {"headers": headers, "stream": True, "timeout": TIMEOUT}
    response = session.get(url, **options)
    page = _page_of(response)
    if page is not None and page.action is not None:  # Google Drive asks for a confirmation
        address = urljoin(response.url, page.action)
        response = session.get(address, params=page.fields, **options)
        page = _page_of(response)
    if page is not None:
        answer = f"answered with a web page ({page.title!r}) instead of the file"
        raise DataNotFound(f"{what}: {_host(url)} {answer}")
    status = response.status_code
    if status == 429 or status >= 500:
        answer = f"cannot answer now (HTTP status {status}); try again later"
        raise Interrupted(f"{what}: {_host(url)} {answer}")
    if not response.ok and status != 416:
        raise DataNotFound(f"{what}: is not at {url} any more (HTTP status {status})")
    return response


class _Page(HTMLParser):
    """A web page's title, and the address and the fields of its form for downloading."""

    def __init__(self, text: str):
        super().__init__()
        self.action, self.fields = None, {}
        title = re.search(r"<title>(.*?)</title>", text, re.DOTALL)
        self.title = " ".join(title[1].split())[:80] if title else ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = {key: value or "" for key, value in attrs}
        address = attributes.get("action", "")
        if tag == "form" and "download" in attributes.get("id", "") + address:
            self.action = address
        elif tag == "input" and self.action is not None and attributes.get("name"):
            self.fields[attributes["name"]] = attributes.get("value", "")


def _page_of(response) -> _Page | None:
    """The web page that a server answered with, or None if the answer is a file or an error."""
    if not response.ok or "html" not in response.headers.get("Content-Type", "").lower():
        return None
    start = b"".join(islice(response.iter_content(CHUNK), _MOST_CHUNKS_OF_A_PAGE))
    return _Page(start.decode("utf-8", "replace"))


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
