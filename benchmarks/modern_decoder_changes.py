"""What each change of the modern decoder gains: trained with all of them, then with one left out at
a time.

python benchmarks/modern_decoder_changes.py [--only NAME] [--steps N] [--write]

Every variant sees the same segments of NES-MDB's training split in the same order, from the same
seed, for as many steps (profile laptop, entry ``modern_decoder_trial``: about 15 minutes of one
free core), and is scored by the exact protocol on every fifth song of valid: test is not looked
at. Runs stand in runs/modern_decoder/ and go on where they were stopped. With --write the
numbers go to results/modern_decoder.json, after each variant; the report shows the longest
training for which all variants are there.
"""

import json

import torch
from _shared import arguments, circumstances, corpus_at_hand, keep

from lakhnes_lib import profiles
from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.listening import results
from lakhnes_lib.models import checkpoints
from lakhnes_lib.training import snapshots, trainer

ENTRY = "modern_decoder_trial"
EVERY = 5  # songs of valid
# A SwiGLU net has three matrices instead of two: two thirds of the units make it as large. AdamW
# moves every matrix by its learning rate, which must be smaller than Muon's.
VARIANTS = {
    "all": ({}, {}),
    "rotary": ({"rotary": False}, {}),
    "qk_norm": ({"qk_norm": False}, {}),
    "squared_relu": ({"activation": "swiglu", "feed_forward": 680}, {}),
    "previous": ({"previous": 0}, {}),
    "late_keys": ({"late_keys": False}, {}),
    "tied": ({"tied": False}, {}),
    "muon": ({}, {"optimizer": "adamw", "learning_rate": 0.002}),
}


def trained(name: str, variant: tuple[dict, dict], profile, corpus, steps: int | None) -> tuple:
    """A variant's run after its last step, and its folder, which ``name`` names.

    variant: what differs in the model's sizes, and in the training's settings.
    """
    sizes, settings = variant
    steps = steps or profile.training[ENTRY].steps
    settings = settings | {"steps": steps, "evaluate_every": steps}
    settings = profile.training[ENTRY].model_copy(update=settings)
    changed = {"models": {ENTRY: profile.models[ENTRY] | sizes}, "training": {ENTRY: settings}}
    profile = profile.model_copy(update=changed)
    folder = profiles.root() / "runs" / "modern_decoder" / f"{name}_{settings.steps}"
    resume = snapshots.exists(folder)
    run = trainer.train(profile, corpus, folder, model=ENTRY, resume=resume)
    return run, folder


def measure(name: str, variant: tuple[dict, dict], profile, corpus, steps: int | None) -> dict:
    """What a variant was and how it scores on valid; arguments as of ``trained``."""
    run, folder = trained(name, variant, profile, corpus, steps)
    model = checkpoints.load(folder / "best", run.device)
    measured = {"segment": 256, "memory_length": profile.evaluation.memory_length}
    with torch.autocast(run.device.type, torch.bfloat16, enabled=run.learner.bf16):
        scored = perplexity.exact(model, corpus["valid"].framed()[::EVERY], **measured)
    heard = [
        json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return {
        "parameters": sum(part.numel() for part in model.parameters()),
        "changed": {key: value for part in variant for key, value in part.items()},
        "steps": run.step,
        "events": run.events,
        "minutes": run.seconds / 60,
        "train_loss": [row["train_loss"] for row in heard if "train_loss" in row][-1],
        "valid_perplexity": scored.perplexity,
        "valid_targets": scored.targets,
        "hardware": circumstances()["hardware"],
    }


def earlier() -> dict:
    """Number of steps -> the variants measured after so many, also by other processes meanwhile:
    only these compare."""
    try:
        return results.read("modern_decoder")["values"]["left_out"]
    except DataNotFound:
        return {}


def main():
    parser = arguments("modern_decoder", __doc__)
    parser.add_argument(
        "--only", action="append", choices=VARIANTS, help="repeatable; all if not given"
    )
    parser.add_argument("--steps", type=int, help="instead of the profile's")
    chosen = parser.parse_args()
    corpus, profile = corpus_at_hand(), profiles.load("laptop")
    for name in chosen.only or VARIANTS:
        try:
            measured = {name: measure(name, VARIANTS[name], profile, corpus, chosen.steps)}
        except LakhnesError as error:
            parser.exit(1, f"{name}: {error}\n")
        stored, steps = earlier(), str(measured[name]["steps"])
        values = {"left_out": stored | {steps: stored.get(steps, {}) | measured}}
        keep(
            "modern_decoder",
            values,
            chosen.write,
            shown=measured,
            corpus=corpus,
            packages=("numpy", "torch"),
        )


if __name__ == "__main__":
    main()
