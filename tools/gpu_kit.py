"""One row of Table 2 on a GPU that is lent for a quarter of an hour: packed here, trained there.

    python tools/gpu_kit.py pack KIT.tar.xz data/packed/nesmdb-midi [data/packed/lakh5]
    python tools/gpu_kit.py run KIT.tar.xz OUT --row transformer_xl_augmented --minutes 8
    python tools/split_checkpoint.py join OUT/weights FOLDER
    python tools/gpu_kit.py collect OUT…

``pack`` writes the corpora that training reads into one archive. ``run`` needs nothing but that
archive, this repository, PyTorch, NumPy, safetensors, PyYAML, tqdm and pydantic. It works in three
stages, each limited in time, and after each stage OUT holds what there is so far:

1. ``checks.json``: does the fused attention take the bias of relative positions, does the compiled
   step work, how many events of training a second at three batch sizes, how much memory.
2. ``log.jsonl`` and ``weights/``: the row is trained by the clock. Whenever valid gets better, the
   weights are written again, in parts of 15 MB with 8 bits a weight, or 16 if one part holds all.
3. ``results.json``: perplexity on test and valid by every protocol.

``collect`` writes what several folders OUT hold of stages 1 to 3 to results/gpu.json.

A row is a name of ``models`` in the profile, or ``transformer_xl_lakh``, which spends
``--lakh-minutes`` on Lakh first. A run that is stopped leaves what it has written. Where one
command may last only so long, ``--seconds`` ends it in good order before, and the same command
with the same ``--work`` folder goes on. A row whose machine was lost goes on by ``--start`` from
the weights that came back, joined; ``collect`` adds up the goes of a row.
"""

import argparse
import json
import shutil
import sys
import tarfile
import tempfile
import threading
import time
import traceback
from functools import partial
from pathlib import Path

import gpu_checks
import torch
from machine import circumstances
from one_line_errors import one_line_errors
from split_checkpoint import split

from lakhnes_lib import profiles
from lakhnes_lib.data.corpus import Split, open_corpus, write_corpus
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.files import write_file
from lakhnes_lib.listening import results
from lakhnes_lib.models import checkpoints
from lakhnes_lib.training import snapshots, trainer

ROWS = {
    # name: (model of the profile for NES-MDB, model of the profile for Lakh before it)
    "transformer_xl": ("transformer_xl_minutes", None),
    "transformer_xl_augmented": ("transformer_xl_minutes_augmented", None),
    "transformer_xl_lakh": ("transformer_xl_minutes_augmented", "lakh_minutes"),
    "modern_decoder": ("modern_decoder", None),
    "mini": ("mini_minutes", None),
    # Of profile laptop:
    "laptop_transformer_xl": ("transformer_xl_hours", None),
    "laptop_transformer_xl_augmented": ("transformer_xl_hours_augmented", None),
    "laptop_transformer_xl_lakh": ("transformer_xl_hours_augmented", "lakh_hours"),
}
CHECK_SECONDS = 60
PART_MEGABYTES = 15.0
WATCH_SECONDS = 5


def pack(archive: Path, corpora: list[Path]) -> None:
    """Writes the corpora, each below its folder's name, into one archive compressed with xz.

    Velocity and timbre changes inside notes, two thirds of NES-MDB's bytes, are left out: training
    does not read them. The copy has another fingerprint; ``copy_of`` in its manifest names the
    original's.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, tarfile.open(archive, "w:xz") as file:
        for folder in corpora:
            corpus = open_corpus(folder)  # a damaged corpus is noticed here
            if all(isinstance(split_, Split) for split_ in corpus.splits.values()):
                splits = {name: without_controls(part) for name, part in corpus.splits.items()}
                folder = Path(temporary) / folder.name
                write_corpus(splits, folder, copy_of=corpus.fingerprint)
            file.add(folder, folder.name)
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")


def without_controls(part: Split) -> Split:
    """The same songs without changes of velocity and timbre inside notes."""
    songs = part.songs.copy()
    songs["controls"] = 0
    return Split(part.name, part.names, part.notes, part.controls[:0], songs)


class Kit:
    """One row's checks, training and evaluation, in a folder ``out``."""

    def __init__(self, chosen: argparse.Namespace, work: Path):
        self.started = time.monotonic()
        self.out, self.row, self.work = chosen.out, chosen.row, work
        self.profile, self.seconds = profiles.load(chosen.profile), chosen.seconds
        self.device = trainer.choose_device(chosen.device)
        self.device_name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        self.out.mkdir(parents=True, exist_ok=True)
        with tarfile.open(chosen.archive) as file:
            file.extractall(self.work, filter="data")
        self.corpora = [open_corpus(path.parent) for path in self.work.glob("*/corpus.json")]

    def corpus(self, lakh: bool):
        """The corpus of the archive that is Lakh's, or the one that is not."""
        for corpus in self.corpora:
            if ("test" not in corpus) == lakh:
                return corpus
        raise LakhnesError(f"the archive holds no corpus of {'Lakh' if lakh else 'NES music'}")

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
        } | values
        write_file(self.out / name, json.dumps(values, indent=1) + "\n")
        print(name, json.dumps(values), flush=True)

    # --- stage 1

    def checks(self, seconds: float) -> None:
        """What this machine can do; a check that fails says why, and the others go on."""
        about = self.profile, ROWS[self.row][0]
        checks = {"fused_attention": partial(gpu_checks.fused_attention, *about, self.device)}
        if seconds:
            songs = self.corpus(False)["train"]
            checks["speed"] = partial(gpu_checks.speeds, *about, songs, self.device, seconds)
        values: dict = {}
        for name, check in checks.items():
            try:
                values[name] = check()
            except Exception as error:  # whatever it is, it must not cost the lease
                values[name] = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
            self.write("checks.json", values)

    # --- stage 2

    def train(self, minutes: float, lakh_minutes: float, start: Path | None) -> Path | None:
        """Trains the row by the clock, from ``start`` or after Lakh if it asks for that; the best
        checkpoint, or None if the command's seconds were over before."""
        name, before = ROWS[self.row]
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
        try:
            if (folder / "log.jsonl").exists():
                name = "log.jsonl" if folder.name == ROWS[self.row][0] else "lakh_log.jsonl"
                shutil.copy(folder / "log.jsonl", self.out / name)
            if (folder / "best").exists():
                new = self.out / "weights.new"
                shutil.rmtree(new, ignore_errors=True)
                size = (folder / "best" / "model.safetensors").stat().st_size  # 32 bits a weight
                bits = 16 if size / 2 < PART_MEGABYTES * 2**20 else 8
                split(folder / "best", new, PART_MEGABYTES, bits, device=self.device_name)
                shutil.rmtree(self.out / "weights", ignore_errors=True)
                new.rename(self.out / "weights")
        except (LakhnesError, OSError):
            traceback.print_exc()  # training goes on; the next export may work

    # --- stage 3

    def evaluate(self, folder: Path) -> None:
        """Perplexity on test, then on valid, by every protocol."""
        model = checkpoints.load(folder, self.device)
        settings, values = self.profile.evaluation, {"parameters": model.parameter_count()}
        options = {"segment": settings.segment, "memory_length": settings.memory_length}
        for split_name in ("test", "valid"):
            songs = self.corpus(False)[split_name]
            framed = songs.framed()
            exact = perplexity.exact(model, framed, batch=settings.batch, progress=False, **options)
            values[split_name] = {"exact": exact.perplexity}
            self.write("results.json", values)
            paper = perplexity.paper(model, framed, songs.names, progress=False, **options)
            values[split_name]["paper"] = paper.perplexity
            self.write("results.json", values)
            wholes = [perplexity.whole(songs.score(index)) for index in range(len(songs))]
            alone = perplexity.per_song(model, wholes, batch=settings.batch, progress=False)
            values[split_name]["per_song"] = alone.perplexity
            self.write("results.json", values)


def collect(folders: list[Path]) -> None:
    """Writes results/gpu.json: of each row the checks, the end of training, and perplexities.

    A row of several folders, named in their order, was trained in several goes: its steps, events
    and seconds go on from one to the next.
    """
    rows: dict[str, dict] = {}
    for folder in folders:
        if not (folder / "checks.json").exists():
            raise LakhnesError(f"{folder}: holds no checks.json, so it is nothing that `run` wrote")
        for path in (folder / "checks.json", folder / "results.json"):
            if path.exists():
                values = json.loads(path.read_text(encoding="utf-8"))
                row = rows.setdefault(values.pop("row"), {})
                row |= {key: values[key] for key in values if key != "seconds_since_start"}
        if (folder / "log.jsonl").exists():
            before = row.get("trained", dict.fromkeys(("step", "events", "seconds"), 0))
            lines = open(folder / "log.jsonl", encoding="utf-8").read().splitlines()
            log = [json.loads(line) for line in lines]
            log = [line | {key: line[key] + before[key] for key in before} for line in log]
            row["trained"] = {key: log[-1][key] for key in before}
            row["goes"] = row.get("goes", 0) + 1
            row["valid_curve"] = row.get("valid_curve", []) + [
                {key: line[key] for key in (*before, "valid_loss")}
                for line in log
                if "valid_loss" in line
            ]
        if (folder / "lakh_log.jsonl").exists():
            last = (folder / "lakh_log.jsonl").read_text(encoding="utf-8").splitlines()[-1]
            row["lakh"] = {key: json.loads(last)[key] for key in ("step", "events", "seconds")}
    last = [row.pop("circumstances") for row in rows.values()][-1]
    result = {"name": "gpu", "command": "python tools/gpu_kit.py run KIT.tar.xz OUT --row ROW"}
    result |= {"data_fingerprint": None, **last, "values": {"rows": rows}}
    write_file(results.path_of("gpu"), json.dumps(result, indent=1) + "\n")
    print(results.path_of("gpu"))


@one_line_errors
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack", help="write the archive that the lent machine needs")
    packing.add_argument("archive", type=Path)
    packing.add_argument("corpora", type=Path, nargs="+")
    running = verbs.add_parser("run", help="check the machine, train one row, evaluate it")
    running.add_argument("archive", type=Path)
    running.add_argument("out", type=Path)
    running.add_argument("--row", choices=ROWS, default="transformer_xl_augmented")
    running.add_argument(
        "--minutes", type=float, default=8.0, help="of training on NES-MDB, 0: the checks alone"
    )
    running.add_argument("--lakh-minutes", type=float, default=4.0, help="on Lakh before it")
    running.add_argument(
        "--start", type=Path, help="checkpoint folder to train on, instead of Lakh"
    )
    running.add_argument(
        "--check-seconds", type=float, default=CHECK_SECONDS, help="0: no check of speed"
    )
    running.add_argument("--seconds", type=float, help="end in good order after so many seconds")
    running.add_argument("--work", type=Path, help="folder to go on from [default: a new one]")
    running.add_argument("--profile", default="paper", help="a profile's name or file")
    running.add_argument("--device", help="cpu or cuda [default: cuda if there is one]")
    collecting = verbs.add_parser("collect", help="write results/gpu.json")
    collecting.add_argument("folders", type=Path, nargs="+")
    chosen = parser.parse_args()
    if chosen.verb == "pack":
        pack(chosen.archive, chosen.corpora)
        return 0
    if chosen.verb == "collect":
        collect(chosen.folders)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        kit = Kit(chosen, chosen.work or Path(temporary))
        kit.checks(chosen.check_seconds)
        if chosen.minutes:
            best = kit.train(chosen.minutes, chosen.lakh_minutes, chosen.start)
            if best is None:
                print(f"not finished: the same command with --work {kit.work} goes on")
            else:
                kit.evaluate(best)
    return 0


if __name__ == "__main__":
    sys.exit(main())
