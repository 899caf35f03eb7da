"""A listening test in a notebook: two sounds, buttons and keys, every answer kept at once.

Paper: §7. Notebook: 08_user_study. For listeners without Jupyter there is ``study_page``.
Differences from the paper: its listeners worked on a web platform.
"""

import base64

from lakhnes_lib.listening.player import asset
from lakhnes_lib.study import answers
from lakhnes_lib.study.designs import Design, Trial

QUESTIONS = {
    "turing": "Which of the two was composed by a human?",
    "preference": "Which of the two do you prefer?",
}


class Session:
    """One listener's way through a design, in its order; all of it stands in an answers file, so it can stop anywhere.

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
        done = [trial for trial in self.design.trials if trial not in self.open]
        if done:
            answers.append(self.path, self.listener, self.design, done[-1].id, answers.UNDONE)
            self.open = [done[-1], *self.open]


def take(design: Design, listener: str, path) -> Session:
    """Shows the test to take in a notebook, and returns its session.

    Keys, with the focus in the test: A and B play, 1 and 2 choose, U takes back the last answer.
    """
    import ipywidgets  # here, so that the rest needs nothing but the library
    from IPython.display import HTML, display

    session = Session(design, listener, path)
    sounds, says = ipywidgets.HTML(), ipywidgets.HTML()
    buttons = {
        "a": ipywidgets.Button(description="Choose A", button_style="primary"),
        "b": ipywidgets.Button(description="Choose B", button_style="primary"),
        "undo": ipywidgets.Button(description="Undo the last"),
    }

    def show():
        total, left = len(design.trials), len(session.open)
        says.value = f"<b>{QUESTIONS[design.kind]}</b> Pair {total - left + 1} of {total}."
        if not left:
            says.value = f"All {total} pairs are answered. Thank you!"
        clips = zip("AB", session.trial.clips, strict=True) if left else ()
        sounds.value = "".join(
            f'<p>{side} <audio controls aria-label="Clip {side}" style="vertical-align: middle" '
            f'src="data:audio/wav;base64,{base64.b64encode(design.sound(name)).decode()}"></audio></p>'
            for side, name in clips
        )
        buttons["a"].disabled = buttons["b"].disabled = not left
        buttons["undo"].disabled = left == total

    def press(name):
        if name == "undo":
            session.undo()
        elif session.trial:
            session.answer(name)
        show()

    for name, button in buttons.items():
        button.add_class(f"lakhnes-{name}")
        button.on_click(lambda _, name=name: press(name))
    show()
    box = ipywidgets.VBox([says, sounds, ipywidgets.HBox(list(buttons.values()))])
    box.add_class("lakhnes-study")
    display(box)
    display(HTML(f"<script>{asset('study_widget.js')}</script>"))
    return session
