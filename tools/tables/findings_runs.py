"""Every run of the findings as tables and as a picture: rows with each seed's number, the recipe's
settings beside the profile's own, and the curves on valid.

The runs are those of results/findings.json, as ``findings_table`` reads them.
"""

from itertools import cycle

import findings_table
import numpy as np
from findings_table import FEWEST_SONGS, LAKH, LSTM, LSTM_AUGMENTED, NGRAM, XL, XL_AUGMENTED

from lakhnes_lib import profiles
from lakhnes_lib.listening.pictures import INK, MODEL_COLOURS, Picture, finish, legend

NONE = "–"
ROWS = {
    NGRAM: "5-gram, back-off",
    LSTM: "LSTM",
    LSTM_AUGMENTED: "LSTM, augmented",
    XL: "Transformer-XL",
    XL_AUGMENTED: "Transformer-XL, augmented",
    **{f"lakh_{units}": f"pre-training, units of Lakh: {units}" for units in findings_table.UNITS},
    **{
        name: f"Transformer-XL, augmented, after units of Lakh: {units}"
        for name, units in zip(LAKH, findings_table.UNITS, strict=True)
    },
    findings_table.LONGER: "Transformer-XL, augmented, three times the events",
    f"{LSTM}_{FEWEST_SONGS}": f"LSTM, {FEWEST_SONGS} songs",
    f"{LSTM_AUGMENTED}_{FEWEST_SONGS}": f"LSTM, {FEWEST_SONGS} songs, augmented",
    f"{XL}_{FEWEST_SONGS}": f"Transformer-XL, {FEWEST_SONGS} songs",
    f"{XL_AUGMENTED}_{FEWEST_SONGS}": f"Transformer-XL, {FEWEST_SONGS} songs, augmented",
}
"""Name of a run -> its title."""
SETTINGS = {
    "weight_decay": "weight decay",
    "average": "moving average of the weights",
    "dropout": "dropout",
    "schedule": "schedule of the learning rate",
    "batch": "as many events in batches of",
    "augment": "augmentation",
    "learning_rate": "learning rate",
    "matrix_learning_rate": "learning rate of the matrices",
    "lakh_fading": "songs of Lakh mixed in, fewer every epoch",
    "transposed_half": "augmentation transposed, half of the time",
}
"""What a run of the recipe or of the rates changes, or its name -> its title."""
PANELS: dict[str, tuple[str, ...]] = {
    "LSTM": (LSTM, LSTM_AUGMENTED),
    "Transformer-XL": (XL, XL_AUGMENTED, *LAKH),
    f"LSTM, {FEWEST_SONGS} songs": tuple(f"{x}_{FEWEST_SONGS}" for x in (LSTM, LSTM_AUGMENTED)),
    f"Transformer-XL, {FEWEST_SONGS} songs": tuple(
        f"{x}_{FEWEST_SONGS}" for x in (XL, XL_AUGMENTED)
    ),
}


def rows() -> list[tuple[str, ...]]:
    """Of each row of the findings: title, seeds, perplexity on valid and test, that of each seed on
    test, events and minutes of training."""
    named = findings_table.by_name()
    return [(ROWS[name], *_cells(named[name])) for name in ROWS if name in named]


def _cells(own: list[dict]) -> tuple[str, ...]:
    perplexities = [
        np.array([run[split]["perplexity"] for run in own if split in run])
        for split in ("valid", "test")
    ]
    means = [findings_table.mean_and_spread(each) if len(each) else NONE for each in perplexities]
    of_seeds = ", ".join(f"{each:.2f}" for each in perplexities[1]) or NONE
    events, minutes = (np.array([run[key] for run in own]) for key in ("events", "minutes"))
    return f"{len(own)}", *means, of_seeds, f"{events.mean() / 1e6:.1f} M", f"{minutes.min():.0f}"


def changes(row: str) -> list[tuple[str, ...]]:
    """Of each run that changes one setting of a row, the best first: the setting, seeds, perplexity
    on valid, and by how many nats an event it differs from the row of the same seed: each seed's
    difference and their mean."""
    table, named = [], findings_table.by_name()
    base = findings_table.nats(named.get(row, []), row, "valid")
    for name, own in named.items():
        differences = [
            run["valid"]["nats"] - base[run["seed"]] for run in own if _is_beside(run, base)
        ]
        if name in ROWS or own[0]["row"] != row or not differences:
            continue
        setting = _setting(name, row, own[0]["changes"])
        perplexities = np.array([run["valid"]["perplexity"] for run in own])
        cells = f"{len(own)}", findings_table.mean_and_spread(perplexities)
        each = ", ".join(f"{nats:+.3f}" for nats in differences)
        table.append((np.mean(differences), (setting, *cells, each)))
    return [(*cells, f"{mean:+.3f}") for mean, cells in sorted(table)]


def rate(row: str) -> str:
    """A row with its own learning rate; of a network trained with Muon that of the matrices."""
    own = profiles.load("laptop").training[row]
    what = "matrix_learning_rate" if own.optimizer == "muon" else "learning_rate"
    return f"{ROWS[row]}, whose own {SETTINGS[what]} is {getattr(own, what):g}"


def winners(row: str) -> list[str]:
    """Settings that are better than the row's own with each seed, and were tried with several."""
    return [
        setting
        for setting, count, _, each, _ in changes(row)
        if count != "1" and all(nats.startswith("-") for nats in each.split(", "))
    ]


def _setting(name: str, row: str, changed: dict) -> str:
    """What a run changes, in words."""
    own = profiles.load("laptop").training[row].model_dump()
    said = "; ".join(f"{SETTINGS[key]} {to}" for key, to in changed.items() if key in SETTINGS)
    if changed and all(own.get(key) == to for key, to in changed.items()):
        return f"nothing, the row once more ({said})"
    return said or SETTINGS[name]


def spread(row: str) -> tuple[int, float] | None:
    """Seeds of a row, and by how many nats an event on valid the best and the worst differ."""
    of_seed = list(findings_table.nats(findings_table.runs(), row, "valid").values())
    return (len(of_seed), max(of_seed) - min(of_seed)) if of_seed else None


def _is_beside(run: dict, base: dict[int, float]) -> bool:
    """Whether the row itself was trained with the run's seed."""
    return "valid" in run and run["seed"] in base


def six(title: str) -> Picture:
    """Of each finding by how many per cent the perplexity is lower: the paper's number, and a dot
    for each seed of ours."""
    all_runs = findings_table.runs()
    drawn = Picture(9.0, 3.4)
    ax = drawn.add_subplot()
    for row, finding in enumerate(findings_table.FINDINGS):
        better, worse = finding.paper
        label = "paper" if row == 0 else None
        ax.plot(100 * (better / worse - 1), row, "D", color=INK, markersize=8, label=label)
        ours = findings_table.by_seed(all_runs, (finding.better, finding.worse), "test")
        changes_by_seed = 100 * np.expm1(ours[0] - ours[1])
        label = "here, each seed" if row == 0 else None
        ax.plot(
            changes_by_seed,
            np.full(len(changes_by_seed), row),
            "o",
            color=MODEL_COLOURS[0],
            alpha=0.6,
            label=label,
        )
    ax.axvline(0, color=INK, linewidth=0.8)
    claims = [f"{n}. {finding.claim}" for n, finding in enumerate(findings_table.FINDINGS, 1)]
    ax.set_yticks(range(len(claims)), claims)
    ax.invert_yaxis()
    legend(ax, "lower left")
    finish(ax, title, "%, on test", grid="both")
    return drawn


def picture(title: str) -> Picture:
    """Perplexity on valid over millions of events of training: a thin line for each run, a colour
    for each row."""
    named = findings_table.by_name()
    panels = {
        heading: shown
        for heading, names in PANELS.items()
        if (shown := [name for name in names if name in named])
    }
    drawn = Picture(12.0, 3.6 * ((len(panels) + 1) // 2))
    drawn.suptitle(title, fontsize=11)
    for position, (heading, names) in enumerate(panels.items(), 1):
        ax = drawn.add_subplot((len(panels) + 1) // 2, 2, position)
        for name, colour in zip(names, cycle(MODEL_COLOURS), strict=False):
            for index, run in enumerate(named[name]):
                steps, losses = np.array(run["curve"])[1 if run["curve"][0][0] == 0 else 0 :].T
                millions = steps * run["events"] / steps[-1] / 1e6
                label = ROWS[name] if index == 0 else None
                ax.semilogy(millions, np.exp(losses), color=colour, linewidth=1, label=label)
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("{x:g}")
        legend(ax, "upper right")
        finish(ax, heading, "millions of events of training", "perplexity on valid songs")
    return drawn
