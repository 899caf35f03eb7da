"""What several verbs share: their help, options, checks of options, and progress bars.

Paper: none. Notebook: none.
"""

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.files import tune_of
from lakhnes_lib.models import processes

SETTINGS = {"no_args_is_help": True, "rich_markup_mode": None, "pretty_exceptions_enable": False}


def _existing(path: Path) -> Path:
    from lakhnes_lib import profiles

    path = profiles.shipped(path)
    if not tune_of(path)[0].exists():
        raise DataNotFound(f"{path}: there is no such file or folder")
    return path


# None is the default of some options. An hour of music has about 200,000 events.
Count = Annotated[int | None, typer.Option(min=0, max=2**31 - 1)]
Length = Annotated[int | None, typer.Option(min=1, max=250_000)]
Music = Annotated[Path, typer.Argument(metavar="IN", callback=_existing)]
Voices = Annotated[str, typer.Option(metavar="P1=TRACK,...")]
COMMON = {
    "checkpoint": "Folder with model.safetensors and config.json.",
    "device": "cpu or cuda [default: cuda where there is one].",
    "home": "Folder for data sets [default: LAKHNES_HOME, or data/ of the checkout].",
    "voices": "Of MIDI: who plays what [default: by role].",
    "workers": "Processes, at most one per core.",
}
"""What arguments and options mean that several verbs have."""


class Verb(TyperCommand):
    """A verb whose docstring explains its arguments and options, as the command's help shows them.

    Behind a line "Options:" at the docstring's end, each has a line "name: what it means", which
    goes on in indented lines. Those of ``COMMON`` need none.
    """

    def __init__(self, *arguments, help, params, **settings):
        text, _, lines = help.partition("\n\nOptions:\n")
        meanings = COMMON | dict(re.findall(r"^(\w+): (.+(?:\n +.+)*)", lines, re.MULTILINE))
        for option in params:
            option.help = " ".join(meanings[option.name].split())
            if option.param_type_name == "argument":
                option.metavar = option.metavar or option.name.upper()
        super().__init__(*arguments, help=text, params=params, **settings)


def _workers(number: int) -> int:
    if number == -1 or number > 0:
        return min(number, os.cpu_count() or 1)
    raise typer.BadParameter(f"workers must be 1 or more, or -1 for one per core, not {number}")


Workers = Annotated[int, typer.Option(callback=_workers)]


def only_where(fits: bool, context: typer.Context, *flags: str, why: str) -> None:
    """Raises BadParameter if one of these options was given although it has no effect here.

    fits: whether the options have an effect; flags: such as ``--rate``; why: the message.
    """
    if fits:
        return
    for option in context.command.params:
        typed = set(flags) & {*option.opts, *option.secondary_opts}
        if typed and context.get_parameter_source(option.name).name == "COMMANDLINE":
            raise typer.BadParameter(why, param_hint=typed.pop())


def read_song(path: Path, voices: str = "", seconds: float | None = None):
    """The song of a file, or its first seconds. Remarks on how it was read go to stderr."""
    from tqdm import tqdm

    from lakhnes_lib.data.build import read_with_remarks

    score, remarks = read_with_remarks(_existing(path), voices, seconds)
    for line in remarks:
        tqdm.write(line, file=sys.stderr)  # above the bar, if there is one
    return score


def progress() -> bool:
    """Whether to show progress bars: not where stderr is written to a file, and of several
    processes only in the first."""
    return sys.stderr.isatty() and processes.rank() == 0


def chosen_device(name: str | None):
    """The ``torch.device`` called ``name``, or the best one of this machine for None.

    Raises BadParameter if this machine has no such device.
    """
    import torch

    from lakhnes_lib.models.devices import choose_device

    try:
        device = choose_device(name)
        torch.zeros(1, device=device).tolist()  # fails on "meta", which holds no values
    except (RuntimeError, AssertionError):
        rule = f"PyTorch finds no device {name!r} on this machine"
        raise typer.BadParameter(rule, param_hint="--device") from None
    return device
