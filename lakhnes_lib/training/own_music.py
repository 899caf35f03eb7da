"""Your own music: a folder of files becomes a corpus, and a trained model learns its style from it.

Paper: §8 (use by musicians), in the way of §4.2 (pre-training, then fine-tuning). Notebook: 09_composing.
Files of NES music (MIDI in NES-MDB's form, VGM, TX1) are taken as they are; any other MIDI file is mapped to the NES
(``music/mapping.py``), which gives several songs a file. Of every five files three are for training, one says when to
stop, and one is held back for the perplexity before and after. Nothing of one file is in two parts.
Differences from the paper: it fine-tuned on NES-MDB alone.
"""

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from tqdm.auto import tqdm

from lakhnes_lib.data import build
from lakhnes_lib.data.corpus import Corpus, pack
from lakhnes_lib.errors import BadMidi, DataNotFound, LakhnesError
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music.mapping import map_to_nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.profiles import Profile
from lakhnes_lib.training import trainer

FEWEST = 5
"""Files that it takes at least."""
MODEL = "own_music"
"""The profiles' entry for fine-tuning on so little."""
_PARTS = ("train", "train", "train", "valid", "test")


@dataclass(frozen=True)
class Tuned:
    """run: the finished ``trainer.Run``; before, after: exact perplexity of the files held back, by the model that it
    began from and by its best; None where there was none, or the run ended before its first measurement."""

    run: trainer.Run
    before: float | None
    after: float | None


def gather(folder, seed: int = 0, progress: bool = True) -> Corpus:
    """The music of a folder, and of all folders in it, as a corpus in memory with train, valid and test.

    seed: draws what mapping leaves to chance; the same content and seed give the same corpus, whatever the files are
    called. The manifest names the files in ``taken`` (split -> files) and ``rejected`` (file -> why).
    Raises DataNotFound if fewer than five files can be used, and says why the others cannot.
    """
    folder, kept, rejected = Path(folder), {}, {}
    files = [path for paths in build.find_files(folder).values() for path in paths]
    for path in tqdm(sorted(files), unit="file", desc="reading", disable=not progress):
        name, content = (
            path.relative_to(folder).as_posix(),
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        if content in kept:
            rejected[name] = f"{name}: has the same content as another file"
            continue
        try:
            kept[content] = name, _songs(path, seed)
        except LakhnesError as error:
            rejected[name] = str(error)
    if len(kept) < FEWEST:
        why = "".join(f"; {line}" for line in _reasons(rejected)[:5])
        raise DataNotFound(
            f"{folder}: {len(kept)} of its {len(files)} files can be used, and at least {FEWEST} are needed{why}"
        )
    songs, taken = (
        {name: [] for name in dict.fromkeys(_PARTS)},
        {name: [] for name in dict.fromkeys(_PARTS)},
    )
    for number, content in enumerate(sorted(kept)):
        part, (name, found) = _PARTS[number % len(_PARTS)], kept[content]
        taken[part].append(name)
        songs[part] += found if part == "train" else found[:1]
    splits = {name: pack(name, scores) for name, scores in songs.items()}
    return Corpus(folder, {"taken": taken, "rejected": rejected}, splits)


def _songs(path: Path, seed: int) -> list[Score]:
    """One song of a file of NES music, or the several that any other MIDI file gives."""
    try:
        songs = [build.read_song(path)]
    except BadMidi:
        songs = map_to_nes(path, seed)
    if not any(len(song.notes) for song in songs):
        raise LakhnesError(f"{path}: has no notes")
    return songs


def _reasons(rejected: dict[str, str]) -> list[str]:
    """How many files were left out for each reason, most first."""
    counts = Counter(message.partition(": ")[2] for message in rejected.values())
    return [f"{count:,} left out: {reason}" for reason, count in counts.most_common()]


def describe(corpus: Corpus) -> str:
    """What was taken of a gathered folder, for which part, and why the rest was not: a line each."""
    lines = [
        f"{name}: {len(files):,} files, {len(corpus[name]):,} songs, {corpus[name].seconds / 60:.1f} minutes"
        for name, files in corpus.manifest["taken"].items()
    ]
    return "\n".join(lines + _reasons(corpus.manifest["rejected"]))


def tune(
    profile: Profile,
    corpus: Corpus,
    folder,
    *,
    start=None,
    device=None,
    max_minutes=None,
    progress=True,
    **options,
) -> Tuned:
    """Trains as ``trainer.train`` does (its arguments), and measures before and after on the files held back.

    max_minutes: of it training has what the first measuring leaves, less as much for the second.
    """
    device, began = trainer.choose_device(device), time.monotonic()

    def held_back(checkpoint) -> float:
        model, songs = checkpoints.load(checkpoint, device), corpus["test"].framed()
        return perplexity.exact(
            model, songs, progress=progress, **profile.evaluation.segments
        ).perplexity

    before = held_back(start) if start else None
    if start:  # whatever its kind
        entry = profile.models[MODEL] | {"architecture": checkpoints.details(start)["architecture"]}
        profile = replace(profile, models=profile.models | {MODEL: entry})
    if max_minutes is not None:
        max_minutes -= 2 * (time.monotonic() - began) / 60
    options = {"model": MODEL, "max_minutes": max_minutes, "progress": progress} | options
    run = trainer.train(profile, corpus, folder, start=start, device=device, **options)
    return Tuned(run, before, held_back(run.folder / "best") if isfinite(run.best) else None)
