"""A listening test in a notebook: two sounds, buttons and keys, every answer saved at once.

Paper: §7. Notebook: 08_user_study. For listeners without Jupyter there is ``study_page``.
Differences from the paper: its listeners worked on a web platform.
"""

from functools import partial
from pathlib import Path

from lakhnes_lib.study import answers
from lakhnes_lib.study.designs import Design, Trial
from lakhnes_lib.study.study_page import QUESTIONS

SOUNDS = '<p role="group" aria-label="Clip A">A {}</p><p role="group" aria-label="Clip B">B {}</p>'
SCRIPT = Path(__file__).with_name("study_widget.js")


class Session:
    """One listener's way through a design, in its order; all of it stands in an answers file, so it
    can stop anywhere.

    A new Session with the same listener and file goes on where the last one stopped.
    """

    def __init__(self, design: Design, listener: str, path):
        self.design, self.listener, self.path = design, listener, path
        self.open = answers.open_trials(design, listener, path)

    @property
    def trial(self) -> Trial | None:
        """What comes next, or None at the end."""
        return self.open[0] if self.open else None

    def answer(self, choice: str) -> None:
        """Chooses a or b of the present trial, and goes on."""
        answers.append(self.path, self.listener, self.design, self.trial.id, choice)
        self.open = self.open[1:]

    def undo(self) -> None:
        """Takes back the answer to the trial before, if there is one."""
        answered = [trial for trial in self.design.trials if trial not in self.open]
        if answered:
            last = answered[-1]
            answers.append(self.path, self.listener, self.design, last.id, answers.UNDONE)
            self.open = [last, *self.open]


def take(design: Design, listener: str, path) -> Session:
    """Shows the test to take in a notebook, and returns its session.

    Keys, with the focus in the test: A and B play, 1 and 2 choose, U takes back the last answer.
    """
    import ipywidgets  # here, so that the rest needs nothing but the library
    from IPython.display import HTML, Audio, display

    session = Session(design, listener, path)
    heading, sounds = ipywidgets.HTML(), ipywidgets.HTML()
    buttons = {
        "1": ipywidgets.Button(description="Choose A", button_style="primary"),
        "2": ipywidgets.Button(description="Choose B", button_style="primary"),
        "u": ipywidgets.Button(description="Undo the last"),
    }

    def show():
        total, left, trial = len(design.trials), len(session.open), session.trial
        if trial:
            heading.value = f"<b>{QUESTIONS[design.kind]}</b> Pair {total - left + 1} of {total}."
            clips = map(Audio, map(design.sound, trial.clips))
            sounds.value = SOUNDS.format(*(clip._repr_html_() for clip in clips))
        else:
            heading.value, sounds.value = f"All {total} pairs are answered. Thank you!", ""
        buttons["1"].disabled = buttons["2"].disabled = not left
        buttons["u"].disabled = left == total

    def press(key, _):
        if key == "u":
            session.undo()
        elif session.trial:
            session.answer({"1": "a", "2": "b"}[key])
        show()

    for key, button in buttons.items():
        button.add_class(f"lakhnes-key-{key}")
        button.on_click(partial(press, key))
    show()
    row = ipywidgets.HBox(list(buttons.values()))
    box = ipywidgets.VBox([heading, sounds, row], tabbable=True)
    box.add_class("lakhnes-study")
    display(box)
    display(HTML(f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>"))
    return session
