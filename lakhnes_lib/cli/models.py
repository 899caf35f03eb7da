"""``lakhnes train``, ``evaluate``, ``convert``, ``generate``: how a model is made, how good it is, what it composes.

Paper: §5, §6, §8. Notebooks: 05_training, 07_quantitative_analysis, 09_composing.
"""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib import profiles
from lakhnes_lib.cli.options import Checkpoint, CorpusName, Device, chosen_device, progress
from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.profiles import Evaluation, Sampling


class Protocol(StrEnum):
    """The two of ``evaluation``."""

    exact = "exact"
    paper = "paper"


def train(
    profile: Annotated[str, typer.Option(help="smoke, laptop, paper, or the path of a YAML file.")],
    model: Annotated[str, typer.Option(help="Which of the profile's models.")] = "transformer_xl",
    start: Annotated[
        Path | None, typer.Option("--from", help="Checkpoint to fine-tune from [default: new weights].")
    ] = None,
    data: CorpusName = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run [default: runs/PROFILE/MODEL].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last snapshot.")] = False,
    max_minutes: Annotated[float | None, typer.Option(min=0, help="Stop in good order after so long.")] = None,
    device: Device = None,
):
    """Trains or fine-tunes a model.

    The best weights by valid perplexity stand in OUT/best. A run that ends early, by --max-minutes,
    Ctrl-C or a power cut, goes on with --resume as if it had never stopped.
    """
    from lakhnes_lib import training
    from lakhnes_lib.data.prepare import prepare

    settings = profiles.load(profile)
    out = out or profiles.root() / "runs" / settings.name / model
    corpus = prepare(data or settings.corpus, progress=progress())
    run = training.train(
        settings,
        corpus,
        out,
        model=model,
        start=start,
        resume=resume,
        max_minutes=max_minutes,
        device=str(chosen_device(device)),
        progress=progress(),
    )
    print(f"{run.step:,} of {run.settings.steps:,} steps, {run.events:,} events, {run.seconds / 60:.1f} minutes")
    if math.isfinite(run.best):
        print(f"best valid perplexity: {math.exp(run.best):.4f}, at step {run.best_step:,}: {out / 'best'}")
    else:
        print(f"no valid perplexity measured yet; --resume goes on: {out}")


def evaluate(
    checkpoint: Checkpoint,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    protocol: Annotated[
        Protocol, typer.Option(help="exact, or paper: the published streams, which leave the end unscored.")
    ] = Protocol.exact,
    data: CorpusName = "nesmdb-midi",
    batch: Annotated[
        int, typer.Option(min=1, help="Songs at once under exact; the result does not depend on it.")
    ] = Evaluation.batch,
    segment: Annotated[int, typer.Option(min=1, help="Events a step.")] = Evaluation.segment,
    memory: Annotated[int, typer.Option(min=0, help="Events of history kept.")] = Evaluation.memory_length,
    device: Device = None,
):
    """Measures a model's perplexity on a split.

    Under the exact protocol every event of every song counts once, predicted from nothing but that song's own past.
    Under the paper's, ten streams read the songs by name, memory runs on from song to song, and all stop when one finds
    no next song; what it leaves unscored is counted.
    """
    from lakhnes_lib import evaluation
    from lakhnes_lib.data.prepare import prepare
    from lakhnes_lib.models import checkpoints

    model = checkpoints.load(checkpoint, chosen_device(device))
    songs = prepare(data, progress=progress())[split]
    settings = {"segment": segment, "memory_length": memory, "progress": progress()}
    if protocol is Protocol.paper:
        scores = evaluation.paper(model, songs.framed(), songs.names, **settings)
        if not scores.targets:
            raise DataNotFound(f"{data}: {split} has too few songs for the paper's ten streams; take --protocol exact")
        left = scores.unscored / (scores.targets + scores.unscored)
        note = f", {scores.unscored:,} ({left:.1%}) not scored, paper's protocol"
    else:
        scores, note = evaluation.exact(model, songs.framed(), batch=batch, **settings), ""
    if not scores.songs:
        raise DataNotFound(f"{data}: {split} holds no song of {evaluation.SHORTEST} events or more to measure")
    read = sum(len(song) > 0 for song in scores.songs)
    print(f"{split}: perplexity {scores.perplexity:.4f}, {read:,} songs, {scores.targets:,} events{note}")


def convert(
    model_pt: Annotated[Path, typer.Argument(metavar="MODEL_PT", help="A checkpoint of the paper's authors.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Checkpoint folder to write.")],
):
    """Converts a published checkpoint to one of this library.

    The file is a whole pickled program; its tensors are read, and nothing in it is run.
    """
    from lakhnes_lib.models import checkpoints

    model = checkpoints.convert_published(model_pt, folder)
    print(f"{folder}: {model.architecture}, {model.parameter_count():,} parameters, memory {model.memory_length}")


def generate(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder for the pieces.")],
    pieces: Annotated[int, typer.Option("-n", "--pieces", min=1, help="How many.")] = Sampling.pieces,
    seed: Annotated[int, typer.Option(min=0, help="The same seed composes the same pieces.")] = 0,
    beginning: Annotated[
        Path | None, typer.Option("--continue", help="Music file (MIDI, TX1, VGM) to go on from.")
    ] = None,
    prime: Annotated[int, typer.Option(min=1, help="With --continue: how many of its first events are kept.")] = 512,
    length: Annotated[int, typer.Option(min=1, help="Events to compose, at most.")] = Sampling.length,
    temperature: Annotated[float, typer.Option(help="Above 1 bolder, below 1 more careful.")] = Sampling.temperature,
    top_k: Annotated[int, typer.Option(min=0, help="Draw from so many of the likeliest; 0: all.")] = Sampling.top_k,
    top_p: Annotated[
        float, typer.Option(help="Draw from the fewest with this share of the probability.")
    ] = Sampling.top_p,
    memory: Annotated[int, typer.Option(min=0, help="Events of history kept.")] = Sampling.memory_length,
    masked: Annotated[
        bool, typer.Option("--masked/--free", help="Keep the grammar of events, or not (the paper).")
    ] = True,
    device: Device = None,
):
    """Composes new pieces: MIDI, TX1 and WAV of each.

    OUT_DIR gets seedS_NN.mid, .tx1.txt and .wav for each piece NN of seed S. With --continue every piece begins with
    the first events of that file.
    """
    from lakhnes_lib import generation
    from lakhnes_lib.cli.files import read_song, write_song
    from lakhnes_lib.models import checkpoints
    from lakhnes_lib.music import events

    given = None
    if beginning is not None:
        given = events.frame(events.encode(read_song(beginning)))[1:-1][:prime]
        if not len(given):
            raise LakhnesError(f"{beginning}: holds no note to go on from")
    model = checkpoints.load(checkpoint, chosen_device(device))
    composed = generation.sample(
        model,
        n=pieces,
        length=length,
        temperature=temperature,
        top_k=top_k or None,
        top_p=top_p,
        seed=seed,
        memory_length=memory,
        prime=given,
        masked=masked,
        progress=progress(),
    )
    for number, ids in enumerate(composed):
        name = f"seed{seed}_{number:02d}"
        score = events.decode(ids, name)
        for ending in ("mid", "tx1.txt", "wav"):
            write_song(score, out / f"{name}.{ending}", 44_100)
        print(f"{out / name}.mid: {score.seconds:.1f} s, {len(score.notes):,} notes")
