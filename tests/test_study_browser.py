"""The page of a listening test in a real browser, alone and in a notebook: taken by keys and by
clicks, reloaded, downloaded, read back."""

import time
from html import escape

import pytest
from quartets import quartet

from lakhnes_lib.study import study_page
from lakhnes_lib.study.answers import read
from lakhnes_lib.study.clips import make_study

pytest_plugins = ["browser"]


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    pieces = {
        "real": [quartet(seed) for seed in range(9)],
        "mini": [quartet(seed) for seed in range(9, 18)],
    }
    folder = tmp_path_factory.mktemp("study") / "design"
    options = dict(seconds=1.0, pairs=4, controls=1, seed=5, progress=False)
    return make_study("turing", pieces, folder, **options)


def press(page, *keys):
    for key in keys:
        page.key(key)


def says(page, text, document="document"):
    page.until(f"{document}.querySelector('main')?.innerText.includes({text!r})")


def element(selector):
    return f"document.querySelector({selector!r})"


def download(page, button, folder):
    """Clicks on a button by script, and returns the files that then come, when they are there."""
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.run(f"{button}.click()")
    latest = time.monotonic() + 10
    while not (files := list(folder.glob("*.csv"))):
        assert time.monotonic() < latest
        time.sleep(0.05)
    return files


def test_study_is_taken_reloaded_downloaded_and_read(page, design, tmp_path):
    path = study_page.write(design, tmp_path / "page.html")
    page.open(path.as_uri())
    says(page, "4 pairs")
    page.picture("study_welcome")
    press(page, "1", "a")  # nothing happens before consent
    page.click(element("[data-act=begin]"))
    says(page, "Pair 1 of 4")
    press(page, "1")  # nor a choice before both clips were heard
    says(page, "Pair 1 of 4")
    assert page.run("[...document.querySelectorAll('.choose')].every(b => b.disabled)")
    press(page, "a", "b")
    page.until(f"!{element('.choose')}.disabled")
    page.picture("study_pair")
    page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 18, 18)"
    page.picture("study_dark")
    named = "element => element.ariaLabel || element.textContent.trim()"
    assert page.run(f"[...document.querySelectorAll('button, progress, audio')].every({named})")
    press(page, "1")
    says(page, "Pair 2 of 4")
    press(page, "u")
    says(page, "Pair 1 of 4")
    press(page, "a", "b")
    page.run("document.activeElement.blur()")
    press(page, "ArrowRight")
    says(page, "Pair 2 of 4")
    page.open(path.as_uri())
    says(page, "Pair 2 of 4")
    for side in (1, 2):
        page.run(element(f".side:nth-child({side}) audio") + ".focus()")
        page.key(" ")  # the browser's own controls
        page.until(element(f".side:nth-child({side}) audio") + ".currentTime > 0")
    page.click(element(".choose"))
    says(page, "Pair 3 of 4")
    for name in "Pair 4 of 4", "Thank you":
        press(page, "b", "a", "2")
        says(page, name)
    page.picture("study_end")
    files = download(page, element("#end [data-act=download]"), tmp_path / "downloads")
    answers = read(design, files)
    assert not answers.refused and not answers.replaced and len(answers.listeners) == 1
    rows = [line.split(",") for line in files[0].read_text().splitlines()[1:]]
    assert [(row[2], row[3]) for row in rows] == [
        (trial.id, choice) for trial, choice in zip(design.trials, "babb", strict=True)
    ]
    page.click(element("#end [data-act=welcome]"))
    says(page, "You will hear")
    press(page, "u")  # the keys of the listener before are off
    page.click(element("[data-act=begin]"))
    says(page, "Pair 1 of 4")
    press(page, "a", "b", "1")
    says(page, "Pair 2 of 4")
    page.click(element("#pair summary"))
    page.click(element("#pair [data-act=remove]"))
    says(page, "Thank you")  # the second listener's answers are gone, the first's are not


def test_study_is_taken_in_a_notebook(page, design, tmp_path):
    """As VS Code shows a cell's output: in a frame that may neither ask nor open anything."""
    shown = study_page.embed(study_page.write(design, tmp_path / "page.html"))
    assert str(tmp_path / "page.html") in repr(shown) and len(repr(shown)) < 300
    allowed = "allow-same-origin allow-scripts allow-downloads allow-forms"
    output = f'<iframe sandbox="{allowed}" width="900" height="650" srcdoc="{{}}"></iframe>'
    notebook = "<!DOCTYPE html><textarea></textarea>" + output.format(escape(shown.html))
    (tmp_path / "notebook.html").write_text(notebook, encoding="utf-8")
    page.open((tmp_path / "notebook.html").as_uri())
    page.run("localStorage.clear()")  # of what other tests have answered
    page.open((tmp_path / "notebook.html").as_uri())
    frame = "frames[0].frames[0].document"
    says(page, "4 pairs", frame)
    page.picture("study_in_a_notebook")
    assert page.run(element("iframe") + ".contentDocument.activeElement.tagName") == "BODY"
    page.run("frames[0].frames[0].focus()")
    page.run(f"{frame}.querySelector('[data-act=begin]').click()")
    says(page, "Pair 1 of 4", frame)
    page.run(element("textarea") + ".focus()")
    press(page, "a", "b", "1")
    assert page.run(element("textarea") + ".value") == "ab1"
    says(page, "Pair 1 of 4", frame)
    page.run("frames[0].frames[0].focus()")
    sounds = f"[...{frame}.querySelectorAll('audio')]"
    page.run(f"{sounds}.forEach(sound => (sound.playbackRate = 0.1))")  # for slow machines
    playing = f"{sounds}.map(sound => !sound.paused).join()"
    press(page, "a")
    page.until(f"{playing} === 'true,false'")
    press(page, "B")
    page.until(f"{playing} === 'false,true'")
    press(page, "1", "x", '"', "a", "b", "2", "u", "a", "b", "1")
    says(page, "Pair 3 of 4", frame)
    page.open((tmp_path / "notebook.html").as_uri())
    says(page, "Pair 3 of 4", frame)
    page.run("frames[0].frames[0].focus()")
    press(page, "a", "b", "2", "a", "b", "2")
    says(page, "Thank you", frame)
    button = f"{frame}.querySelector('#end [data-act=download]')"
    files = download(page, button, tmp_path / "downloads")
    choices = [line.split(",")[3] for line in files[0].read_text().splitlines()[1:]]
    assert "".join(choices) == "aabb" and len(read(design, files).judgements) == 4
    page.run(f"{frame}.querySelector('#end [data-act=remove]').click()")
    says(page, "You will hear", frame)
