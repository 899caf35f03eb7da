"""``lakhnes tokens`` and ``render``: music files from one form to another.

Paper: §3. Notebooks: 01_nes_ensemble, 02_event_representation.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import Workers, only_where, progress
from lakhnes_lib.errors import DataNotFound, LakhnesError

Form = StrEnum("Form", ["wav", "mid", "vgm", "tx1.txt"])


def tokens(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="A music file, or a folder of them.")
    ],
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="File of event text, or folder of the corpus."),
    ] = None,
    workers: Workers = -1,
):
    """Turns music into events: a file into TX1 text, a folder into a corpus.

    A file (MIDI of NES music, VGM, TX1, or a lead sheet in ABC) is written to OUT (.tx1.txt), or printed. MIDI of NES
    music has the instruments p1, p2, tr and no, as NES-MDB's files have; `lakhnes map` takes any other.

    A folder of such files, with train, valid and test inside or without, becomes the corpus OUT that `lakhnes train
    --data` and `lakhnes evaluate --data` take. Files that cannot be read are left out, and named with the reason in
    OUT/corpus.json.

    \b
      lakhnes tokens assets/songbook/greensleeves.abc
      lakhnes tokens MUSIC corpus
    """
    from lakhnes_lib.data import build
    from lakhnes_lib.sound import song_files

    only_where(source.is_dir(), context, "--workers", why="goes with a folder")
    if source.is_dir():
        if out is None:
            raise typer.BadParameter(
                "a folder is packed into a corpus: name the folder to write", param_hint="OUT"
            )
        _pack(source, out, workers)
    elif out is None:
        from lakhnes_lib.music import events

        sys.stdout.write(events.to_tx1(build.read_song(source)))
    else:
        song_files.ending(out, song_files.TEXT, "written as event text")
        _write(build.read_song(source), out)


def _write(score, out: Path, rate: int = 44_100) -> None:
    from lakhnes_lib.sound import song_files

    song_files.write_song(score, out, rate)
    print(f"{out}: {score.seconds:.1f} s, {len(score.notes):,} notes")


def _pack(source: Path, out: Path, workers: int) -> None:
    from lakhnes_lib.data import build

    corpus = build.build_corpus(source, out, workers=workers, progress=progress())
    rejected = corpus.manifest["rejected"]
    if not any(map(len, corpus.splits.values())):
        raise DataNotFound(
            f"{source}: none of its {len(rejected):,} files can be used; {out / 'corpus.json'} says why"
        )
    for name, split in corpus.splits.items():
        print(
            f"{name}: {len(split):,} songs, {len(split.notes):,} notes, {split.seconds / 3600:.2f} h"
        )
    print(
        f"left out: {len(rejected):,} files"
        + (f", with reasons in {out / 'corpus.json'}" if rejected else "")
    )


def render(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="A music file (MIDI, TX1, VGM, ABC), or a folder.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The file to write, or the folder for IN's files.")
    ],
    to: Annotated[Form, typer.Option(help="For a folder: what its files become.")] = Form.wav,
    rate: Annotated[
        int, typer.Option(min=4_000, max=768_000, help="Of WAV: samples a second.")
    ] = 44_100,
    duty: Annotated[
        int | None, typer.Option(min=0, max=3, help="Of both pulses [default: the song's own].")
    ] = None,
    volume: Annotated[
        int | None, typer.Option(min=1, max=15, help="Of all notes [default: their own].")
    ] = None,
):
    """Turns music into sound, or into another form.

    The ending of OUT says which: .wav, .mid, .vgm or .tx1.txt. MIDI has to be NES music, with the instruments p1, p2,
    tr and no. A folder is rendered file by file into the folder OUT; files that cannot be read, or would be written
    where another one is, are named on stderr and left out. --duty is the timbre, from thin (0) to full (2).

    \b
      lakhnes render assets/songbook/greensleeves.abc greensleeves.wav
      lakhnes render assets/songbook songbook --to mid
    """
    from lakhnes_lib.data import build
    from lakhnes_lib.sound import presets, song_files

    ending = f".{to}" if source.is_dir() else song_files.ending(out, song_files.WRITABLE, "written")
    only_where(
        source.is_dir(),
        context,
        "--to",
        why="goes with a folder; a file becomes what the ending of OUT says",
    )
    only_where(ending in song_files.WAV, context, "--rate", why="goes with WAV")
    only_where(
        ending not in song_files.TEXT,
        context,
        "--duty",
        "--volume",
        why="event text has neither timbre nor volume",
    )
    if not source.is_dir():
        _write(presets.dress(build.read_song(source), duty, volume), out, rate)
        return
    from tqdm import tqdm

    paths = build.music_files(source)
    taken, made = set(paths), 0
    with tqdm(paths, unit="file", desc="rendering", disable=not progress()) as bar:
        for path in bar:
            stem = path.name[: -len(song_files.ending(path, song_files.READABLE, "read"))]
            target = out / path.relative_to(source).with_name(stem + ending)
            try:
                if target in taken:
                    raise LakhnesError(f"{path}: would become {target}, which is taken")
                taken.add(target)
                song_files.write_song(
                    presets.dress(build.read_song(path), duty, volume), target, rate
                )
                made += 1
            except LakhnesError as error:
                bar.write(f"left out: {error}", file=sys.stderr)
    if not made:
        raise DataNotFound(f"{source}: holds no music file that can be rendered")
    print(f"{out}: {made:,} files rendered, {len(paths) - made:,} left out")
