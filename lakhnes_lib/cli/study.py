"""``lakhnes study``: the two listening tests, from music and models to p-values.

Paper: §7. Notebook: 08_user_study.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import SETTINGS, progress

study = typer.Typer(help="Makes, serves and analyses listening tests.", **SETTINGS)

DesignFolder = Annotated[Path, typer.Argument(metavar="DESIGN", help="Folder that `lakhnes study make` wrote.")]
AnswerFiles = Annotated[list[Path], typer.Argument(metavar="ANSWERS...", help="CSV files of answers.")]
SOURCE = "a folder of music files, a corpus (songbook, nesmdb-midi; its test split) or a checkpoint"


@study.command()
def make(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="turing or preference.")],
    out: Annotated[Path, typer.Argument(metavar="DESIGN", help="Folder to write; new or empty.")],
    real: Annotated[str, typer.Option(metavar="SOURCE", help=f"Music by people: {SOURCE}.")] = "nesmdb-midi",
    method: Annotated[
        list[str] | None, typer.Option(metavar="NAME=SOURCE", help="What is compared; give it once for each.")
    ] = None,
    batches: Annotated[int, typer.Option(help="How many; no clip comes twice in all of them.")] = 1,
    pairs: Annotated[int, typer.Option(help="Pairs in a batch.")] = 10,
    controls: Annotated[int, typer.Option(help="How many of them are real music against random events.")] = 2,
    seconds: Annotated[float | None, typer.Option(help="Length of a clip [default: 5, or 10 for preference].")] = None,
    length: Annotated[int, typer.Option(min=1, help="Events that a model composes for a piece.")] = 1024,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same test.")] = 0,
):
    """Makes a listening test: pairs of clips, and the design that says what each one is.

    A SOURCE is a folder of music files, a corpus (its test split is taken) or a checkpoint, which composes without
    temperature or top-k. Keep DESIGN to yourself: listeners get the page.
    """
    from lakhnes_lib.listening import study as library

    named = dict(_named(text, "--method") for text in method or ())
    sources = {name: _source(text) for name, text in ({library.REAL: real} | named).items()}
    options = dict(batches=batches, pairs=pairs, controls=controls, seconds=seconds, seed=seed, length=length)
    design = library.make(kind, sources, out, progress=progress(), **options)
    print(
        f"{out}: {len(design.trials)} pairs of {design.seconds:g} s, {', '.join(design.methods)}: {design.fingerprint}"
    )


@study.command()
def page(
    design: DesignFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT.html", help="The page to write.")],
    batch: Annotated[list[int] | None, typer.Option(help="A batch to put on it, from 0 [default: all].")] = None,
):
    """Writes a test as one HTML file: no server, nothing loaded, nothing sent.

    Put it on any web space or send it. Listeners download their answers as CSV and hand them in. The page does not say
    which clip is which.
    """
    from lakhnes_lib.listening import study as library
    from lakhnes_lib.listening import study_page

    path = study_page.write(library.open_design(design), out, batch or None)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@study.command()
def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT.csv", help="New file of all answers.")], answers: AnswerFiles
):
    """Puts several listeners' CSV files into one; rows that are the same are kept once."""
    from lakhnes_lib.listening import study_answers

    print(f"{out}: {study_answers.merge(answers, out):,} answers")


@study.command()
def report(
    design: Annotated[Path, typer.Argument(metavar="DESIGN", help="The design's folder, or a key of uuid,method.")],
    answers: AnswerFiles,
    out: Annotated[Path | None, typer.Option(help="Folder for report.md, report.json and the figures.")] = None,
    min_batches: Annotated[
        int | None, typer.Option(min=0, help="Complete batches asked of a listener [default: as published].")
    ] = None,
    controls: Annotated[bool, typer.Option("--controls/--no-controls", help="Leave out who failed a control.")] = True,
    remark: Annotated[str, typer.Option(help="Written over report and figures.")] = "",
):
    """Analyses answers: shares, intervals, tests, strengths, and how many judgements would be needed.

    With a key CSV (uuid,method) in place of a design, ANSWERS are questionnaires in the form of the paper's authors.
    Rows that cannot be used are named on stderr.
    """
    from lakhnes_lib.listening import study as library
    from lakhnes_lib.listening import study_answers, study_report

    if design.is_file():
        found = study_answers.read_questionnaire(answers, design)
    else:
        found = study_answers.read(library.open_design(design), answers)
    for line in found.refused:
        print(f"not used: {line}", file=sys.stderr)
    made = study_report.report(found, min_batches, controls, remark)
    print(made["text"], end="")
    if out is not None:
        study_report.write(made, out)


@study.command()
def simulate(
    design: DesignFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT.csv", help="New file of answers.")],
    strength: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="Of each method; one more is odds of 2.7 to 1.")
    ] = None,
    listeners: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    batches: Annotated[int | None, typer.Option(min=1, help="That each of them takes [default: all].")] = None,
    careless: Annotated[float, typer.Option(min=0, max=1, help="Share of them who toss a coin.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same answers.")] = 0,
):
    """Answers by made-up listeners, to try a test before people take it. They measure nothing."""
    from lakhnes_lib.listening import study as library
    from lakhnes_lib.listening import study_answers, study_simulation

    opened = library.open_design(design)
    try:
        strengths = {name: float(value) for name, value in (_named(text, "--strength") for text in strength or ())}
    except ValueError as error:
        raise typer.BadParameter(f"a strength is a number ({error})", param_hint="--strength") from None
    rows = study_simulation.simulate(opened, strengths, listeners, batches=batches, careless=careless, seed=seed)
    study_answers.write(out, opened, rows)
    print(f"{out}: {len(rows):,} simulated answers of {listeners} listeners")


def _named(text: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name or not value:
        raise typer.BadParameter(f"{text!r} is not of the form NAME=VALUE", param_hint=option)
    return name, value


def _source(text: str):
    """Scores or a model."""
    from lakhnes_lib.data import build
    from lakhnes_lib.data.prepare import prepare
    from lakhnes_lib.models import checkpoints

    folder = Path(text)
    if (folder / "config.json").is_file():
        return checkpoints.load(folder)
    if not folder.is_dir() or (folder / "corpus.json").is_file():
        split = prepare(text, progress=progress())["test"]
        return [split.score(number) for number in range(len(split))]
    return [build.read_song(path) for paths in build.find_files(folder).values() for path in paths]
