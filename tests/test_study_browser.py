"""The page of a listening test in a real browser: taken by keys and by clicks, reloaded,
downloaded, read back."""

import time

import pytest
from IPython.display import Audio
from quartets import quartet

from lakhnes_lib.study import study_page, study_widget
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


def says(page, text):
    page.until(f"document.querySelector('main').innerText.includes({text!r})")


def element(selector):
    return f"document.querySelector({selector!r})"


def test_study_is_taken_reloaded_downloaded_and_read(page, design, tmp_path):
    place = study_page.write(design, tmp_path / "page.html")
    page.open(place.as_uri())
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
    page.open(place.as_uri())
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
    downloads = tmp_path / "downloads"
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
    page.click(element("#end [data-act=download]"))
    latest = time.monotonic() + 10
    while not (files := list(downloads.glob("*.csv"))):
        assert time.monotonic() < latest
        time.sleep(0.05)
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
    page.run("confirm = () => true")
    page.click(element("#pair [data-act=remove]"))
    says(page, "Thank you")  # the second listener's answers are gone, the first's are not


def test_keys_of_the_notebook(page, design, tmp_path):
    """Each key acts on its sound or button; both sounds never play at once."""
    clips = [Audio(design.sound(name))._repr_html_() for name in design.trials[0].clips]
    buttons = "".join(
        f"<button class='lakhnes-key-{key}' onclick='said.push(this.textContent)'>{text}</button>"
        for key, text in (("1", "first"), ("2", "second"), ("u", "undone"))
    )
    script = study_widget.SCRIPT.read_text(encoding="utf-8")
    box = f"<div class='lakhnes-study' tabindex='0'>{study_widget.SOUNDS.format(*clips)}{buttons}"
    scripts = f"<script>said = []</script><script>{script}</script>" * 2  # as two cells bring it
    (tmp_path / "notebook.html").write_text(f"<main>{box}</div></main>{scripts}", encoding="utf-8")
    page.open((tmp_path / "notebook.html").as_uri())
    playing = "[...document.querySelectorAll('audio')].map(sound => !sound.paused)"
    press(page, "1")
    page.run(f"{element('.lakhnes-study')}.focus()")
    press(page, "a")
    page.until(f"{playing}.join() === 'true,false'")
    press(page, "B")
    page.until(f"{playing}.join() === 'false,true'")
    press(page, "b", "1", "2", "u", "x", '"')
    page.until(f"{playing}.join() === 'false,false'")
    assert page.run("said.join()") == "first,second,undone"
    press(page, "a", "a")  # a sound that is stopped before it has begun is no error
    page.run("new Promise(done => setTimeout(done, 200))")
    assert page.errors == []
