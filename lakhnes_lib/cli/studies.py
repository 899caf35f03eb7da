"""``lakhnes study``: the two listening tests, from music and models to p-values.

Paper: §7. Notebook: 08_user_study.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lakhnes_lib.cli.options import SETTINGS, Count, Length, Verb, only_where, progress

study = typer.Typer(help="Makes, serves and analyses listening tests.", **SETTINGS)


@study.command(cls=Verb)
def make(
    context: typer.Context,
    kind: str,
    design: Path,
    method: Annotated[list[str], typer.Option(metavar="NAME=SOURCE")],
    real: Annotated[str, typer.Option(metavar="SOURCE")] = "nesmdb-midi",
    batches: Count = 1,
    pairs: Count = 10,
    controls: Count = 2,
    seconds: float | None = None,
    length: Length = 1024,
    seed: Count = 0,
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

    Options:
    kind: turing or preference.
    design: Folder to write; new or empty.
    method: What is compared with real music; repeatable.
    real: Music by people.
    batches: How many; no clip comes twice in all of them.
    pairs: Pairs of clips in a batch.
    controls: How many of them are real music against random events.
    seconds: Of a clip, 0.5 to 60 [default: 5; preference: 10].
    length: Events that a model composes for a piece.
    seed: The same seed makes the same test.
    """
    from lakhnes_lib.study.clips import make_study
    from lakhnes_lib.study.designs import CONTROL, REAL

    named = dict(text.partition("=")[::2] for text in method)
    if len(named) < len(method) or named.keys() & {"", REAL, CONTROL} or "" in named.values():
        rule = "each is NAME=SOURCE, with a name of its own, other than real and random"
        raise typer.BadParameter(rule, param_hint="--method")
    sources = {name: _source(text) for name, text in ({REAL: real} | named).items()}
    a_model_composes = not all(isinstance(music, list) for music in sources.values())
    only_where(a_model_composes, context, "--length", why="no model composes")
    sizes = dict(batches=batches, pairs=pairs, controls=controls, seconds=seconds)
    sizes |= dict(length=length, seed=seed, progress=progress())
    made = make_study(kind, sources, design, **sizes)
    clips = f"{len(made.trials)} pairs of clips of {made.seconds:g} s"
    print(f"{design}: {kind} test {made.fingerprint}, {clips}")
    print(f"compared: {', '.join(made.methods)}; next comes `lakhnes study page {design} OUT.html`")


@study.command(cls=Verb)
def page(
    design: Path,
    out: Annotated[Path, typer.Argument(metavar="OUT.html")],
    batch: Annotated[list[int] | None, typer.Option(min=0)] = None,
):
    """Writes a test as one HTML file for listeners.

    It needs no server, loads nothing and sends nothing: put it on any web space, or send it.
    Listeners open it in a browser, download their answers as a CSV file at the end, and hand that
    in. The page does not say which clip is which. A design of several batches can be split into a
    page for each: --batch 0, --batch 1 and so on.

    Options:
    design: Folder that `lakhnes study make` wrote.
    out: The page to write.
    batch: One to put on it; repeatable [default: all].
    """
    from lakhnes_lib.study import study_page
    from lakhnes_lib.study.designs import open_design

    if out.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter("the name of a page ends in .html", param_hint="OUT.html")
    earlier = ", in place of an earlier file" if out.exists() else ""
    path = study_page.write(open_design(design), out, batch or None)
    size = f"{path.stat().st_size / 1e6:.1f} MB{earlier}"
    print(f"{path}: {size}; listeners open it in a browser and send its CSV file back")


@study.command(cls=Verb)
def merge(out: Annotated[Path, typer.Argument(metavar="OUT.csv")], answers: list[Path]):
    """Puts several listeners' CSV files into one.

    Rows that are the same are written once, so a file may be given twice. `lakhnes study report`
    takes the result, and says which rows cannot be used.

    Options:
    out: New file of all answers.
    answers: CSV files of answers.
    """
    from lakhnes_lib.study.answers import merge as merge_files

    print(f"{out}: {merge_files(answers, out):,} answers from {len(answers)} files")


@study.command(cls=Verb)
def report(
    design: Path,
    answers: list[Path],
    out: Path | None = None,
    min_batches: Count = None,
    controls: bool = True,
    remark: str = "",
):
    """Analyses answers, and prints the report.

    It says how often each method was taken for real, or preferred; with intervals, tests, and how
    many judgements would be needed. As published, a listener counts who completed enough batches
    (at most those there are) and never took random events for real music. Rows that cannot be used
    are named on stderr.

    Options:
    design: Folder that `lakhnes study make` wrote.
    answers: CSV files of answers.
    out: Folder for report.md, report.json and the figures.
    min_batches: Complete batches asked of a listener [default: 3; preference: 1].
    controls: Leave out who failed a control.
    remark: A line to put over report and figures.
    """
    from lakhnes_lib.study import summary
    from lakhnes_lib.study.answers import read
    from lakhnes_lib.study.designs import open_design

    read_answers = read(open_design(design), answers)
    for line in read_answers.refused:
        print(f"not used: {line}", file=sys.stderr)
    analysed = summary.analyse(read_answers, min_batches, controls, remark)
    print(analysed.text, end="")
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
