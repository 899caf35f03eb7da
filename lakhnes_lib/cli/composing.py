"""``lakhnes generate``: every way to compose, from the command line.

Paper: §8. Notebook: 09_composing.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import Checkpoint, Device, chosen_device, progress
from lakhnes_lib.profiles import Sampling


def generate(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder for the pieces.")],
    pieces: Annotated[int, typer.Option("-n", "--pieces", min=1, help="How many.")] = Sampling.pieces,
    seed: Annotated[int, typer.Option(min=0, help="The same seed composes the same pieces.")] = 0,
    beginning: Annotated[
        Path | None, typer.Option("--continue", metavar="FILE", help="Go on from this song's beginning.")
    ] = None,
    rhythm: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep this song's rhythm and drums, choose new pitches.")
    ] = None,
    given: Annotated[
        tuple[str, Path] | None,
        typer.Option(metavar="VOICES FILE", help="Keep these voices of a song (P1,P2,TR,NO), compose the others."),
    ] = None,
    first_seconds: Annotated[
        float | None, typer.Option(min=0.0, help="Of FILE take only so many seconds [default: all].")
    ] = None,
    first_events: Annotated[
        int | None, typer.Option(min=1, help="With --continue: take only so many events [default: 512].")
    ] = None,
    particles: Annotated[int, typer.Option(min=1, help="With --given: attempts that are weighed at once.")] = 16,
    length: Annotated[
        int, typer.Option(min=1, help="Events to compose, at most; --rhythm and --given last as long as FILE.")
    ] = Sampling.length,
    temperature: Annotated[float, typer.Option(help="Above 1 bolder, below 1 more careful.")] = Sampling.temperature,
    top_k: Annotated[int, typer.Option(min=0, help="Draw from so many of the likeliest; 0: all.")] = Sampling.top_k,
    top_p: Annotated[
        float, typer.Option(help="Draw from the fewest with this share of the probability.")
    ] = Sampling.top_p,
    memory: Annotated[int, typer.Option(min=0, help="Events of history kept.")] = Sampling.memory_length,
    masked: Annotated[
        bool, typer.Option("--masked/--free", help="Keep the grammar of events, or not (the paper); --given keeps it.")
    ] = True,
    precision: Annotated[
        str, typer.Option(help="Weights in fp32, fp16 or int8: fewer bits are faster and may change a note.")
    ] = "fp32",
    device: Device = None,
):
    """Composes new pieces: from nothing, or from what you bring.

    OUT_DIR gets each piece NN of seed S as seedS_NN.mid, .tx1.txt, .vgm and .wav, and index.html, a page that
    plays all pieces in OUT_DIR. Ctrl-C keeps what is composed by then.

    FILE is a MIDI, TX1 or VGM file. A MIDI file of other instruments is mapped to the NES first, as `lakhnes map`
    does; for --rhythm a drum pattern is enough.

    \b
    Four pieces from nothing:
      lakhnes generate assets/pretrained/mini pieces
    Three continuations of the first eight seconds of a song:
      lakhnes generate assets/pretrained/mini pieces -n 3 --continue song.mid --first-seconds 8
    New melodies to the rhythm of a song, or to a drum pattern:
      lakhnes generate assets/pretrained/mini pieces --rhythm drums.mid
    Two pulse voices above a bass and drums of your own, the best of 32 attempts:
      lakhnes generate assets/pretrained/mini pieces -n 1 --given TR,NO song.mid --particles 32
    Bolder:
      lakhnes generate assets/pretrained/mini pieces --temperature 1.1 --top-k 0 --top-p 0.97
    """
    from tqdm import tqdm

    from lakhnes_lib.composing import beginnings, given_voices, keeping
    from lakhnes_lib.composing import rhythm as rhythms
    from lakhnes_lib.models import checkpoints
    from lakhnes_lib.music import events

    if sum(way is not None for way in (beginning, rhythm, given)) > 1:
        raise typer.BadParameter("take only one of them", param_hint="--continue, --rhythm, --given")
    if first_events is not None and beginning is None:
        raise typer.BadParameter("goes with --continue", param_hint="--first-events")
    options = dict(
        temperature=temperature, top_k=top_k or None, top_p=top_p, memory_length=memory, seed=seed, precision=precision
    )

    def song(file, read):
        score = read(file)
        return score if first_seconds is None else score.excerpt(0, first_seconds)

    prime, caption = None, "from nothing"
    if beginning is not None:
        count = 512 if first_events is None and first_seconds is None else first_events
        prime = beginnings.cut(beginnings.read(beginning), seconds=first_seconds, count=count)
    model = checkpoints.load(checkpoint, chosen_device(device))
    if rhythm is not None:
        caption = f"to the rhythm of {rhythm.name}"
        steps = rhythms.compose(model, song(rhythm, rhythms.read), n=pieces, masked=masked, **options)
    elif given is not None:
        voices, caption = given_voices.voices_of(given[0]), f"around {given[0]} of {given[1].name}"
        steps = given_voices.compose(
            model, song(given[1], beginnings.read), voices, n=pieces, particles=particles, **options
        )
    else:
        steps = beginnings.compose(model, prime, n=pieces, length=length, masked=masked, **options)
    if prime is not None:
        caption = f"goes on from the first {len(prime):,} events of {beginning.name}"
        print(f"{beginning}: its perplexity under the model is {beginnings.perplexity(model, prime, memory):.2f}")
        if len(prime) > memory:
            print(f"{beginning}: of {len(prime):,} events the model keeps {memory:,} in mind", file=sys.stderr)
    keeping.gallery(out)  # a folder that cannot be written is found out before the work
    made, stopped = [], False
    try:
        for now in tqdm(steps, unit="event", desc="composing", disable=not progress()):
            made = now
    except KeyboardInterrupt:
        stopped = True
    for number, ids in enumerate(made):
        name = f"seed{seed}_{number:02d}"
        score = events.decode(ids, name)
        keeping.keep(score, out, name, caption)
        print(f"{out / name}.mid: {score.seconds:.1f} s, {len(score.notes):,} notes")
    keeping.gallery(out)
    print(f"{out / 'index.html'} plays them")
    if stopped:
        raise KeyboardInterrupt
