"""Which precision composes fastest, for the tables of speeds."""

from filling import value

PRECISIONS = {"": 32, "int8_": 8}
"""How a precision's numbers begin in results/sampling.json -> bits of a weight."""


def fastest_precision(model: str, pieces: int) -> tuple[str, int]:
    """The precision at which a model composes so many pieces (1 or 32) fastest with a full memory:
    how its numbers begin, and its bits."""
    end = "_32_at_once" if pieces == 32 else ""
    path = f"sampling.{model}.full."
    prefix = max(PRECISIONS, key=lambda prefix: value(f"{path}{prefix}events_a_second{end}") or 0)
    return prefix, PRECISIONS[prefix]
