"""``lakhnes train``, ``evaluate``, ``convert``: how a model is made, and how good it is.

Paper: §5, §6. Notebooks: 05_training, 07_quantitative_analysis.
"""

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import Count, chosen_device, only_where, progress
from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.files import check_target

Protocol = StrEnum("Protocol", {"exact": "exact", "paper": "paper", "per_song": "per-song"})
Part = StrEnum("Part", ["train", "valid", "test"])
MEANING = (
    "Perplexity: among how many of the 631 possible events the model hesitates, on average; "
    "1 would be certainty."
)


def train(
    profile: str | None = None,
    model: str | None = None,
    start: Annotated[Path | None, typer.Option("--from")] = None,
    data: str | None = None,
    out: Path | None = None,
    resume: Annotated[bool, typer.Option("--resume")] = False,
    max_minutes: Annotated[float | None, typer.Option(min=0)] = None,
    seed: Count = None,
    device: str | None = None,
):
    """Trains or fine-tunes a model.

    The best weights by valid perplexity are saved in OUT/best. A run that ends early, by
    --max-minutes, Ctrl-C or a power cut, goes on with --resume as if it had never stopped.

    A profile (profiles/NAME.yaml) holds the models' sizes, and how each is trained and on what;
    --data names another corpus: songbook, nesmdb-midi, nesmdb-tx1, or a packed folder.

    Your own music needs no profile: with a folder of music files as --data (MIDI of any kind, VGM,
    TX1, ABC; five at least) the model `own_music` of the profile laptop learns their style. Three
    files of five are for training, one says when to stop, and one is held back, to measure
    perplexity before and after. Files that cannot be used are named with the reason.

    \b
    A tiny model of the songbook; a small one of NES-MDB; the shipped one, tuned to your music:
      lakhnes train --profile smoke
      lakhnes train --profile laptop --max-minutes 30
      lakhnes train --from assets/pretrained/mini --data FOLDER --out runs/mine

    Options:
    profile: smoke, laptop, paper, or a YAML file.
    model: Of the profile's [default: transformer_xl, or own_music].
    start: Checkpoint to fine-tune [default: none].
    data: Corpus or folder of music, see above [default: the profile's].
    out: Folder of the run [default: runs/PROFILE/MODEL].
    resume: Go on from the run's last snapshot.
    max_minutes: Stop in good order after so many minutes.
    seed: Instead of the profile's.
    """
    from lakhnes_lib import profiles
    from lakhnes_lib.data.corpora import PACKED, SONGBOOK, prepare
    from lakhnes_lib.training import own_music, trainer

    known, is_folder = (SONGBOOK, *PACKED), data is not None and Path(data).is_dir()
    if not is_folder and data not in (None, *known):
        names = ", ".join(known)
        raise DataNotFound(f"{data}: is neither a corpus folder, nor one of music, nor of {names}")
    own = is_folder and not (Path(data) / "corpus.json").exists()
    if profile is None and not own:
        rule = "name one (smoke, laptop, paper, or a YAML file), or a folder of music as --data"
        raise typer.BadParameter(rule, param_hint="--profile")
    settings = profiles.load(profile or "laptop")
    if seed is not None:
        settings = settings.model_copy(update={"seed": seed})
    model = model or (own_music.MODEL if own else "transformer_xl")
    out = out or profiles.workspace() / "runs" / settings.name / model
    if not out.is_dir():
        check_target(out)
    options = {"model": model, "start": start, "resume": resume, "max_minutes": max_minutes}
    options |= {"device": str(chosen_device(device)), "progress": progress()}
    if own:
        corpus = own_music.gather(data, progress())
        print(own_music.describe(corpus), flush=True)
        tuned = own_music.tune(settings, corpus, out, **options)
        run = tuned.run
    else:
        corpus = prepare(data or settings.corpus, progress=progress())
        run = trainer.train(settings, corpus, out, **options)
    taken = f"{run.events:,} events, {run.seconds / 60:.1f} minutes"
    print(f"{run.step:,} of {run.settings.steps:,} steps, {taken}")
    best = f"best valid perplexity: {math.exp(run.best):.4f}, at step {run.best_step:,}: {out}/best"
    if not math.isfinite(run.best):
        return print(f"no valid perplexity measured yet; --resume goes on: {out}")
    if run.best_step == 0:
        print(f"nothing was learned: no step was better than {start}")
    print(f"{best}\n{MEANING}")
    if own and tuned.after:
        before = f", {tuned.before:.4f} before" if tuned.before else ""
        print(f"perplexity of the files held back: {tuned.after:.4f}{before}")


# The defaults are those of ``profiles.Evaluation`` (a test compares them), which is slow to import.
def evaluate(
    context: typer.Context,
    checkpoint: Path,
    split: Part = Part.test,
    protocol: Protocol = Protocol.exact,
    data: str = "nesmdb-midi",
    batch: Annotated[int, typer.Option(min=1, max=4096)] = 16,
    segment: Annotated[int | None, typer.Option(min=1, max=2**20)] = None,
    memory: Count = 896,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    device: str | None = None,
):
    """Measures a model's perplexity on a split.

    Perplexity says among how many of the 631 possible events the model hesitates on average before
    the next one: 631 is pure guessing, 1 certainty, and less is better.

    Under the exact protocol every event of every song counts once, predicted from nothing but that
    song's own past. Under the paper's, ten streams read the songs by name, memory runs on from song
    to song, and all stop when one finds no next song; what it leaves unscored is counted. Per song
    is how the authors got 2.452 for the published LakhNES: exact, but with segments of 512, songs
    of any length, and the waits before the first note and after the last.

    \b
    On the test split of NES-MDB (fetched first, if it is not here), and without any download:
      lakhnes evaluate assets/pretrained/mini
      lakhnes evaluate assets/pretrained/mini --data songbook

    Options:
    split: Of the corpus.
    protocol: See above.
    data: songbook, nesmdb-midi, nesmdb-tx1, or a folder that `lakhnes tokens` or `lakhnes map`
        wrote.
    batch: Songs at once, which only changes the speed.
    segment: Events a step [default: 128; per-song: 512].
    memory: Events of history kept.
    as_json: Print one JSON object instead: model, split, protocol, perplexity, songs, events,
        parameters.
    """
    from lakhnes_lib.data.corpora import prepare
    from lakhnes_lib.evaluation import perplexity
    from lakhnes_lib.models import checkpoints

    streams = protocol is Protocol.paper
    only_where(not streams, context, "--batch", why="does not go with the paper's ten streams")
    model = checkpoints.load(checkpoint, chosen_device(device))
    songs = prepare(data, progress=progress())[str(split)]
    settings = {"memory_length": memory, "progress": progress()}
    settings |= {"segment": segment} if segment else {}
    note = ""
    if streams:
        scores = perplexity.paper(model, songs.framed(), songs.names, **settings)
        share = scores.unscored / max(1, scores.targets + scores.unscored)
        note = f", {scores.unscored:,} ({share:.1%}) not scored, paper's protocol"
    elif protocol is Protocol.per_song:
        whole = [perplexity.whole(songs.score(index)) for index in range(len(songs))]
        scores = perplexity.per_song(model, whole, batch=batch, **settings)
    else:
        scores = perplexity.exact(model, songs.framed(), batch=batch, **settings)
    if not scores.songs:
        raise DataNotFound(f"{data}: {split} has no song of {perplexity.SHORTEST} events or more")
    if not scores.targets:
        rule = "has too few songs for ten streams; use the exact protocol"
        raise DataNotFound(f"{data}: {split} {rule}")
    scored = sum(len(song) > 0 for song in scores.songs)
    if as_json:
        line = {"model": str(checkpoint), "split": split, "protocol": protocol}
        line |= {"perplexity": scores.perplexity, "songs": scored, "events": scores.targets}
        return print(json.dumps(line | {"parameters": model.parameter_count()}))
    size = f"{scored:,} songs, {scores.targets:,} events"
    print(f"{split}: perplexity {scores.perplexity:.4f}, {size}{note}\n{MEANING}")


def convert(model_pt: Path, folder: Path):
    """Converts a published checkpoint to one of this library.

    The file is a whole pickled program; its tensors are read, and nothing in it is run. FOLDER is
    then a CHECKPOINT for `lakhnes generate`, `lakhnes evaluate` and `lakhnes train --from`. Of the
    published ones (`lakhnes data list`):

    \b
      lakhnes convert "$(lakhnes data fetch lakhnes-400k)/model.pt" lakhnes-400k

    Options:
    model_pt: A checkpoint of the paper's authors.
    folder: Checkpoint folder to write; new or empty.
    """
    from lakhnes_lib.models import checkpoints

    check_target(folder)
    model = checkpoints.convert_published(model_pt, folder)
    size = f"{model.parameter_count():,} parameters, memory {model.memory_length}"
    print(f"{folder}: {model.architecture}, {size}")
