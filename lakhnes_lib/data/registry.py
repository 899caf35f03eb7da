"""The registry: every published artefact that can be fetched, with address, hash and licence.

Paper: §3.1 (NES-MDB), §4.2 (Lakh MIDI), §6 (checkpoints). Notebook: 07_quantitative_analysis takes
the checkpoints. The entries are in ``registry.yaml``. Differences from the paper: none in content.
The fingerprints are ours: they say whether a folder holds the published files, however the archive
was packed, so that a mirror's archive is as good as the official one.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from lakhnes_lib.errors import DataNotFound


@dataclass(frozen=True)
class DataSet:
    """One artefact.

    name, title: what one types, and what it is. size: of the official archive, as published.
    folder: its folder below the data home, of which the last part is also the archive's name,
    with any ending that a mirror chooses. content: a pattern of its files' names relative to that
    folder; None: all files but the archive's first folder. url: None for a part that only mirrors
    have. sha256: of the official archive. fingerprint: of its files (``archives.take_inventory``).
    files: their number. md5_names: each file's name is its md5. most_bytes, most_members: an
    archive that unpacks to more is refused.
    """

    name: str
    title: str
    size: str
    folder: str
    licence: str
    citation: str
    page: str
    most_bytes: int
    most_members: int
    url: str | None = None
    sha256: str | None = None
    content: str | None = None
    fingerprint: str | None = None
    files: int | None = None
    md5_names: bool = False


def _read_registry() -> dict[str, DataSet]:
    text = Path(__file__).with_name("registry.yaml").read_text(encoding="utf-8")
    publications = yaml.safe_load(text)
    entries = [each["shared"] | entry for each in publications for entry in each["data_sets"]]
    return {entry["name"]: DataSet(**entry) for entry in entries}


REGISTRY = _read_registry()
"""All entries by name."""


def find(name: str) -> DataSet:
    """The entry called ``name``. Raises DataNotFound, which lists the names that there are."""
    if name not in REGISTRY:
        raise DataNotFound(f"{name!r} is not in the registry; there are: {', '.join(REGISTRY)}")
    return REGISTRY[name]
