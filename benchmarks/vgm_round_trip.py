"""VGM measured: how many songs come back exactly from write and read, and how fast (processor time
of one core).

python benchmarks/vgm_round_trip.py [--write]

Needs NES-MDB (`lakhnes data fetch nesmdb-midi`, or LAKHNES_MIRROR). With --write the numbers go to
results/vgm.json.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from _shared import arguments, corpus_at_hand, keep
from tqdm import tqdm

from lakhnes_lib.sound import vgm


def same_voice_and_pitch_without_gap(score) -> int:
    """Notes that follow one of their voice and pitch at once: the chip plays both as one."""
    voices = [score.voice(number) for number in range(4)]
    return sum(
        int(((v["start"][1:] == v["end"][:-1]) & (v["pitch"][1:] == v["pitch"][:-1])).sum())
        for v in voices
    )


def main():
    chosen, corpus = arguments("vgm", __doc__).parse_args(), corpus_at_hand()
    scores = [
        split.score(number) for split in corpus.splits.values() for number in range(len(split))
    ]
    counts = dict.fromkeys(
        ("songs", "exactly_back", "notes_back", "notes", "controls", "indistinguishable_notes"), 0
    )
    writing = reading = seconds = 0.0
    sizes, different = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.vgz"
        for score in tqdm(scores, unit="song"):
            begin = time.process_time()
            vgm.write(score, path)
            middle = time.process_time()
            back = vgm.read(path)
            reading += time.process_time() - middle
            writing += middle - begin
            seconds += score.seconds
            sizes.append(path.stat().st_size)
            counts["songs"] += 1
            counts["exactly_back"] += back == score
            counts["notes_back"] += np.array_equal(back.notes, score.notes)
            counts["notes"] += len(score.notes)
            counts["controls"] += len(score.controls)
            counts["indistinguishable_notes"] += same_voice_and_pitch_without_gap(score)
            if back != score:
                different.append(score.name)
    values = counts | {
        "different": different[:20],
        "hours_of_music": seconds / 3600,
        "songs_written_per_second": len(scores) / writing,
        "songs_read_per_second": len(scores) / reading,
        "median_bytes_vgz": float(np.median(sizes)),
    }
    keep("vgm", values, chosen.write, corpus=corpus)


if __name__ == "__main__":
    main()
