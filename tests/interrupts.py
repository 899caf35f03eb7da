"""Ctrl-C for tests of training."""

import signal

from lakhnes_lib.training import trainer


def interrupt(monkeypatch, step):
    """Presses Ctrl-C in the middle of a step, after which the run has taken so many."""
    whole = trainer.learning_rate_share

    def pressed(progress, settings):
        if progress == step - 1:
            signal.raise_signal(signal.SIGINT)
        return whole(progress, settings)

    monkeypatch.setattr(trainer, "learning_rate_share", pressed)
