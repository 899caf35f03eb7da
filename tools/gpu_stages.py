"""The stages of gpu_kit.py on the lent machine: checks, training by the clock, evaluation.

After each stage, and during training whenever valid gets better, the folder OUT holds what there is
so far. Every JSON file says by itself which row it is of, on which device, with which versions and
seed, on which data.
"""

import argparse
import json
import shutil
import threading
import time
import traceback
from pathlib import Path

import gpu_checks
import torch
from machine import circumstances
from split_checkpoint import split

from lakhnes_lib import profiles
from lakhnes_lib.data.corpus import Corpus, open_corpus
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.files import write_file
from lakhnes_lib.models import checkpoints
from lakhnes_lib.training import snapshots, trainer

WATCH_SECONDS = 5


class Kit:
    """One row's checks, training and evaluation, in a folder ``out``."""

    def __init__(self, chosen: argparse.Namespace, models: tuple[str, str | None], work: Path):
        """models: the profile's name for NES music, and the one for Lakh before it, or None; work:
        where the archive is unpacked."""
        self.started, self.seconds = chosen.started, chosen.seconds
        self.out, self.row, self.work = chosen.out, chosen.row, work
        self.name, self.name_before = models
        self.profile, self.part_megabytes = profiles.load(chosen.profile), chosen.part_megabytes
        self.device = trainer.choose_device(chosen.device)
        is_cuda = self.device.type == "cuda"
        self.device_name = torch.cuda.get_device_name() if is_cuda else "cpu"
        self.corpora = [open_corpus(path.parent) for path in work.glob("*/corpus.json")]
        self.out.mkdir(parents=True, exist_ok=True)
        self.about = self.origin(self.name, lakh=False)
        if self.name_before is not None and chosen.start is None:
            self.about["lakh"] = self.origin(self.name_before, lakh=True)

    def corpus(self, lakh: bool) -> Corpus:
        """The corpus of the archive that is Lakh's, or the one that is not."""
        for corpus in self.corpora:
            if ("test" not in corpus) == lakh:
                return corpus
        raise LakhnesError(f"the archive holds no corpus of {'Lakh' if lakh else 'NES music'}")

    def origin(self, name: str, lakh: bool) -> dict:
        """The seed of a model's training, and the fingerprint of the corpus that it reads: of the
        original, where the archive holds a copy."""
        corpus, settings = self.corpus(lakh), self.profile.training[name]
        fingerprint = corpus.manifest.get("copy_of") or corpus.fingerprint
        return {"seed": self.profile.seed + settings.seed, "data_fingerprint": fingerprint}

    def with_training(self, name: str, settings: profiles.Training) -> profiles.Profile:
        """The profile with other settings for the training of one model."""
        training = self.profile.training | {name: settings}
        return self.profile.model_copy(update={"training": training})

    def write(self, name: str, values: dict) -> None:
        """One JSON file of the results so far."""
        values = {
            "row": self.row,
            "seconds_since_start": round(time.monotonic() - self.started, 1),
            "device": self.device_name,
            "circumstances": circumstances(("numpy", "torch")),
            **self.about,
        } | values
        write_file(self.out / name, json.dumps(values, indent=1) + "\n")
        print(name, json.dumps(values), flush=True)

    # --- stage 1

    def checks(self, seconds: float) -> None:
        """What this machine can do."""
        songs = self.corpus(lakh=False)["train"]
        for known in gpu_checks.checks(self.profile, self.name, songs, self.device, seconds):
            self.write("checks.json", known)

    # --- stage 2

    def train(self, minutes: float, lakh_minutes: float, start: Path | None) -> Path | None:
        """Trains the row by the clock, from ``start`` or after Lakh if it asks for that; the best
        checkpoint, or None if the command's seconds were over before."""
        name, before = self.name, self.name_before
        if before is not None and start is None:
            if not self.train_one(before, lakh_minutes, None, lakh=True):
                return None
            start = self.work / "runs" / before / "best"
        if not self.train_one(name, minutes, start, lakh=False):
            return None
        return self.work / "runs" / name / "best"

    def train_one(self, name: str, minutes: float, start: Path | None, lakh: bool) -> bool:
        """One training run, whose learning rate reaches its end when the minutes are over;
        whether it came to that end."""
        folder = self.work / "runs" / name
        if (folder / "finished").exists():
            return True
        settings = self.profile.training[name].model_copy(update={"minutes": minutes})
        profile = self.with_training(name, settings)
        most_minutes = 1.1 * minutes + 1
        if self.seconds is not None:
            left = self.seconds - (time.monotonic() - self.started)
            most_minutes = min(most_minutes, left / 60)
        stop = threading.Event()
        watcher = threading.Thread(target=self.watch, args=(folder, stop), daemon=True)
        watcher.start()
        try:
            run = trainer.train(
                profile,
                self.corpus(lakh),
                folder,
                model=name,
                start=start,
                resume=snapshots.exists(folder),
                max_minutes=most_minutes,
                device=str(self.device),
                progress=False,
            )
        finally:
            stop.set()
            watcher.join()
            self.export(folder)
        if run.is_over:
            (folder / "finished").touch()
        return run.is_over

    def watch(self, folder: Path, stop: threading.Event) -> None:
        """Writes the weights again each time that valid has become better."""
        last = None
        while not stop.wait(WATCH_SECONDS):
            config = folder / "best" / "config.json"
            if config.exists() and config.stat().st_mtime != last:
                last = config.stat().st_mtime
                self.export(folder)

    def export(self, folder: Path) -> None:
        """The log and the best weights so far, as small files."""
        is_lakh = folder.name != self.name
        try:
            if (folder / "log.jsonl").exists():
                shutil.copy(
                    folder / "log.jsonl", self.out / ("lakh_log.jsonl" if is_lakh else "log.jsonl")
                )
            if (folder / "best").exists():
                new = self.out / "weights.new"
                shutil.rmtree(new, ignore_errors=True)
                size = (folder / "best" / "model.safetensors").stat().st_size  # 32 bits a weight
                bits = 16 if size / 2 < self.part_megabytes * 2**20 else 8
                about = self.about["lakh"] if is_lakh else self.about
                named = {"device": self.device_name, "data": about["data_fingerprint"]}
                count = split(folder / "best", new, self.part_megabytes, bits, **named)
                shutil.rmtree(self.out / "weights", ignore_errors=True)
                new.rename(self.out / "weights")
                print(f"weights: of {folder.name}, parts: {count}, bits: {bits}", flush=True)
        except (LakhnesError, OSError):
            traceback.print_exc()  # training goes on; the next export may work

    # --- stage 3

    def evaluate(self, folder: Path) -> None:
        """Perplexity on test, then on valid, by every protocol, on as many songs as the profile
        says."""
        model = checkpoints.load(folder, self.device)
        settings, values = self.profile.evaluation, {"parameters": model.parameter_count()}
        options = {"segment": settings.segment, "memory_length": settings.memory_length}
        for split_name in ("test", "valid"):
            songs = self.corpus(lakh=False)[split_name]
            framed = songs.framed()[: settings.songs or None]
            names = songs.names[: len(framed)]
            exact = perplexity.exact(model, framed, batch=settings.batch, progress=False, **options)
            values[split_name] = {"exact": exact.perplexity}
            self.write("results.json", values)
            paper = perplexity.paper(model, framed, names, progress=False, **options)
            values[split_name]["paper"] = paper.perplexity
            self.write("results.json", values)
            wholes = [perplexity.whole(songs.score(index)) for index in range(len(framed))]
            alone = perplexity.per_song(model, wholes, batch=settings.batch, progress=False)
            values[split_name]["per_song"] = alone.perplexity
            self.write("results.json", values)
