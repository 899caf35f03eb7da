"""The authors' checkpoints against what was published of them: paper, measured, difference.

python tools/published_checkpoints.py [--only NAME] [--device DEVICE] [--write]

Fetches each checkpoint of the registry (from the folder LAKHNES_MIRROR if that is set, else from
its official page), converts it without running anything in it, and evaluates it on NES-MDB: on test
and valid by the paper's protocol, and song by song where the authors published that. A checkpoint
that cannot be had is named with the reason, and the others are measured; the exit code is then 1.
With --write the numbers go to results/published.json.

By the paper's protocol expect a difference of up to about one per cent: the order in which its
streams took the files was not published. Song by song there should be none.
"""

import shlex
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
sys.path.append(str(Path(__file__).resolve().parent / "tables"))
from _shared import arguments, corpus_at_hand, earlier, write
from perplexity_table import PUBLISHED, converted
from published_table import HEADING, PROTOCOLS, rows

from lakhnes_lib.data import fetching
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.listening import reproduction
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.devices import choose_device

PACKAGES = ("numpy", "torch")


def measured(model, corpus, known: dict) -> dict[str, float]:
    """The model's perplexities by what is known of it, as of ``PROTOCOLS``."""
    values = {}
    for what in (what for what in PROTOCOLS if what in known):
        split = corpus["test" if what == "per_song" else what]
        if what == "per_song":
            songs = [perplexity.whole(split.score(index)) for index in range(len(split))]
            scores = perplexity.per_song(model, songs, progress=sys.stderr.isatty())
        else:
            settings = {"progress": sys.stderr.isatty()}
            scores = perplexity.paper(model, split.framed(), split.names, **settings)
        values[what] = scores.perplexity
    return values


def main() -> int:
    parser = arguments("published", __doc__)
    names = {name.removeprefix("published/"): name for name in PUBLISHED}
    parser.add_argument("--only", action="append", choices=names, help="repeatable")
    parser.add_argument("--device", help="cpu or cuda; the best there is if not given")
    chosen = parser.parse_args()
    corpus, device, all_values, missing = corpus_at_hand(), choose_device(chosen.device), {}, []
    print(" | ".join(HEADING), flush=True)
    for known in reproduction.known_answers()["published"]:
        name = PUBLISHED[known["name"]]
        if name not in (chosen.only or names):
            continue
        try:
            fetching.fetch(name, progress=sys.stderr.isatty())
            values = measured(checkpoints.load(converted(name), device), corpus, known)
        except (LakhnesError, OSError) as error:
            print(f"{known['title']}: {error}", flush=True)
            missing.append(name)
            continue
        all_values[name] = values
        for cells in rows(known, values):
            print(" | ".join(cells), flush=True)
    if all_values and chosen.write:
        values = earlier("published", corpus.fingerprint) | all_values
        said = shlex.join(["python", "tools/published_checkpoints.py", *sys.argv[1:]])
        fingerprint = corpus.fingerprint
        write("published", values, command=said, data_fingerprint=fingerprint, packages=PACKAGES)
    if missing:
        print(f"not measured: {', '.join(missing)}", file=sys.stderr)
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
