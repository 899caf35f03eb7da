"""A tool's errors as one line: what the library raises is printed, and the program ends with 1."""

import sys
from collections.abc import Callable
from functools import wraps

from lakhnes_lib.errors import LakhnesError


def one_line_errors(main: Callable[..., int]) -> Callable[..., int]:
    """A decorator of a tool's ``main``, which returns its exit code."""

    @wraps(main)
    def told(*arguments, **options) -> int:
        try:
            return main(*arguments, **options)
        except LakhnesError as error:
            print(error, file=sys.stderr)
            return 1

    return told
