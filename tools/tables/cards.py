"""The shipped models' cards, from their config.json and what was measured of them."""

import json
from pathlib import Path

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
    last = config["stages"][-1]
    on_gpu = "device" in last or last["profile"] == "paper"
    stages = [
        stage | {"training": {"augment": None} | stage["training"]} for stage in config["stages"]
    ]
    return fill(
        "card.md.jinja",
        name=name,
        architecture=reproduction.ARCHITECTURES[config["architecture"]],
        config=config | {"note": config.get("note", ""), "stages": stages},
        sizes=", ".join(f"{key.replace('_', ' ')} {setting}" for key, setting in settings),
        measured=measured,
        packed=packed,
        stored="in fewer than five bits each" if packed else "as bfloat16",
        on_gpu=on_gpu,
        trained_on="one GPU" if on_gpu else "shared CPU cores",
    )
