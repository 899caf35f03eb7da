"""Listeners who are made up: to try a listening test before people take it, and to try its statistics.

Paper: none (§7 had people). Notebook: 08_user_study, where there is nobody to listen. Their answers measure nothing.
"""

import numpy as np
from scipy.special import expit

from lakhnes_lib.errors import BadSetting
from lakhnes_lib.study.designs import Design


def simulate(
    design: Design, strengths: dict[str, float], listeners: int, *, batches: int | None = None, careless: float = 0.0,
    spread: float = 0.0, seed: int = 0,
) -> list[tuple[str, str, str]]:  # fmt: skip
    """Rows (listener, trial, choice) of listeners who are made up, by Bradley and Terry's model.

    A is chosen over B with the probability 1 / (1 + exp(strength of B - strength of A)). batches: how many each
    listener takes, beginning with another, all if None; careless: share of them who toss a coin; spread: standard
    deviation of each listener's own strengths about those given.
    Raises BadSetting for a method without strength.
    """
    methods = dict.fromkeys(method for trial in design.trials for method in trial.methods)
    if missing := [method for method in methods if method not in strengths]:
        raise BadSetting(f"no strength is given for {', '.join(missing)}")
    random = np.random.default_rng(seed)
    known = np.array([strengths[method] for method in methods])
    place = {method: number for number, method in enumerate(methods)}
    pair = np.array(
        [[place[method] for method in trial.methods] for trial in design.trials]
    )  # (trials, 2)
    batch = np.array([trial.batch for trial in design.trials])
    count = batch.max() + 1
    rows = []
    for number in range(listeners):
        taken = np.flatnonzero((batch - number) % count < (batches or count))
        own = known + spread * random.normal(size=len(known))
        chance = (
            0.5 if random.random() < careless else expit(own[pair[taken, 0]] - own[pair[taken, 1]])
        )
        chosen = random.random(len(taken)) < chance
        rows += [
            (f"s{number:04d}", design.trials[t].id, "a" if a else "b")
            for t, a in zip(taken, chosen, strict=True)
        ]
    return rows
