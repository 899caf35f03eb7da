"""A corpus by name: the songbook, a data set of the registry, or a folder.

Paper: §3. Notebook: 05_training, and every other that trains or measures.
Differences from the paper: none; NES-MDB is packed once, and kept beside the data it was made of.
"""

from pathlib import Path

from lakhnes_lib.data import corpus, fetching
from lakhnes_lib.data.corpus import SPLITS, Corpus
from lakhnes_lib.errors import BadCorpus, DataNotFound

SONGBOOK = "songbook"
PACKED = ("nesmdb-midi", "nesmdb-tx1")
"""The data sets of the registry that are NES music."""


def prepare(name, *, mirror=None, home=None, progress: bool = True) -> Corpus:
    """A corpus by its name: ``songbook``, ``nesmdb-midi``, ``nesmdb-tx1``, or a corpus folder.

    A data set is fetched and packed the first time, and packed anew if the packed one is damaged.
    mirror, home: as in ``fetching.fetch``. Raises DataNotFound for other names, BadCorpus, and what
    ``fetch`` raises.

    Example: ``prepare("songbook")["train"].score(0)``

    >>> import lakhnes_lib as nes
    >>> corpus = nes.load_corpus("songbook")
    >>> len(corpus["train"]), corpus["test"].score(0).name
    (27, 'minuet_in_g')
    """
    name = str(name)
    if name == SONGBOOK:  # it is small, and its pieces may be edited, so it is packed each time
        from lakhnes_lib.songbook import tunes

        splits = {split: corpus.pack(split, tunes.scores(split)) for split in SPLITS}
        return Corpus(tunes.FOLDER, {"rejected": {}}, splits)
    if name not in PACKED:
        if not Path(name).is_dir():
            names = ", ".join((SONGBOOK, *PACKED))
            raise DataNotFound(f"{name}: is neither a corpus folder nor one of {names}")
        return corpus.open_corpus(name)
    folder = (fetching.home() if home is None else Path(home)) / "packed" / name
    try:
        return corpus.open_corpus(folder)
    except (DataNotFound, BadCorpus):
        from lakhnes_lib.data import build  # a packed corpus is read without MIDI libraries

        source = fetching.fetch(name, mirror=mirror, home=home, progress=progress)
        return build.build_corpus(source, folder, progress=progress)
