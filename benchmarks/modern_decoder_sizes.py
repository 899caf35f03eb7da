"""How large the modern decoder should be: trained for as many events at several sizes, over seeds.

python benchmarks/modern_decoder_sizes.py [--only NAME] [--seeds 0 1] [--write]

As in ``modern_decoder_changes.py`` a run reads the segments of profile laptop's entry
``modern_decoder_trial``, about a quarter of an hour of one free core, and is scored by the exact
protocol on every fifth song of valid: test is not looked at. A run that was stopped goes on where
it was. With --write the numbers go to results/modern_decoder_sizes.json, after each run.
"""

from _shared import arguments, corpus_at_hand, earlier, keep
from modern_decoder_changes import measure

from lakhnes_lib import profiles

RESULT = "modern_decoder_sizes"
SIZES = {
    "mini": {},
    "narrower": {"width": 192, "heads": 3, "feed_forward": 768},
    "wider": {"width": 320, "heads": 5, "feed_forward": 1280},
    "deeper": {"layers": 9},
}


def main() -> None:
    parser = arguments(RESULT, __doc__)
    parser.add_argument("--only", action="append", choices=SIZES, help="repeatable")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    chosen = parser.parse_args()
    corpus, profile = corpus_at_hand(), profiles.load("laptop")
    for seed in chosen.seeds:
        for name in chosen.only or SIZES:
            of_seed = profile.model_copy(update={"seed": seed})
            label = f"size_{name}_seed{seed}"
            measured = measure(label, (SIZES[name], {}), of_seed, corpus, None)
            runs = earlier(RESULT, corpus.fingerprint).get("runs", {})
            runs[name] = runs.get(name, {}) | {str(seed): measured}
            shown = {name: {seed: measured}}
            packages = ("numpy", "torch")
            keep(
                RESULT, {"runs": runs}, chosen.write, shown=shown, corpus=corpus, packages=packages
            )


if __name__ == "__main__":
    main()
