"""``lakhnes generate``: every way to compose, from the command line.

Paper: §8. Notebook: 09_composing.
"""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import Count, Length, Voices, only_where, read_song
from lakhnes_lib.models import processes


# The defaults are those of ``profiles.Sampling`` (a test compares them), which is slow to import.
def generate(
    context: typer.Context,
    checkpoint: Path,
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR")],
    pieces: Annotated[int, typer.Option("-n", "--pieces", min=1, max=1_000)] = 4,
    seed: Count = None,
    beginning: Annotated[Path | None, typer.Option("--continue", metavar="FILE")] = None,
    rhythm: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    given: Annotated[tuple[str, Path] | None, typer.Option(metavar="VOICES FILE")] = None,
    between: Annotated[tuple[float, float, Path] | None, typer.Option(metavar="A B FILE")] = None,
    voices: Voices = "",
    only: Annotated[str, typer.Option(metavar="VOICES")] = "P1,P2,TR,NO",
    loop: Annotated[bool, typer.Option("--loop")] = False,
    first_seconds: Annotated[float | None, typer.Option(min=0.01, max=3_600.0)] = None,
    candidates: Annotated[int, typer.Option(min=1, max=1_000)] = 16,
    seconds: Annotated[float, typer.Option(min=0.1, max=3_600.0)] = 30.0,
    length: Length = None,
    audition: bool = True,
    temperature: Annotated[float, typer.Option(min=0.001, max=1_000.0)] = 1.0,
    top_k: Count = 0,
    top_p: float = 1.0,
    memory: Count = 512,
    as_published: Annotated[bool, typer.Option("--as-published")] = False,
    masked: Annotated[bool, typer.Option("--masked/--free")] = True,
    precision: str = "int8",
    device: str | None = None,
):
    """Composes new pieces: from nothing, or from what you bring.

    OUT_DIR gets each piece NN of seed S as seedS_NN.mid, .tx1.txt, .vgm and .wav, and index.html, a
    page that plays all pieces in OUT_DIR. Nothing there is overwritten. Ctrl-C keeps what is
    composed by then.

    A piece ends where the model ends it, or at the last bar before --seconds. More candidates are
    composed than asked for; those that hold a note for more than 6 seconds, repeat one short loop,
    trill on and on, lose a voice, hardly play or end at once are left out, and counted; of each
    five others the one most like real songs is taken. --no-audition takes the first ones.

    FILE is a MIDI, TX1 or VGM file, or a lead sheet in ABC as in assets/songbook. Of a MIDI file
    the lowest track plays TR, the highest or busiest P1, the next P2, and drums NO, unless --voices
    says otherwise (P1=Lead,TR=2: a track's name or number); stderr says which plays what. For
    --rhythm a drum pattern is enough. With --rhythm, --given and --between a piece lasts as long as
    FILE, and more --candidates fit what is given better, and take longer.

    --masked keeps the grammar of events, so that every piece is a valid score; --free draws as the
    paper does. The same seed composes the same pieces, but others with fp32 than with int8.
    Under torchrun each process composes its share, the first with seed S, the next with S + 1.

    \b
    Four pieces from nothing:
      lakhnes generate assets/pretrained/mini pieces
    Three continuations of the first eight seconds of a song:
      lakhnes generate assets/pretrained/mini pieces -n 3 --continue song.mid --first-seconds 8
    New melodies to the rhythm of a song, or to a drum pattern:
      lakhnes generate assets/pretrained/mini pieces --rhythm assets/songbook/cancan.abc
    Two pulse voices above a bass (TR) and drums (NO), the best of 32 attempts:
      lakhnes generate assets/pretrained/mini pieces -n 1 --given TR,NO song.mid --candidates 32
    Seconds 8 to 16 of a song anew, but only its pulse voices:
      lakhnes generate assets/pretrained/mini pieces --between 8 16 song.mid --only P1,P2
    A loop of at most 20 seconds for a game (for a tracker: `lakhnes render --loop`):
      lakhnes generate assets/pretrained/mini pieces -n 1 --loop --seconds 20

    Options:
    out: Folder for the pieces.
    pieces: How many.
    seed: Composes the same pieces again [default: drawn].
    beginning: Go on from this song's beginning.
    rhythm: Keep this song's rhythm and drums, compose new pitches.
    given: Keep these voices of a song (P1,P2,TR,NO), compose the others.
    between: Compose seconds A to B of a song anew.
    only: With --between: compose only these voices.
    loop: End each piece where its beginning can follow.
    first_seconds: Of FILE take only so many seconds [default: all; --continue: 512 events].
    candidates: With --given and --between: attempts, of which one is taken.
    seconds: Greatest length of what is composed.
    length: The same in events, about 57 a second.
    audition: Leave out pieces that freeze, loop or end at once.
    temperature: Above 1 is bolder.
    top_k: So many of the likeliest; 0: all.
    top_p: The likeliest that hold this share.
    memory: Events of history kept.
    as_published: As the paper: 1,024 events, no end, temperature 0.95, top-k 32, no audition.
    masked: Keep the grammar of events, or not.
    precision: Weights in 8 bits (int8), or in 32 (fp32), which is slower.
    """
    from lakhnes_lib.cli import composing
    from lakhnes_lib.generation import sampling

    ways = (beginning, rhythm, given, between)
    if sum(way is not None for way in ways) > 1:
        flags = "--continue, --rhythm, --given, --between"
        raise typer.BadParameter("take only one of them", param_hint=flags)
    file = beginning or rhythm or (given and given[1]) or (between and between[2])
    grows = file is beginning  # with the others a piece lasts as long as FILE
    lasts = "with --rhythm, --given and --between a piece lasts as long as FILE"
    settings = ("--length", "--seconds", "--temperature", "--top-k", "--top-p", "--audition")
    for fits, why, *flags in (
        (file and not between, "goes with --continue, --rhythm or --given", "--first-seconds"),
        (file, "goes with --continue, --rhythm, --given or --between", "--voices"),
        (given or between, "goes with --given or --between", "--candidates"),
        (between, "goes with --between", "--only"),
        (grows, lasts, "--length", "--seconds", "--no-audition", "--as-published"),
        (file is None, "goes with pieces from nothing", "--loop"),
        (not (given or between) or masked, "--given always keeps the grammar", "--free"),
        (not as_published, "--as-published sets it", *settings),
        (not length, "with --length the events alone count", "--seconds"),
    ):
        only_where(fits, context, *flags, why=why)
    if as_published:
        length, audition, temperature, top_k, top_p = 1024, False, 0.95, 32, 1.0
    seed = secrets.randbelow(10**6) if seed is None else seed
    pieces, seed = len(processes.own(range(pieces))), seed + processes.rank()
    if not pieces:
        return
    options = dict(temperature=temperature, top_k=top_k or None, top_p=top_p, seed=seed)
    options |= dict(n=pieces, memory_length=memory, precision=precision)
    sampling.check(length=length or 1, **options)
    playing = composing.voices_of(given[0]) if given else []
    composed = composing.voices_of(only) if between else []

    # What takes long to import is imported where it is needed, so that composing begins at once.
    from lakhnes_lib.generation import auditions, continuation
    from lakhnes_lib.music import events, nes

    if file is not None:
        # A note that sounds at the cut goes on, so that a beginning is read one tick beyond it.
        beyond = (beginning is not None) / nes.TICKS_PER_SECOND
        song = read_song(file, voices, first_seconds and first_seconds + beyond)
    model, caption, join = composing.model(checkpoint, device), f"seed {seed}", 0.0
    if grows:
        prime = None
        if beginning is not None:
            count = 512 if first_seconds is None else None
            prime = continuation.cut(song, seconds=first_seconds, count=count)
            join = events.decode(prime).seconds
            caption += f", goes on from the first {join:.1f} s of {beginning.name}"
            composing.describe_beginning(beginning, prime, checkpoint, memory)
        if as_published:
            options |= dict(length=length, masked=masked, prime=prime)
            steps = sampling.grow(sampling.stream(model, **options), prime)
        else:
            seconds = 3_600.0 if length else seconds  # then the events alone count
            options |= dict(length=length, masked=masked, audition=audition)
            steps = auditions.compose(model, prime, seconds=seconds, **options)
    elif rhythm:
        from lakhnes_lib.generation import rhythm as rhythms

        if not len(song.only(nes.MELODIC).notes):  # drums alone, every hit of which counts
            song = rhythms.read(file)
            song = song if first_seconds is None else song.excerpt(0, first_seconds)
        caption += f", to the rhythm of {file.name}"
        steps = rhythms.compose(model, song, masked=masked, **options)
    elif given:
        from lakhnes_lib.generation import given_voices

        caption += f", around {given[0]} of {file.name}"
        steps = given_voices.compose(model, song, playing, candidates=candidates, **options)
    else:
        from lakhnes_lib.generation import infilling

        join, end = between[0], min(between[1], song.seconds)
        caption += f", {file.name} with {join:g} to {end:.3g} s composed anew ({only})"
        options |= dict(voices=composed, candidates=candidates)
        steps = infilling.compose(model, song, *between[:2], **options)
    composing.run(steps, out, f"seed{seed}", caption, join=join, loop_of=model if loop else None)
