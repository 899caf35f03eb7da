"""The paper's numbers beside ours: the rows of Table 2, the points of Figure 3.

Paper: §6. Notebook: 07_quantitative_analysis; `make report` writes the README's table from the same
rows.
Differences from the paper: it has no Kneser-Ney 5-gram and no modern decoder.

The paper's side is ``results/known_answers.json``; ours is ``results/perplexity.json``, which
`benchmarks/perplexity_table.py` measures. A row's runs go by name: runs/PROFILE/NAME. Those after
Lakh say how much of it: of Figure 3's points, which are transformer_xl_augmented,
transformer_xl_lakh_1 and so on, the one with most Lakh is Table 2's row.
"""

import json
import re
from collections import defaultdict
from typing import NamedTuple

from lakhnes_lib.listening import results

MEMORY = "_memory"
"""Ends the name of a shipped model measured with all of its own memory, which is longer than the
protocol's."""
SHIPPED = ("mini", f"mini{MEMORY}", "transformer_xl", "paper_size")
"""Of ``assets/pretrained``."""
ARCHITECTURES = dict(lstm="LSTM", transformer_xl="Transformer-XL", modern_decoder="modern decoder")


def known_answers() -> dict:
    """What the paper and its authors published, from ``results/known_answers.json``.

    table_2: rows with title, size, perplexity on test, and the name of ours. figure_3: epochs of
    Lakh, and perplexity on test and valid after fine-tuning. published: the authors' checkpoints.
    """
    return json.loads(results.path_of("known_answers").read_text(encoding="utf-8"))


class Row(NamedTuple):
    """A model. size, paper: the paper's; name: ours in ``measured``, None if not measured; ours:
    what was measured."""

    title: str
    size: str
    paper: float | None
    name: str | None
    ours: dict

    @property
    def perplexity(self) -> dict[str, float]:
        """Perplexities on test: the paper's, ours exact, ours by the paper's protocol; as far as
        there are any."""
        test = self.ours.get("test", {})
        kinds = ("paper", "here, exact", "here, paper's protocol")
        numbers = zip(kinds, (self.paper, test.get("exact"), test.get("paper")), strict=True)
        return {kind: number for kind, number in numbers if number is not None}


def measured() -> dict:
    """What was measured of each model, by name. Raises DataNotFound, LakhnesError as
    ``results.read``."""
    return results.read("perplexity")["values"]["models"]


def runs(row: str, models: dict) -> list[str]:
    """The measured models of a row: runs, smallest first; else the shipped one or the baseline.

    Runs may be of any profile but smoke. After Lakh, a profile's run is the one with most of it, or
    the one that does not say how much.
    """
    names = [name for name in models if name.endswith(f"/{row}")]
    names = [name for name in names if not name.startswith(("published/", "smoke/"))]
    if row == "transformer_xl_lakh":
        names += [points[max(points)] for points in after_lakh(models).values()]
    if not names and row in models:
        names = [row]
    return sorted(names, key=lambda name: models[name].get("parameters", 0))


def after_lakh(models: dict) -> dict[str, dict[int, str]]:
    """Profile (but smoke) -> amount of pre-training -> the model fine-tuned after it, 0: the one
    trained without; only those measured on test, and profiles with any after Lakh."""
    pattern = re.compile(r"(?!smoke/)(.+)/transformer_xl_(?:augmented|lakh_(\d+))")
    points_of = defaultdict(dict)
    for name, entry in models.items():
        match = pattern.fullmatch(name)
        if match and "test" in entry:
            profile, amount = match.groups(default="0")
            points_of[profile][int(amount)] = name
    return {profile: points for profile, points in points_of.items() if max(points) > 0}


def table_2(models: dict | None = None) -> list[Row]:
    """Every row of the paper's table, ours and the shipped models; of the authors' checkpoints
    those measured."""
    models = measured() if models is None else models
    paper, entries = known_answers(), []
    for row in paper["table_2"]:
        for name in runs(row["name"], models) or [None]:
            entries.append((row["title"], row["size"], row["test"], name))
    entries += [("modern decoder", "–", None, name) for name in runs("modern_decoder", models)]
    for name in (name for name in SHIPPED if name in models):
        architecture = ARCHITECTURES.get(models[name]["architecture"], "model")
        title = f"shipped {architecture}, assets/pretrained/{name}"
        if memory := models[name].get("memory_length"):
            title = f"the same with all of its memory, {memory:,} events"
        entries.append((title, "–", None, name))
    for row in paper["published"]:
        if row["name"] in models:
            title = f"the authors' checkpoint: {row['title']}"
            entries.append((title, "41 M", row["test"], row["name"]))
    return [Row(*entry, models.get(entry[3], {})) for entry in entries]


def figure_3(models: dict | None = None) -> dict[str, tuple]:
    """The figure's lines, for ``diagnostic_plots.curves``: the paper's, and a profile's if at least
    two points were run."""
    models = measured() if models is None else models
    paper = known_answers()["figure_3"]
    lines = {"paper: epochs of Lakh": (paper["epochs_of_lakh"], paper["test"])}
    for profile, points in after_lakh(models).items():
        if len(points) > 1:
            amounts = tuple(sorted(points))
            perplexities = tuple(models[points[n]]["test"]["exact"] for n in amounts)
            lines[f"here: profile {profile}"] = (amounts, perplexities)
    return lines
