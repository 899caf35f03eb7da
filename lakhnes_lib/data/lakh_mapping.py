"""Thousands of MIDI files to a corpus of candidates: on all cores or a cluster, resumable, the same bytes every time.

Paper: §4.2.1. Notebook: 03_lakh_to_nes. Files go by shards to workers as bytes, so an archive is never unpacked and a
cluster needs no common disk; what comes back is written shard by shard beside the corpus, and joined at the end in the
order of the files' content. So neither the number of workers, nor the order of their answers, nor an interruption
changes the result. Differences from the paper: songs are split into train and valid by their content.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from itertools import islice
from pathlib import Path
from shutil import rmtree
from zipfile import is_zipfile

import joblib
import numpy as np
from tqdm.auto import tqdm

from lakhnes_lib.data import archives
from lakhnes_lib.data.corpus import NAMES, VALID_SHARE, Corpus, write_corpus
from lakhnes_lib.data.lakh import LakhSplit
from lakhnes_lib.data.mapping_worker import Job, Shard, map_files
from lakhnes_lib.errors import BadArchive, BadCorpus, DataNotFound, LakhnesError
from lakhnes_lib.files import check_place, replacing, write_file
from lakhnes_lib.music import nes

ENDINGS = (".mid", ".midi")
FILES_A_SHARD = 64
MOST_BYTES = 200_000_000_000
"""What an archive may unpack to: the whole of Lakh is 7 GB."""
REASONS = ("no_access", "unsafe_name", "duplicate")
"""Why a file is left out, besides those of ``mapping`` and ``mapping_worker``: it cannot be opened; its name leads out
of its archive, or it is encrypted; another file has its content."""


_SHARDS = ("run.json", "[0-9]*.npz", ".run-????????.json", ".[0-9]*-????????.npz")
"""What ``NAME.partial`` holds; with a dot before it, what a killed run had begun to write."""


def _wanted(name: str) -> bool:
    hidden = any(part.startswith(".") and part.strip(".") for part in name.split("/"))
    return name.lower().endswith(ENDINGS) and not hidden


def _list(folder: Path) -> list[str]:
    """Names of the MIDI files below a folder, and of the folders that cannot be read."""
    denied: list[OSError] = []
    found = [
        Path(root, name).relative_to(folder).as_posix()
        for root, _, names in os.walk(folder, onerror=denied.append)
        for name in names
    ]
    closed = [Path(error.filename).relative_to(folder).as_posix() for error in denied]
    return sorted([name for name in found if _wanted(name)] + closed)


def _read(path: Path, most: int) -> bytes | str:
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError:
        return "no_access"


def _shards(
    source: Path, names: list[str] | None, done: set[int], most: int
) -> Iterator[tuple[int, list]]:
    """Number and files of each shard; of those done already no files. names: None for an archive."""
    if names is not None:
        for first in range(0, len(names), FILES_A_SHARD):
            part = [] if first // FILES_A_SHARD in done else names[first : first + FILES_A_SHARD]
            yield first // FILES_A_SHARD, [(name, _read(source / name, most)) for name in part]
        return
    files = (
        (name, data) for name, data in archives.contents(source, MOST_BYTES, most) if _wanted(name)
    )
    seen: Counter = Counter()
    number = 0
    while part := list(islice(files, FILES_A_SHARD)):
        told = []
        for name, data in part:
            seen[name] += 1
            name = name if seen[name] == 1 else f"{name} ({seen[name]})"
            told.append((name, "unsafe_name" if data is None else data))
        yield number, [] if number in done else told
        number += 1


@contextmanager
def _submitting(workers: int, scheduler: str | None) -> Iterator[tuple[Callable, Callable]]:
    """What hands a task to a worker and returns its Future, and what tells how many workers there are."""
    if scheduler is None:
        # A thread for each core, which drives a process of its own: unlike a pool's, it may be lost without the rest.
        count = joblib.effective_n_jobs(workers)
        pool = ThreadPoolExecutor(count)
        try:
            yield pool.submit, lambda: count
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise LakhnesError(
            "a cluster needs the package `distributed`, which is not installed"
        ) from error
    try:
        client = Client(scheduler)
    except (OSError, TimeoutError, ValueError) as error:
        raise LakhnesError(
            f"{scheduler}: no Dask scheduler answers there ({str(error)[:120]})"
        ) from error
    with client:
        yield client.get_executor().submit, lambda: sum(client.nthreads().values())


def map_corpus(
    source,
    folder,
    job: Job | None = None,
    *,
    workers: int = -1,
    scheduler: str | None = None,
    progress: bool = True,
) -> Corpus:
    """Packs the candidates of all MIDI files of a folder or an archive (tar, zip).

    folder: the corpus to write; beside it stands ``NAME.partial`` until all is done. job: seed, options and limits;
    workers: processes, -1 for all cores; scheduler: address of a Dask scheduler to use instead. A file that gives
    nothing is named with its reason in the manifest; nothing stops the run, and after a kill the same call goes on.
    Raises DataNotFound if there is no MIDI file, BadArchive, OutOfSpace, and LakhnesError if ``NAME.partial`` was begun
    from another source or with another job, or if one of the two folders holds anything else.
    """
    source, folder, job = Path(source), Path(folder), job or Job()
    if not source.exists():
        raise DataNotFound(f"{source}: there is no such folder or archive")
    if not (source.is_dir() or archives.is_archive(source)):
        raise BadArchive(
            f"{source}: is neither a folder of MIDI files nor an archive (tar, zip) of them"
        )
    check_place(folder, NAMES)  # before the work
    names = _list(source) if source.is_dir() else None
    of = (
        archives.sha256(source)
        if names is None
        else [[name, _size(source / name)] for name in names]
    )
    partial = folder.with_name(f"{folder.name}.partial")
    source_hash = sha256(json.dumps(of).encode()).hexdigest()
    done = _begin(
        partial, {"source": source_hash, "files_a_shard": FILES_A_SHARD, "job": asdict(job)}
    )
    last, waiting = -1, {}
    bar = tqdm(total=names and len(names), unit="file", desc="mapping", disable=not progress)
    with bar, _submitting(workers, scheduler) as (submit, width):

        def collect(most: int):
            while len(waiting) > most:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    shard = future.result()
                    _keep(partial / f"{waiting.pop(future):06}.npz", shard)
                    bar.update(len(shard.files) + len(shard.rejected))

        for last, files in _shards(source, names, done, job.options.most_bytes + 1):
            if files:
                waiting[submit(map_files, job, files)] = last
                collect(2 * max(width(), 1) - 1)
            else:
                bar.update(FILES_A_SHARD)
        collect(0)
    if last < 0:
        rmtree(partial)
        raise DataNotFound(f"{source}: holds no MIDI file ({', '.join(ENDINGS)})")
    corpus = _merge([partial / f"{number:06}.npz" for number in range(last + 1)], folder, job)
    rmtree(partial)
    return corpus


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _begin(partial: Path, identity: dict) -> set[int]:
    """Makes the folder of shards, or compares what it was begun with; returns the numbers of those that are done."""
    check_place(partial, {path.name for form in _SHARDS for path in partial.glob(form)})
    begun, text = partial / "run.json", json.dumps(identity, indent=1)
    done = {int(path.stem) for path in partial.glob("[0-9]*.npz") if is_zipfile(path)}
    if done and not (begun.exists() and begun.read_text(encoding="utf-8") == text):
        raise LakhnesError(
            f"{partial}: was begun from other files or with other options; use the same, or remove it"
        )
    write_file(begun, text)
    return done


def _keep(path: Path, shard: Shard) -> None:
    arrays = {part: getattr(shard.songs, part) for part in LakhSplit.PARTS} | {
        "counts": shard.counts
    }
    said = json.dumps(
        {"names": shard.songs.names, "files": shard.files, "rejected": shard.rejected}
    )
    with replacing(path) as temporary:
        np.savez(temporary, said=np.frombuffer(said.encode(), np.uint8), **arrays)


def _load(path: Path) -> Shard:
    try:
        with np.load(path, allow_pickle=False) as kept:
            said = json.loads(kept["said"].tobytes())
            songs = LakhSplit("", said["names"], *(kept[part] for part in LakhSplit.PARTS))
            return Shard(songs, kept["counts"], said["files"], said["rejected"])
    except Exception as error:  # whatever NumPy meets in a damaged file
        raise BadCorpus(
            f"{path}: is missing or damaged ({error}); remove it and begin again"
        ) from error


def _merge(paths: list[Path], folder: Path, job: Job) -> Corpus:
    """All shards as one corpus, songs by content, each content once."""
    shards = [_load(path) for path in paths]
    songs = LakhSplit.joined("", [shard.songs for shard in shards])
    counts = np.concatenate([shard.counts for shard in shards])
    files = [name for shard in shards for name in shard.files]
    rejected = {name: reason for shard in shards for name, reason in shard.rejected.items()}
    content, splits, last = songs.songs["content"], {"train": [], "valid": []}, b""
    for place in sorted(range(len(files)), key=lambda place: (content[place], files[place])):
        if content[place] == last:
            rejected[files[place]] = "duplicate"
            continue
        last = content[place]
        splits["valid" if int(last[:8], 16) % VALID_SHARE == 0 else "train"].append(place)
    total, reasons = counts[splits["train"] + splits["valid"]], Counter(rejected.values())
    settings = {"seed": job.seed, "options": asdict(job.options)}
    drawn = {"examples": int(total["examples"].sum()), "events": int(total["events"].sum())}
    drawn["hours"] = round(int(total["ticks"].sum()) / nes.TICKS_PER_SECOND / 3600, 3)
    drawn["voices"] = dict(zip(nes.VOICES, total["voices"].sum(0).tolist(), strict=True))
    seen = len(files) + len(rejected) - reasons["duplicate"]  # a duplicate is among the files too
    return write_corpus(
        {name: songs.part(places, name, settings) for name, places in splits.items()},
        folder,
        dict(sorted(rejected.items())),
        settings=settings,
        limits={"seconds": job.seconds, "megabytes": job.megabytes},
        files={"seen": seen, "accepted": len(total), "rejected": dict(sorted(reasons.items()))},
        published_examples=drawn,
    )
