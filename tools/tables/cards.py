"""The shipped models' cards, from their config.json and what was measured of them."""

import json
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import model_tables
import trainings
from filling import fill

from lakhnes_lib import profiles
from lakhnes_lib.listening import reproduction, results
from lakhnes_lib.models import packed_weights


def shipped() -> dict[Path, dict]:
    """The folders of the shipped models, with what their config.json should hold: as metrics what
    was measured."""
    configs = {}
    for path in sorted((profiles.root() / "assets" / "pretrained").glob("*/config.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        configs[path.parent] = config | {"metrics": metrics(path.parent.name)}
    return configs


def metrics(name: str) -> dict:
    """Exact perplexity of a shipped model by split, as far as it was measured."""
    entry = reproduction.measured().get(name, {})
    splits = [split for split in ("valid", "test") if split in entry]
    return {f"{split}_perplexity": entry[split]["exact"] for split in splits}


def card(name: str, config: dict) -> str:
    """A shipped model's card, from its config.json and what was measured."""
    values = results.read("perplexity")["values"]
    usual = {"memory_length": values["memory_length"]}
    entries = [usual | values["models"].get(key, {}) for key in (name, name + reproduction.MEMORY)]
    measured = [
        {"split": split, "memory": entry["memory_length"], **entry[split]}
        for entry in entries
        for split in ("valid", "test")
        if split in entry
    ]
    settings = config["config"].items()
    packed = (profiles.root() / "assets" / "pretrained" / name / packed_weights.FILE).exists()
    stages = [
        stage
        | {"device": trainings.device(stage), "training": {"augment": None} | stage["training"]}
        | {"learned": trainings.learned_in(stage)}
        for stage in config["stages"]
    ]
    named = dict.fromkeys(stage["profile"] for stage in stages)
    return fill(
        "card.md.jinja",
        name=name,
        architecture=reproduction.ARCHITECTURES[config["architecture"]],
        config=config | {"note": config.get("note", ""), "stages": stages},
        sizes=", ".join(f"{key.replace('_', ' ')} {setting}" for key, setting in settings),
        measured=measured,
        minutes=minutes(stages),
        packed=packed,
        stored="in fewer than five bits each" if packed else "as bfloat16",
        parts=parts(stages),
        trained_on=trained_on(parts(stages)),
        own_profiles=[profile for profile in named if profile not in profiles.names()],
        counterpart=counterpart(stages),
        on_cores=on_cores(name, stages),
        streams=entries[0].get("test", {}).get("paper"),
    )


class Part(NamedTuple):
    """Stages that follow each other on one device: the GPU's name, or empty on a processor's cores;
    share: of all events that the weights have learned from."""

    name: str
    device: str
    share: float


def parts(stages: list[dict]) -> list[Part]:
    """The stages, numbered from 1, by what they ran on."""
    whole, spans = sum(map(trainings.learned_in, stages)), []
    for device, group in groupby(enumerate(stages, 1), lambda numbered: numbered[1]["device"]):
        numbers, same = zip(*group, strict=True)
        between = "and" if len(numbers) == 2 else "to"
        many = f"stages {numbers[0]} {between} {numbers[-1]}"
        share = sum(map(trainings.learned_in, same)) / whole
        spans.append(Part(many if len(numbers) > 1 else f"stage {numbers[0]}", device, share))
    return spans


def minutes(stages: list[dict]) -> str:
    """How long the stages took on which device, in words."""
    spent: dict[str, float] = {}
    for stage in stages:
        on = (
            f"one {trainings.short(stage['device'])}" if stage["device"] else "cores of a processor"
        )
        spent[on] = spent.get(on, 0.0) + stage["seconds"] / 60
    return " and ".join(f"{each:.0f} minutes on {device}" for device, each in spent.items())


def trained_on(parts: list[Part]) -> str:
    """Where a model was trained, and of several devices how much on each."""
    on = [f"on one {part.device}" if part.device else "on shared CPU cores" for part in parts]
    if len(parts) > 1:
        on = [
            f"{part.name} {device} ({part.share:.0%} of the events)"
            for part, device in zip(parts, on, strict=True)
        ]
    return ", ".join(on)


def on_cores(name: str, stages: list[dict]) -> dict | None:
    """What a shipped model's training would take on a processor's cores: hours, at the speed of the
    run of profile laptop that went on with it there, that run's name, events and minutes, and all
    events; None without such a run."""
    measured = reproduction.measured()
    for run, (_, before) in model_tables.LONGER.items():
        if before == name and (entry := measured.get(f"laptop/{run}")):
            whole = sum(stage["events"] for stage in stages)
            hours = entry["minutes"] / 60 * whole / entry["events"]
            spent = {key: entry[key] for key in ("events", "minutes")}
            return spent | {"run": run, "whole": whole, "hours": hours}
    return None


def counterpart(stages: list[dict]) -> dict:
    """The Transformer-XL of the paper that was trained as a shipped model was: after Lakh, with
    augmentation, or neither."""
    last = stages[-1]
    row = "transformer_xl"
    if any(stage["data"] != last["data"] for stage in stages):
        row += "_lakh"
    elif (last["training"]["augment"] or "none") != "none":
        row += "_augmented"
    return next(each for each in reproduction.known_answers()["table_2"] if each["name"] == row)
