"""The player in a real browser: a saved page, and a notebook in JupyterLab. See browser.py."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from contextlib import contextmanager
from pathlib import Path

import browser
import nbformat
import numpy as np
import pytest
import scrub

from lakhnes_lib.listening import player
from lakhnes_lib.music import midi, nes
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import apu, audio, vgm

pytest_plugins = ["browser"]

ROOT = Path(__file__).parents[1]


def _song(seed: int = 0, seconds: float = 12.0, name: str = "song") -> Score:
    """Four busy voices: notes with and without gaps, velocity and timbre changes."""
    random = np.random.default_rng(seed)
    length = int(seconds * nes.TICKS_PER_SECOND)
    notes, controls = [], []
    for voice in range(4):
        at = int(random.integers(0, 20_000))
        while at < length - 30_000:
            end = at + int(random.integers(3_000, 25_000))
            low, high = int(nes.LOWEST_PITCH[voice]), int(nes.HIGHEST_PITCH[voice])
            notes.append(
                (
                    voice,
                    at,
                    end,
                    random.integers(low, high + 1),
                    random.integers(1, nes.HIGHEST_VELOCITY[voice] + 1),
                )
            )
            if voice != nes.TR:
                middle = (at + end) // 2
                controls.append((voice, middle, VELOCITY_CHANGE, random.integers(1, 16)))
                timbre = random.integers(0, nes.TIMBRE_VALUES[voice])
                controls.append((voice, at, TIMBRE_CHANGE, timbre))
            at = end + int(random.integers(0, 2)) * int(random.integers(1, 9_000))
    return Score.build(notes, length, controls, name)


AUDIO = "document.querySelector('audio')"


def _press_play(page, audio: str = AUDIO):
    """Starts or pauses by a key, as the browser's own controls do."""
    page.run(f"{audio}.focus()")
    page.key(" ")


def _button(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"


def test_saved_page_plays_mutes_and_seeks(page, tmp_path):
    page.open(
        player.listen(_song(), title='A & B <i>"it\'s"</i>').save(tmp_path / "one.html").as_uri()
    )
    assert page.run("document.querySelector('figcaption').textContent") == 'A & B <i>"it\'s"</i>'
    page.until(f"{AUDIO}.readyState >= 1")
    assert page.run(f"{AUDIO}.duration") == pytest.approx(12.0, abs=0.01)
    _press_play(page)
    page.until(f"{AUDIO}.currentTime > 0.3")
    page.picture("playing")
    python = page.run(f"{AUDIO}.src")
    page.click(_button("[data-mute='1']"))
    page.until(f"{AUDIO}.src.startsWith('blob:')")
    page.until(f"!{AUDIO}.paused && {AUDIO}.currentTime > 0.4")
    assert page.run(_button("[data-mute='1']") + ".checked")
    page.click(_button("[data-solo='3']"))
    page.click(_button("[data-view='waveform']"))
    time.sleep(0.3)
    page.picture("noise_alone")
    page.click(_button("[data-solo='3']"))
    page.click(_button("[data-mute='1']"))
    page.until(f"{AUDIO}.src === {json.dumps(python)}")
    page.click("document.querySelector('.stage')")
    assert 5.7 < page.run(f"{AUDIO}.currentTime") < 8
    _press_play(page)
    page.until(f"{AUDIO}.paused")
    page.click(_button("[data-view='spectrogram']"))
    page.picture("spectrogram")


def test_keys_reach_everything(page, tmp_path):
    page.open(player.listen(_song()).save(tmp_path / "keys.html").as_uri())
    slider = _button("[aria-label=Position]")
    page.run(f"{slider}.focus()")
    page.key(" ")
    page.until(f"!{AUDIO}.paused && {AUDIO}.currentTime > 0.1")
    page.key(" ")
    page.until(f"{AUDIO}.paused")
    page.key("Home")
    for _ in range(3):
        page.key("ArrowRight")
    page.key("ArrowLeft")
    assert page.run(f"{AUDIO}.currentTime") == pytest.approx(2.0, abs=0.01)
    assert page.run(f"[{slider}.value, {slider}.ariaValueText]") == ["2", "2 of 12 s"]
    page.run("document.querySelector(\"[data-mute='0']\").focus()")
    page.key(" ")
    page.until(f"{AUDIO}.src.startsWith('blob:')")
    controls = "document.querySelectorAll('.lakhnes-deck :is(button, select, input, a)')"
    named = "e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')"
    assert page.run(f"[...{controls}].every(e => e.tabIndex >= 0 && ({named}))")


@pytest.mark.parametrize(("seed", "duty"), [(3, None), (4, 2)])
def test_the_browsers_mix_is_the_librarys(page, tmp_path, seed, duty):
    """Each voice alone, three together, as written and with another duty: the browser's samples
    against apu.render."""
    song = _song(seed, 8.0)
    page.open(player.listen(song).save(tmp_path / "mix.html").as_uri())
    if duty is not None:
        page.run(
            "document.querySelectorAll('.strip select').forEach(s => {"
            f" s.value = '{duty}'; s.dispatchEvent(new Event('change')); }})"
        )
    for voices in ([0], [1], [2], [3], [0, 1, 3], [1, 2, 3]):
        page.run(f"""[0, 1, 2, 3].forEach(v => {{
            const b = document.querySelector(`[data-mute="${{v}}"]`), on = {voices}.includes(v);
            if (b.checked === on) b.click(); }})""")
        page.until("document.querySelector('[role=status]').textContent === ''")
        content = page.run(f"""fetch({AUDIO}.src).then(r => r.arrayBuffer()).then(b =>
            btoa(Array.from(new Uint8Array(b), c => String.fromCharCode(c)).join('')))""")
        heard = np.frombuffer(b64decode(content), "<i2", offset=44) / 32767
        wanted = apu.render(song, player.PREVIEW_RATE, voices=voices, duty=duty)
        assert len(heard) == len(wanted)
        error = np.sqrt(np.mean((heard - wanted) ** 2) / np.mean(wanted**2))
        assert error < 0.02, (voices, error)


def test_players_on_one_page_do_not_interfere(page, tmp_path):
    one, two = player.listen(_song(1), title="one"), player.listen(_song(2), title="two")
    (tmp_path / "two.html").write_text(
        f"<!DOCTYPE html><body>{one.html}{two.html}{one.html}</body>"
    )
    page.open((tmp_path / "two.html").as_uri())
    state = """[...document.querySelectorAll('.lakhnes-player')].map(p => [
        p.querySelectorAll('.lakhnes-deck').length,
        p.querySelector('audio').src.startsWith('blob:'),
        p.querySelector('audio').paused,
        p.querySelectorAll('.strip.silent').length])"""
    assert page.run(state) == [[1, False, True, 0]] * 3
    page.click("document.querySelectorAll('[data-solo=\"2\"]')[1]")
    second = "document.querySelectorAll('audio')[1]"
    # The browser's controls take no key before the new mix is loaded.
    page.until(f"{second}.src.startsWith('blob:') && {second}.readyState >= 1")
    _press_play(page, second)
    page.until("document.querySelectorAll('audio')[1].currentTime > 0.1")
    assert page.run(state) == [[1, False, True, 0], [1, True, False, 3], [1, False, True, 0]]


def test_compare_switches_at_the_same_position(page, tmp_path):
    pieces = {
        "<script>A</script>": _song(1),
        "B": _song(2, 6.0),
        "C": apu.render(_song(4, 9.0)).astype(np.float64),
    }
    page.open(player.compare(pieces).save(tmp_path / "compare.html").as_uri())
    assert page.run(
        "[...document.querySelectorAll('button[data-piece]')].map(b => b.textContent)"
    ) == list(pieces)
    page.click("document.querySelector('.stage')")
    _press_play(page)
    page.until(f"{AUDIO}.currentTime > 5")
    audio = "[...document.querySelectorAll('audio')]"
    page.click(_button("button[data-piece='2']"))
    page.until(f"{audio}[2].currentTime > 5.2")
    assert page.run(f"{audio}.map(a => a.paused)") == [True, True, False]
    assert page.run("document.querySelector('.strip').hidden")
    page.picture("compare_samples")
    page.click(_button("button[data-piece='0']"))
    page.until(f"!{audio}[0].paused")
    assert page.run(f"{audio}[0].currentTime") > page.run(f"{audio}[2].currentTime") - 0.3
    page.click(_button("[data-mute='0']"))
    page.click(_button("button[data-piece='1']"))
    page.until(f"{audio}[1].src.startsWith('blob:')")
    page.picture("compare")


def test_without_scripts_sound_and_picture_remain(page, tmp_path):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(player.compare({"A": _song(1), "B": _song(2)}).save(tmp_path / "plain.html").as_uri())
    shown = """[...document.querySelectorAll('img, audio, figcaption, a[download]:not([hidden])')]
        .map(e => [e.tagName, e.getBoundingClientRect().height > 10])"""
    assert [tag for tag, _ in page.run(shown)] == ["FIGCAPTION", "IMG", "AUDIO", "A", "A"] * 2
    assert all(visible for _, visible in page.run(shown))
    page.until(f"{AUDIO}.readyState >= 1 && document.querySelector('img').naturalWidth > 300")
    assert page.run(f"{AUDIO}.controls && {AUDIO}.duration") == pytest.approx(12.0, abs=0.01)
    page.picture("no_scripts")


def test_downloads_are_the_piece(page, tmp_path):
    song = _song(5, 45.0, "a/b <c>")
    made = player.listen(song)
    page.open(made.save(tmp_path / "page.html").as_uri())
    assert "first 30 of 45 seconds; the" in page.run(
        "document.querySelector('.downloads').textContent"
    )
    folder = tmp_path / "downloads"
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    for ending in ("wav", "mid", "vgm"):
        page.click(f"document.querySelector(\"a[download$='.{ending}']\")")
        end = time.monotonic() + 600
        while not (folder / f"a_b_c.{ending}").exists():
            assert time.monotonic() < end, ending
            time.sleep(0.05)
    audio.write_wav(
        apu.render(song.excerpt(0, 30), player.PREVIEW_RATE),
        wanted := tmp_path / "wanted.wav",
        22_050,
    )
    assert (folder / "a_b_c.wav").read_bytes() == wanted.read_bytes()
    assert midi.read(folder / "a_b_c.mid") == song
    assert vgm.read(folder / "a_b_c.vgm").length == song.length


def test_dark_pages(page, tmp_path):
    page.open(player.listen(_song()).save(tmp_path / "dark.html").as_uri())
    ground = "getComputedStyle(document.querySelector('.lakhnes-player')).backgroundColor"
    assert page.run(ground) == "rgb(255, 255, 255)"
    page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert page.run(ground) == "rgb(18, 18, 18)"
    page.run("document.querySelector('[aria-label=Position]').focus()")
    page.picture("dark")
    page.run(
        "document.body.dataset.jpThemeLight = 'true'"
    )  # as JupyterLab does: its theme counts, not the system's
    assert page.run(ground) == "rgb(255, 255, 255)"


@contextmanager
def _jupyterlab(folder: Path):
    """JupyterLab over a folder, with settings of its own; yields its address with token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    own = {
        name: str(folder / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=test"]
    command += [f"--ServerApp.root_dir={folder}", f"--LabApp.workspaces_dir={folder / 'spaces'}"]
    command += [f"--LabApp.user_settings_dir={folder / 'settings'}"]
    with (folder / "server.log").open("wb") as log:
        environment = {**os.environ, **own, "PYTHONPATH": str(ROOT)}
        server = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=folder
        )
    try:
        end = time.monotonic() + 600
        while True:
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/api/status?token=test", timeout=5
                ):
                    break
            except OSError:
                assert server.poll() is None and time.monotonic() < end, (
                    folder / "server.log"
                ).read_text()
                time.sleep(0.2)
        yield lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}?token=test"
    finally:
        browser.end(server)


PLAYS = """from lakhnes_lib.listening.player import listen
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score

second = nes.TICKS_PER_SECOND
notes = [(voice, i * second, (i + 1) * second, 50 + i, 9) for voice in range(2) for i in range(6)]
listen(Score.build(notes, 6 * second))"""


def test_player_in_jupyterlab(page, tmp_path):
    """A notebook of a player: it plays, mutes, seeks by mouse and keys."""
    cells = [nbformat.v4.new_markdown_cell("# A player"), nbformat.v4.new_code_cell(PLAYS)]
    notebook = scrub.scrub(nbformat.v4.new_notebook(cells=cells))  # which names the kernel
    nbformat.write(notebook, tmp_path / "player.ipynb")
    with _jupyterlab(tmp_path) as address:
        _play_in_jupyterlab(page, address("player.ipynb"))


def _play_in_jupyterlab(page, address):
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=1400,
        height=1000,
        deviceScaleFactor=1,
        mobile=False,
    )
    page.open(address)
    idle = "document.querySelector('#jp-main-statusbar').textContent.includes('| Idle')"
    page.until(f"!!document.querySelector('.jp-Notebook .jp-Cell') && {idle}", 300)
    page.click(
        "[...document.querySelectorAll('.lm-MenuBar-itemLabel')].find(e => e.textContent === 'Run')"
    )
    page.until("!!document.querySelector('.lm-Menu-item[data-command=\"runmenu:run-all\"]')")
    page.click("document.querySelector('.lm-Menu-item[data-command=\"runmenu:run-all\"]')")
    built = "!!document.querySelector('.lakhnes-ready audio')"
    # JupyterLab asks for the kernel if it was faster than its own session.
    page.until(f"document.querySelector('.jp-Dialog .jp-mod-accept')?.click(), {built}", 300)
    waiting = (
        "[...document.querySelectorAll('.jp-InputPrompt')].some(p => p.textContent.includes('*'))"
    )
    page.until(f"{idle} && !{waiting}", 300)
    assert (
        page.run(
            "document.querySelectorAll('[data-mime-type=\"application/vnd.jupyter.error\"]').length"
        )
        == 0
    )
    # JupyterLab may still build its outputs anew: each look finds the player that is there now.
    player = "player: {get: () => document.querySelector('.lakhnes-ready')}"
    sound = "sound: {get: () => player.querySelector('audio')}"
    page.run(f"Object.defineProperties(window, {{{player}, {sound}}}), true")
    end = time.monotonic() + 600
    # The layout may move between the look and the click.
    while page.run("sound.paused") and time.monotonic() < end:
        _press_play(page, "sound")
        time.sleep(0.5)
    page.until("sound.currentTime > 0.3", 300)
    page.click("player.querySelector('[data-mute=\"0\"]')")
    page.until("sound.src.startsWith('blob:') && !sound.paused")
    page.picture("jupyterlab")
    _press_play(page, "sound")
    page.until("sound.paused")
    page.click("player.querySelector('.stage')")
    page.until("Math.abs(sound.currentTime / sound.duration - 0.5) < 0.05")
    # The player's keys are its own: JupyterLab's commands for the same keys (next cell, run) do not
    # hear them.
    cells = "[...document.querySelectorAll('.jp-Notebook .jp-Cell')]"
    active = f"{cells}.findIndex(cell => cell.classList.contains('jp-mod-active'))"
    cell, at = page.run(active), page.run("sound.currentTime")
    page.key("ArrowRight")
    page.until(f"Math.abs(sound.currentTime - Math.min({at} + 1, sound.duration)) < 0.05")
    page.key("Home")
    page.key(" ")
    page.until("!sound.paused")
    assert page.run(active) == cell
