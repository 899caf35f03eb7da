"""Known answers and perplexities: the paper's numbers beside ours; and what the modern decoder's changes gain."""

from math import log

from filling import fill, table, value
from table_figures import figures

from lakhnes_lib.listening import reproduction

KNOWN_ANSWERS = [
    (
        "MIDI → TX1 text equals the authors', songs",
        "5,278",
        "{representation.text.equal_to_authors:,}",
    ),
    (
        "events → score → events comes back, songs",
        "5,278",
        "{representation.known.ids_fixed_point:,}",
    ),
    ("songs that keep the grammar", "5,278", "{representation.known.grammatical:,}"),
    (
        "raw events: train, valid, test",
        "8,390,590, 641,729, 407,268",
        ", ".join(
            f"{{representation.known.events.{split}:,}}" for split in ("train", "valid", "test")
        ),
    ),
    (
        "seconds that 512 events last, on average",
        "9",
        "{representation.seconds_of_512_events.train.overall:.2f}",
    ),
    ("VGM written and read back exactly, songs", "–", "{vgm.exactly_back:,}"),
]
MEANING = (
    "Perplexity says between how many of the {representation.known.vocabulary} possible events the model is in doubt "
    "on average: {representation.known.vocabulary} is a blind guess, 1 would be certainty, so less is better."
)
NOTES = (
    "“Difference” is ours by the paper's protocol from the paper's. The networks here are smaller than the paper's and "
    "were trained for minutes: compare rows of like events of training with each other, rather than with the paper's. "
    "“–” is not measured. Minutes depend on the machine and its other work, events of training do not; those of the "
    "model after Lakh are its fine-tuning's alone. Augmentation is a remedy for overfitting, which so few events do "
    "not reach.",
    "The published 5-gram is no distribution: its probabilities sum to {ngram.backoff.test_mass.mean:.2f} on average, "
    "and made to sum to one they give {ngram.backoff.test_mass.perplexity_after_normalising:.1f}.",
)

LEFT_OUT = {
    "all": "nothing",
    "rotary": "rotary positions",
    "qk_norm": "normalised queries and keys",
    "squared_relu": "squared ReLU (SwiGLU instead)",
    "previous": "embeddings of the three events before",
    "late_keys": "late keys",
    "tied": "one table for inputs and outputs",
    "muon": "Muon (AdamW instead)",
}
"""Every variant of benchmarks/modern_decoder_changes.py, with what it lacks."""


def known_answers() -> str:
    return table(("known answer, on all of NES-MDB", "published", "measured here"), KNOWN_ANSWERS)


def perplexities() -> str:
    """What perplexity is; Table 2, ours beside the paper's; notes and pictures."""
    head = ("model", "size: paper", "here", "test: paper", "here, exact", "here, paper's protocol", "difference",
            "valid, exact", "events of training", "minutes")  # fmt: skip
    rows = table(head, [compared(row) for row in reproduction.table_2()])
    texts = [text for text in map(fill, (MEANING, rows, *NOTES)) if text]
    if gains():
        texts.append(
            "How good the modern decoder is without each of its changes stands in [docs/results.md](docs/results.md)."
        )
    return "\n\n".join(
        [*texts, *(f"![{title}](results/{name}.png)" for name, (title, _) in figures().items())]
    )


def compared(row: reproduction.Row) -> tuple[str, ...]:
    """A row of Table 2."""
    test, valid = row.ours.get("test", {}), row.ours.get("valid", {})
    difference = f"{test['paper'] / row.paper - 1:+.1%}" if row.paper and "paper" in test else "–"
    count = row.ours.get("parameters")
    return (
        row.title,
        row.size,
        "–" if count is None else f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}",
        number(
            row.paper, 3 if row.paper is None or row.paper < 10 else 2
        ),  # as the paper gives them
        number(test.get("exact")),
        number(test.get("paper")),
        difference.replace("-0.0%", "0.0%"),
        number(valid.get("exact")),
        "–" if "events" not in row.ours else f"{row.ours['events'] / 1e6:.1f} M",
        number(row.ours.get("minutes"), 0),
    )


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def gains() -> str | None:
    """The modern decoder with one change left out at a time, after the longest training for which all variants were
    measured; None if there is none."""
    measured = value("modern_decoder", "left_out") or {}
    whole = [
        int(steps) for steps, variants in measured.items() if LEFT_OUT.keys() <= variants.keys()
    ]
    if not whole:
        return None
    found = measured[str(max(whole))]
    rows = []
    for name in LEFT_OUT:
        perplexity = found[name]["valid_perplexity"]
        worse = f"{log(perplexity / found['all']['valid_perplexity']):+.3f}"
        rows.append((LEFT_OUT[name], number(perplexity), worse if name != "all" else "–"))
    note = (
        f"Each was trained for {max(whole):,} steps on the same segments in the same order, and scored by the exact "
        "protocol on every fifth song of valid. Above 0 the model is worse without the change, below 0 it is better. "
        "It is one run each, so a small difference may be chance."
    )
    return (
        table(("left out", "valid perplexity", "difference to all, nats an event"), rows)
        + "\n\n"
        + note
    )
