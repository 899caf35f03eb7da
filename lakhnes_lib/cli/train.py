"""``lakhnes train``, ``evaluate``, ``convert``: how a model is made, and how good it is.

Paper: §5, §6. Notebooks: 05_training, 07_quantitative_analysis.
"""

import dataclasses
import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib import profiles
from lakhnes_lib.cli.options import (
    Checkpoint,
    CorpusName,
    Device,
    chosen_device,
    only_where,
    progress,
)
from lakhnes_lib.errors import BadSetting, DataNotFound
from lakhnes_lib.profiles import Evaluation

Protocol, Part = (
    StrEnum("Protocol", ["exact", "paper"]),
    StrEnum("Part", ["train", "valid", "test"]),
)
MEANING = "Perplexity: among how many of the 631 possible events the model hesitates, on average; 1 would be certainty."


def train(
    profile: Annotated[
        str | None, typer.Option(help="smoke, laptop, paper, or a YAML file.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Of the profile's [default: transformer_xl, or own_music].")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Checkpoint to fine-tune [default: none].")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="songbook, nesmdb-midi, nesmdb-tx1, a corpus, or your own music [default: the profile's]."
        ),
    ] = None,
    mix: Annotated[
        str | None, typer.Option(help="A second corpus, for models with a mix_share.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run [default: runs/PROFILE/MODEL].")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last snapshot.")
    ] = False,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop in good order after so long.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the profile's.")] = None,
    device: Device = None,
):
    """Trains or fine-tunes a model.

    The best weights by valid perplexity stand in OUT/best. A run that ends early, by --max-minutes,
    Ctrl-C or a power cut, goes on with --resume as if it had never stopped.

    A profile (profiles/NAME.yaml) holds the models' sizes, and how each is trained and on what. Your own music needs
    none: with a folder of music files as --data (MIDI of any kind, VGM, TX1, ABC; five at least) the model `own_music`
    of the profile laptop learns their style. Three files of five are for training, one says when to stop, and one is
    held back, to measure perplexity before and after. Files that cannot be used are counted by reason.

    \b
    A tiny model of the songbook; a small one of NES-MDB; the shipped one in the style of your music:
      lakhnes train --profile smoke
      lakhnes train --profile laptop --max-minutes 30
      lakhnes train --from assets/pretrained/mini --data FOLDER --out runs/mine
    """
    from lakhnes_lib.data import mixture
    from lakhnes_lib.data.corpora import prepare
    from lakhnes_lib.training import own_music, trainer

    own = data is not None and Path(data).is_dir() and not (Path(data) / "corpus.json").exists()
    if profile is None and not own:
        raise typer.BadParameter(
            "name a profile: smoke, laptop, paper, or a YAML file", param_hint="--profile"
        )
    settings, model = (
        profiles.load(profile or "laptop"),
        model or (own_music.MODEL if own else "transformer_xl"),
    )
    settings = settings if seed is None else dataclasses.replace(settings, seed=seed)
    out = out or profiles.root() / "runs" / settings.name / model
    if own:
        corpus = own_music.gather(data, settings.seed, progress())
        print(own_music.describe(corpus), flush=True)
    else:
        corpus = prepare(data or settings.corpus, progress=progress())
    share = settings.training[model].mix_share if model in settings.training else 0.0
    if (mix is None) != (share == 0):
        raise BadSetting(
            f"profile {profile}: {model} has a mix_share of {share}; --mix is for those above 0, which need it"
        )
    if mix is not None:
        corpus = mixture.mix(corpus, prepare(mix, progress=progress()), share)
    options = {"model": model, "start": start, "resume": resume, "max_minutes": max_minutes}
    options |= {"device": str(chosen_device(device)), "progress": progress()}
    tuned = own_music.tune(settings, corpus, out, **options) if own else None
    run = tuned.run if tuned else trainer.train(settings, corpus, out, **options)
    print(
        f"{run.step:,} of {run.settings.steps:,} steps, {run.events:,} events, {run.seconds / 60:.1f} minutes"
    )
    if math.isfinite(run.best):
        print(
            f"best valid perplexity: {math.exp(run.best):.4f}, at step {run.best_step:,}: {out / 'best'}\n{MEANING}"
        )
    else:
        print(f"no valid perplexity measured yet; --resume goes on: {out}")
    if tuned and tuned.after:
        before = f", {tuned.before:.4f} before" if tuned.before else ""
        print(f"perplexity of the files held back: {tuned.after:.4f}{before}")


def evaluate(
    context: typer.Context,
    checkpoint: Checkpoint,
    split: Annotated[Part, typer.Option(help="Of the corpus.")] = Part.test,
    protocol: Annotated[
        Protocol, typer.Option(help="How songs are read; see above.")
    ] = Protocol.exact,
    data: CorpusName = "nesmdb-midi",
    batch: Annotated[
        int,
        typer.Option(
            min=1, max=4096, help="Songs at once under exact; the result does not depend on it."
        ),
    ] = Evaluation.batch,
    segment: Annotated[
        int, typer.Option(min=1, max=2**20, help="Events a step.")
    ] = Evaluation.segment,
    memory: Annotated[
        int, typer.Option(min=0, max=2**20, help="Events of history kept.")
    ] = Evaluation.memory_length,
    device: Device = None,
):
    """Measures a model's perplexity on a split.

    Perplexity says among how many of the 631 possible events the model hesitates on average before the next one: 631 is
    pure guessing, 1 certainty, and less is better.

    Under the exact protocol every event of every song counts once, predicted from nothing but that song's own past.
    Under the paper's, ten streams read the songs by name, memory runs on from song to song, and all stop when one finds
    no next song; what it leaves unscored is counted.

    \b
    On the test split of NES-MDB (fetched first, if it is not here), and without any download:
      lakhnes evaluate assets/pretrained/mini
      lakhnes evaluate assets/pretrained/mini --data songbook
    """
    from lakhnes_lib.data.corpora import prepare
    from lakhnes_lib.evaluation import perplexity
    from lakhnes_lib.models import checkpoints

    only_where(protocol is Protocol.exact, context, "--batch", why="goes with the exact protocol")
    model = checkpoints.load(checkpoint, chosen_device(device))
    songs = prepare(data, progress=progress())[split]
    settings = {"segment": segment, "memory_length": memory, "progress": progress()}
    if protocol is Protocol.paper:
        scores = perplexity.paper(model, songs.framed(), songs.names, **settings)
        if not scores.targets:
            raise DataNotFound(
                f"{data}: {split} has too few songs for the paper's ten streams; take --protocol exact"
            )
        left = scores.unscored / (scores.targets + scores.unscored)
        note = f", {scores.unscored:,} ({left:.1%}) not scored, paper's protocol"
    else:
        scores, note = perplexity.exact(model, songs.framed(), batch=batch, **settings), ""
    if not scores.songs:
        raise DataNotFound(
            f"{data}: {split} holds no song of {perplexity.SHORTEST} events or more to measure"
        )
    read = sum(len(song) > 0 for song in scores.songs)
    print(
        f"{split}: perplexity {scores.perplexity:.4f}, {read:,} songs, {scores.targets:,} events{note}\n{MEANING}"
    )


def convert(
    model_pt: Annotated[
        Path, typer.Argument(metavar="MODEL_PT", help="A checkpoint of the paper's authors.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Checkpoint folder to write.")],
):
    """Converts a published checkpoint to one of this library.

    The file is a whole pickled program; its tensors are read, and nothing in it is run. FOLDER is then a CHECKPOINT for
    `lakhnes generate`, `lakhnes evaluate` and `lakhnes train --from`. Of the published ones (`lakhnes data list`):

    \b
      lakhnes convert "$(lakhnes data fetch lakhnes-400k)/model.pt" lakhnes-400k
    """
    from lakhnes_lib.models import checkpoints

    model = checkpoints.convert_published(model_pt, folder)
    print(
        f"{folder}: {model.architecture}, {model.parameter_count():,} parameters, memory {model.memory_length}"
    )
