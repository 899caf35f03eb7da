"""``lakhnes tokens`` and ``render``: music files from one form to another.

Paper: §3. Notebooks: 01_nes_ensemble, 02_event_representation.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import Music, Voices, Workers, only_where, progress, read_song
from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.files import check_output

Form = StrEnum("Form", ["wav", "mid", "vgm", "tx1.txt", "famistudio.txt", "famitracker.txt"])


def tokens(
    context: typer.Context,
    source: Music,
    out: Annotated[Path | None, typer.Argument()] = None,
    voices: Voices = "",
    workers: Workers = -1,
):
    """Turns music into events: a file into TX1 text, a folder into a corpus.

    A file (MIDI, VGM, TX1, or a lead sheet in ABC) is written to OUT (.tx1.txt), or printed. The
    tracks of a MIDI file play the voices that fit them, unless they are those of NES music (p1, p2,
    tr and no); stderr says which plays what. What a VGM file holds beyond notes is named there.

    A folder of such files, with train, valid and test inside or without, becomes the corpus OUT
    that `lakhnes train --data` and `lakhnes evaluate --data` take. Files that cannot be read are
    left out and named.

    \b
      lakhnes tokens assets/songbook/greensleeves.abc
      lakhnes tokens MUSIC corpus

    Options:
    source: A music file, or a folder of them.
    out: Text file or corpus folder.
    """
    from lakhnes_lib.music import events
    from lakhnes_lib.sound import song_files

    only_where(source.is_dir(), context, "--workers", why="goes with a folder")
    only_where(not source.is_dir(), context, "--voices", why="goes with a file")
    if source.is_dir():
        if out is None:
            rule = "a folder is packed into a corpus: name the folder to write"
            raise typer.BadParameter(rule, param_hint="OUT")
        _pack(source, out, workers)
    elif out is None:
        sys.stdout.write(events.to_tx1(read_song(source, voices)))
    else:
        song_files.ending(out, song_files.TEXT, "written as event text")
        check_output(out, source)
        _write(read_song(source, voices), out)


def _write(score, out: Path, *options) -> None:
    from lakhnes_lib.music.score import counted

    earlier = ", in place of an earlier file" if out.exists() else ""
    written = len(score.notes) - _write_song(score, out, *options)
    print(f"{out}: {score.seconds:.1f} s, {counted(written)}{earlier}")


def _write_song(score, out: Path, rate: int = 44_100, loop: bool = False) -> int:
    """Writes a song. What its form cannot hold is named on stderr; returns how many notes."""
    from tqdm import tqdm

    from lakhnes_lib.sound import song_files

    left_out = song_files.write_song(score, out, rate, 0 if loop else None) or {}
    if left_out:
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in left_out.items())
        tqdm.write(f"{out}: left out: {kinds}", file=sys.stderr)  # above the bar, if there is one
    return int(sum(left_out.values()))


def _pack(source: Path, out: Path, workers: int) -> None:
    from lakhnes_lib.data import build

    corpus = build.build_corpus(source, out, workers=workers, progress=progress())
    rejected, manifest = corpus.manifest["rejected"], out / "corpus.json"
    if not any(map(len, corpus.splits.values())):
        rule = f"none of its {len(rejected):,} files can be used; {manifest} says why"
        raise DataNotFound(f"{source}: {rule}")
    for line in corpus.manifest["remarks"] + [f"left out: {why}" for why in rejected.values()]:
        print(line, file=sys.stderr)
    for name, split in corpus.splits.items():
        hours = split.seconds / 3600
        print(f"{name}: {len(split):,} songs, {len(split.notes):,} notes, {hours:.2f} h")
    reasons = f", with reasons in {manifest}" if rejected else ""
    print(f"left out: {len(rejected):,} files{reasons}")


def render(
    context: typer.Context,
    source: Music,
    out: Path,
    to: Form = Form.wav,
    voices: Voices = "",
    rate: Annotated[int, typer.Option(min=4_000, max=768_000)] = 44_100,
    duty: Annotated[int | None, typer.Option(min=0, max=3)] = None,
    volume: Annotated[int | None, typer.Option(min=1, max=15)] = None,
    loop: Annotated[bool, typer.Option("--loop")] = False,
):
    """Turns music into sound, or into another form.

    IN is MIDI, TX1, VGM or a lead sheet in ABC. The ending of OUT says what it becomes: .wav, .mid,
    .vgm, .tx1.txt, .famistudio.txt or .famitracker.txt (text that these trackers import). The
    tracks of a MIDI file play the voices that fit them, unless they are those of NES music (p1, p2,
    tr and no); stderr says which plays what, and what is left out. A folder is rendered file by
    file into the folder OUT; files that cannot be read, or would be written where another one is,
    are named on stderr and left out. What a VGM file holds beyond notes is named there, too; its
    loop is played once. --duty is the timbre, from thin (0) to full (2); without it and --volume a
    song keeps its own. --loop is for pieces that `lakhnes generate --loop` has composed.

    \b
      lakhnes render assets/songbook/greensleeves.abc greensleeves.wav
      lakhnes render assets/songbook songbook --to mid
      lakhnes render assets/songbook/greensleeves.abc greensleeves.famistudio.txt
      lakhnes render band.mid band.nes.mid --voices P1=Flute,TR=Bass

    Options:
    source: A music file, or a folder of them.
    out: File, or folder for IN's files.
    to: For a folder: what its files become.
    rate: Of WAV: samples a second.
    duty: Of both pulses [default: own].
    volume: Of all notes [default: own].
    loop: In VGM and trackers, repeat the whole song.
    """
    from lakhnes_lib.sound import presets, song_files

    folder = source.is_dir()
    ending = f".{to}" if folder else song_files.ending(out, song_files.WRITABLE, "written")
    only_where(folder, context, "--to", why="goes with a folder; a file has OUT's ending")
    only_where(ending in song_files.WAV, context, "--rate", why="goes with WAV")
    only_where(not folder, context, "--voices", why="goes with a file")
    rule = "event text has neither timbre nor volume"
    only_where(ending not in song_files.TEXT, context, "--duty", "--volume", why=rule)
    repeats = ending in song_files.VGM + song_files.TRACKER
    only_where(repeats, context, "--loop", why="goes with VGM and the texts of trackers")
    if not folder:
        check_output(out, source)
        _write(presets.dress(read_song(source, voices), duty, volume), out, rate, loop)
        return
    if out.is_file():
        raise LakhnesError(f"{out}: is a file, and the folder of what is rendered is to be written")

    from tqdm import tqdm

    from lakhnes_lib.data import build

    paths = build.music_files(source)
    sources, written = {path.resolve() for path in paths}, set()
    for path in tqdm(paths, unit="file", desc="rendering", disable=not progress()):
        stem = path.name[: -len(song_files.ending(path, song_files.READABLE, "read"))]
        target = out / path.relative_to(source).with_name(stem + ending)
        try:
            if target.resolve() in sources | written:
                raise LakhnesError(f"{path}: would become {target}, which is taken")
            _write_song(presets.dress(read_song(path), duty, volume), target, rate, loop)
            written.add(target.resolve())
        except LakhnesError as error:
            tqdm.write(f"left out: {error}", file=sys.stderr)
    if not written:
        raise DataNotFound(f"{source}: holds no music file that can be rendered")
    print(f"{out}: {len(written):,} files rendered, {len(paths) - len(written):,} left out")
