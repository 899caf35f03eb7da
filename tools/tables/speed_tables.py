"""Speed and sound: what was measured, and what the published code does where that is known."""

from itertools import product

from filling import table, value

RENDERING = (
    "rendering, times real time (mean of {apu.speed.songs} test songs; worst)",
    "{apu.speed.times_real_time_mean:.0f} ×",
    "worst {apu.speed.times_real_time_worst:.0f} ×; one core",
)
SOUND = [
    (
        "worst pitch error of a triangle note against its timer",
        "{apu.pitch.cents_from_timer_worst.TR:.4f} cent",
        "every note of the range",
    ),
    (
        "inharmonic sound (aliasing), worst note",
        "{apu.aliasing.worst_dB:.0f} dB",
        "notes 84, 96, 108, all duties",
    ),
]
PACKING = (
    "NES-MDB from MIDI to packed corpus",
    "{representation.speed.pack_clock_seconds:.1f} s",
    "{representation.known.songs:,} songs, two cores; published converter: 170 s on one",
)
DATA = [
    (
        "event ids of the packed training split",
        "{representation.speed.training_ids_seconds:.2f} s",
        "{representation.known.events.train:,} events",
    ),
    (
        "MIDI → TX1 text",
        "{representation.text.songs_a_second:.0f} songs/s",
        "published code: 31 songs/s",
    ),
    (
        "augmentation (the paper's), drawn, changed and encoded",
        "{augmentation.paper.million_events_made_a_second:.1f} million events/s",
        "one core",
    ),
]


def beside_plain(
    result: str, what: str, best: str, plain: str, paper: str
) -> list[tuple[str, str, str]]:
    """The rows of both Transformer-XLs' speeds, each beside a plain version's in the same run.

    best: how the speed's names begin in the result; paper: the title of the paper's size.
    """
    return [
        (
            f"{what}, {title}",
            f"{{{result}.{key}.{best}events_a_second:,.0f}} events/s",
            f"{{{result}.{key}.{best}times_plain:.1f}} times {plain} in the same run",
        )
        for key, title in (("transformer_xl", "small Transformer-XL"), ("paper", paper))
    ]


TRAINING = beside_plain(
    "training", "training", "", "plain attention", "paper's size, 4 × 512 events"
)
TRAINING_BESIDE_PUBLISHED = (
    "{training.paper.times_published:.1f} times the published code on two other CPU cores "
    "({training.paper.published_seconds_a_step} s a step)"
)
EVALUATION = beside_plain(
    "evaluation", "evaluating by the exact protocol", "best_", "a plain version", "paper's size"
)
EVALUATION_BESIDE_PUBLISHED = (
    "{evaluation.paper.times_published_derived:.1f} times the published code "
    "({evaluation.paper.published_derived_events_a_second:.0f} events/s, derived from the speed of its training)"
)
MAPPING = (
    "Lakh MIDI files mapped to candidates, from archive to packed corpus",
    "{lakh.files_a_second_and_core:.0f} files/s",
    "one core; published script: 5.6 files/s on two",
)
MAPPED = (
    "the same for all {lakh.files.seen:,} files of LMD-full's folder 5: accepted; published draws of them",
    "{lakh.files.accepted:,}",
    "{lakh.published_examples.examples:,} examples; [all of Lakh](scaling.md)",
)
MODELS = {
    "mini": "mini, a modern decoder",
    "transformer_xl": "small Transformer-XL",
    "paper": "paper's size",
}
PLACES = {"start": "at the start", "full": "with {sampling.memory} events of memory"}
BITS = {"": 32, "fp16_": 16, "int8_": 8}
"""How a precision's numbers begin in results/sampling.json -> bits of a weight."""
ONE, MANY = "events_a_second", "events_a_second_32_at_once"
"""The names of speeds in results/sampling.json: of one piece, and of several made at once, all together."""
COUNTS = {ONE: 1, MANY: 32}


def times_published(speed: str) -> str:
    """The name of a speed's number over the published code's."""
    return speed.replace("events_a_second", "times_published")


def best(model: str, speed: str) -> tuple[str, str, str]:
    """The row of a model that composes with a full memory, at the precision that is fastest."""
    begin = max(BITS, key=lambda begin: value("sampling", f"{model}.full.{begin}{speed}") or 0)
    numbers = f"sampling.{model}.full.{begin}"
    note = f"{{{numbers}times_anew:.1f}} times reading all anew each time"
    if model == "paper":
        published = "{sampling.paper.full.published_events_a_second} events/s, one piece"
        note = f"{{{numbers}{times_published(speed)}:.1f}} times the published code ({published})"
    pieces = "one piece" if speed == ONE else f"{COUNTS[speed]} pieces at once"
    title = f"composing {pieces}, {MODELS[model]}, {PLACES['full']}, weights in {BITS[begin]} bits"
    return title, f"{{{numbers}{speed}:,.0f}} events/s", note


def short() -> str:
    """What a visitor wants to know."""
    training, trained, _ = TRAINING[-1]
    evaluating, evaluated, _ = EVALUATION[-1]
    rows = [RENDERING, PACKING, MAPPING, (training, trained, TRAINING_BESIDE_PUBLISHED)]
    rows += [
        (evaluating, evaluated, EVALUATION_BESIDE_PUBLISHED),
        best("paper", ONE),
        best("paper", MANY),
    ]
    return table(
        ("what", "measured", "note"), [*rows, best("mini", ONE), best("transformer_xl", ONE)]
    )


def complete() -> str:
    """Everything but composing."""
    step, speed = "{training.paper.seconds_a_step:.1f} s a step", EVALUATION[-1][1]
    rows = [
        RENDERING,
        *SOUND,
        PACKING,
        *DATA,
        *TRAINING,
        ("the same", step, TRAINING_BESIDE_PUBLISHED),
    ]
    rows += [*EVALUATION, ("the same", speed, EVALUATION_BESIDE_PUBLISHED), MAPPING, MAPPED]
    return table(("what", "measured", "note"), rows)


def composing() -> str:
    """Events a second of every model, place and precision; then the paper's size beside the published code."""
    rows = []
    for model, place, speed in product(MODELS, PLACES, COUNTS):
        numbers = f"sampling.{model}.{place}."
        anew = f"{{{numbers}anew_events_a_second:.1f}}" if speed == ONE else "–"
        speeds = (f"{{{numbers}{begin}{speed}:,.0f}}" for begin in BITS)
        rows.append((f"{MODELS[model]}, {PLACES[place]}", COUNTS[speed], anew, *speeds))
    for place, speed in product(PLACES, COUNTS):
        numbers = f"sampling.paper.{place}."
        times = (f"{{{numbers}{begin}{times_published(speed)}:.1f}} ×" for begin in BITS)
        published = (
            f"over the published code ({{{numbers}published_events_a_second}} events/s, one piece)"
        )
        rows.append((f"paper's size, {PLACES[place]}, {published}", COUNTS[speed], "–", *times))
    head = (
        "composing, events a second",
        "pieces at once",
        "reading all anew",
        *(f"{bits} bits" for bits in BITS.values()),
    )
    return table(head, rows)
