"""A process that maps one MIDI file after another, and may be lost without loss: ``python -m`` runs its side.

Paper: §4.2.1. Notebook: 03_lakh_to_nes. Files as found in the wild can crash, hang or exhaust whatever reads them. So
each is read in a child process under limits that the operating system keeps: an alarm clock and a bound on memory. Its
end tells the reason, and the next file gets a new child.
"""

import resource
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from os import dup, dup2, environ, pathsep

import numpy as np

from lakhnes_lib.data.lakh import LakhSplit, pack
from lakhnes_lib.errors import LakhnesError, Rejected
from lakhnes_lib.music import events, mapping

COUNTS = np.dtype([("examples", "i8"), ("events", "i8"), ("ticks", "i8"), ("voices", "i8", 4)])
"""Of a song's published examples: how many, their events and length together, in how many each voice sounds."""
REASONS = ("too_slow", "too_much_memory", "crashed")
"""Why a file is left out, besides those of ``mapping``."""


@dataclass(frozen=True)
class Job:
    """What is done with every file. seconds, megabytes: limits of one file's time and of its process' memory."""

    seed: int = 0
    options: mapping.MappingOptions = mapping.PUBLISHED
    seconds: float = 20.0
    megabytes: int = 500


@dataclass(frozen=True)
class Shard:
    """What came of some files. songs: those accepted; counts: ``COUNTS`` (songs,); files: name of every song's file.

    rejected: file -> reason.
    """

    songs: LakhSplit
    counts: np.ndarray
    files: list[str]
    rejected: dict[str, str] = field(default_factory=dict)


def map_files(job: Job, files: list[tuple[str, bytes | str]]) -> Shard:
    """Maps files given by name and content, or by name and the reason why there is none."""
    if getattr(_mine, "job", None) != job:
        _mine.job, _mine.child = job, Child(job)
    songs, counts, names, rejected = [], [], [], {}
    for name, data in files:
        found = data if isinstance(data, str) else _mine.child.ask(name, data)
        if isinstance(found, str):
            rejected[name] = found
        else:
            songs.append(found[0])
            counts.append(found[1])
            names.append(name)
    return Shard(pack(songs), np.array(counts, COUNTS), names, rejected)


_mine = threading.local()  # each thread that maps keeps a child of its own


class Child:
    """The parent's side: starts the process when it is needed, and again after one was lost."""

    def __init__(self, job: Job):
        self.job, self.process = job, None

    def ask(self, name: str, data: bytes):
        """Candidates and counts of a file, or the reason for its rejection."""
        if self.process is None:
            self._start()
        with suppress(EOFError, OSError):
            self.questions.send((name, data))
            return self.answers.recv()
        return "too_slow" if self.stop() == -signal.SIGALRM else "crashed"

    def _start(self) -> None:
        # Threads would count against the memory.
        alone = {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": pathsep.join(sys.path),
        }
        command = [sys.executable, "-m", "lakhnes_lib.data.mapping_worker"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        # A session of its own: Ctrl-C is the parent's to answer.
        self.process = subprocess.Popen(
            command, env=environ | alone, start_new_session=True, **pipes
        )
        self.questions = Connection(dup(self.process.stdin.fileno()), readable=False)
        self.answers = Connection(dup(self.process.stdout.fileno()), writable=False)
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.questions.send(self.job)
            self.answers.recv()
        except (EOFError, OSError) as error:
            raise LakhnesError(
                f"a process to read files in cannot be started (it ended with {self.stop()})"
            ) from error

    def stop(self) -> int:
        """Ends the process, and tells how it ended: its exit code, or minus the signal that killed it."""
        self.questions.close()
        self.answers.close()
        process, self.process = self.process, None
        return process.wait()

    def __del__(self):
        if self.process is not None:
            self.stop()


def serve() -> None:
    """The child's side: a ``Job``, then files, until the parent is gone."""
    questions, answers = Connection(dup(0), writable=False), Connection(dup(1), readable=False)
    dup2(2, 1)  # what a library prints is no answer
    with suppress(EOFError, BrokenPipeError):
        job = questions.recv()
        with suppress(OSError, ValueError):  # not every system has this limit
            resource.setrlimit(resource.RLIMIT_AS, (job.megabytes << 20, resource.RLIM_INFINITY))
        answers.send(None)
        while True:
            name, data = questions.recv()
            signal.setitimer(signal.ITIMER_REAL, job.seconds)
            found = _map(job, name, data)
            signal.setitimer(signal.ITIMER_REAL, 0)
            answers.send(found)


def _map(job: Job, name: str, data: bytes):
    try:
        kept = mapping.candidates_of(data, name.rpartition("/")[2].rpartition(".")[0], job.options)
        found = mapping.examples(kept, job.seed, options=job.options)
        if not found:
            return "nothing_left"
        counts = (
            len(found),
            sum(len(events.encode(score)) for score in found),
            sum(score.length for score in found),
            np.sum(
                [np.bincount(np.unique(score.notes["voice"]), minlength=4) for score in found],
                axis=0,
            ),
        )
        return kept, counts
    except Rejected as error:
        return error.reason
    except MemoryError:
        return "too_much_memory"


if __name__ == "__main__":
    serve()
