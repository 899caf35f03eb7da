"""Made-up listeners, to try a listening test before people take it. Their answers measure nothing.

python tools/simulate_study.py DESIGN OUT.csv --strength NAME=NUMBER ... [--listeners 20]
    [--batches N] [--careless 0.0] [--seed 0]

DESIGN is the folder that `lakhnes study make` wrote; each of its methods, real and random too, gets
a strength. A clip is chosen with odds of e to the difference of strengths: 2.7 to 1 where one
method has one more than the other. Example:

python tools/simulate_study.py DESIGN x.csv --strength real=1 --strength mini=0 --strength random=-3
"""

import argparse
import sys

import numpy as np
from scipy.special import expit

from lakhnes_lib.errors import BadSetting, LakhnesError
from lakhnes_lib.study import answers
from lakhnes_lib.study.designs import CONTROL, Design, open_design


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
    finite = np.isfinite([*strengths.values(), spread]).all()
    if not (1 <= listeners <= 100_000 and 0 <= careless <= 1 and seed >= 0 and finite):
        rule = "there are 1 to 100,000 listeners, a share of 0 to 1 of them careless"
        raise BadSetting(f"{rule}; strengths are finite, and a seed is 0 or more")
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


def save(out, design: Design, rows) -> None:
    """Writes the rows of ``simulate`` as a file of answers, with "simulated" in place of times.

    Raises BadStudy if the file exists.
    """
    study = design.fingerprint
    answers.write(out, [(who, study, trial, choice, "simulated") for who, trial, choice in rows])


def strength(text: str) -> tuple[str, float]:
    """Name and number of NAME=NUMBER."""
    name, sign, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=NUMBER") from None


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("design", metavar="DESIGN")
    parser.add_argument("out", metavar="OUT.csv")
    parser.add_argument("--strength", type=strength, action="append", default=[])
    parser.add_argument("--listeners", type=int, default=20)
    parser.add_argument("--batches", type=int, help="how many each of them takes [all]")
    parser.add_argument("--careless", type=float, default=0.0, help="share who toss a coin [0]")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same answers [0]")
    chosen = parser.parse_args(arguments)
    try:
        design, strengths = open_design(chosen.design), dict(chosen.strength)
        if unknown := strengths.keys() - {*design.methods, CONTROL}:
            raise BadSetting(f"the test has no method {', '.join(unknown)}")
        options = dict(batches=chosen.batches, careless=chosen.careless, seed=chosen.seed)
        rows = simulate(design, strengths, chosen.listeners, **options)
        save(chosen.out, design, rows)
    except LakhnesError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, BadSetting) else 1
    print(f"{chosen.out}: {len(rows):,} simulated answers of {chosen.listeners} listeners")
    return 0


if __name__ == "__main__":
    sys.exit(main())
