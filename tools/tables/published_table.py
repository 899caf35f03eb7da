"""The authors' checkpoints: paper, measured, difference, as ``tools/published_checkpoints.py``
measures them."""

from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.listening import reproduction, results

HEADING = ("checkpoint", "protocol", "paper", "measured", "difference")
PROTOCOLS = {
    "test": "paper's, test",
    "valid": "paper's, valid",
    "per_song": "song by song, test",
}
"""What is known of a checkpoint in results/known_answers.json -> how it is measured."""


def rows(known: dict, values: dict[str, float]) -> list[tuple[str, ...]]:
    """The cells of a checkpoint's rows under ``HEADING``; values: perplexities by the keys of
    ``PROTOCOLS``."""
    return [
        (
            known["title"],
            PROTOCOLS[what],
            f"{known[what]:.3f}",
            f"{value:.3f}",
            f"{value / known[what] - 1:+.2%}",
        )
        for what, value in values.items()
    ]


def measured_rows() -> list[tuple[str, ...]]:
    """The rows of every checkpoint that was measured."""
    try:
        values = results.read("published")["values"]
    except DataNotFound:
        return []
    known = reproduction.known_answers()["published"]
    return [
        cells
        for entry in known
        for cells in rows(entry, values.get(entry["name"].removeprefix("published/"), {}))
    ]
