"""The command line: ``lakhnes VERB``, also ``python -m lakhnes_lib VERB``.

Paper: none. Notebook: none. Each verb (``lakhnes_lib.cli``) checks its options and calls the same
library functions as the notebooks.
Exit codes: 0 for success; 1 after one line on stderr that says what is wrong; 2 for wrong usage;
130 after Ctrl-C. The verbs import PyTorch and NumPy when they run, so ``--help`` is quick.
"""

import io
import os
import sys
from typing import Annotated

import typer

from lakhnes_lib import __version__
from lakhnes_lib.cli.fetch import data
from lakhnes_lib.cli.generate import generate
from lakhnes_lib.cli.map import map_songs
from lakhnes_lib.cli.options import SETTINGS, Verb
from lakhnes_lib.cli.render import render, tokens
from lakhnes_lib.cli.studies import study
from lakhnes_lib.cli.train import convert, evaluate, train
from lakhnes_lib.errors import BadSetting, LakhnesError
from lakhnes_lib.models import processes

app = typer.Typer(
    name="lakhnes",
    help="Music for the NES by a Transformer-XL: data, training, evaluation, composing and sound.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    **SETTINGS,
)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        print(f"lakhnes {__version__}")


app.add_typer(data, name="data")
app.add_typer(study, name="study")
for verb in (tokens, render, train, evaluate, convert, generate):
    app.command(cls=Verb)(verb)
app.command("map", cls=Verb)(map_songs)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    arguments: the words after ``lakhnes``, None for those of the command line.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what a terminal cannot show becomes a ?
    if processes.rank():  # of several processes the first one speaks
        sys.stdout = open(os.devnull, "w")
    try:
        app(arguments, prog_name="lakhnes")
    except SystemExit as end:
        return _stop("interrupted", 130) if end.code == 130 else end.code
    except LakhnesError as error:
        return _stop(f"error: {error}", 2 if isinstance(error, BadSetting) else 1)
    except BrokenPipeError:
        # The program that read our output has ended, as in `lakhnes data list | head -1`. Python
        # would fail once more when it flushes stdout at its own end, so stdout goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _stop(f"error: {error.filename or 'system'}: {error.strerror or error}", 1)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _stop("error: not enough memory; take a smaller model, batch or file", 1)
    return 0


def _is_out_of_memory(error: Exception) -> bool:
    """PyTorch raises RuntimeError when memory is short, and for many other reasons."""
    message = str(error)
    return isinstance(error, MemoryError) or "out of memory" in message or "to allocate" in message


def _stop(line: str, code: int) -> int:
    """Prints the line on stderr and returns the exit code."""
    print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
