"""Writes what the measured numbers in this folder say: the README's tables, and the shipped model's card.

python results/report.py            writes them
python results/report.py --check    exits with 1 if the README or the card says anything else
"""

import argparse
import json
import sys
from pathlib import Path

from lakhnes_lib import profiles, results
from lakhnes_lib.errors import DataNotFound, LakhnesError

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def table(head: tuple[str, ...], rows: list[tuple]) -> str:
    """A Markdown table; rows with None in them are left out."""
    lines = [head, ("---",) * len(head), *(row for row in rows if None not in row)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def find(name: str, path: str, form: str) -> str | None:
    """One number of a result, by its dotted path, in a format; None if that benchmark was not run.

    Raises LakhnesError if the result lacks the number.
    """
    try:
        value = results.read(name)["values"]
    except DataNotFound:
        return None
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise LakhnesError(f"results/{name}.json: its values lack {path!r}")
        value = value[key]
    return form.format(value)


def known_answers() -> str:
    events = ", ".join(find("representation", f"known.events.{s}", "{:,}") for s in ("train", "valid", "test"))
    rows = [
        (
            "MIDI → TX1 text equals the authors', songs",
            "5,278",
            find("representation", "text.equal_to_authors", "{:,}"),
        ),
        ("events → score → events comes back, songs", "5,278", find("representation", "known.ids_fixed_point", "{:,}")),
        ("songs that keep the grammar", "5,278", find("representation", "known.grammatical", "{:,}")),
        ("raw events: train, valid, test", "8,390,590, 641,729, 407,268", events),
        (
            "seconds that 512 events last, on average",
            "9",
            find("representation", "seconds_of_512_events.train.overall", "{:.2f}"),
        ),
        ("VGM written and read back exactly, songs", "–", find("vgm", "exactly_back", "{:,}")),
    ]
    return table(("known answer, on all of NES-MDB", "published", "measured here"), rows)


def perplexities() -> str:
    rows = []
    for key, title, paper in (("random", "random", "631.00"), ("unigram", "unigram", "198.14")):
        rows.append((title, paper, *measured(f"perplexity/{key}.test", "exact", "paper"), measured_valid(key)))
    for key, title, paper in (
        ("backoff", "5-gram, the published back-off: its probabilities do not sum to one", "37.25"),
        ("kneser_ney", "5-gram, interpolated modified Kneser–Ney", "–"),
    ):
        exact, streams = measured(f"ngram/{key}.test", "exact", "paper")
        rows.append((title, paper, exact, streams, *measured(f"ngram/{key}.valid", "exact")))
    title = find("perplexity", "mini.parameters", "Transformer-XL, {:,} parameters (`assets/pretrained/mini`)")
    rows.append((title, "3.501 (41 M)", *measured("perplexity/mini.test", "exact", "paper"), measured_valid("mini")))
    return table(("model", "paper, test", "test, exact", "test, paper's protocol", "valid, exact"), rows)


def measured(place: str, *keys: str) -> tuple:
    """Perplexities of one split, by ``result/path``."""
    name, path = place.split("/")
    return tuple(find(name, f"{path}.{key}", "{:.3f}") for key in keys)


def measured_valid(model: str) -> str | None:
    return measured(f"perplexity/{model}.valid", "exact")[0]


def speeds() -> str:
    rows = [
        (
            "rendering, times real time (mean of 50 test songs; worst)",
            find("apu", "speed.times_real_time_mean", "{:.0f} ×"),
            find("apu", "speed.times_real_time_worst", "worst {:.0f} ×; one core"),
        ),
        (
            "worst pitch error of a triangle note against its timer",
            find("apu", "pitch.cents_from_timer_worst.TR", "{:.4f} cent"),
            "every note of the range",
        ),
        (
            "inharmonic sound (aliasing), worst note",
            find("apu", "aliasing.worst_dB", "{:.0f} dB"),
            "notes 84, 96, 108, all duties",
        ),
        (
            "NES-MDB from MIDI to packed corpus",
            find("representation", "speed.pack_clock_seconds", "{:.1f} s"),
            "5,278 songs, two cores; published converter: 170 s on one",
        ),
        (
            "event ids of the packed training split",
            find("representation", "speed.training_ids_seconds", "{:.2f} s"),
            "8.4 million events",
        ),
        (
            "MIDI → TX1 text",
            find("representation", "text.songs_a_second", "{:.0f} songs/s"),
            "published code: 31 songs/s",
        ),
        (
            "augmentation (the paper's), drawn, changed and encoded",
            find("augmentation", "paper.million_events_made_a_second", "{:.1f} million events/s"),
            "one core",
        ),
    ]
    for key, title in (("mini", "mini"), ("paper", "paper's size, 4 × 512 events")):
        rows.append(
            (
                f"training, {title}",
                find("training", f"{key}.events_a_second", "{:,.0f} events/s"),
                find("training", f"{key}.times_plain", "{:.1f} times plain attention in the same run"),
            )
        )
    note = find("training", "paper.times_published", "published code, two other CPU cores: 150 events/s ({:.1f} times)")
    rows.append(("the same", find("training", "paper.seconds_a_step", "{:.1f} s a step"), note))
    for key, title in (("mini", "mini"), ("paper", "paper's size")):
        for place, where in (("start", "at the start"), ("full", "with 512 events of memory")):
            rows.append(
                (
                    f"composing one piece, {title}, {where}",
                    find("sampling", f"{key}.{place}.events_a_second", "{:.0f} events/s"),
                    find("sampling", f"{key}.{place}.times_anew", "{:.1f} times reading all anew for each event"),
                )
            )
    rows.append(
        (
            "the same, 16 pieces at once, mini, full memory",
            find("sampling", "mini.full.events_a_second_16_at_once", "{:.0f} events/s"),
            "all pieces together",
        )
    )
    return table(("what", "measured", "note"), rows)


def hardware() -> str:
    result = results.read("perplexity")
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    cores = "two cores" if result["hardware"]["cores"] == 2 else f"{result['hardware']['cores']} cores"
    return (
        f"Measured on {cores} of a shared {result['hardware']['cpu']} machine without a GPU ({versions}) by "
        "`make bench`; every number, with its command, data fingerprint and date, is in [`results`](results). "
        "“Exact” scores each event of each song once, with nothing but that song's own past (371 test songs, "
        "407,130 events; segments of 128, memory 896); the paper's protocol carries memory across songs and leaves "
        "part of the split unscored."
    )


def section() -> str:
    """What stands between the markers."""
    parts = ["### Known answers", known_answers(), "### Perplexity", perplexities(), "### Speed and sound", speeds()]
    return "\n\n".join([hardware(), *parts])


def metrics() -> dict:
    """The shipped model's own numbers, as its config.json holds them."""
    values = results.read("perplexity")["values"]
    return {f"{split}_perplexity": values["mini"][split]["exact"] for split in ("valid", "test")}


def card(config: dict) -> str:
    """The shipped model's card, from its config.json and what was measured."""
    sizes, values = config["config"], results.read("perplexity")["values"]
    stages = [
        (
            str(number),
            stage["training"]["streams"],
            f"{stage['training']['batch']} × {stage['training']['segment']}",
            f"{stage['step']:,}",
            f"{stage['events']:,}",
            f"{stage['seconds'] / 60:.0f}",
        )
        for number, stage in enumerate(config["stages"], 1)
    ]
    measured = [
        (split, f"{values['mini'][split]['exact']:.3f}", f"{values['mini'][split]['targets']:,}")
        for split in ("valid", "test")
    ]
    return CARD.format(
        parameters=config["parameters"],
        **sizes,
        norm="before" if sizes["pre_norm"] else "after",
        fingerprint=config["stages"][-1]["data"],
        steps=config["stages"][-1]["step"],
        stages=table(("stage", "streams", "rows × events", "steps", "events", "minutes"), stages),
        measured=table(("split", "exact perplexity", "events scored"), measured),
    )


CARD = """# mini: a small Transformer-XL that composes for the NES

Written by `make report` from `config.json` and [`results/perplexity.json`](../../../results/perplexity.json).

- **Model**: Transformer-XL (§4.1 of the paper), {parameters:,} parameters: {layers} layers of width {width}, {heads}
  heads of {head_width}, feed-forward {feed_forward}, layer normalisation {norm} each part;
  631 events; stored as bfloat16.
- **Data**: the training split of NES-MDB (4,502 songs; Donahue, Mao and McAuley, ISMIR 2018), as events, without
  augmentation and without Lakh. Corpus fingerprint `{fingerprint}`. The music belongs to its composers; the
  weights are for research and teaching.
- **Training**: profile `laptop`, on one to two shared CPU cores, bfloat16 arithmetic, Muon for the matrices and AdamW
  for the rest. Its curve is in `log.jsonl` (perplexity on the first 40 valid songs, memory 896). The first stage was
  stopped by hand; the second was prolonged from 1,000 to {steps:,} steps at its 500th, where its rate rises a little.

{stages}

## Measured

{measured}

Exact protocol: each event of each song of at least 10 events once, with nothing but that song's own past; segments of
128, memory 896; `python benchmarks/perplexity.py`. The paper's model of 41 M parameters reaches 3.501 on test under its
own protocol.

## Use

`lakhnes generate assets/pretrained/mini OUT_DIR`, or notebook 00. What it composes keeps the grammar of events, so it
is always a valid score; it has no plan beyond its memory, and may repeat itself or wander.

## How it was made

    lakhnes train --profile laptop
    lakhnes train --profile laptop --model transformer_xl_memory --from runs/laptop/transformer_xl/best
    python assets/pretrained/ship.py mini runs/laptop/transformer_xl runs/laptop/transformer_xl_memory
    python benchmarks/perplexity.py --write
    make report
"""


def readme(text: str) -> str:
    """The README with its tables made anew. Raises LakhnesError if it has no place for them."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise LakhnesError(f"README.md: has no place for results ({BEGIN} … {END})")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{section()}\n\n{END}{rest.split(END)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    chosen = parser.parse_args()
    root, mini = profiles.root(), profiles.root() / "assets" / "pretrained" / "mini"
    try:
        config = json.loads((mini / "config.json").read_text(encoding="utf-8")) | {"metrics": metrics()}
        written: dict[Path, str] = {
            root / "README.md": readme((root / "README.md").read_text(encoding="utf-8")),
            mini / "README.md": card(config),
            mini / "config.json": json.dumps(config, indent=1) + "\n",
        }
    except LakhnesError as error:
        print(error, file=sys.stderr)
        return 1
    differ = [path for path, text in written.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in differ:
        if chosen.check:
            print(f"{path}: differs from results/; run `make report`", file=sys.stderr)
        else:
            path.write_text(written[path], encoding="utf-8")
    return int(chosen.check and bool(differ))


if __name__ == "__main__":
    sys.exit(main())
