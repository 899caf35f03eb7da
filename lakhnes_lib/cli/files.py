"""``lakhnes tokens`` and ``render``: music files from one form to another.

Paper: §3. Notebooks: 01_nes_ensemble, 02_event_representation.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import Workers, progress
from lakhnes_lib.errors import DataNotFound, LakhnesError


def read_song(path: Path):
    """Score of a music file, by its ending."""
    from lakhnes_lib.data import build
    from lakhnes_lib.sound import files

    files.ending(path, files.READABLE, "read")
    return build.read_song(path)


def tokens(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A music file, or a folder of them.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="File of event text, or folder of the corpus.")
    ] = None,
    workers: Workers = -1,
):
    """Turns music into events: a file into TX1 text, a folder into a corpus.

    A file (MIDI in NES-MDB's form, VGM, or TX1 text) is written to OUT, or printed. A folder of MIDI, VGM or TX1
    files, with train, valid and test inside or without, becomes the corpus OUT that `lakhnes train --data` takes; files
    that cannot be read are left out, and named with the reason in OUT/corpus.json.
    """
    if source.is_dir():
        if out is None:
            raise typer.BadParameter("a folder is packed into a corpus: name the folder to write", param_hint="OUT")
        _pack(source, out, workers)
    elif out is None:
        from lakhnes_lib.music import events

        sys.stdout.write(events.to_tx1(read_song(source)))
    else:
        from lakhnes_lib.sound import files

        files.ending(out, files.TEXT, "written as event text")
        files.write_song(read_song(source), out)


def _pack(source: Path, out: Path, workers: int) -> None:
    from lakhnes_lib.data import build

    corpus = build.build_corpus(source, out, workers=workers, progress=progress())
    rejected = corpus.manifest["rejected"]
    if not any(map(len, corpus.splits.values())):
        raise DataNotFound(f"{source}: none of its {len(rejected):,} files can be used; {out / 'corpus.json'} says why")
    for name, split in corpus.splits.items():
        print(f"{name}: {len(split):,} songs, {len(split.notes):,} notes, {split.seconds / 3600:.2f} h")
    print(f"left out: {len(rejected):,} files" + (f", with reasons in {out / 'corpus.json'}" if rejected else ""))


def render(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A music file (MIDI, TX1, VGM), or a folder of them.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write, or the folder for IN's files.")],
    to: Annotated[str, typer.Option(help="For a folder: the ending of what to write.")] = "wav",
    rate: Annotated[int, typer.Option(min=1, help="Samples a second of WAV.")] = 44_100,
    duty: Annotated[
        int | None, typer.Option(min=0, max=3, help="Duty of both pulses [default: the song's own].")
    ] = None,
    volume: Annotated[int | None, typer.Option(min=1, max=15, help="Volume of all notes [default: their own].")] = None,
):
    """Turns music into sound, or into another form.

    The ending of OUT says which: WAV, MIDI, VGM or TX1. A folder is rendered file by file into the folder OUT; files
    that cannot be read are named on stderr and left out.
    """
    from lakhnes_lib.sound import files, presets

    if not source.is_dir():
        files.ending(out, files.WRITABLE, "written")
        files.write_song(presets.dress(read_song(source), duty, volume), out, rate)
        return
    from tqdm import tqdm

    ending = f".{to.lstrip('.')}"
    files.ending(f"x{ending}", files.WRITABLE, "written")
    paths = sorted(path for path in source.rglob("*") if path.name.lower().endswith(files.READABLE))
    refused = 0
    with tqdm(paths, unit="file", disable=not progress()) as bar:
        for path in bar:
            inner = path.relative_to(source)
            stem = inner.name[: -len(files.ending(path, files.READABLE, "read"))]
            try:
                files.write_song(
                    presets.dress(read_song(path), duty, volume), out / inner.with_name(stem + ending), rate
                )
            except LakhnesError as error:
                refused += 1
                bar.write(f"left out: {error}", file=sys.stderr)
    if refused == len(paths):
        raise DataNotFound(f"{source}: holds no music file that can be rendered")
    print(f"{len(paths) - refused:,} files rendered, {refused:,} left out")
