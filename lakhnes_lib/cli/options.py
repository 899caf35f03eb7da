"""What several verbs share: their arguments and options, and whether to show a bar.

Paper: none. Notebook: none.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

SETTINGS = {"no_args_is_help": True, "rich_markup_mode": None, "pretty_exceptions_enable": False}

Home = Annotated[
    Path | None,
    typer.Option(help="Folder for data sets [default: LAKHNES_HOME, or data/ of the checkout]."),
]
CorpusName = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="songbook, nesmdb-midi, nesmdb-tx1, or a folder that `lakhnes tokens` or `lakhnes map` packed.",
    ),
]
Checkpoint = Annotated[
    Path,
    typer.Argument(metavar="CHECKPOINT", help="Folder with model.safetensors and config.json."),
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda [default: cuda where there is one].")]


def _workers(number: int) -> int:
    if number == -1 or number > 0:
        return number
    raise typer.BadParameter(f"{number} processes are none; -1 is one for each core")


Workers = Annotated[
    int, typer.Option(callback=_workers, help="Processes; -1 is one for each core.")
]


def only_where(fits: bool, context: typer.Context, *flags: str, why: str) -> None:
    """Wrong usage, with the reason, if one of these options was given where it does nothing."""
    for option in context.command.params:
        for flag in set(flags) & {*option.opts, *option.secondary_opts} if not fits else ():
            if context.get_parameter_source(option.name).name == "COMMANDLINE":
                raise typer.BadParameter(why, param_hint=flag)


def progress() -> bool:
    """Bars are for people: none where stderr goes to a file."""
    return sys.stderr.isatty()


def chosen_device(name: str | None):
    """The ``torch.device`` called ``name``, or the best there is; wrong usage if this machine has none of that name."""
    import torch

    from lakhnes_lib.models.devices import choose_device

    try:
        device = choose_device(name)
        torch.zeros(1, device=device).tolist()  # the device "meta" has no numbers
    except (RuntimeError, AssertionError):  # CUDA's own words run over many lines
        raise typer.BadParameter(
            f"this machine has no {name!r} for PyTorch", param_hint="--device"
        ) from None
    return device
