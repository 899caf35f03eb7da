"""The command line: ``lakhnes VERB``, also ``python -m lakhnes_lib VERB``.

Paper: none by itself; each verb (``lakhnes_lib.cli``) is a thin door to library functions, as the notebooks use them.
Exit code 0; 1 after one line on stderr that says what is wrong; 2 for wrong usage; 130 after Ctrl-C.
What is slow to import is imported inside the verbs, so that ``--help`` is there at once.
"""

import os
import sys
from typing import Annotated

import typer

from lakhnes_lib import __version__
from lakhnes_lib.cli import generate, map, render, train
from lakhnes_lib.cli.fetch import data
from lakhnes_lib.cli.options import SETTINGS
from lakhnes_lib.cli.studies import study
from lakhnes_lib.errors import BadSetting, LakhnesError

app = typer.Typer(
    name="lakhnes",
    help="Music for the NES by a Transformer-XL: data, training, evaluation, composing and sound.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    **SETTINGS,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"lakhnes {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit."),
]


@app.callback()
def _options(version: Version = False) -> None:
    pass


app.add_typer(data, name="data")
app.add_typer(study, name="study")
for verb in (
    render.tokens,
    render.render,
    train.train,
    train.evaluate,
    train.convert,
    generate.generate,
):
    app.command()(verb)
app.command("map")(map.map_songs)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code; ``arguments`` as in ``sys.argv[1:]``."""
    try:
        app(arguments, prog_name="lakhnes")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code == 130:
            return _stop("interrupted", 130)
        return code
    except KeyboardInterrupt:
        return _stop("interrupted", 130)
    except LakhnesError as error:
        return _stop(f"error: {error}", 2 if isinstance(error, BadSetting) else 1)
    except (
        BrokenPipeError
    ):  # the reader of our output has gone, as in `lakhnes data list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _stop(f"error: {error.filename or 'system'}: {error.strerror or error}", 1)
    except (
        MemoryError,
        RuntimeError,
    ) as error:  # PyTorch raises the latter, for other reasons as well
        if not (
            isinstance(error, MemoryError)
            or "out of memory" in str(error)
            or "to allocate" in str(error)
        ):
            raise
        return _stop("error: not enough memory; take a smaller model, batch or file", 1)
    return 0


def _stop(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
