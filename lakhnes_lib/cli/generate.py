"""``lakhnes generate``: every way to compose, from the command line.

Paper: §8. Notebook: 09_composing.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import Checkpoint, Device, chosen_device, only_where, progress
from lakhnes_lib.profiles import Sampling


def generate(
    context: typer.Context,
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder for the pieces.")],
    pieces: Annotated[
        int, typer.Option("-n", "--pieces", min=1, help="How many.")
    ] = Sampling.pieces,
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
    ] = Sampling.length,
    temperature: Annotated[
        float, typer.Option(help="Above 0; above 1 is bolder.")
    ] = Sampling.temperature,
    top_k: Annotated[
        int, typer.Option(min=0, help="Draw from so many of the likeliest; 0: all.")
    ] = Sampling.top_k,
    top_p: Annotated[
        float,
        typer.Option(
            help="Draw from the fewest with this share of the probability, above 0 and up to 1."
        ),
    ] = Sampling.top_p,
    memory: Annotated[
        int, typer.Option(min=0, help="Events of history kept.")
    ] = Sampling.memory_length,
    masked: Annotated[
        bool, typer.Option("--masked/--free", help="Keep the grammar of events, or not.")
    ] = True,
    precision: Annotated[
        str, typer.Option(help="Weights in fp32, fp16 or int8; fewer bits are faster.")
    ] = "fp32",
    device: Device = None,
):
    """Composes new pieces: from nothing, or from what you bring.

    OUT_DIR gets each piece NN of seed S as seedS_NN.mid, .tx1.txt, .vgm and .wav, and index.html, a page that
    plays all pieces in OUT_DIR. Ctrl-C keeps what is composed by then.

    FILE is a MIDI, TX1 or VGM file, or a lead sheet in ABC as in assets/songbook. A MIDI file of other instruments is
    mapped to the NES first, as `lakhnes map` does; for --rhythm a drum pattern is enough. With --rhythm and --given a
    piece lasts as long as FILE, and more --particles fit the given voices better, and take longer.

    --masked keeps the grammar of events, so that every piece is a valid score; --free draws as the paper does. int8
    may change a note.

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
    from tqdm import tqdm

    from lakhnes_lib.generation import continuation, given_voices, sampling
    from lakhnes_lib.generation import rhythm as rhythms
    from lakhnes_lib.listening import gallery
    from lakhnes_lib.models import checkpoints
    from lakhnes_lib.music import events

    if sum(way is not None for way in (beginning, rhythm, given)) > 1:
        raise typer.BadParameter(
            "take only one of them", param_hint="--continue, --rhythm, --given"
        )
    file = beginning or rhythm or (given and given[1])
    only_where(
        file is not None,
        context,
        "--first-seconds",
        why="goes with --continue, --rhythm or --given",
    )
    only_where(beginning is not None, context, "--first-events", why="goes with --continue")
    only_where(given is not None, context, "--particles", why="goes with --given")
    only_where(
        file is beginning,
        context,
        "--length",
        why="with --rhythm and --given a piece lasts as long as FILE",
    )
    only_where(given is None or masked, context, "--free", why="--given always keeps the grammar")
    options = dict(
        temperature=temperature, top_k=top_k or None, top_p=top_p, seed=seed, memory_length=memory
    )
    sampling.check(pieces, length, precision=precision, **options)
    voices, options["precision"] = given_voices.voices_of(given[0]) if given else [], precision

    def song(file, read):
        score = read(file)
        return score if first_seconds is None else score.excerpt(0, first_seconds)

    prime, caption = None, "from nothing"
    if beginning is not None:
        count = 512 if first_events is None and first_seconds is None else first_events
        prime = continuation.cut(continuation.read(beginning), seconds=first_seconds, count=count)
    model = checkpoints.load(checkpoint, chosen_device(device))
    if rhythm is not None:
        caption = f"to the rhythm of {rhythm.name}"
        steps = rhythms.compose(
            model, song(rhythm, rhythms.read), n=pieces, masked=masked, **options
        )
    elif given is not None:
        caption = f"around {given[0]} of {given[1].name}"
        steps = given_voices.compose(
            model,
            song(given[1], continuation.read),
            voices,
            n=pieces,
            particles=particles,
            **options,
        )
    else:
        steps = continuation.compose(
            model, prime, n=pieces, length=length, masked=masked, **options
        )
    if prime is not None:
        caption = f"goes on from the first {len(prime):,} events of {beginning.name}"
        print(
            f"{beginning}: its perplexity under the model is {continuation.perplexity(model, prime, memory):.2f}"
        )
        if len(prime) > memory:
            print(
                f"{beginning}: of {len(prime):,} events the model keeps {memory:,} in mind",
                file=sys.stderr,
            )
    gallery.gallery(out)  # a folder that cannot be written is found out before the work
    made, stopped = [], False
    try:
        total = length if file is beginning else None
        for now in tqdm(steps, total=total, unit="event", desc="composing", disable=not progress()):
            made = now
    except KeyboardInterrupt:
        stopped = True
    for number, ids in enumerate(made):
        name = f"seed{seed}_{number:02d}"
        score = events.decode(ids, name)
        gallery.keep(score, out, name, caption)
        print(f"{out / name}.mid: {score.seconds:.1f} s, {len(score.notes):,} notes")
    gallery.gallery(out)
    print(f"{out / 'index.html'} plays them")
    if stopped:
        raise KeyboardInterrupt
