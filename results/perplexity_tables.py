"""Known answers and perplexities: the paper's numbers beside ours."""

from figures import figures
from tables import fill, table

from lakhnes_lib import reproduction

KNOWN_ANSWERS = [
    ("MIDI → TX1 text equals the authors', songs", "5,278", "{representation.text.equal_to_authors:,}"),
    ("events → score → events comes back, songs", "5,278", "{representation.known.ids_fixed_point:,}"),
    ("songs that keep the grammar", "5,278", "{representation.known.grammatical:,}"),
    (
        "raw events: train, valid, test",
        "8,390,590, 641,729, 407,268",
        ", ".join(f"{{representation.known.events.{split}:,}}" for split in ("train", "valid", "test")),
    ),
    (
        "seconds that 512 events last, on average",
        "9",
        "{representation.seconds_of_512_events.train.overall:.2f}",
    ),
    ("VGM written and read back exactly, songs", "–", "{vgm.exactly_back:,}"),
]
NOTES = (
    "“Difference” is ours by the paper's protocol from the paper's. The trained models here are smaller than the "
    "paper's and were trained for minutes, so those rows compare with each other rather than with the paper's. "
    "“–” is not measured. The model after Lakh was fine-tuned for half as many steps as the row above it, and its "
    "minutes are the fine-tuning's alone: Figure 3 compares like with like.",
    "The published 5-gram is no distribution: its probabilities sum to {ngram.backoff.test_mass.mean:.2f} on average, "
    "and made to sum to one they give {ngram.backoff.test_mass.perplexity_after_normalising:.1f}.",
)


def known_answers() -> str:
    return table(("known answer, on all of NES-MDB", "published", "measured here"), KNOWN_ANSWERS)


def perplexities() -> str:
    """Table 2, ours beside the paper's, with its notes and pictures."""
    head = ("model", "size: paper", "here", "test: paper", "here, exact", "here, paper's protocol", "difference",
            "valid, exact", "minutes of training")  # fmt: skip
    notes = [text for note in NOTES if (text := fill(note))]
    pictures = [f"![{title}](results/{name}.png)" for name, (title, _) in figures().items()]
    return "\n\n".join([table(head, [compared(row) for row in reproduction.table_2()]), *notes, *pictures])


def compared(row: reproduction.Row) -> tuple[str, ...]:
    """A row of Table 2."""
    test, valid = row.ours.get("test", {}), row.ours.get("valid", {})
    difference = f"{test['paper'] / row.paper - 1:+.1%}" if row.paper and "paper" in test else "–"
    count = row.ours.get("parameters")
    return (
        row.title,
        row.size,
        "–" if count is None else f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}",
        number(row.paper, 2),
        number(test.get("exact")),
        number(test.get("paper")),
        difference.replace("-0.0%", "0.0%"),
        number(valid.get("exact")),
        number(row.ours.get("minutes"), 0),
    )


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
