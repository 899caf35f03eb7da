"""Does a folder of ten files help? Perplexity of files held back, before and after fine-tuning the
shipped model.

python benchmarks/own_music_gain.py [--only SET] [--write]

Three folders: the ten largest files of one game of NES-MDB's test split, the fifteen largest of
two games of one composer (Koji Kondo's The Legend of Zelda and Doki Doki Panic, of the valid
split), and the first ten files of a part of the Lakh MIDI Dataset that can be mapped (songs of all
kinds). The model was trained on none of them. Each is fine-tuned by the profile laptop's entry
`own_music`, as `lakhnes train --from assets/pretrained/mini --data FOLDER` does it. What the model
forgets meanwhile: the perplexity of the first 1,024 events of 16 songs of valid by others. And the
valid loss after every so many steps, beside that of a run at thirty times the learning rate, which
breaks the model: by the two curves one sees whether a run of one's own is healthy.

Needs NES-MDB and lmd-full-5-sample (README, “Data”). With --write the numbers go to
results/own_music.json, after each folder.
"""

import os
import shutil
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
from _shared import arguments, at_hand, corpus_at_hand, keep, valid_curve

from lakhnes_lib import profiles
from lakhnes_lib.data import fetching
from lakhnes_lib.errors import DataNotFound, Rejected
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.listening import results
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music.mapping import map_to_nes
from lakhnes_lib.training import own_music, trainer

TOO_HIGH = 30
"""Times the learning rate, of the run that goes wrong."""
FILES, GAME = 10, "145_Golgo13"
COMPOSER, COMPOSER_FILES = ("402_ZeldanoDensetsu", "399_YumeKoujou"), 15
HIS_OTHERS = ("067_DevilWorld", "198_KungFu", "252_Nintendo", "323_SuperMario", "324_SuperMario")
"""Further games of valid that have music by this composer."""


def usable(path: Path) -> bool:
    try:
        return bool(map_to_nes(path))
    except Rejected:
        return False


def largest(split: str, games: tuple[str, ...], count: int) -> list[Path]:
    """The largest files of some games of NES-MDB."""
    folder = fetching.fetch("nesmdb-midi", mirror=os.environ.get("LAKHNES_MIRROR"))
    paths = (path for game in games for path in (folder / split).glob(f"{game}_*.mid"))
    return sorted(paths, key=lambda path: (-path.stat().st_size, path.name))[:count]


def game() -> list[Path]:
    return largest("test", (GAME,), FILES)


def composer() -> list[Path]:
    return largest("valid", COMPOSER, COMPOSER_FILES)


def lakh() -> list[Path]:
    folder = fetching.fetch("lmd-full-5-sample", mirror=os.environ.get("LAKHNES_MIRROR"))
    return list(islice(filter(usable, sorted(folder.rglob("*.mid"))), FILES))


SETS = {"game": game, "composer": composer, "lakh": lakh}


def others() -> list[np.ndarray]:
    """The beginnings of 16 songs of valid, of games that have no music by the composer."""
    valid = corpus_at_hand()["valid"]
    chosen = [
        ids[:1025]
        for name, ids in zip(valid.names, valid.framed(), strict=True)
        if not name.startswith(COMPOSER + HIS_OTHERS)
    ]
    return chosen[:: len(chosen) // 16][:16]


def known(profile, checkpoint, songs) -> float:
    model = checkpoints.load(checkpoint)
    return perplexity.exact(model, songs, progress=False, **profile.evaluation.segments).perplexity


def main():
    parser = arguments("own_music", __doc__)
    parser.add_argument("--only", choices=SETS, help="one folder; the other's numbers are kept")
    chosen = parser.parse_args()
    profile, start = profiles.load("laptop"), profiles.root() / "assets/pretrained/mini"
    try:
        values = results.read("own_music")["values"] if chosen.only else {}
    except DataNotFound:
        values = {}
    songs = others()
    others_before = known(profile, start, songs)
    for name in [chosen.only] if chosen.only else SETS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "music"
            folder.mkdir()
            for path in at_hand(SETS[name]):
                shutil.copy(path, folder)
            corpus = own_music.gather(folder)
            print(own_music.describe(corpus), flush=True)
            tuned = own_music.tune(profile, corpus, Path(temporary) / "run", start=start)
            others_after = known(profile, tuned.run.folder / "best", songs)
            entry = profile.training[own_music.MODEL]
            rate = TOO_HIGH * entry.learning_rate
            # With this patience it goes on to its last step, although it only gets worse.
            entry = entry.model_copy(update={"learning_rate": rate, "patience": 10})
            wild = profile.model_copy(update={"training": {own_music.MODEL: entry}})
            options = dict(model=own_music.MODEL, start=start)
            broken = trainer.train(wild, corpus, Path(temporary) / "broken", **options)
            curves = [valid_curve(run.folder) for run in (tuned.run, broken)]
        values[name] = {
            "files": {split: len(files) for split, files in corpus.manifest["taken"].items()},
            "songs": {split: len(songs) for split, songs in corpus.splits.items()},
            "events_held_back": sum(len(song) - 1 for song in corpus["test"].framed()),
            "perplexity_before": tuned.before,
            "perplexity_after": tuned.after,
            "others_before": others_before,
            "others_after": others_after,
            "steps": tuned.run.step,
            "best_step": tuned.run.best_step,
            "minutes": tuned.run.seconds / 60,
            "rate": profile.training[own_music.MODEL].learning_rate,
            "curve": curves[0],
            "rate_too_high": rate,
            "curve_too_high": curves[1],
        }
        shown = {name: values[name]}
        keep("own_music", values, chosen.write, shown=shown, packages=("numpy", "torch", "symusic"))


if __name__ == "__main__":
    main()
