"""Chromium driven over DevTools: the fixture ``page`` for tests of what a browser shows.

A test file takes it by ``pytest_plugins = ["browser"]``; its tests are skipped where there is no
Chromium.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from base64 import b64decode
from contextlib import contextmanager
from pathlib import Path

import pytest
import websocket

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SCREENSHOTS = os.environ.get("LAKHNES_SCREENSHOTS")
"""A folder for pictures of the pages, to look at; none are kept without it."""
KEYS = {
    " ": ("Space", 32),
    "ArrowLeft": ("ArrowLeft", 37),
    "ArrowRight": ("ArrowRight", 39),
    "Home": ("Home", 36),
}
"""Of keys that write nothing, or not their own name; letters and digits need no entry."""


class Page:
    """One tab, by Chromium's DevTools protocol."""

    def __init__(self, address: str):
        self._socket = websocket.create_connection(address, timeout=120, suppress_origin=True)
        self._number = 0
        self.errors = []
        for domain in ("Page", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **arguments) -> dict:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": arguments}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("method") == "Runtime.exceptionThrown":
                details = answer["params"]["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description", details["text"]))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script: str):
        """The value of a JavaScript expression; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str, seconds: float = 300):
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(condition)):
            if time.monotonic() > end:
                self.picture("waited_in_vain")
                raise AssertionError(f"not within {seconds} s: {condition}")
            time.sleep(0.05)
        return value

    def open(self, address: str):
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'", 60)

    def click(self, element: str):
        """A real mouse click in the middle of the element that an expression gives."""
        x, y = self.run(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
            f" return [b.x + b.width / 2, b.y + b.height / 2]; }})({element})"
        )
        for kind, button in (
            ("mouseMoved", "none"),
            ("mousePressed", "left"),
            ("mouseReleased", "left"),
        ):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button=button,
                clickCount=int(button == "left"),
            )

    def key(self, key: str):
        code, number = KEYS.get(key) or (
            f"{'Digit' if key.isdigit() else 'Key'}{key.upper()}",
            ord(key.upper()),
        )
        more = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self.call(
            "Input.dispatchKeyEvent",
            type="keyDown",
            **({"text": key} if len(key) == 1 else {}),
            **more,
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", **more)

    def picture(self, name: str):
        if SCREENSHOTS:
            content = b64decode(self.call("Page.captureScreenshot", format="png")["data"])
            Path(SCREENSHOTS, f"{name}.png").write_bytes(content)

    def close(self):
        self._socket.close()


@contextmanager
def started(folder: Path):
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-dev-shm-usage", "--disable-background-networking"]
    command += ["--remote-debugging-port=0", f"--user-data-dir={folder}"]
    command += ["--window-size=1100,800", "about:blank"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        port_file = folder / "DevToolsActivePort"
        latest = time.monotonic() + 600
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert process.poll() is None and time.monotonic() < latest, "Chromium did not start"
            time.sleep(0.05)
        port = port_file.read_text().split()[0]
        yield port
    finally:
        end(process)


def end(process):
    """Ends a process that was started as a session of its own, with all it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with started(tmp_path_factory.mktemp("chromium")) as port:
        yield port


@pytest.fixture
def page(chromium):
    request = urllib.request.Request(
        f"http://127.0.0.1:{chromium}/json/new?about:blank", method="PUT"
    )
    with urllib.request.urlopen(request) as answer:
        page = Page(json.load(answer)["webSocketDebuggerUrl"])
    page.call("Page.bringToFront")
    page.call("Emulation.setFocusEmulationEnabled", enabled=True)
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=1060,
        height=760,
        deviceScaleFactor=1,
        mobile=False,
    )
    yield page
    page.call("Page.close")
    page.close()
    assert not page.errors, page.errors
