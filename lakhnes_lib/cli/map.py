"""``lakhnes map``: MIDI files for any instruments to a corpus of what the NES can play of them.

Paper: §4.2.1. Notebook: 03_lakh_to_nes.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import Count, Workers, only_where, progress
from lakhnes_lib.errors import DataNotFound


def map_songs(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="IN")],
    out: Path,
    workers: Workers = -1,
    scheduler: str | None = None,
    seed: Count = 0,
):
    """Maps MIDI files of any instruments to the NES, as a corpus to train on.

    Each song keeps its drum tracks, and the tracks that play one note at a time; `lakhnes train
    --data OUT` draws examples from them, with one such track for each voice. A file that gives
    nothing is named in OUT/corpus.json with the reason. After an interruption the same command goes
    on where it stopped.

    \b
      lakhnes map lmd_full.tar.gz lakh
      lakhnes train --profile laptop --model lakh --data lakh

    Options:
    source: Folder or archive (tar, zip) of MIDI files.
    out: Folder of the corpus to write.
    scheduler: Use the workers of a Dask scheduler, such as tcp://host:8786.
    seed: Draws the examples that a profile with `draws: published` trains on.
    """
    from lakhnes_lib.data.lakh_mapping import map_corpus

    only_where(scheduler is None, context, "--workers", why="--scheduler has workers of its own")
    options = {"workers": workers, "scheduler": scheduler, "progress": progress()}
    try:
        corpus = map_corpus(source, out, seed, **options)
    except KeyboardInterrupt:
        print("what is done is saved; the same command goes on from there", file=sys.stderr)
        raise
    files, drawn = corpus.manifest["files"], corpus.manifest["published_examples"]
    if not files["accepted"]:
        rule = f"none of its {files['seen']:,} files can be used; {out / 'corpus.json'} says why"
        raise DataNotFound(f"{source}: {rule}")
    for name, split in corpus.splits.items():
        print(f"{name}: {len(split):,} songs, {len(split.notes):,} notes")
    size = f"{drawn['events']:,} events, {drawn['hours']:.1f} h"
    print(f"published draws: {drawn['examples']:,} examples, {size}")
    for reason, count in sorted(files["rejected"].items(), key=lambda pair: -pair[1]):
        print(f"left out: {count:,} {reason}")
