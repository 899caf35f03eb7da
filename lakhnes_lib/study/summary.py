"""The report of a listening test: everything from answers to p-values, as text, numbers and figures.

Paper: §7. Notebook: 08_user_study. Differences from the paper: see ``study_statistics``.
"""

import json
from dataclasses import asdict
from pathlib import Path

from lakhnes_lib.files import write_file
from lakhnes_lib.listening.tables import table
from lakhnes_lib.study import study_plots
from lakhnes_lib.study.answers import Answers, keep
from lakhnes_lib.study.designs import REAL
from lakhnes_lib.study.study_statistics import Comparison, Share, compare, needed, shares, strengths

PUBLISHED_BATCHES = {"turing": 3, "preference": 1}
"""Batches that a listener must have completed, as published; never more than a design has."""
LEGEND = """p: how often chance alone would give a result so far from no difference; Holm: p corrected for many rows.
95 %: the interval in which the true value probably lies."""


def report(
    answers: Answers, batches: int | None = None, controls: bool = True, remark: str = ""
) -> dict:
    """Filters the answers and analyses what is left.

    batches, controls: as in ``study_answers.keep``; the published ones if None and True.
    Returns kept and dropped listeners, shares, comparisons, strengths, text (Markdown) and pictures by name.
    Raises BadStudy if nobody passes the filter.
    """
    batches = (
        min(PUBLISHED_BATCHES[answers.kind], len(answers.pairs)) if batches is None else batches
    )
    kept, dropped = keep(answers, batches, controls)
    found, pairs, model = shares(kept), compare(kept), strengths(kept)
    pictures = {"shares": study_plots.bars(found, kept.kind, remark)}
    if kept.kind == "preference":
        pictures["strengths"] = study_plots.strengths(model, remark)
    rows = [
        f"# {kept.kind.capitalize()} test",
        *([remark] if remark else []),
        f"{len(kept.listeners)} listeners count, {len(dropped)} do not (complete batches asked of each: {batches}"
        f"{'; no control wrong' if controls else ''}). {len(answers.refused)} rows could not be used, "
        f"{answers.replaced} answers were replaced by later ones.",
        *(f"- left out: {listener} {why}" for listener, why in dropped.items()),
        _share_table(found, kept.kind),
        _comparison_table(pairs, kept.kind),
    ]
    if kept.kind == "preference":
        rows.append(_strength_table(model))
    rows += [_advice(found), LEGEND]
    return {
        "kept": kept,
        "dropped": dropped,
        "shares": found,
        "comparisons": pairs,
        "strengths": model,
        "text": "\n\n".join(row for row in rows if row) + "\n",
        "pictures": pictures,
    }


def write(made: dict, folder) -> Path:
    """Writes ``report.md``, ``report.json`` and a PNG of each picture into a folder."""
    folder, model = Path(folder), made["strengths"]
    values = {
        "kind": made["kept"].kind,
        "listeners": made["kept"].listeners,
        "dropped": made["dropped"],
        "shares": [
            asdict(row) | {"share": row.share, "standard_error": row.error}
            for row in made["shares"]
        ],
        "comparisons": [asdict(row) for row in made["comparisons"]],
        "strengths": {
            name: {"strength": float(x), "low": float(low), "high": float(high)}
            for name, x, low, high in zip(
                model.methods, model.strength, model.low, model.high, strict=True
            )
        },
    }
    contents = {"report.md": made["text"], "report.json": json.dumps(values, indent=1)}
    contents |= {f"{name}.png": picture.png() for name, picture in made["pictures"].items()}
    for name, content in contents.items():
        write_file(folder / name, content)
    return folder


def chance(p: float) -> str:
    """A p-value to read."""
    return "< .0001" if p < 1e-4 else f"{p:.4f}"[1:] if p < 1 else "1"


def _share_table(found: list[Share], kind: str) -> str:
    what = "real clip found" if kind == "turing" else "comparisons won"
    return table(
        ("method", what, "share", "standard error", "95 % (Wilson)", "p against 50 %", "Holm"),
        *(
            (row.name, f"{row.hits} of {row.n}", f"{row.share:.1%}", f"{row.error:.1%}",
             f"{row.low:.1%} to {row.high:.1%}", chance(row.p), chance(row.p_holm))
            for row in found
        ),
    )  # fmt: skip


def _comparison_table(pairs: list[Comparison], kind: str) -> str:
    exact = "p, Fisher's exact test" if kind == "turing" else "p, exact binomial test"
    first = ("difference",) if kind == "turing" else ("first won",)
    head = (
        "first",
        "second",
        *first,
        "p, normal approximation (as published)",
        "Holm",
        exact,
        "Holm",
    )
    rows = [
        (row.first, row.second, f"{row.difference:+.1%}" if kind == "turing" else f"{row.wins} of {row.n}",
         *map(chance, (row.p_normal, row.p_normal_holm, row.p_exact, row.p_exact_holm)))
        for row in pairs
    ]  # fmt: skip
    return table(head, *rows) if rows else ""


def _strength_table(model) -> str:
    rows = []
    for name, x, low, high in zip(
        model.methods, model.strength, model.low, model.high, strict=True
    ):
        to_real = "–"
        if name != REAL and REAL in model.methods:
            to_real = "{:.0%} ({:.0%} to {:.0%})".format(*model.preferred(name, REAL))
        rows.append((name, f"{x:+.2f}", f"{low:+.2f} to {high:+.2f}", to_real))
    interval = f"95 % (bootstrap over {model.unit})"
    return table(
        ("method", "Bradley–Terry strength", interval, "preferred to real, by the model"), *rows
    )


def _advice(found: list[Share]) -> str:
    """How many judgements would tell the two closest methods apart."""
    if len(found) < 2:
        return ""
    ordered = sorted(found, key=lambda row: row.share)
    one, other = min(
        zip(ordered, ordered[1:], strict=False), key=lambda pair: pair[1].share - pair[0].share
    )
    if one.share == other.share:
        return f"{one.name} and {other.name} have the same share."
    return (
        f"If the shares of {one.name} and {other.name} are what they seem, {needed(one.share, other.share):,} "
        f"judgements of each would show the difference in 80 % of studies; there are {one.n:,} and {other.n:,}."
    )
