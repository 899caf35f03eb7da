"""What tests of composing share: settings of a draw, a song, and the pieces of the last step."""

import numpy as np
from songs import tune

SETTINGS = dict(temperature=1.0, top_k=None, top_p=1.0, memory_length=32)
SONG = tune(3, beats=8)


def last(steps) -> list[np.ndarray]:
    """What the last step of a way to compose gives."""
    *_, made = steps
    return [np.array(ids) for ids in made]
