"""The shipped models' cards, from their config.json and what was measured of them."""

import json
from pathlib import Path

from filling import table

from lakhnes_lib import profiles
from lakhnes_lib.listening import reproduction, results

STAGES = (
    "stage",
    "profile",
    "streams",
    "augmentation",
    "rows × events",
    "steps",
    "events",
    "minutes",
)
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
128, and so many events of memory; `python benchmarks/perplexity_table.py --only {name}`, or
`lakhnes evaluate assets/pretrained/{name} --memory EVENTS`. The paper's model of 41 M parameters reaches 3.501 on test
under its own protocol.

## Use

`lakhnes generate assets/pretrained/{name} OUT_DIR`. What it composes keeps the grammar of events, so it is always a
valid score; it has no plan beyond its memory, and may repeat itself or wander.

## How it was made

One `lakhnes train` for each stage, `--from` the best weights of the one before; then
`python tools/ship.py {name} RUN…`, `python benchmarks/perplexity_table.py --only {name} --write` and
`make report`.
"""


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
    return {
        f"{split}_perplexity": entry[split]["exact"]
        for split in ("valid", "test")
        if split in entry
    }


def card(name: str, config: dict) -> str:
    """A shipped model's card, from its config.json and what was measured."""
    values = results.read("perplexity")["values"]
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
    usual = {"memory_length": values["memory_length"]}
    entries = [usual | values["models"].get(key, {}) for key in (name, name + reproduction.MEMORY)]
    measured = [
        (
            split,
            f"{found['memory_length']:,}",
            f"{found[split]['exact']:.3f}",
            f"{found[split]['targets']:,}",
        )
        for found in entries
        for split in ("valid", "test")
        if split in found
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
        measured=table(("split", "memory", "exact perplexity", "events scored"), measured)
        if measured
        else "Not measured yet.",
    )
