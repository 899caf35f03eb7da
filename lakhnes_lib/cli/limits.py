"""The numbers that options take, each with its least and its most.

Paper: none. Notebook: none. None is the default of some of these options.
"""

from typing import Annotated

import typer

Natural = Annotated[int | None, typer.Option(min=0, max=2**31 - 1)]
"""A seed, or a count whose most another rule says."""
Length = Annotated[int | None, typer.Option(min=1, max=250_000)]
"""Events of a piece; an hour has about 200,000."""
Memory = Annotated[int, typer.Option(min=0, max=2**20)]
"""Events of history."""
