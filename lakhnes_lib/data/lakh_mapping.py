"""Maps thousands of MIDI files to a corpus of candidates: resumable, and always to the same bytes.

Paper: §4.2.1. Notebook: 03_lakh_to_nes. Files are handed to workers in shards, as bytes, so that an
archive is never unpacked and a cluster needs no common disk. Each finished shard is saved in a
folder beside the corpus. At the end all songs are sorted by their files' content. So neither the
number of workers nor the order of their answers nor an interruption changes the result.
Differences from the paper: songs are split into train and valid by their content.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import asdict
from hashlib import sha256
from itertools import islice
from pathlib import Path
from shutil import rmtree

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from tqdm.auto import tqdm

from lakhnes_lib.data import archives, shards
from lakhnes_lib.data.corpus import NAMES, Corpus, split_of, write_corpus
from lakhnes_lib.data.lakh import LakhSplit
from lakhnes_lib.data.mapping_worker import map_files
from lakhnes_lib.errors import BadArchive, DataNotFound, LakhnesError
from lakhnes_lib.files import check_target
from lakhnes_lib.music import nes
from lakhnes_lib.music.filters import PUBLISHED

ENDINGS = (".mid", ".midi", ".rmi")
FILES_A_SHARD = 64
MOST_BYTES = 200_000_000_000
"""What an archive may unpack to: the whole of Lakh is 7 GB."""


def map_corpus(
    source, folder, seed=0, options=PUBLISHED, *, workers=-1, scheduler=None, progress=True
) -> Corpus:
    """Packs the candidates of all MIDI files of a folder or an archive (tar, zip).

    folder: the corpus to write; the shards are in ``NAME.partial`` beside it until all is done.
    seed, options: those of the published examples. workers: processes, -1 for all cores.
    scheduler: the address of a Dask scheduler, whose workers are used instead.
    A file that gives nothing is named in the manifest with its reason: one of ``filters.REASONS``;
        ``too_much_memory``; ``crashed`` (a fault of this library); ``no_access`` (it cannot be
        opened, or is encrypted); ``duplicate`` (another file has its content).
    Nothing stops the run, and after an interruption the same call goes on.
    Raises DataNotFound if there is no MIDI file, BadArchive, OutOfSpace, and LakhnesError if
    ``NAME.partial`` was begun from another source or with other options, or if one of the two
    folders holds anything else.

    Example: ``map_corpus("lmd_full.tar.gz", "lakh")["train"].candidates(0)``
    """
    source, folder, job = Path(source), Path(folder), (seed, options)
    if not source.exists():
        raise DataNotFound(f"{source}: there is no such folder or archive")
    if not (source.is_dir() or archives.is_archive(source)):
        raise BadArchive(f"{source}: is neither a folder nor an archive (tar, zip) of MIDI files")
    check_target(folder, NAMES)  # before the work
    partial = folder.with_name(f"{folder.name}.partial")
    # One byte more than is allowed is enough to see that a file is too large.
    files, number_of_files, identity = _open_source(source, options.most_bytes + 1)
    settings = {"seed": seed, "options": asdict(options)}
    described = {"source": identity, "files_a_shard": FILES_A_SHARD, "job": settings}
    origin = sha256(json.dumps(described).encode()).hexdigest()
    shards.check_folder(partial)
    mapped = []
    bar = tqdm(total=number_of_files, unit="file", desc="mapping", disable=not progress)
    with bar, _workers(workers, scheduler) as (submit, count_workers):
        for songs, details in _map(files, partial, origin, job, submit, count_workers):
            mapped.append((songs, details))
            bar.update(len(details["files"]) + len(details["rejected"]))
    if not mapped:
        raise DataNotFound(f"{source}: holds no MIDI file ({', '.join(ENDINGS)})")
    corpus = _merge(mapped, folder, settings)
    rmtree(partial)
    return corpus


def _map(files, partial, origin, job, submit, count_workers) -> Iterator[tuple[LakhSplit, dict]]:
    """Each shard of the files, from the folder of shards if it is there, else mapped and saved."""
    waiting: dict[futures.Future, int] = {}  # the number of each shard that is being mapped
    for number, shard_files in enumerate(iter(lambda: list(islice(files, FILES_A_SHARD)), [])):
        if shard := shards.load(partial, number, origin):
            yield shard
            continue
        waiting[submit(map_files, job, shard_files)] = number
        if len(waiting) >= 2 * count_workers():  # never more of an archive in memory than this
            yield from _save_finished(waiting, partial, origin)
    while waiting:
        yield from _save_finished(waiting, partial, origin)


def _save_finished(waiting, partial, origin) -> Iterator[tuple[LakhSplit, dict]]:
    """Waits until a shard is mapped; saves and yields all that are."""
    for future in futures.wait(waiting, return_when=futures.FIRST_COMPLETED).done:
        songs, details = future.result()
        shards.save(partial, waiting.pop(future), songs, details | {"origin": origin})
        yield songs, details


# What is read


def _open_source(source: Path, most_bytes: int) -> tuple[Iterator, int | None, object]:
    """A source's files (name, and bytes or the reason why there are none), their number if it is
    known, and what tells this source from any other: names and sizes, or an archive's sha256."""
    if not source.is_dir():
        return _read_archive(source, most_bytes), None, archives.sha256(source)
    names = _list(source)
    paths = [source / name for name in names]
    sizes = [path.stat().st_size if path.is_file() else -1 for path in paths]
    return _read(source, names, most_bytes), len(names), [names, sizes]


def _is_wanted(name: str) -> bool:
    is_hidden = any(part.startswith(".") and part.strip(".") for part in name.split("/"))
    return name.lower().endswith(ENDINGS) and not is_hidden


def _list(folder: Path) -> list[str]:
    """Names of the MIDI files below a folder, and of the folders in it that cannot be read."""
    denied: list[OSError] = []
    names = [
        Path(root, name).relative_to(folder).as_posix()
        for root, _, names in os.walk(folder, onerror=denied.append)
        for name in names
    ]
    closed = [Path(error.filename).relative_to(folder).as_posix() for error in denied]
    return sorted([name for name in names if _is_wanted(name)] + closed)


def _read(folder: Path, names: list[str], most_bytes: int) -> Iterator[tuple[str, bytes | str]]:
    for name in names:
        path, data = folder / name, "no_access"
        with suppress(OSError):
            if path.is_file():  # a pipe may never answer
                with open(path, "rb") as file:
                    data = file.read(most_bytes)
        yield name, data


def _read_archive(archive: Path, most_bytes: int) -> Iterator[tuple[str, bytes | str]]:
    """The MIDI files in an archive; a name that an earlier file has gets a number."""
    seen: Counter = Counter()
    for name, data in archives.contents(archive, MOST_BYTES, most_bytes):
        if _is_wanted(name):
            seen[name] += 1
            numbered = name if seen[name] == 1 else f"{name} ({seen[name]})"
            yield numbered, "no_access" if data is None else data


# Who maps it


@contextmanager
def _workers(count: int, scheduler: str | None) -> Iterator[tuple[Callable, Callable]]:
    """Yields a function that hands a call to a worker and returns its Future, and a function that
    returns the number of workers."""
    if scheduler is None:
        count = joblib.effective_n_jobs(count)
        # Ctrl-C is for the process that hands out the work. Processes without work end by
        # themselves, also when that one was killed.
        options = dict(timeout=10, initializer=signal.signal)
        options |= dict(initargs=(signal.SIGINT, signal.SIG_IGN))
        if count == 1:
            pool = futures.ThreadPoolExecutor(count)  # this process does the work itself
        else:
            pool = get_reusable_executor(count, **options)
        try:
            yield pool.submit, lambda: count
        except futures.BrokenExecutor:
            rule = "a process that maps was killed; the same command goes on from there"
            raise LakhnesError(rule) from None
        finally:
            pool.shutdown(wait=False)
        return
    from distributed import Client  # here, since it takes long to import

    try:
        client = Client(scheduler)
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error)[:120]
        raise LakhnesError(f"{scheduler}: no Dask scheduler answers there ({reason})") from None
    with client:
        yield client.get_executor().submit, lambda: max(1, sum(client.nthreads().values()))


# What becomes of it


def _merge(mapped: list[tuple[LakhSplit, dict]], folder: Path, settings: dict) -> Corpus:
    """All shards as one corpus, songs by content, each content once."""
    rows, rejected = [], {}
    for songs, details in mapped:
        content = songs.songs["content"].tolist()
        columns = content, details["files"], details["counts"], range(len(songs))
        rows += [(*row, songs) for row in zip(*columns, strict=True)]
        rejected |= details["rejected"]
    seen = len(rows) + len(rejected)
    splits: dict[str, list[tuple[LakhSplit, int]]] = {"train": [], "valid": []}
    counts, last = np.zeros(7, np.int64), b""
    for content, file, drawn, index, songs in sorted(rows, key=lambda row: row[:2]):
        if content == last:
            rejected[file] = "duplicate"
            continue
        last = content
        counts += drawn
        splits[split_of(content)].append((songs, index))

    examples, events, ticks, *voices = counts.tolist()
    reasons = Counter(rejected.values())
    files = {"seen": seen, "accepted": sum(map(len, splits.values()))}
    files |= {"rejected": dict(sorted(reasons.items()))}
    hours = round(ticks / nes.TICKS_PER_SECOND / 3600, 3)
    drawn = {"examples": examples, "events": events, "hours": hours}
    drawn |= {"voices": dict(zip(nes.VOICES, voices, strict=True))}
    packed = {name: LakhSplit.gathered(songs, name, settings) for name, songs in splits.items()}
    details = {"settings": settings, "files": files, "published_examples": drawn}
    return write_corpus(packed, folder, dict(sorted(rejected.items())), **details)
