"""VGM measured: how many songs come back exactly from write and read, and how fast (processor time of one core).

python benchmarks/vgm.py FOLDER_OF_MIDI_FILES [--every 1] [--out results/vgm.json]
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from lakhnes_lib.music import midi
from lakhnes_lib.sound import vgm


def same_voice_and_pitch_without_gap(score) -> int:
    """Notes that follow one of their voice and pitch at once: the chip plays both as one."""
    voices = [score.voice(number) for number in range(4)]
    return sum(int(((v["start"][1:] == v["end"][:-1]) & (v["pitch"][1:] == v["pitch"][:-1])).sum()) for v in voices)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every n-th file")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    files = sorted(chosen.folder.glob("**/*.mid"))[:: chosen.every]
    if not files:
        parser.error(f"no MIDI files in {chosen.folder}")
    counts = dict.fromkeys(("songs", "exactly_back", "notes_back", "notes", "controls", "indistinguishable_notes"), 0)
    writing = reading = seconds = 0.0
    sizes, different = [], []
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            score, place = midi.read(file), Path(folder) / "song.vgz"
            begin = time.process_time()
            vgm.write(score, place)
            middle = time.process_time()
            back = vgm.read(place)
            reading += time.process_time() - middle
            writing += middle - begin
            seconds += score.seconds
            sizes.append(place.stat().st_size)
            counts["songs"] += 1
            counts["exactly_back"] += back == score
            counts["notes_back"] += np.array_equal(back.notes, score.notes)
            counts["notes"] += len(score.notes)
            counts["controls"] += len(score.controls)
            counts["indistinguishable_notes"] += same_voice_and_pitch_without_gap(score)
            if back != score:
                different.append(file.name)
    report = counts | {
        "different": different[:20],
        "hours_of_music": seconds / 3600,
        "songs_written_per_second": len(files) / writing,
        "songs_read_per_second": len(files) / reading,
        "median_bytes_vgz": float(np.median(sizes)),
        "machine": f"{platform.machine()}, one core",
        "python": platform.python_version(),
    }
    text = json.dumps(report, indent=1)
    print(text)
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
