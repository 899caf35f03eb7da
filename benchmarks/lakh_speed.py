"""Lakh to a packed corpus: speed, memory, and whether interruptions or workers change a byte.

python benchmarks/lakh_speed.py [--write] [--same NAME]

Maps the 9,991 files of folder 5 of LMD-full (data set lmd-full-5; README, “Data”), and measures how
fast training reads the result. Then maps a data set three times more (--same: lmd-full-5, or
lmd-full-5-sample to take less time) and compares the bytes: in one process; with two workers,
killed half way and resumed; and on a local Dask cluster of two worker processes, one of which is
killed. Speeds are processor time of one core. With --write the numbers go to results/lakh.json.
"""

import gc
import lzma
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _shared import arguments, at_hand, keep
from distributed import LocalCluster

from lakhnes_lib.data import fetching, lakh_mapping, shards
from lakhnes_lib.data.corpus import Corpus
from lakhnes_lib.music import augmentation


def processor_seconds(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def mapped(source: Path, folder: Path) -> tuple[Corpus, dict]:
    """The corpus of all files, by two workers, and what it took."""
    own, children = (
        processor_seconds(resource.RUSAGE_SELF),
        processor_seconds(resource.RUSAGE_CHILDREN),
    )
    corpus = lakh_mapping.map_corpus(source, folder, workers=2)
    gc.collect()
    time.sleep(12)  # until the workers' processes have ended and been counted
    worker = processor_seconds(resource.RUSAGE_CHILDREN) - children
    coordinator = processor_seconds(resource.RUSAGE_SELF) - own
    files = corpus.manifest["files"]["seen"]
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    songs = corpus["train"].songs, corpus["valid"].songs
    return corpus, {
        "worker_seconds": worker,
        "coordinator_seconds": coordinator,
        "files_a_second_and_core": files / (worker + coordinator),
        "files_a_second_and_worker": files / worker,
        "files_a_second_of_coordinator": files / coordinator,
        "peak_worker_megabytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "peak_coordinator_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "source_bytes": sum(path.stat().st_size for path in source.rglob("*.mid")),
        "packed_bytes": sum(sizes.values()),
        "packed_bytes_xz": sum(len(lzma.compress(path.read_bytes())) for path in folder.iterdir()),
        "songs": {"train": len(songs[0]), "valid": len(songs[1])},
        "notes": int(sum(part["notes"].sum() for part in songs)),
    }


def reading(corpus: Corpus) -> dict:
    """Framed events a second that training is given in two epochs, by draw and augmentation."""
    rates = {}
    for draws in ("fresh", "published"):
        for setting in ("none", "paper"):
            songs = augmentation.songs_by_epoch(corpus["train"], setting, 0, draws)
            begin = time.process_time()
            count = sum(len(song) for epoch in range(2) for song in songs(epoch))
            rates[f"{draws}, augmentation {setting}"] = count / (time.process_time() - begin)
    return rates


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def in_one_process(source: Path, folder: Path, count: int) -> None:
    """This process does all of the work itself."""
    lakh_mapping.map_corpus(source, folder, workers=1)


def killed_and_resumed(source: Path, folder: Path, count: int) -> None:
    """Two workers; the command is killed, without warning, when half of the shards are written."""
    command = [sys.executable, "-m", "lakhnes_lib", "map"]
    command += [str(source), str(folder), "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    partial = folder.with_name(f"{folder.name}.partial")
    while len(list(partial.glob("??????.json"))) < count / 2:
        if process.poll() is not None:
            raise SystemExit("the command ended before it was killed")
        time.sleep(0.05)
    process.kill()
    process.wait()
    lakh_mapping.map_corpus(source, folder, workers=2)


def on_a_cluster(source: Path, folder: Path, count: int) -> None:
    """Two Dask workers; one is killed when a third of the ``count`` shards are written."""
    save, done = shards.save, []
    with LocalCluster(2, processes=True, threads_per_worker=1, dashboard_address=None) as cluster:

        def killing(*shard):
            done.append(shard)
            if len(done) == max(1, count // 3):
                os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
            save(*shard)

        shards.save = killing
        lakh_mapping.map_corpus(source, folder, scheduler=cluster.scheduler_address)
        shards.save = save


def same_bytes(source: Path, corpus: Corpus, folder: Path) -> dict:
    """Whether the bytes are those of ``corpus``, which two workers made in one go."""
    expected, files = content(corpus.folder), corpus.manifest["files"]["seen"]
    count = -(-files // lakh_mapping.FILES_A_SHARD)
    values = {"files": files}
    for name, work in (
        ("one process", in_one_process),
        ("two workers, killed and resumed", killed_and_resumed),
        ("cluster, a worker killed", on_a_cluster),
    ):
        work(source, folder / work.__name__, count)
        values[name] = content(folder / work.__name__) == expected
    return values


def main():
    parser = arguments("lakh", __doc__)
    parser.add_argument(
        "--same", default="lmd-full-5", help="data set that is mapped again to compare the bytes"
    )
    options = parser.parse_args()
    source, again = (at_hand(fetching.fetch, name) for name in ("lmd-full-5", options.same))
    with tempfile.TemporaryDirectory() as folder:
        corpus, values = mapped(source, Path(folder) / "all")
        values |= {
            name: corpus.manifest[name] for name in ("files", "published_examples", "settings")
        }
        values["events_read_a_second"] = reading(corpus)
        if again != source:
            sample = lakh_mapping.map_corpus(again, Path(folder) / "sample", workers=2)
        first = corpus if again == source else sample
        values["same_bytes"] = same_bytes(again, first, Path(folder))
        keep(
            "lakh",
            values,
            options.write,
            corpus=corpus,
            packages=("numpy", "symusic", "distributed"),
        )


if __name__ == "__main__":
    main()
