"""Listeners who are made up, to try a listening test and its statistics before people take it.

Paper: none (§7 had people). Notebook: 08_user_study, where there is nobody to listen. Their answers
measure nothing.
"""

import numpy as np
from scipy.special import expit

from lakhnes_lib.errors import BadSetting
from lakhnes_lib.study.designs import Design


def simulate(
    design: Design,
    strengths: dict,
    listeners: int,
    *,
    batches=None,
    careless=0.0,
    spread=0.0,
    seed=0,
) -> list[tuple[str, str, str]]:
    """Rows (listener, trial, choice) of listeners who are made up, by Bradley and Terry's model.

    A is chosen over B with the probability 1 / (1 + exp(strength of B - strength of A)). strengths:
    float by method; listeners: how many; batches: how many each listener takes, beginning with
    another, all if None; careless: share of them who toss a coin; spread: standard deviation of
    each listener's own strengths about those given. Raises BadSetting for a method without
    strength.
    """
    methods = list(dict.fromkeys(method for trial in design.trials for method in trial.methods))
    if missing := [method for method in methods if method not in strengths]:
        raise BadSetting(f"no strength is given for {', '.join(missing)}")
    random = np.random.default_rng(seed)
    known = np.array([strengths[method] for method in methods])
    a, b = np.array([[methods.index(m) for m in trial.methods] for trial in design.trials]).T
    batch = np.array([trial.batch for trial in design.trials])
    count = batch.max() + 1
    rows = []
    for number in range(listeners):
        taken = np.flatnonzero((batch - number) % count < (batches or count))
        own = known + spread * random.normal(size=len(known))
        is_careless = random.random() < careless
        chance_of_a = 0.5 if is_careless else expit(own[a[taken]] - own[b[taken]])
        choices = np.where(random.random(len(taken)) < chance_of_a, "a", "b")
        trials = [design.trials[i].id for i in taken]
        rows += [(f"s{number:04d}", *pair) for pair in zip(trials, choices.tolist(), strict=True)]
    return rows
