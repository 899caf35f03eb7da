"""``lakhnes data``: what can be fetched, and fetching it.

Paper: §3.1, §4.2, §6 (what was published). Notebook: none.
"""

from pathlib import Path

import typer

from lakhnes_lib.cli.options import SETTINGS, Verb, progress

data = typer.Typer(help="Lists and fetches data sets and published checkpoints.", **SETTINGS)


@data.command("list", cls=Verb)
def list_all(home: Path | None = None):
    """Lists what can be fetched.

    Name, size, whether it is here ("mirror only": a mirror may have it, and it cannot be
    downloaded), title, licence and citation. `lakhnes data fetch NAME` brings one.
    """
    from lakhnes_lib.data import fetching, registry

    for entry in registry.REGISTRY.values():
        missing = "mirror only" if entry.url is None else "-"
        state = "here" if fetching.folder(entry.name, home).is_dir() else missing
        print(f"{entry.name:<22}  {entry.size:>6}  {state:<11}  {entry.title}")
        print(f"  licence: {entry.licence}\n  cite: {entry.citation}\n  page: {entry.page}\n")
    print(f"data home: {fetching.home() if home is None else home}")


@data.command(cls=Verb)
def fetch(name: str, mirror: Path | None = None, home: Path | None = None):
    """Brings a data set here and prints its folder.

    It is downloaded from its official address, or taken from an archive in --mirror (the
    environment variable LAKHNES_MIRROR names a folder that is asked first). Its content is compared
    with the published hash, and its folder is there whole or not at all. What is here already is
    compared again. After an interruption the same command goes on where it stopped.

    \b
      lakhnes data fetch nesmdb-midi
      lakhnes data fetch nesmdb-midi --mirror ~/Downloads

    Options:
    name: A name that `lakhnes data list` shows.
    mirror: Folder with an archive of the same content, instead of the web.
    """
    from lakhnes_lib.data import fetching

    print(fetching.fetch(name, mirror=mirror, home=home, progress=progress()))
