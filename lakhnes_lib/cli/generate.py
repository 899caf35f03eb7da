"""``lakhnes generate``: every way to compose, from the command line.

Paper: §8. Notebook: 09_composing.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import (
    Checkpoint,
    Device,
    Voices,
    chosen_device,
    only_where,
    progress,
    read_song,
)


# The defaults are those of ``profiles.Sampling`` (a test compares them), which is slow to import.
def generate(
    context: typer.Context,
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder for the pieces.")],
    pieces: Annotated[int, typer.Option("-n", "--pieces", min=1, help="How many.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="The same seed composes the same pieces.")] = 0,
    beginning: Annotated[
        Path | None,
        typer.Option("--continue", metavar="FILE", help="Go on from this song's beginning."),
    ] = None,
    rhythm: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keep this song's rhythm and drums, compose new pitches."
        ),
    ] = None,
    given: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar="VOICES FILE",
            help="Keep these voices of a song (P1,P2,TR,NO), compose the others.",
        ),
    ] = None,
    voices: Voices = "",
    first_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=3_600.0, help="Of FILE take only so many seconds [default: all]."
        ),
    ] = None,
    first_events: Annotated[
        int | None,
        typer.Option(min=1, help="With --continue: take only so many events [default: 512]."),
    ] = None,
    particles: Annotated[
        int, typer.Option(min=1, help="With --given: attempts, of which the best is kept.")
    ] = 16,
    length: Annotated[
        int, typer.Option(min=1, help="Events to compose, about 57 a second.")
    ] = 1024,
    temperature: Annotated[float, typer.Option(help="Above 0; above 1 is bolder.")] = 0.95,
    top_k: Annotated[int, typer.Option(min=0, help="So many of the likeliest; 0: all.")] = 32,
    top_p: Annotated[float, typer.Option(help="The likeliest that hold this share.")] = 1.0,
    memory: Annotated[int, typer.Option(min=0, help="Events of history kept.")] = 512,
    masked: Annotated[
        bool, typer.Option("--masked/--free", help="Keep the grammar of events, or not.")
    ] = True,
    precision: Annotated[
        str, typer.Option(help="Weights in 8 bits (int8), or in 32 (fp32), which is slower.")
    ] = "int8",
    device: Device = None,
):
    """Composes new pieces: from nothing, or from what you bring.

    OUT_DIR gets each piece NN of seed S as seedS_NN.mid, .tx1.txt, .vgm and .wav, and index.html, a
    page that plays all pieces in OUT_DIR. Ctrl-C keeps what is composed by then.

    FILE is a MIDI, TX1 or VGM file, or a lead sheet in ABC as in assets/songbook. Of a MIDI file
    the lowest track plays TR, the highest or busiest P1, the next P2, and drums NO, unless --voices
    says otherwise (P1=Lead,TR=2: a track's name or number); stderr says which plays what. For
    --rhythm a drum pattern is enough. With --rhythm and --given a piece lasts as long as FILE, and
    more --particles fit the given voices better, and take longer.

    --masked keeps the grammar of events, so that every piece is a valid score; --free draws as the
    paper does. The same seed composes the same pieces, but others with fp32 than with int8.

    \b
    Four pieces from nothing:
      lakhnes generate assets/pretrained/mini pieces
    Three continuations of the first eight seconds of a song:
      lakhnes generate assets/pretrained/mini pieces -n 3 --continue song.mid --first-seconds 8
    New melodies to the rhythm of a song, or to a drum pattern:
      lakhnes generate assets/pretrained/mini pieces --rhythm assets/songbook/cancan.abc
    Two pulse voices above a bass (TR) and drums (NO), the best of 32 attempts:
      lakhnes generate assets/pretrained/mini pieces -n 1 --given TR,NO song.mid --particles 32
    Bolder:
      lakhnes generate assets/pretrained/mini pieces --temperature 1.1 --top-k 0 --top-p 0.97
    """
    from lakhnes_lib.generation import given_voices, sampling

    if sum(way is not None for way in (beginning, rhythm, given)) > 1:
        flags = "--continue, --rhythm, --given"
        raise typer.BadParameter("take only one of them", param_hint=flags)
    file = beginning or rhythm or (given and given[1])
    for fits, flag, why in (
        (file is not None, "--first-seconds", "goes with --continue, --rhythm or --given"),
        (file is not None, "--voices", "goes with --continue, --rhythm or --given"),
        (beginning is not None, "--first-events", "goes with --continue"),
        (given is not None, "--particles", "goes with --given"),
        (file is beginning, "--length", "with --rhythm and --given a piece lasts as long as FILE"),
        (given is None or masked, "--free", "--given always keeps the grammar"),
    ):
        only_where(fits, context, flag, why=why)
    options = dict(temperature=temperature, top_k=top_k or None, top_p=top_p, seed=seed)
    options |= dict(n=pieces, memory_length=memory, precision=precision)
    sampling.check(length=length, **options)
    kept = given_voices.voices_of(given[0]) if given else []

    # What takes long to import is imported where it is needed, so that composing begins at once.
    from lakhnes_lib.generation import continuation

    if file is not None:
        from lakhnes_lib.generation import rhythm as rhythms
        from lakhnes_lib.music import nes

        # A note that sounds at the cut of a beginning goes on, so that the file is read beyond it.
        beyond = first_seconds and first_seconds + (beginning is not None)
        song = read_song(file, voices, beyond)
    model, caption = _model(checkpoint, device), "from nothing"
    if beginning is not None:
        count = 512 if first_events is None and first_seconds is None else first_events
        prime = continuation.cut(song, seconds=first_seconds, count=count)
        caption = f"goes on from the first {len(prime):,} events of {beginning.name}"
        _describe_beginning(beginning, prime, checkpoint, memory)
        steps = continuation.compose(model, prime, length=length, masked=masked, **options)
    elif file is None:
        steps = continuation.compose(model, length=length, masked=masked, **options)
    else:
        if rhythm:
            if not len(song.only(nes.MELODIC).notes):  # drums alone, every hit of which counts
                song = rhythms.read(file)
                song = song if first_seconds is None else song.excerpt(0, first_seconds)
            caption = f"to the rhythm of {file.name}"
            steps = rhythms.compose(model, song, masked=masked, **options)
        else:
            caption = f"around {given[0]} of {file.name}"
            steps = given_voices.compose(model, song, kept, particles=particles, **options)
    # The model is loaded for the first event; a folder that cannot be written is found out next.
    made, interrupted = next(steps), False
    from tqdm import tqdm

    from lakhnes_lib.listening import gallery
    from lakhnes_lib.music import events

    gallery.write_gallery(out)
    bar = tqdm(steps, unit="event", desc="composing", initial=1, disable=not progress())
    bar.total = length if file is beginning else None
    try:
        for now in bar:
            made = now
    except KeyboardInterrupt:
        interrupted = True
    for number, ids in enumerate(made):
        name = f"seed{seed}_{number:02d}"
        score = events.decode(ids, name)
        gallery.save_piece(score, out, name, caption)
        print(f"{out / name}.mid: {score.seconds:.1f} s, {len(score.notes):,} notes")
    gallery.write_gallery(out)
    print(f"{out / 'index.html'} plays them")
    if interrupted:
        raise KeyboardInterrupt


def _model(checkpoint: Path, device: str | None):
    """The folder itself, which is read without PyTorch, or its model on a device of the user's."""
    if device in (None, "cpu"):
        return checkpoint
    from lakhnes_lib.models import checkpoints

    return checkpoints.load(checkpoint, chosen_device(device))


def _describe_beginning(file: Path, prime, checkpoint: Path, memory: int) -> None:
    """Prints how well the model follows a song's beginning, and whether it can remember it."""
    from lakhnes_lib.generation import continuation
    from lakhnes_lib.models import checkpoints

    perplexity = continuation.perplexity(checkpoints.load(checkpoint), prime, memory)
    print(f"{file}: its perplexity under the model is {perplexity:.2f}")
    if len(prime) > memory:
        message = f"{file}: of {len(prime):,} events the model keeps {memory:,} in mind"
        print(message, file=sys.stderr)
