"""As many files as all of Lakh: time, memory and disk of mapping them and of training on them.

python benchmarks/all_of_lakh.py [--write] [--files FILES] [--workers WORKERS] [--work FOLDER]

The 9,991 files of folder 5 of LMD-full are written again and again into one archive, under other
names, until there are as many as in LMD-full (176,581). Each copy ends with a chunk that readers of
MIDI pass over and that holds its number, so that all contents differ. Then ``lakhnes map`` maps the
archive, and the streams of training read some epochs of the corpus and of a corpus of the 9,991
files alone. Needs about 15 GB in FOLDER, all of which is removed afterwards. With --write the
numbers go to results/all_of_lakh.json.
"""

import io
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from _shared import arguments, at_hand, keep
from tqdm import tqdm

from lakhnes_lib.data import fetching
from lakhnes_lib.data.corpus import open_corpus
from lakhnes_lib.data.streams import Streams
from lakhnes_lib.music import augmentation

FILES = 176_581
EPOCHS = 4
ROWS, SEGMENT = 30, 512  # the paper's batch


def write_archive(source: Path, path: Path, files: int) -> None:
    """An archive of so many files, the files of a folder over and over, no two with one content."""
    names = sorted(source.rglob("*.mid"))
    with tarfile.open(path, "w") as archive, tqdm(total=files, desc="writing", unit="file") as bar:
        for number in range(files):
            turn, index = divmod(number, len(names))
            data = names[index].read_bytes()
            # A chunk of an unknown kind: four letters, its length, its content.
            data += b"copy" + (4).to_bytes(4, "big") + turn.to_bytes(4, "big")
            member = tarfile.TarInfo(f"{turn:03}/{names[index].name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            bar.update()


def size(folder: Path) -> int:
    total = 0
    with suppress(FileNotFoundError):  # the mapping removes files meanwhile
        for path in folder.rglob("*"):
            total += path.stat().st_size if path.is_file() else 0
    return total


def mapped(source: Path, folder: Path, workers: int) -> dict:
    """What it takes to map an archive or a folder by the command line."""
    command = [sys.executable, "-m", "lakhnes_lib", "map", str(source), str(folder)]
    begin = time.monotonic()
    process = subprocess.Popen([*command, "--workers", str(workers)])
    partial, most = folder.with_name(f"{folder.name}.partial"), 0
    while process.poll() is None:
        time.sleep(5)
        most = max(most, size(partial) if partial.exists() else 0)
    if process.returncode:
        raise SystemExit("mapping failed")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    files = json.loads((folder / "corpus.json").read_text())["files"]
    return {
        "workers": workers,
        "files": files,
        "seconds": time.monotonic() - begin,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_megabytes_of_a_process": used.ru_maxrss / 1024,
        "most_bytes_of_shards": most,
        "corpus_bytes": size(folder),
    }


def own_megabytes() -> float:
    """Memory of this process without the pages of files, which the system may drop."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def streamed(folder: Path) -> dict:
    """Training's streams over some epochs of a corpus: events a second, and memory after each."""
    begin = time.monotonic()
    corpus = open_corpus(folder)
    opening, before = time.monotonic() - begin, own_megabytes()
    songs = augmentation.songs_by_epoch(corpus["train"], "paper", 0)
    streams = Streams(songs, ROWS, SEGMENT, 0, "endless")
    events, memory, begin = 0, [], time.process_time()
    for epoch in range(EPOCHS):
        while streams.epoch <= epoch:
            events += next(streams).targets.size
        memory.append(own_megabytes() - before)
    return {
        "songs": len(corpus["train"]),
        "seconds_to_open": opening,
        "events_a_second": events / (time.process_time() - begin),
        "megabytes_after_each_epoch": memory,
        "megabytes_opened": before,
    }


def in_another_process(folder: Path) -> dict:
    """``streamed`` in a fresh process, so that nothing else is in its memory."""
    command = [sys.executable, __file__, "--streams", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main():
    parser = arguments("all_of_lakh", __doc__)
    parser.add_argument("--files", type=int, default=FILES, help="how many files the archive has")
    parser.add_argument("--workers", type=int, default=2, help="processes that map")
    parser.add_argument("--work", help="folder for what is written and removed again")
    parser.add_argument("--streams", type=Path, help="only read this corpus as training does")
    options = parser.parse_args()
    if options.streams:
        print(json.dumps(streamed(options.streams)))
        return
    source = at_hand(fetching.fetch, "lmd-full-5")
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        archive, folder = Path(work) / "all.tar", Path(work) / "all"
        write_archive(source, archive, options.files)
        values = {"archive_bytes": archive.stat().st_size}
        values["mapping"] = mapped(archive, folder, options.workers)
        archive.unlink()
        mapped(source, Path(work) / "part", options.workers)
        values["training"] = {
            "all": in_another_process(folder),
            "part": in_another_process(Path(work) / "part"),
        }
        corpus = open_corpus(folder)
        keep("all_of_lakh", values, options.write, corpus=corpus, packages=("numpy", "symusic"))


if __name__ == "__main__":
    main()
