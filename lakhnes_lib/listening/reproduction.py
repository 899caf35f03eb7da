"""The paper's numbers beside ours: the rows of Table 2, the points of Figure 3.

Paper: §6. Notebook: 07_quantitative_analysis; `make report` writes the README's table from the same
rows.
Differences from the paper: it has no Kneser-Ney 5-gram and no modern decoder.

The paper's side is ``results/known_answers.json``; ours is ``results/perplexity.json``, which
`benchmarks/perplexity_table.py` measures. A row's runs go by name: runs/PROFILE/NAME. Those after
Lakh say how much of it: of transformer_xl_lakh_1 and so on, the one with most Lakh is the row's.
Figure 3's side of ours is ``results/findings.json``, which `benchmarks/findings.py` writes.
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
        names += _after_most_lakh(models)
    if not names and row in models:
        names = [row]
    return sorted(names, key=lambda name: models[name].get("parameters", 0))


def _after_most_lakh(models: dict) -> list[str]:
    """Of each profile (but smoke) the model after most of Lakh, of those measured on test."""
    after_lakh = re.compile(r"(?!smoke/).+/transformer_xl_lakh_\d+")
    names = [name for name in models if after_lakh.fullmatch(name) and "test" in models[name]]
    names.sort(key=lambda name: int(name.rpartition("_")[2]))
    return list({name.partition("/")[0]: name for name in names}.values())


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


def figure_3() -> dict[str, tuple]:
    """The figure's lines, for ``diagnostic_plots.curves``: the paper's, and ours on a tenth of the
    songs, one for each seed that was trained with two amounts of Lakh or more."""
    paper, of_seed = known_answers()["figure_3"], defaultdict(dict)
    for run in json.loads(results.path_of("findings").read_text(encoding="utf-8")):
        match = re.fullmatch(r"few_transformer_xl_augmented|after_lakh_(\d+)", run["name"])
        if match and "test" in run:
            of_seed[run["seed"]][int(match[1] or 0)] = run["test"]["perplexity"]
    lines = {"paper: epochs of Lakh": (paper["epochs_of_lakh"], paper["test"])}
    for seed, points in sorted(of_seed.items()):
        if len(points) > 1:
            amounts_and_values = tuple(zip(*sorted(points.items()), strict=True))
            lines[f"here: units of Lakh, seed {seed}"] = amounts_and_values
    return lines
