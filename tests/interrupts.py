"""Ctrl-C for tests of training."""

import signal

from lakhnes_lib.training import trainer


def interrupt(monkeypatch, step):
    """Presses Ctrl-C in the middle of a step, after which the run has taken so many."""
    whole = trainer.learning_rate_share

    def pressed(place, settings):
        if place == step - 1:
            signal.raise_signal(signal.SIGINT)
        return whole(place, settings)

    monkeypatch.setattr(trainer, "learning_rate_share", pressed)
