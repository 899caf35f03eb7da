"""MIDI-Sandwich2 at the size of a laptop: trained by the clock, and measured as its paper does.

python benchmarks/midi_sandwich.py [lakh] [nes] [--seeds 0 1] [--minutes 48] [--write]

For each data set (five tracks of Lakh's folder 5, four voices of NES-MDB) and seed the stages of
_sandwich_stages.py are trained, one after the other, each for its share of the minutes, on one
core. A stage is saved in runs/PROFILE/midi_sandwich now and then, from where a run that was stopped
goes on. Then the models are measured on songs that they have not seen (Lakh: valid; NES: test).
Needs Lakh's folder 5 and NES-MDB (`lakhnes data fetch`, or LAKHNES_MIRROR). With --write the
numbers of all runs that are over go to results/midi_sandwich.json.
"""

import json

import torch
from _sandwich_measured import measured
from _sandwich_phrases import SOURCES, rolls_of
from _sandwich_stages import curve, train
from _shared import arguments, keep

from lakhnes_lib import profiles


def main() -> None:
    parser = arguments("midi_sandwich", __doc__)
    parser.add_argument("kinds", nargs="*", default=list(SOURCES), help="lakh, nes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--minutes", type=float, help="of training, a data set and seed")
    parser.add_argument("--profile", default="laptop")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    settings = profiles.load(chosen.profile).companions["midi_sandwich2"]
    minutes = chosen.minutes or settings["training"]["minutes"]
    runs = profiles.root() / "runs" / chosen.profile / "midi_sandwich"
    for name in chosen.kinds:
        rolls, _ = rolls_of(name, runs / name, settings["phrases"])
        for seed in chosen.seeds:
            home = runs / name / f"seed{seed}"
            if not (home / "result.json").exists():
                logs = train(rolls, home, settings, minutes, seed)
                values = {"minutes": minutes, "seed": seed}
                values |= {"curves": {stage: curve(log) for stage, log in logs.items()}}
                values |= measured(rolls, home, seed)
                (home / "result.json").write_text(json.dumps(values))
    values = {}
    for path in sorted(runs.glob("*/seed*/result.json")):
        known = json.loads((path.parents[1] / "data.json").read_text())
        kind = values.setdefault(path.parts[-3], {"data": known, "seeds": []})
        kind["seeds"].append(json.loads(path.read_text()))
    keep("midi_sandwich", values, chosen.write, shown={}, packages=("numpy", "torch"))


if __name__ == "__main__":
    main()
