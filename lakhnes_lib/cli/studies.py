"""``lakhnes study``: the two listening tests, from music and models to p-values.

Paper: §7. Notebook: 08_user_study.
"""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import SETTINGS, only_where, progress

study = typer.Typer(help="Makes, serves and analyses listening tests.", **SETTINGS)

DesignFolder = Annotated[
    Path, typer.Argument(metavar="DESIGN", help="Folder that `lakhnes study make` wrote.")
]
AnswerFiles = Annotated[
    list[Path], typer.Argument(metavar="ANSWERS...", help="CSV files of answers.")
]


@study.command()
def make(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="turing or preference.")],
    out: Annotated[Path, typer.Argument(metavar="DESIGN", help="Folder to write; new or empty.")],
    method: Annotated[
        list[str],
        typer.Option(metavar="NAME=SOURCE", help="What is compared with real music; repeatable."),
    ],
    real: Annotated[str, typer.Option(metavar="SOURCE", help="Music by people.")] = "nesmdb-midi",
    batches: Annotated[
        int, typer.Option(min=1, help="How many; no clip comes twice in all of them.")
    ] = 1,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of clips in a batch.")] = 10,
    controls: Annotated[
        int, typer.Option(min=0, help="How many of them are real music against random events.")
    ] = 2,
    seconds: Annotated[
        float | None, typer.Option(help="Of a clip, 0.5 to 60 [default: 5; preference: 10].")
    ] = None,
    length: Annotated[
        int, typer.Option(min=1, help="Events that a model composes for a piece.")
    ] = 1024,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same test.")] = 0,
):
    """Makes a listening test: pairs of clips, and the design that says what each one is.

    KIND turing: which clip of two is by people? Each pair is a real clip and one of a method. KIND
    preference: which of two clips is better? All methods and real music meet each other.

    A SOURCE is a folder of music files, a corpus (songbook, nesmdb-midi, or a folder; its test
    split is taken) or a checkpoint, which composes without temperature or top-k. Keep DESIGN to
    yourself: listeners get the page.

    \b
    A test from its making to its report, with the songbook as real music:
      lakhnes study make turing DESIGN --real songbook --method mini=assets/pretrained/mini
      lakhnes study page DESIGN test.html
      lakhnes study merge all.csv answers_*.csv
      lakhnes study report DESIGN all.csv --out report
    """
    from lakhnes_lib.study.clips import make_study
    from lakhnes_lib.study.designs import CONTROL, REAL

    for text in method:
        if not re.fullmatch(r"[^=]+=.+", text):
            words = f"{text!r} is not of the form NAME=SOURCE"
            raise typer.BadParameter(words, param_hint="--method")
    named = dict(text.split("=", 1) for text in method)
    if len(named) < len(method) or named.keys() & {REAL, CONTROL}:
        words = "each needs a name of its own, other than real and random"
        raise typer.BadParameter(words, param_hint="--method")
    sources = {name: _source(text) for name, text in ({REAL: real} | named).items()}
    a_model_composes = not all(isinstance(music, list) for music in sources.values())
    only_where(a_model_composes, context, "--length", why="no model composes")
    sizes = dict(batches=batches, pairs=pairs, controls=controls, seconds=seconds)
    design = make_study(kind, sources, out, length=length, seed=seed, progress=progress(), **sizes)
    clips = f"{len(design.trials)} pairs of clips of {design.seconds:g} s"
    print(f"{out}: {kind} test {design.fingerprint}, {clips}")
    print(f"compared: {', '.join(design.methods)}; next comes `lakhnes study page {out} OUT.html`")


@study.command()
def page(
    design: DesignFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT.html", help="The page to write.")],
    batch: Annotated[
        list[int] | None, typer.Option(min=0, help="One to put on it; repeatable [default: all].")
    ] = None,
):
    """Writes a test as one HTML file for listeners.

    It needs no server, loads nothing and sends nothing: put it on any web space, or send it.
    Listeners open it in a browser, download their answers as a CSV file at the end, and hand that
    in. The page does not say which clip is which. A design of several batches can be split into a
    page for each: --batch 0, --batch 1 and so on.
    """
    from lakhnes_lib.study import study_page
    from lakhnes_lib.study.designs import open_design

    path = study_page.write(open_design(design), out, batch or None)
    megabytes = path.stat().st_size / 1e6
    print(f"{path}: {megabytes:.1f} MB; listeners open it in a browser and send its CSV file back")


@study.command()
def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT.csv", help="New file of all answers.")],
    answers: AnswerFiles,
):
    """Puts several listeners' CSV files into one.

    Rows that are the same are written once, so a file may be given twice. `lakhnes study report`
    takes the result, and says which rows cannot be used.
    """
    from lakhnes_lib.study.answers import merge as merge_files

    print(f"{out}: {merge_files(answers, out):,} answers from {len(answers)} files")


@study.command()
def report(
    design: DesignFolder,
    answers: AnswerFiles,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.md, report.json and the figures.")
    ] = None,
    min_batches: Annotated[
        int | None,
        typer.Option(
            min=0, help="Complete batches asked of a listener [default: 3; preference: 1]."
        ),
    ] = None,
    controls: Annotated[
        bool, typer.Option("--controls/--no-controls", help="Leave out who failed a control.")
    ] = True,
    remark: Annotated[str, typer.Option(help="A line to put over report and figures.")] = "",
):
    """Analyses answers, and prints the report.

    It says how often each method was taken for real, or preferred; with intervals, tests, and how
    many judgements would be needed. As published, a listener counts who completed enough batches
    (at most those there are) and never took random events for real music. Rows that cannot be used
    are named on stderr.
    """
    from lakhnes_lib.study import summary
    from lakhnes_lib.study.answers import read
    from lakhnes_lib.study.designs import open_design

    read_answers = read(open_design(design), answers)
    for line in read_answers.refused:
        print(f"not used: {line}", file=sys.stderr)
    analysed = summary.analyse(read_answers, min_batches, controls, remark)
    encoding = sys.stdout.encoding or "utf-8"
    # A terminal that knows only ASCII gets a question mark for a dash.
    print(analysed.text.encode(encoding, "replace").decode(encoding), end="")
    if out is not None:
        folder = summary.write(analysed, out)
        print(f"{folder}: report.md, report.json and the figures", file=sys.stderr)


def _source(text: str):
    """Scores or a model."""
    from lakhnes_lib.data import build
    from lakhnes_lib.data.corpora import prepare
    from lakhnes_lib.models import checkpoints

    folder = Path(text)
    if (folder / "config.json").is_file():
        return checkpoints.load(folder)
    if not folder.is_dir() or (folder / "corpus.json").is_file():
        split = prepare(text, progress=progress())["test"]
        return [split.score(number) for number in range(len(split))]
    return [build.read_song(path) for paths in build.find_files(folder).values() for path in paths]
