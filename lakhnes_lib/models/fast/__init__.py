"""All that exists for speed alone, behind one switch.

Paper: none. The models beside this package are written to be read. A function of theirs that has
a faster version here names it in one line:

    @fast.replaced_by(quick_attention.relative_attention)
    def relative_attention(query, key, ...):  # the readable version

Both versions compute the same numbers, and tests compare them, gradients included. The readable
versions run if the environment variable ``LAKHNES_FAST`` is ``0`` when this package is imported,
or within ``with fast.switched(False):``.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

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


def replaced_by(quick: Callable) -> Callable[[Callable], Callable]:
    """A decorator: the function below it runs only while the fast versions are switched off.

    quick: takes the same arguments and returns the same values. The readable function stays in
    reach as ``__wrapped__``.
    """

    def decorate(readable: Callable) -> Callable:
        @wraps(readable)
        def chosen(*arguments):
            return quick(*arguments) if _on else readable(*arguments)

        return chosen

    return decorate
