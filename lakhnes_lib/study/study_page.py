"""A listening test as one HTML file, to put on any web space, to send, or to take in a notebook.

Paper: §7. Notebook: 08_user_study.
Differences from the paper: its judges met the pairs on a web platform.

The page holds the sounds, in the design's order, under names that say nothing: what is real and
what is not stands in ``design.json`` alone. It needs no server, loads nothing and sends nothing.
Consent comes first; answers stay in the listener's browser, through reloads, until they are
downloaded as CSV, which ``answers.read`` reads. Several listeners can use one browser, one after
the other.
"""

import base64
from html import escape
from pathlib import Path

from lakhnes_lib.files import write_file
from lakhnes_lib.listening.player import Player
from lakhnes_lib.listening.templates import render
from lakhnes_lib.study.designs import Design

TEMPLATE = Path(__file__).with_name("study_page.html")
TITLE = "Listening test: music for a game console"
QUESTIONS = {
    "turing": "Which of the two was composed by a human?",
    "preference": "Which of the two do you prefer?",
}


def write(design: Design, path, batches=None, *, title: str = TITLE, consent=()) -> Path:
    """Writes the page of a design and returns its path.

    batches: their numbers, all if None; a batch of 10 pairs takes 6 MB of 5-second clips, 12 MB of
    10-second ones. consent: what a listener agrees to, line by line; the template's own lines if
    empty. Raises BadStudy for a batch that is not there and for clips that are missing.
    """
    numbers = sorted({trial.batch for trial in design.trials} if batches is None else set(batches))
    trials = [trial for number in numbers for trial in design.batch(number)]
    pairs = []
    for trial in trials:
        sounds = [base64.b64encode(design.sound(name)).decode() for name in trial.clips]
        pairs.append({"id": trial.id, "clips": sounds})
    key = "-".join([design.fingerprint, *map(str, numbers)])
    data = {"design": design.fingerprint, "key": key, "trials": pairs}
    texts = {"title": title, "consent": consent, "question": QUESTIONS[design.kind]}
    write_file(path, render(TEMPLATE, design=design, count=len(trials), data=data, **texts))
    return Path(path)


def embed(page) -> Player:
    """A written page in a frame, which a notebook shows by itself and keeps when it is saved.

    The page works there as it does alone: answers stay in the browser until they are downloaded,
    and the keys count while the frame has the focus.

    Example: ``embed(write(design, "test.html"))``
    """
    # The text itself, not the file's address: of that VS Code would show nothing, and a Jupyter
    # server would forbid the page to store and to download.
    text = escape(Path(page).read_text(encoding="utf-8"))
    style = "box-sizing: border-box; width: 100%; height: 600px; border: 1px solid #999999"
    frame = f'<iframe title="Listening test" style="{style}" srcdoc="{text}"></iframe>'
    return Player(frame, f"Listening test: {page}")
