"""Does a folder of ten files help? Perplexity of files held back, before and after fine-tuning the
shipped model.

python benchmarks/own_music_gain.py [--only SET] [--write]

Two folders of ten: the largest files of one game of NES-MDB's test split (one composer, which
the model has never heard), and the first files of a part of the Lakh MIDI Dataset that can be
mapped (songs of all kinds). Each is fine-tuned by the profile laptop's entry `own_music`, as
`lakhnes train --from assets/pretrained/mini --data FOLDER` does it.

Needs NES-MDB and lmd-full-5-sample (README, “Data”). With --write the numbers go to
results/own_music.json, after each folder.
"""

import os
import shutil
import tempfile
from itertools import islice
from pathlib import Path

from _shared import arguments, at_hand, keep

from lakhnes_lib import profiles
from lakhnes_lib.data import fetching
from lakhnes_lib.errors import DataNotFound, Rejected
from lakhnes_lib.listening import results
from lakhnes_lib.music.mapping import map_to_nes
from lakhnes_lib.training import own_music

FILES, GAME = 10, "145_Golgo13"


def usable(path: Path) -> bool:
    try:
        return bool(map_to_nes(path))
    except Rejected:
        return False


def game() -> list[Path]:
    folder = fetching.fetch("nesmdb-midi", mirror=os.environ.get("LAKHNES_MIRROR"))
    return sorted(
        (folder / "test").glob(f"{GAME}_*.mid"), key=lambda path: (-path.stat().st_size, path.name)
    )[:FILES]


def lakh() -> list[Path]:
    folder = fetching.fetch("lmd-full-5-sample", mirror=os.environ.get("LAKHNES_MIRROR"))
    return list(islice(filter(usable, sorted(folder.rglob("*.mid"))), FILES))


SETS = {"game": game, "lakh": lakh}


def main():
    parser = arguments("own_music", __doc__)
    parser.add_argument("--only", choices=SETS, help="one folder; the other's numbers are kept")
    chosen = parser.parse_args()
    profile, start = profiles.load("laptop"), profiles.root() / "assets/pretrained/mini"
    try:
        found = results.read("own_music")["values"] if chosen.only else {}
    except DataNotFound:
        found = {}
    for name in [chosen.only] if chosen.only else SETS:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "music"
            folder.mkdir()
            for path in at_hand(SETS[name]):
                shutil.copy(path, folder)
            corpus = own_music.gather(folder)
            print(own_music.describe(corpus), flush=True)
            tuned = own_music.tune(profile, corpus, Path(place) / "run", start=start)
        found[name] = {
            "files": {split: len(files) for split, files in corpus.manifest["taken"].items()},
            "songs": {split: len(songs) for split, songs in corpus.splits.items()},
            "events_held_back": sum(len(song) - 1 for song in corpus["test"].framed()),
            "perplexity_before": tuned.before,
            "perplexity_after": tuned.after,
            "steps": tuned.run.step,
            "best_step": tuned.run.best_step,
            "minutes": tuned.run.seconds / 60,
        }
        shown = {name: found[name]}
        keep("own_music", found, chosen.write, shown=shown, packages=("numpy", "torch", "symusic"))


if __name__ == "__main__":
    main()
