"""The music: figures of pieces, one's own style, composing under conditions, and the statistics of the studies."""

from filling import table

from lakhnes_lib.evaluation import musical_metrics

SETS = {
    "test": "real: test",
    "valid": "real: valid",
    "mini": "mini",
    "uniform": "uniform, grammar kept",
}
OWN_MUSIC = [
    (
        f"fine-tuning mini on {title}: perplexity of two files held back, before → after",
        f"{{own_music.{key}.perplexity_before:.3f}} → {{own_music.{key}.perplexity_after:.3f}}",
    )
    for key, title in (("game", "ten files of one game"), ("lakh", "ten Lakh files"))
]
COMPOSING = [
    (
        "pieces that are valid, of those made: from nothing, continued, to a rhythm, around given voices",
        ", ".join(
            f"{{composing.{way}.valid:,}} of {{composing.{way}.pieces:,}}"
            for way in ("from_nothing", "continued", "to_rhythm", "particles")
        ),
    ),
    (
        "triangle and noise given: log-probability of a given event (more is better), one particle → "
        "{composing.particle_count}",
        "{composing.one_particle.nats_a_given_event:.2f} → {composing.particles.nats_a_given_event:.2f} nats",
    ),
]
STUDIES = [
    (
        f"{{study.{key}.studies:,}} simulated studies, {{study.{key}.listeners}} listeners{more}: share of 95 % "
        "intervals that hold the truth: Bradley–Terry, Wilson",
        f"{{study.{key}.coverage_bradley_terry:.1%}}, {{study.{key}.coverage_wilson:.1%}}",
    )
    for key, more in (
        ("few_listeners", ""),
        ("many_listeners", ""),
        ("many_listeners_who_differ", " who differ"),
    )
]


def form(title: str) -> str:
    """How a figure's values are written."""
    return ".2%" if title.endswith("share") else ".3g"


def music() -> str:
    """Each figure's median for every set of pieces, and how much of the training split the pieces hold."""
    rows = [
        (
            title,
            *(f"{{musical_metrics.sets.{key}.figures.{name}.50%:{form(title)}}}" for key in SETS),
        )
        for name, title in musical_metrics.METRICS.items()
    ]
    title = "longest run of notes shared with the training split, transposed or not"
    rows.append((title, *(f"{{musical_metrics.sets.{key}.copying.notes.50%:.0f}}" for key in SETS)))
    return table(("median of 100 pieces of 512 events", *SETS.values()), rows)


def studies() -> str:
    return table(("what", "measured"), [*OWN_MUSIC, *COMPOSING, *STUDIES])
