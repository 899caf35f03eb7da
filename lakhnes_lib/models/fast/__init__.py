"""All that exists for speed alone, behind one switch.

Paper: none. The models beside this package are written to be read. A function of theirs that has
a faster version here asks ``is_on()`` first, and hands over to it. Both versions compute the same
numbers, and tests compare them, gradients included. The readable versions run if the environment
variable ``LAKHNES_FAST`` is ``0`` when this package is imported, or within
``with fast.switched(False):``.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_on = os.environ.get("LAKHNES_FAST") != "0"


def is_on() -> bool:
    """Whether the fast versions run."""
    return _on


@contextmanager
def switched(on: bool) -> Iterator[None]:
    """Within it the fast versions run, or do not; afterwards it is as before."""
    global _on
    before, _on = _on, on
    try:
        yield
    finally:
        _on = before
