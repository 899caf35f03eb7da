"""Writes what the measured numbers in this folder say: the README's tables and pictures, and the shipped models' cards.

python results/report.py            writes them
python results/report.py --check    exits with 1 if the README or a card says anything else
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from lakhnes_lib import musical_figures, profiles, reproduction, results
from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.listening import diagnostic_plots, tables

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def table(head: tuple[str, ...], rows: list[tuple]) -> str:
    """A Markdown table; rows with None in them are left out."""
    return tables.table(head, *(row for row in rows if None not in row))


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
    lines = []
    for row in reproduction.table_2():
        test, valid = row.ours.get("test", {}), row.ours.get("valid", {})
        difference = f"{test['paper'] / row.paper - 1:+.1%}" if row.paper and "paper" in test else "–"
        count, minutes = row.ours.get("parameters"), row.ours.get("minutes")
        lines.append(
            (
                row.title,
                row.size,
                "–" if count is None else f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}",
                number(row.paper, 2),
                number(test.get("exact")),
                number(test.get("paper")),
                difference.replace("-0.0%", "0.0%"),
                number(valid.get("exact")),
                number(minutes, 0),
            )
        )
    head = ("model", "size: paper", "here", "test: paper", "here, exact", "here, paper's protocol", "difference",
            "valid, exact", "minutes of training")  # fmt: skip
    mass = find("ngram", "backoff.test_mass.mean", "{:.2f}")
    honest = find("ngram", "backoff.test_mass.perplexity_after_normalising", "{:.1f}")
    notes = [
        "“Difference” is ours by the paper's protocol from the paper's. The trained models here are smaller than the "
        "paper's and were trained for minutes, so those rows compare with each other rather than with the paper's. "
        "“–” is not measured. The model after Lakh was fine-tuned for half as many steps as the row above it, and its "
        "minutes are the fine-tuning's alone: Figure 3 compares like with like.",
        f"The published 5-gram is no distribution: its probabilities sum to {mass} on average, and made to sum to one "
        f"they give {honest}.",
    ]
    pictures = [f"![{title}](results/{name}.png)" for name, (title, _) in figures().items()]
    return "\n\n".join([table(head, lines), *notes, *pictures])


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def figures() -> dict:
    """Name of a picture in results/ -> its title, and what draws it; of training and Figure 3 once they were run."""
    rows = [(row.title, row.perplexity) for row in reproduction.table_2() if row.perplexity]
    found = {"table_2": ("Table 2: perplexity on test", partial(diagnostic_plots.beside, rows))}
    if lines := reproduction.training_curves("laptop"):
        draw = partial(diagnostic_plots.curves, lines, x="minutes on one or two CPU cores")
        found["training"] = ("Training, profile laptop: perplexity on valid songs", draw)
    if len(lines := reproduction.figure_3()) > 1:
        draw = partial(diagnostic_plots.curves, lines, x="amount of pre-training on Lakh", scale="even")
        found["figure_3"] = ("Figure 3: perplexity on test after pre-training and fine-tuning", draw)
    return found


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
        rows.append(
            (
                f"evaluating by the exact protocol, {title}",
                find("evaluation", f"{key}.best_events_a_second", "{:,.0f} events/s"),
                find("evaluation", f"{key}.best_times_plain", "{:.1f} times a plain version in the same run"),
            )
        )
    note = find("evaluation", "paper.published_derived_events_a_second", "published code: {:.0f} events/s on two cores")
    times = find("evaluation", "paper.times_published_derived", "{:.1f} times")
    rows.append(("the same over the published code, whose speed is derived from its training", times, note))
    rows += [
        (
            "Lakh MIDI files mapped to candidates, from archive to packed corpus",
            find("lakh", "files_a_second_and_core", "{:.0f} files/s"),
            "one core; published script: 5.6 files/s on two",
        ),
        (
            "the same for all 9,991 files of LMD-full's folder 5: accepted; published draws of them",
            find("lakh", "files.accepted", "{:,}"),
            find("lakh", "published_examples.examples", "{:,} examples; docs/scaling.md works out all of Lakh"),
        ),
    ]
    for key, title in (("mini", "small Transformer-XL"), ("modern", "modern decoder"), ("paper", "paper's size")):
        for place, where in (("start", "at the start"), ("full", "with 512 events of memory")):
            for begin, bits in (("", "32"), ("fp16_", "16"), ("int8_", "8")):
                rows.append(
                    (
                        f"composing one piece, {title}, {where}, weights in {bits} bits",
                        find("sampling", f"{key}.{place}.{begin}events_a_second", "{:.0f} events/s"),
                        find("sampling", f"{key}.{place}.{begin}times_anew", "{:.1f} times reading all anew each time"),
                    )
                )
        for begin, bits in (("", "32"), ("fp16_", "16"), ("int8_", "8")):
            rows.append(
                (
                    f"composing 32 pieces at once, {title}, with 512 events of memory, weights in {bits} bits",
                    find("sampling", f"{key}.full.{begin}events_a_second_32_at_once", "{:.0f} events/s"),
                    "all pieces together",
                )
            )
    rows.append(
        (
            "composing at the paper's size with a full memory and 8 bits, over the published code (12 events/s)",
            find("sampling", "paper.full.int8_times_published", "{:.1f} times, one piece"),
            find("sampling", "paper.full.int8_times_published_32_at_once", "{:.1f} times, 32 pieces at once"),
        )
    )
    return table(("what", "measured", "note"), rows)


SETS = (("test", "real: test"), ("valid", "real: valid"), ("mini", "mini"), ("uniform", "uniform, grammar kept"))


def music() -> str:
    rows = [
        (title, *(find("musical_figures", f"sets.{key}.figures.{name}.50%", "{:.3g}") for key, _ in SETS))
        for name, title in musical_figures.FIGURES.items()
    ]
    title = "longest run of notes shared with the training split, transposed or not"
    rows.append((title, *(find("musical_figures", f"sets.{key}.copying.notes.50%", "{:.0f}") for key, _ in SETS)))
    return table(("median of 100 pieces of 512 events", *(title for _, title in SETS)), rows)


def studies() -> str:
    rows = [
        (
            f"fine-tuning mini on {title}: perplexity of two files held back, before and after",
            find("own_music", f"{key}.perplexity_before", "{:.3f}"),
            find("own_music", f"{key}.perplexity_after", "{:.3f}"),
        )
        for key, title in (("game", "ten files of one game"), ("lakh", "ten Lakh files"))
    ]
    rows += [
        (
            "pieces from nothing, continued, to a rhythm, around given voices: made; valid",
            find("composing", "from_nothing.pieces", "{:,} of each of the first three"),
            find(
                "composing",
                "particles.pieces",
                "{:,} around given voices; all valid, or the benchmark stops",
            ),
        ),
        (
            "given triangle and noise: nats a given event, one particle; many particles",
            find("composing", "one_particle.nats_a_given_event", "{:.2f}"),
            find("composing", "particles.nats_a_given_event", "{:.2f}"),
        ),
    ]
    rows += [
        (
            f"1,000 simulated studies, {title}: share of 95 % intervals that hold the truth (Bradley–Terry; Wilson)",
            find("study", f"{key}.coverage_bradley_terry", "{:.1%}"),
            find("study", f"{key}.coverage_wilson", "{:.1%}"),
        )
        for key, title in (
            ("few_listeners", "6 listeners"),
            ("many_listeners", "40 listeners"),
            ("many_listeners_who_differ", "40 listeners who differ"),
        )
    ]
    return table(("what", "measured", " "), rows)


def hardware() -> str:
    result = results.read("perplexity")
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    found = {results.read(path.stem)["hardware"]["cores"] for path in results.place("x").parent.glob("*.json")}
    test, values = reproduction.measured()["random"]["test"], result["values"]
    return (
        f"Measured on {' or '.join(map(str, sorted(found)))} cores of a shared {result['hardware']['cpu']} machine "
        f"({versions}) by `make bench`; every number, with its command, data fingerprint and date, is in "
        "[`results`](results). “Exact” scores each event of each song once, with nothing but that song's own past "
        f"({test['songs']} test songs, {test['targets']:,} events; segments of {values['segment']}, memory "
        f"{values['memory_length']}); the paper's protocol carries memory across songs and leaves "
        f"{test['paper_unscored'] / test['targets']:.1%} of the test split unscored."
    )


def section() -> str:
    """What stands between the markers."""
    parts = ["### Known answers", known_answers(), "### Perplexity", perplexities(), "### Speed and sound", speeds()]
    parts += ["### The music, and what people make of it", music(), studies()]
    return "\n\n".join([hardware(), *parts])


def shipped() -> dict[Path, dict]:
    """The folders of the shipped models, with what their config.json should hold: as metrics what was measured."""
    found = {}
    for place in sorted((profiles.root() / "assets" / "pretrained").glob("*/config.json")):
        config = json.loads(place.read_text(encoding="utf-8"))
        found[place.parent] = config | {"metrics": metrics(place.parent.name)}
    return found


def metrics(name: str) -> dict:
    """Exact perplexity of a shipped model by split, as far as it was measured."""
    entry = reproduction.measured().get(name, {})
    return {f"{split}_perplexity": entry[split]["exact"] for split in ("valid", "test") if split in entry}


def card(name: str, config: dict) -> str:
    """A shipped model's card, from its config.json and what was measured."""
    entry = reproduction.measured().get(name, {})
    stages = [
        (
            str(number),
            stage["profile"],
            stage["training"]["streams"],
            stage["training"].get("augment", "none"),
            f"{stage['training']['batch']} × {stage['training']['segment']}",
            f"{stage['step']:,}",
            f"{stage['events']:,}",
            f"{stage['seconds'] / 60:.0f}",
        )
        for number, stage in enumerate(config["stages"], 1)
    ]
    measured = [
        (split, f"{entry[split]['exact']:.3f}", f"{entry[split]['targets']:,}")
        for split in ("valid", "test")
        if split in entry
    ]
    sizes = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in config["config"].items())
    return CARD.format(
        name=name,
        architecture=reproduction.ARCHITECTURES[config["architecture"]],
        parameters=config["parameters"],
        sizes=sizes,
        note=config.get("note", "") and f"\n\n{config['note']}",
        fingerprint=config["stages"][-1]["data"],
        stages=table(STAGES, stages),
        measured=table(("split", "exact perplexity", "events scored"), measured) if measured else "Not measured yet.",
    )


STAGES = ("stage", "profile", "streams", "augmentation", "rows × events", "steps", "events", "minutes")
CARD = """# {name}: a small {architecture} that composes for the NES

Written by `make report` from `config.json` and [`results/perplexity.json`](../../../results/perplexity.json).

- **Model**: {architecture}, {parameters:,} parameters, stored as bfloat16
  ({sizes}).
- **Data**: the training split of NES-MDB (4,502 songs; Donahue, Mao and McAuley, ISMIR 2018), as events. Corpus
  fingerprint `{fingerprint}`. The music belongs to its
  composers; the weights are for research and teaching.
- **Training**: on shared CPU cores, in bfloat16 arithmetic. The curve is in `log.jsonl` (perplexity on the first valid
  songs). All settings, the seed among them, are in `config.json`.{note}

{stages}

## Measured

{measured}

Exact protocol: each event of each song of at least 10 events once, with nothing but that song's own past; segments of
128, memory 896; `python benchmarks/perplexity.py --only {name}`. The paper's model of 41 M parameters reaches 3.501 on
test under its own protocol.

## Use

`lakhnes generate assets/pretrained/{name} OUT_DIR`. What it composes keeps the grammar of events, so it is always a
valid score; it has no plan beyond its memory, and may repeat itself or wander.

## How it was made

One `lakhnes train` for each stage, `--from` the best weights of the one before; then
`python assets/pretrained/ship.py {name} RUN…`, `python benchmarks/perplexity.py --only {name} --write` and
`make report`.
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
    root = profiles.root()
    try:
        written = {root / "README.md": readme((root / "README.md").read_text(encoding="utf-8"))}
        for folder, config in shipped().items():
            written[folder / "README.md"] = card(folder.name, config)
            written[folder / "config.json"] = json.dumps(config, indent=1) + "\n"
        if not chosen.check:
            for name, (title, draw) in figures().items():
                (root / "results" / f"{name}.png").write_bytes(draw(title=title).png())
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
