"""The facts of ``curves.json``: losses of training runs, as far as they are at hand."""

import json

import numpy as np

from lakhnes_lib import profiles
from lakhnes_lib.listening import results

POINTS = 60
"""The most points of one curve in the file; between them the loss of training is a mean."""
LOG = "log.jsonl"


def read_log(path) -> list[dict]:
    """The rows of a run's log; a last line that is not yet whole is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def curve(rows: list[dict]) -> dict:
    """Losses in nats an event, by step and by events heard; of training thinned to ``POINTS``."""
    trained = [row for row in rows if "train_loss" in row]
    valid = [row for row in rows if "valid_loss" in row]
    groups = np.array_split(np.arange(len(trained)), min(POINTS, len(trained)) or 1)
    groups = [group for group in groups if len(group)]
    return {
        "train_step": [trained[group[-1]]["step"] for group in groups],
        "train_events": [trained[group[-1]]["events"] for group in groups],
        "train_loss": [np.mean([trained[i]["train_loss"] for i in group]) for group in groups],
        "valid_step": [row["step"] for row in valid],
        "valid_events": [row["events"] for row in valid],
        "valid_loss": [row["valid_loss"] for row in valid],
    }


def shipped() -> dict:
    """Curves of ``assets/pretrained``, by name."""
    folder = profiles.root() / "assets" / "pretrained"
    return {path.parent.name: curve(read_log(path)) for path in sorted(folder.glob(f"*/{LOG}"))}


def laptop() -> dict:
    """Curves of the models of ``results/perplexity.json``, by name."""
    models = results.read("perplexity")["values"]["models"]
    curves = {}
    for name, entry in models.items():
        if "/" in name and "curve" in entry:
            points = entry["curve"]
            curves[name] = {
                "valid_step": [point["step"] for point in points],
                "valid_events": [point["events"] for point in points],
                "valid_loss": [point["valid_loss"] for point in points],
                "train_loss_at_valid": [point.get("train_loss") for point in points],
            }
    return curves


def findings() -> dict:
    """Curves of the runs below ``runs/findings``, by name and seed; of those of
    ``results/findings.json`` that are not there the valid loss alone."""
    curves = {}
    path = results.path_of("findings")
    for entry in json.loads(path.read_text(encoding="utf-8")) if path.exists() else []:
        if not entry["curve"]:  # a model that counts
            continue
        steps, losses = zip(*entry["curve"], strict=True)
        about = {"changes": entry["changes"], "row": entry["row"], "finished": True}
        points = {"valid_step": steps, "valid_loss": losses}
        curves[f"{entry['name']}/seed{entry['seed']}"] = about | points
    for log in sorted((profiles.root() / "runs" / "findings").glob(f"*/seed*/{LOG}")):
        name = f"{log.parent.parent.name}/{log.parent.name}"
        about = {key: curves.get(name, {}).get(key) for key in ("changes", "row")}
        finished = (log.parent / "result.json").exists()
        curves[name] = about | {"finished": finished} | curve(read_log(log))
    return curves


def all_facts() -> tuple[dict, dict]:
    """Every fact of this module by name, and nothing else for the file's head."""
    losses = "Losses are in nats an event; e to the power of one is a perplexity. "
    valid = "The valid loss is that of the first valid songs."
    facts = {
        "shipped": {
            "description": "Training of the models of assets/pretrained, with the stages that "
            f"their cards name. {losses}{valid}",
            "curves": shipped(),
        },
        "laptop": {
            "description": "Training of the models of profile laptop: the loss at every "
            f"evaluation. {losses}{valid}",
            "curves": laptop(),
        },
        "findings": {
            "description": "Short runs that differ in one setting or in the seed; one that is not "
            f"finished was still going when this file was written. {losses}{valid}",
            "curves": findings(),
        },
    }
    facts = {name: fact | {"runs": len(fact["curves"])} for name, fact in facts.items()}
    return facts, {}
