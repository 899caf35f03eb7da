"""What a worker does: MIDI files become candidates for the NES, or a reason why they do not.

Paper: §4.2.1. Notebook: 03_lakh_to_nes. Files as found in the wild are damaged in every way. They
are small (``filters.MappingOptions.most_bytes``) and read by NumPy, so that none of them hangs or
ends the process that reads it; an error that nobody has foreseen costs its file alone.
"""

import sys
import traceback
from pathlib import PurePosixPath

import numpy as np

from lakhnes_lib.data.lakh import LakhSplit, pack
from lakhnes_lib.errors import Rejected
from lakhnes_lib.music import events, filters, mapping

Job = tuple[int, filters.MappingOptions]
"""How every file is mapped: the seed and the options of the published examples."""


def map_files(job: Job, files: list[tuple[str, bytes | str]]) -> tuple[LakhSplit, dict]:
    """Maps files given by name and content, or by name and the reason why there is no content.

    Returns the songs that were accepted, and the details of the shard: ``files``, the name of each
    song's file; ``counts``, as ``_map`` gives them for each; ``rejected``, file -> reason.
    """
    answers = {
        name: data if isinstance(data, str) else _map(job, name, data) for name, data in files
    }
    rejected = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
    accepted = {name: answer for name, answer in answers.items() if name not in rejected}
    songs, counts = zip(*accepted.values(), strict=True) if accepted else ((), ())
    return pack(songs), {"files": list(accepted), "counts": counts, "rejected": rejected}


def _map(job: Job, name: str, data: bytes):
    """A song's candidates and counts, or the reason why there is none.

    The counts are of its published examples: how many, their events and their ticks together, and
    in how many P1, P2, TR and NO sound.
    """
    seed, options = job
    try:
        song = filters.candidates_of(data, PurePosixPath(name).stem, options)
        examples = mapping.examples(song, seed, options)
        if not examples:
            return "nothing_left"
        event_count = sum(len(events.encode(score)) for score in examples)
        ticks = sum(score.length for score in examples)
        sounding = np.sum([np.isin(range(4), score.notes["voice"]) for score in examples], axis=0)
        return song, [len(examples), event_count, ticks, *sounding.tolist()]
    except Rejected as error:
        return error.reason
    except MemoryError:
        return "too_much_memory"
    except Exception:  # a fault of this library, which is to be reported
        print(f"{name}: {traceback.format_exc()}", file=sys.stderr)
        return "crashed"
