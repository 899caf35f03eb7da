"""Speed and sound: what was measured, and what the published code does where that is known."""

from tables import table

SOUND = [
    (
        "rendering, times real time (mean of {apu.speed.songs} test songs; worst)",
        "{apu.speed.times_real_time_mean:.0f} ×",
        "worst {apu.speed.times_real_time_worst:.0f} ×; one core",
    ),
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
READING = [
    (
        "NES-MDB from MIDI to packed corpus",
        "{representation.speed.pack_clock_seconds:.1f} s",
        "{representation.known.songs:,} songs, two cores; published converter: 170 s on one",
    ),
    (
        "event ids of the packed training split",
        "{representation.speed.training_ids_seconds:.2f} s",
        "8.4 million events",
    ),
    ("MIDI → TX1 text", "{representation.text.songs_a_second:.0f} songs/s", "published code: 31 songs/s"),
    (
        "augmentation (the paper's), drawn, changed and encoded",
        "{augmentation.paper.million_events_made_a_second:.1f} million events/s",
        "one core",
    ),
]
TRAINING = [
    (
        f"training, {title}",
        f"{{training.{key}.events_a_second:,.0f}} events/s",
        f"{{training.{key}.times_plain:.1f}} times plain attention in the same run",
    )
    for key, title in (("mini", "mini"), ("paper", "paper's size, 4 × 512 events"))
] + [
    (
        "the same",
        "{training.paper.seconds_a_step:.1f} s a step",
        "published code, two other CPU cores: 150 events/s ({training.paper.times_published:.1f} times)",
    )
]
EVALUATION = [
    (
        f"evaluating by the exact protocol, {title}",
        f"{{evaluation.{key}.best_events_a_second:,.0f}} events/s",
        f"{{evaluation.{key}.best_times_plain:.1f}} times a plain version in the same run",
    )
    for key, title in (("mini", "mini"), ("paper", "paper's size"))
] + [
    (
        "the same over the published code, whose speed is derived from its training",
        "{evaluation.paper.times_published_derived:.1f} times",
        "published code: {evaluation.paper.published_derived_events_a_second:.0f} events/s on two cores",
    )
]
MAPPING = [
    (
        "Lakh MIDI files mapped to candidates, from archive to packed corpus",
        "{lakh.files_a_second_and_core:.0f} files/s",
        "one core; published script: 5.6 files/s on two",
    ),
    (
        "the same for all {lakh.files.seen:,} files of LMD-full's folder 5: accepted; published draws of them",
        "{lakh.files.accepted:,}",
        "{lakh.published_examples.examples:,} examples; docs/scaling.md works out all of Lakh",
    ),
]
MODELS = {"mini": "small Transformer-XL", "modern": "modern decoder", "paper": "paper's size"}
BITS = {"": 32, "fp16_": 16, "int8_": 8}
"""How a precision's numbers begin in results/sampling.json -> bits of a weight."""


def one_piece(key: str, place: str, begin: str) -> tuple[str, str, str]:
    """The row of one piece composed by a model of MODELS, at the "start" or with a "full" memory."""
    where = "at the start" if place == "start" else "with {sampling.memory} events of memory"
    return (
        f"composing one piece, {MODELS[key]}, {where}, weights in {BITS[begin]} bits",
        f"{{sampling.{key}.{place}.{begin}events_a_second:.0f}} events/s",
        f"{{sampling.{key}.{place}.{begin}times_anew:.1f}} times reading all anew each time",
    )


def many_pieces(key: str, begin: str) -> tuple[str, str, str]:
    """The row of 32 pieces at once, with a full memory."""
    return (
        f"composing 32 pieces at once, {MODELS[key]}, with {{sampling.memory}} events of memory, "
        f"weights in {BITS[begin]} bits",
        f"{{sampling.{key}.full.{begin}events_a_second_32_at_once:.0f}} events/s",
        "all pieces together",
    )


def composing() -> list[tuple]:
    rows = []
    for key in MODELS:
        rows += [one_piece(key, place, begin) for place in ("start", "full") for begin in BITS]
        rows += [many_pieces(key, begin) for begin in BITS]
    over = (
        "composing at the paper's size with a full memory and 8 bits, over the published code "
        "({sampling.paper.full.published_events_a_second} events/s)",
        "{sampling.paper.full.int8_times_published:.1f} times, one piece",
        "{sampling.paper.full.int8_times_published_32_at_once:.1f} times, 32 pieces at once",
    )
    return [*rows, over]


def speeds() -> str:
    rows = [*SOUND, *READING, *TRAINING, *EVALUATION, *MAPPING, *composing()]
    return table(("what", "measured", "note"), rows)
