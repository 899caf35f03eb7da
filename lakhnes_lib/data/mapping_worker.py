"""The process that maps one MIDI file after another; a file that crashes it costs nothing else.

Paper: §4.2.1. Notebook: 03_lakh_to_nes. Files as found in the wild can crash, hang or exhaust
whatever reads them. So each file is read in a child process, under limits that the operating system
keeps: a timer and a bound on memory. How the child ended tells the reason, and the next file gets a
new child. ``python -m lakhnes_lib.data.mapping_worker`` runs the child's side.
"""

import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import PurePosixPath

import numpy as np

from lakhnes_lib.data.lakh import LakhSplit, pack
from lakhnes_lib.errors import LakhnesError, Rejected
from lakhnes_lib.music import events, filters, mapping


@dataclass(frozen=True)
class MappingJob:
    """How every file is mapped. seed, options: those of the published examples. seconds, megabytes:
    limits of the time for one file and of the memory of the process that reads it."""

    seed: int = 0
    options: filters.MappingOptions = filters.PUBLISHED
    seconds: float = 20.0
    megabytes: int = 500


def map_files(job: MappingJob, files: list[tuple[str, bytes | str]]) -> tuple[LakhSplit, dict]:
    """Maps files given by name and content, or by name and the reason why there is no content.

    Returns the songs that were accepted, and the details of the shard: ``files``, the name of each
    song's file; ``counts``, as ``_map`` gives them for each; ``rejected``, file -> reason.
    """
    if getattr(_thread, "job", None) != job:
        _thread.job, _thread.child = job, Child(job)
    answers = {
        name: data if isinstance(data, str) else _thread.child.ask(name, data)
        for name, data in files
    }
    rejected = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
    accepted = {name: answer for name, answer in answers.items() if name not in rejected}
    songs, counts = zip(*accepted.values(), strict=True) if accepted else ((), ())
    return pack(songs), {"files": list(accepted), "counts": counts, "rejected": rejected}


_thread = threading.local()
"""Each thread that maps has its own child."""


class Child:
    """The parent's side of a child process, which is started when it is first asked, and again
    after it was lost. Questions and answers go through a pipe."""

    def __init__(self, job: MappingJob):
        self.job, self.process = job, None

    def ask(self, name: str, data: bytes):
        """A file's candidates and counts, or the reason why it is left out."""
        if self.process is None:
            self._start()
        try:
            return self._exchange((name, data))
        except (EOFError, OSError):
            return "too_slow" if self.stop() == -signal.SIGALRM else "crashed"

    def _start(self) -> None:
        variables = {"PYTHONPATH": os.pathsep.join(sys.path)}
        variables |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # less memory
        self.pipe, other_end = Pipe()
        with other_end:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lakhnes_lib.data.mapping_worker", str(other_end.fileno())],
                env=os.environ | variables,
                pass_fds=[other_end.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C goes to the parent alone
            )
        try:
            self._exchange(self.job)
        except (EOFError, OSError):
            raise LakhnesError(
                f"a process to read files in cannot be started (it ended with {self.stop()})"
            ) from None

    def _exchange(self, question):
        self.pipe.send(question)
        return self.pipe.recv()

    def stop(self) -> int:
        """Ends the process. Returns its exit code, or minus the signal that killed it."""
        process, self.process = self.process, None
        self.pipe.close()
        return process.wait()

    def __del__(self):
        if self.process is not None:
            self.stop()


def serve(pipe: Connection) -> None:
    """The child's side: receives a ``MappingJob``, then files, until the parent is gone."""
    os.dup2(2, 1)  # what a library prints does not get into the command's output
    with suppress(EOFError, ConnectionError):
        job = pipe.recv()
        with suppress(OSError, ValueError):  # not every system has this limit
            resource.setrlimit(resource.RLIMIT_AS, (job.megabytes << 20, resource.RLIM_INFINITY))
        pipe.send(None)
        while True:
            name, data = pipe.recv()
            signal.setitimer(signal.ITIMER_REAL, job.seconds)
            result = _map(job, name, data)
            signal.setitimer(signal.ITIMER_REAL, 0)
            pipe.send(result)


def _map(job: MappingJob, name: str, data: bytes):
    """A song's candidates and counts, or the reason why there is none.

    The counts are of its published examples: how many, their events and their ticks together, and
    in how many P1, P2, TR and NO sound.
    """
    try:
        song = filters.candidates_of(data, PurePosixPath(name).stem, job.options)
        examples = mapping.examples(song, job.seed, options=job.options)
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


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
