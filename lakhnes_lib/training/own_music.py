"""Your own music: a folder of files becomes a corpus, and a trained model learns its style from it.

Paper: §8 (use by musicians), in the way of §4.2 (pre-training, then fine-tuning). Notebook:
09_composing.
Files of NES music (MIDI in NES-MDB's form, VGM, TX1) are taken as they are; any other MIDI file is
arranged for the NES by its tracks' roles (``songbook/roles.py``). Of every five files three are for
training, one says when to stop, and one is held back for the perplexity before and after.
Differences from the paper: it fine-tuned on NES-MDB alone.
"""

import hashlib
import time
from itertools import cycle
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from lakhnes_lib.data import build
from lakhnes_lib.data.corpus import Corpus, pack
from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.devices import choose_device
from lakhnes_lib.training import trainer

FEWEST = 5
"""Files that it takes at least."""
MODEL = "own_music"
"""The profiles' entry for fine-tuning on so little."""
_PARTS = ("train", "train", "train", "valid", "test")


class Tuned(NamedTuple):
    """A model that was fine-tuned on a folder.

    run: the finished run. before, after: exact perplexity of the files held back, by the model that
    it began from and by the run's best; None if there was none, or nothing was measured yet.
    """

    run: trainer.TrainingRun
    before: float | None
    after: float | None


def gather(folder, progress: bool = True) -> Corpus:
    """The music of a folder, and of all folders in it, as a corpus in memory: train, valid, test.

    The same content gives the same corpus, whatever the files are called. The manifest names the
    files in ``taken`` (split -> files) and ``rejected`` (file -> reason), and holds ``remarks`` on
    how they were read.
    Raises DataNotFound if fewer than five files can be used, and says why the others cannot.
    """
    folder, usable = Path(folder), {}
    files = sorted(path for paths in build.find_files(folder).values() for path in paths)
    songs, rejected, remarks = build.read_all(files, folder, 1, progress)
    for path, score in songs.items():
        name = path.relative_to(folder).as_posix()
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        if content in usable:
            rejected[name] = f"{name}: has the same content as another file"
        elif not len(score.notes):
            rejected[name] = f"{name}: has no notes"
        else:
            usable[content] = name, score
    if len(usable) < FEWEST:
        reasons = "".join(f"; {reason}" for reason in list(rejected.values())[:5])
        counts = f"{len(usable)} of its {len(files)} files can be used"
        raise DataNotFound(f"{folder}: {counts}, and at least {FEWEST} are needed{reasons}")
    ordered = [usable[content] for content in sorted(usable)]
    parts = {part: [] for part in _PARTS}
    for pair, part in zip(ordered, cycle(_PARTS)):
        parts[part].append(pair)
    taken = {part: [name for name, _ in pairs] for part, pairs in parts.items()}
    splits = {part: pack(part, [score for _, score in pairs]) for part, pairs in parts.items()}
    return Corpus(folder, {"taken": taken, "rejected": rejected, "remarks": remarks}, splits)


def describe(corpus: Corpus) -> str:
    """How the files of a gathered folder were read, for which part, and why some were left out."""
    lines = list(corpus.manifest["remarks"])
    for part, files in corpus.manifest["taken"].items():
        size = f"{len(corpus[part]):,} songs, {corpus[part].seconds / 60:.1f} minutes"
        lines.append(f"{part}: {len(files):,} files, {size}")
    lines += [f"left out: {reason}" for reason in corpus.manifest["rejected"].values()]
    return "\n".join(lines)


def tune(profile, corpus: Corpus, folder, *, start=None, max_minutes=None, **options) -> Tuned:
    """Trains as ``trainer.train`` does (its arguments), and measures the files held back.

    start may be of any architecture. max_minutes: training has what the measuring before leaves of
    them, less as much again for the measuring after.
    """
    device, began = choose_device(options.get("device")), time.monotonic()
    songs, shown = corpus["test"].framed(), options.get("progress", True)

    def held_back(checkpoint) -> float:
        model = checkpoints.load(checkpoint, device)
        segments = profile.evaluation.segments
        return perplexity.exact(model, songs, progress=shown, **segments).perplexity

    before = held_back(start) if start else None
    if start:
        sizes = profile.models[MODEL] | {"architecture": checkpoints.details(start)["architecture"]}
        profile = profile.model_copy(update={"models": profile.models | {MODEL: sizes}})
    if max_minutes is not None:
        max_minutes -= 2 * (time.monotonic() - began) / 60
    options = {"model": MODEL, "start": start, "max_minutes": max_minutes} | options
    run = trainer.train(profile, corpus, folder, **options)
    return Tuned(run, before, held_back(run.folder / "best") if isfinite(run.best) else None)
