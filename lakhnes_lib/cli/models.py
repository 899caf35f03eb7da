"""``lakhnes train``, ``evaluate``, ``convert``: how a model is made, and how good it is.

Paper: §5, §6. Notebooks: 05_training, 07_quantitative_analysis.
"""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib import profiles
from lakhnes_lib.cli.options import Checkpoint, CorpusName, Device, chosen_device, progress
from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.profiles import Evaluation


class Protocol(StrEnum):
    """The two of ``evaluation``."""

    exact = "exact"
    paper = "paper"


def train(
    profile: Annotated[
        str | None,
        typer.Option(help="smoke, laptop, paper, or the path of a YAML file [default for your own music: laptop]."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Which of the profile's models [default: transformer_xl, own_music for your own music]."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Checkpoint to fine-tune from [default: new weights].")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="songbook, nesmdb-midi, nesmdb-tx1, a packed corpus, or a folder of your own music files."),
    ] = None,
    mix: Annotated[
        str | None, typer.Option(help="A second corpus: the profile's mix_share of the notes comes from it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run [default: runs/PROFILE/MODEL].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last snapshot.")] = False,
    max_minutes: Annotated[float | None, typer.Option(min=0, help="Stop in good order after so long.")] = None,
    device: Device = None,
):
    """Trains or fine-tunes a model.

    The best weights by valid perplexity stand in OUT/best. A run that ends early, by --max-minutes,
    Ctrl-C or a power cut, goes on with --resume as if it had never stopped.

    With a folder of music files as --data (MIDI of any kind, VGM, TX1; five at least) the model learns their style:
    lakhnes train --from assets/pretrained/mini --data FOLDER. Three files of five are for training, one says when to
    stop, and one is held back, to measure perplexity before and after. Files that cannot be used are counted by reason.
    """
    from lakhnes_lib import own_music, training
    from lakhnes_lib.data import mixture
    from lakhnes_lib.data.prepare import prepare

    own = data is not None and Path(data).is_dir() and not (Path(data) / "corpus.json").exists()
    if profile is None and not own:
        raise typer.BadParameter("name a profile: smoke, laptop, paper, or a YAML file", param_hint="--profile")
    settings, model = profiles.load(profile or "laptop"), model or (own_music.MODEL if own else "transformer_xl")
    out = out or profiles.root() / "runs" / settings.name / model
    if own:
        corpus = own_music.gather(data, settings.seed, progress())
        print(own_music.describe(corpus), flush=True)
    else:
        corpus = prepare(data or settings.corpus, progress=progress())
    share = settings.training[model].mix_share if model in settings.training else 0.0
    if (mix is None) != (share == 0):
        raise LakhnesError(f"profile {profile}: {model}: its mix_share of {share} and --mix need each other")
    if mix is not None:
        corpus = mixture.mix(corpus, prepare(mix, progress=progress()), share)
    options = {"model": model, "start": start, "resume": resume, "max_minutes": max_minutes}
    options |= {"device": str(chosen_device(device)), "progress": progress()}
    tuned = own_music.tune(settings, corpus, out, **options) if own else None
    run = tuned.run if tuned else training.train(settings, corpus, out, **options)
    print(f"{run.step:,} of {run.settings.steps:,} steps, {run.events:,} events, {run.seconds / 60:.1f} minutes")
    if math.isfinite(run.best):
        print(f"best valid perplexity: {math.exp(run.best):.4f}, at step {run.best_step:,}: {out / 'best'}")
    else:
        print(f"no valid perplexity measured yet; --resume goes on: {out}")
    if tuned and tuned.after:
        before = f", {tuned.before:.4f} before" if tuned.before else ""
        print(f"perplexity of the files held back: {tuned.after:.4f}{before}")


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
