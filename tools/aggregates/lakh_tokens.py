"""One fact of ``lakh.json``: how often each token stands in the piano and bass parts of Lakh."""

import sys
from itertools import chain

import numpy as np

from lakhnes_lib import profiles
from lakhnes_lib.companions import band_parts
from lakhnes_lib.companions.band_parts import BASS, PIANO, BandPairs
from lakhnes_lib.companions.paired_parts import BAR

sys.path.append(str(profiles.root() / "benchmarks"))
import _complementary_tasks as tasks

BASE = 197
"""So many tokens REMI has before any are merged."""


def tokens() -> dict:
    """The fact: tokens of the pieces that complementary tracks are learned from, by number; without
    counts if the files are not here.

    The pieces are those of the benchmark, which cuts them from the files of folder 5, if it has not
    done so before.
    """
    bars = profiles.load("laptop").companions["complementary_tracks"]["bars"]
    fact = {
        "description": f"Pieces of {bars} bars with piano and bass, at most {tasks.PIECES_A_FILE} "
        "a file, and how often each token stands in their parts: REMI as it is (base), and after "
        "byte pair encoding, which was learned from train (merged); pieces and bars without a note "
        "of a part.",
        "bars": bars,
        "splits": {},
    }
    if not tasks.LAKH.is_dir():
        return fact
    pieces, tokenizer = tasks.band_data(bars, tasks.runs_of("laptop"))
    band = BandPairs(pieces, tokenizer, bars)
    for split, of_split in band.pieces.items():
        counts = {}
        for name, part in (("bass", BASS), ("piano", PIANO)):
            ids = [band_parts.tokens_of(tokenizer, piece[part]) for piece in of_split]
            base = [token for each in ids for token in band.base(each)]
            merged = np.bincount([*chain.from_iterable(ids)], minlength=band.vocabulary)
            played = [len(np.unique(piece[part][:, 0] // BAR)) for piece in of_split]
            counts[name] = {"base": np.bincount(base, minlength=BASE), "merged": merged}
            counts[name] |= {"silent_pieces": played.count(0)}
            counts[name] |= {"silent_bars": bars * len(played) - sum(played)}
        fact["splits"][split] = {"pieces": len(of_split), **counts}
    return fact
