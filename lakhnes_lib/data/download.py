"""One file over HTTP: with a progress bar, resumed where it broke off, and with Google Drive's question answered.

Paper: none. Notebook: none. Nothing that comes is trusted: the caller compares its hash.
"""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from tqdm import tqdm

from lakhnes_lib.errors import BadArchive, DataNotFound

CHUNK = 1 << 16
TIMEOUT = (20, 60)
"""Seconds to connect, and to wait for the next bytes."""
ATTEMPTS, ATTEMPTS_WITHOUT_PROGRESS = 20, 2
_LARGEST_PAGE = 1 << 20


class Interrupted(DataNotFound):
    """The connection was lost; what came so far is kept and the next attempt goes on from there."""


class _Page(HTMLParser):
    """The page that Google Drive puts before a large file: its title, and its form's address, method and fields."""

    def __init__(self, text: str):
        super().__init__()
        self.title, self.action, self.method, self.fields = "", None, "get", {}
        self._in_title = self._in_form = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = {key: value or "" for key, value in attrs}
        if tag == "title":
            self._in_title = True
        elif (
            tag == "form"
            and self.action is None
            and "download" in attributes.get("id", "") + attributes.get("action", "")
        ):
            self.action, self.method = attributes.get("action", ""), attributes.get("method", "get")
            self._in_form = True
        elif tag == "input" and self._in_form and attributes.get("name"):
            self.fields[attributes["name"]] = attributes.get("value", "")

    def handle_endtag(self, tag):
        if tag == "title":
            self._in_title = False
        elif tag == "form":
            self._in_form = False

    def handle_data(self, data):
        if self._in_title:
            self.title += data


def _is_page(response) -> bool:
    return "html" in response.headers.get("Content-Type", "").lower()


def _page(response) -> _Page:
    text = b""
    for chunk in response.iter_content(CHUNK):
        text += chunk
        if len(text) > _LARGEST_PAGE:
            break
    return _Page(text.decode("utf-8", "replace"))


def _request(session, url: str, have: int, what: str):
    """The response that carries the file from byte ``have`` on, after Google Drive's question if there is one."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    if response.ok and _is_page(response):
        page = _page(response)
        if page.action is not None:
            address = urljoin(response.url, page.action)
            fields = (
                {"data": page.fields} if page.method.lower() == "post" else {"params": page.fields}
            )
            response = session.request(
                page.method.upper(),
                address,
                headers=headers,
                stream=True,
                timeout=TIMEOUT,
                **fields,
            )
            page = _page(response) if response.ok and _is_page(response) else None
        if page is not None:
            title = " ".join(page.title.split())[:80]
            raise DataNotFound(
                f"{what}: {_host(url)} answered with a web page ({title!r}) instead of the file"
            )
    if response.status_code == 429 or response.status_code >= 500:
        raise Interrupted(
            f"{what}: {_host(url)} cannot answer now (HTTP status {response.status_code}); try again later"
        )
    if not response.ok and response.status_code != 416:
        raise DataNotFound(f"{what}: is not at {url} any more (HTTP status {response.status_code})")
    return response


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _span(response, have: int) -> tuple[int, int | None]:
    """First byte that the response carries, and the whole file's size if it says so."""
    if response.status_code == 200:
        size = response.headers.get("Content-Length", "")
        return 0, int(size) if size.isdigit() else None
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, size = rest.partition("/")
    first = span.partition("-")[0]
    size = int(size) if size.isdigit() else None
    if (
        response.status_code == 416
    ):  # nothing from there on: all is here, or what is here is not of this file
        return (have if size == have else 0), size
    return (int(first) if unit == "bytes" and first.isdigit() else -1), size


def _receive(session, url: str, part: Path, what: str, most_bytes: int, progress: bool) -> None:
    have = part.stat().st_size if part.exists() else 0
    response = _request(session, url, have, what)
    first, size = _span(response, have)
    if response.status_code == 416 and first == have:
        return
    if first not in (0, have) or response.status_code == 416:
        part.unlink()
        raise Interrupted(
            f"{what}: {_host(url)} does not go on where the last download broke off; starting over"
        )
    bar = tqdm(
        total=size,
        initial=first,
        unit="B",
        unit_scale=True,
        desc=what,
        disable=not progress,
        leave=False,
    )
    with response, bar, open(part, "ab" if first else "wb") as file:
        # Not iter_content: it would unpack what a server calls "Content-Encoding: gzip", and drop a broken chunk.
        place, stream = first, response.raw.stream(CHUNK, decode_content=False)
        while chunk := _next(stream, what, place, size):
            place += len(chunk)
            if place > most_bytes:
                raise BadArchive(f"{what}: {_host(url)} sends more than {most_bytes:,} bytes")
            file.write(chunk)
            bar.update(len(chunk))
    if size is not None and place < size:
        raise _lost(what, place, size)


def _next(stream, what: str, place: int, size: int | None) -> bytes | None:
    try:
        return next(stream, None)
    except requests.exceptions.BaseHTTPError as error:
        raise _lost(what, place, size) from error


def _lost(what: str, place: int, size: int | None) -> Interrupted:
    of = f" of {size / 1e6:.1f}" if size else ""
    return Interrupted(
        f"{what}: the connection was lost after {place / 1e6:.1f}{of} MB; the same command goes on from there"
    )


def download(url: str, part, *, what: str, most_bytes: int, progress: bool = False) -> None:
    """The file at ``url`` into ``part``, going on at its end if it holds the beginning already.

    what: its name in messages.  most_bytes: more is refused.
    A broken connection is taken up again as long as every attempt brings something.
    Raises Interrupted when the connection is lost or there is none (``part`` stays as far as it came), DataNotFound
    when the file is not there, BadArchive when it is too large. OSError of the disk and KeyboardInterrupt pass through.
    """
    part, fruitless = Path(part), 0
    with requests.Session() as session:
        for attempt in range(1, ATTEMPTS + 1):
            before = part.stat().st_size if part.exists() else 0
            try:
                return _attempt(session, url, part, what, most_bytes, progress)
            except Interrupted:
                after = part.stat().st_size if part.exists() else 0
                fruitless = 0 if after > before else fruitless + 1
                if fruitless == ATTEMPTS_WITHOUT_PROGRESS or attempt == ATTEMPTS:
                    raise


def _attempt(session, url: str, part: Path, what: str, most_bytes: int, progress: bool) -> None:
    try:
        _receive(session, url, part, what, most_bytes, progress)
    except requests.RequestException as error:
        raise Interrupted(
            f"{what}: no connection to {_host(url)} ({type(error).__name__})"
        ) from error
