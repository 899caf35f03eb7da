"""Where and how long each measured model was trained, stage by stage, and what its numbers count.

A shipped model's stages stand in its config.json. Of any other model results/perplexity.json knows
the whole training alone; which GPU it had stands there, or in results/gpu.json.

Training keeps the weights that were best on valid, and the next stage goes on from them, so what
was read after them is in no weights. A stage's ``best_step`` in config.json says when they were:
tools/ship.py has it from the weights' own config.json. The stages shipped before it did so have it
from their log.jsonl. Any other model's is the lowest point of its curve on valid.
"""

import json
from functools import cache
from typing import NamedTuple

from lakhnes_lib import profiles
from lakhnes_lib.listening import reproduction, results

GPU_PROFILE = "paper"
"""A run of this profile was trained on a GPU, even if nobody wrote down which."""
SOME_GPU = "GPU"


class Stage(NamedTuple):
    """A part of a training. device: the GPU's name, or empty on a processor's cores."""

    device: str
    minutes: float


@cache
def _configs() -> dict[str, dict]:
    """Name of a shipped model -> its config.json."""
    paths = (profiles.root() / "assets" / "pretrained").glob("*/config.json")
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def stages(name: str, entry: dict) -> tuple[Stage, ...]:
    """The stages of the training of a model, an entry of ``reproduction.measured``; none of one
    that is not trained."""
    config = _configs().get(name.removesuffix(reproduction.MEMORY))
    if config:
        return tuple(Stage(device(stage), stage["seconds"] / 60) for stage in config["stages"])
    if "minutes" not in entry:
        return ()
    return (Stage(on_gpu(name).get("device") or device(entry), entry["minutes"]),)


def learned(name: str, entry: dict) -> int:
    """Events that a trained model's weights have learned from: of each stage those up to its best
    on valid."""
    config = _configs().get(name.removesuffix(reproduction.MEMORY))
    if config:
        return sum(map(learned_in, config["stages"]))
    curve = entry.get("curve")
    return min(curve, key=lambda point: point["valid_loss"])["events"] if curve else entry["events"]


def planned(settings: profiles.Training) -> int:
    """Events that a training of whole batches reads, as its profile has it."""
    return settings.steps * settings.batch * settings.segment


def of_lakh(name: str, entry: dict) -> int:
    """Those of the events that ``learned`` counts which are of Lakh."""
    config = _configs().get(name.removesuffix(reproduction.MEMORY))
    if config:
        *_, last = config["stages"]
        return sum(learned_in(each) for each in config["stages"] if each["data"] != last["data"])
    row = on_gpu(name)
    return row["lakh"]["events"] if "lakh" in row and not lakh_is_left_out(name, entry) else 0


def learned_in(stage: dict) -> int:
    """Events of a shipped model's stage up to the weights that went on, of which each step has as
    many; all, if it does not say which they were."""
    if "best_step" not in stage:
        return stage["events"]
    return round(stage["events"] * stage["best_step"] / stage["step"])


def device(about: dict) -> str:
    """The GPU of a stage, or of a training of one stage, as it says itself or its profile does;
    empty on a processor's cores."""
    return about.get("device") or (SOME_GPU if about.get("profile") == GPU_PROFILE else "")


def on_gpu(name: str) -> dict:
    """What results/gpu.json says of a run of the profile for GPUs; nothing of others."""
    rows = results.read("gpu")["values"]["rows"]
    profile, _, row = name.rpartition("/")
    return rows.get(row, {}) if profile == GPU_PROFILE else {}


def each_once(models: dict) -> dict[str, dict]:
    """Of models that come from the same training, such as one whose weights were packed
    afterwards, the first alone; of models that were not trained none."""
    told_by = ("profile", "seed", "data", "training", "curve", "events", "minutes")
    trained = {}
    for name, entry in models.items():
        if "minutes" in entry:
            trained.setdefault(json.dumps([entry.get(key) for key in told_by]), name)
    return {name: models[name] for name in trained.values()}


def devices(models: dict) -> list[str]:
    """Every GPU that trained a part of a model."""
    parts = [stage for name, entry in models.items() for stage in stages(name, entry)]
    return sorted({stage.device for stage in parts if stage.device})


def minutes(name: str, entry: dict) -> str:
    """The minutes of a model's training, and on which GPU how many of them were."""
    parts = stages(name, entry)
    lent = [stage for stage in parts if stage.device]
    text = f"{entry['minutes']:.0f}"
    if lent:
        gpus = ", ".join(dict.fromkeys(short(stage.device) for stage in lent))
        part = sum(stage.minutes for stage in lent)
        few = f"{part:.0f} on " if len(lent) < len(parts) else ""
        text += f" ({few}{gpus})"
    return text


def short(device: str) -> str:
    """A GPU's name without its maker and its memory: H100."""
    return device.removeprefix("NVIDIA ").split()[0]


def lakh_is_left_out(name: str, entry: dict) -> bool:
    """Whether a model was pre-trained on Lakh, and its events and minutes are those of what came
    after alone."""
    if "/transformer_xl_lakh" not in f"/{name}":
        return False
    row = on_gpu(name)
    if "lakh" not in row:
        return True
    return entry.get("events") != row["lakh"]["events"] + row["trained"]["events"]
