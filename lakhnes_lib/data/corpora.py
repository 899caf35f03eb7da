"""A corpus by name: the songbook, a data set of the registry, or a folder.

Paper: §3. Notebook: 05_training, and every other that trains or measures.
Differences from the paper: none; NES-MDB is packed once and kept beside the data it was made of.
"""

from pathlib import Path

from lakhnes_lib.data import corpus, fetching
from lakhnes_lib.data.corpus import SPLITS, Corpus
from lakhnes_lib.errors import BadCorpus, DataNotFound

SONGBOOK = "songbook"
PACKED = ("nesmdb-midi", "nesmdb-tx1")
"""The data sets of the registry that are NES music."""


def prepare(name, *, mirror=None, home=None, progress: bool = True) -> Corpus:
    """The corpus called ``name``: ``songbook``; ``nesmdb-midi`` or ``nesmdb-tx1``; or a corpus folder.

    The data sets are fetched and packed the first time; a packed one that was damaged is packed anew.
    mirror, home: as in ``fetching.fetch``. Raises DataNotFound for other names, BadCorpus, and what ``fetch`` raises.
    """
    if str(name) == SONGBOOK:
        return _songbook()
    if str(name) not in PACKED:
        if not Path(name).is_dir():
            names = ", ".join((SONGBOOK, *PACKED))
            raise DataNotFound(f"{name}: is neither a corpus folder nor one of {names}")
        return corpus.open_corpus(name)
    folder = (fetching.home() if home is None else Path(home)) / "packed" / str(name)
    try:
        return corpus.open_corpus(folder)
    except (DataNotFound, BadCorpus):
        from lakhnes_lib.data.build import (
            build_corpus,  # here, so that a packed corpus is read without MIDI libraries
        )

        source = fetching.fetch(str(name), mirror=mirror, home=home, progress=progress)
        return build_corpus(source, folder, progress=progress)


def _songbook() -> Corpus:
    """The songbook's pieces, packed in memory each time: it is small, and its pieces may be edited."""
    from lakhnes_lib.songbook import tunes

    splits = {name: corpus.pack(name, tunes.scores(name)) for name in SPLITS}
    return Corpus(tunes.FOLDER, {"rejected": {}}, splits)
