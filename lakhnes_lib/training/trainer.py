"""Training and fine-tuning: the run around the steps, from a packed corpus to the best weights.

Paper: §5 and §5.1. Notebook: 05_training. A single step is in ``learner.py``.
Training stops early when valid gets no better, and keeps the weights that were best on valid.
Differences from the paper: the optimiser, schedule and kind of stream are the profile's choice. A
run that was killed goes on from its last snapshot, on a CPU with the losses of one that was not.
Several processes may train one model (``models/processes.py``): the first of them writes the files.
"""

import json
from contextlib import nullcontext
from math import inf
from pathlib import Path
from statistics import fmean
from time import monotonic

import torch
from tqdm.auto import tqdm

from lakhnes_lib.data.streams import Streams
from lakhnes_lib.errors import BadCheckpoint, LakhnesError
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.files import interrupts, locked, write_file
from lakhnes_lib.models import checkpoints, processes
from lakhnes_lib.models.devices import choose_device, without_denormals
from lakhnes_lib.models.language_model import LanguageModel
from lakhnes_lib.music import augmentation
from lakhnes_lib.profiles import Profile
from lakhnes_lib.training import snapshots
from lakhnes_lib.training.learner import Learner, first_model
from lakhnes_lib.training.optimisers import learning_rate_share

LOG_EVERY = 10
"""Steps a line of the log."""
_COUNTS = ("step", "events", "seconds", "best", "best_step", "since_best", "window")


class TrainingRun:
    """One run in its folder: ``log.jsonl``, ``snapshot.pt``, and ``best/``, a checkpoint.

    step, events, seconds: how far it has come. best: lowest loss on valid, in nats, infinite before
    the first evaluation; best_step: when; since_best: evaluations after it. rate: the last step's
    learning rate as a share of the highest. window: losses since the log's last line.
    """

    def __init__(self, model: LanguageModel, profile: Profile, name: str, corpus, folder, device):
        self.settings, self.measured = profile.training[name], profile.evaluation
        self.folder, self.device = Path(folder), device
        settings, seed = self.settings, profile.seed + self.settings.seed
        how = settings.augment, seed, settings.draws, settings.train_songs
        songs = augmentation.songs_by_epoch(corpus["train"], *how)
        rows = settings.batch * settings.accumulate * processes.count()
        self.streams = Streams(songs, rows, settings.segment, seed, settings.streams)
        self.valid = corpus["valid"].framed()
        if settings.valid_songs:
            self.valid = self.valid[:: -(-len(self.valid) // settings.valid_songs)]
        self.learner = Learner(model, settings, device)
        self.step, self.events, self.seconds, self.rate = 0, 0, 0.0, 0.0
        self.best, self.best_step, self.since_best = inf, 0, 0
        self.window: list[float] = []
        self.details = {"profile": profile.name, "seed": seed, "data": corpus.fingerprint}
        self.details |= {"training": settings.model_dump()}
        if processes.count() > 1:
            self.details["training"]["processes"] = processes.count()

    @property
    def model(self) -> LanguageModel:
        """The model that is trained."""
        return self.learner.model

    @property
    def progress_in_steps(self) -> float:
        """Steps taken. Where the profile gives minutes, the share of them spent counts as so many
        of the profile's steps, if that is more."""
        minutes = self.settings.minutes
        by_clock = self.settings.steps * self.seconds / (60 * minutes) if minutes else 0.0
        return max(self.step, by_clock)

    def go(self, max_minutes: float | None = None, progress: bool = True) -> None:
        """Trains to the last step, to early stopping, or for so many minutes.

        It ends with a snapshot, after Ctrl-C too, which waits for the end of the step.
        Raises LakhnesError if the loss is lost; the snapshot is then the last good one.
        """
        settings, now = self.settings, monotonic()
        began, saved = now - self.seconds, -inf  # a snapshot at once: a run can always be resumed
        most = inf if max_minutes is None else 60 * max_minutes
        is_stopped = most <= 0
        shown = dict(total=settings.steps, initial=self.step, desc="training", unit="step")
        self.model.train()
        with (
            tqdm(**shown, disable=not progress, smoothing=0.1) as bar,
            interrupts("after this step") as interrupted,
            without_denormals(),
        ):
            while not self.is_over and not is_stopped:
                self.train_step()
                # All processes go by the first one's clock, and stop when one is to stop.
                stops = bool(interrupted) or monotonic() - now >= most
                clocks = processes.gather((monotonic() - began, stops))
                self.seconds, is_stopped = clocks[0][0], any(stops for _, stops in clocks)
                bar.update()
                is_last = self.progress_in_steps >= settings.steps
                if self.step % LOG_EVERY == 0 or is_last:
                    speed, loss = self.events / max(self.seconds, 1e-9), fmean(self.window)
                    bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} events/s")
                    self._log(train_loss=round(loss, 5), rate=self.rate, speed=round(speed))
                    self.window = []
                if self.step % settings.evaluate_every == 0 or is_last:
                    self.evaluate()
                if self.seconds - saved > 60 * settings.snapshot_minutes:
                    self.snapshot()
                    saved = self.seconds
            self.snapshot()

    @property
    def is_over(self) -> bool:
        """Whether the last step is taken, or valid no longer gets better."""
        is_at_end = self.progress_in_steps >= self.settings.steps
        return is_at_end or self.since_best >= self.settings.patience

    def train_step(self) -> None:
        """One step of the learner, at the rate of this moment."""
        segment, settings = next(self.streams), self.settings
        rate = learning_rate_share(self.progress_in_steps, settings)
        # Warm-up goes by steps, whatever the clock says: the first steps may take long.
        self.rate = min(rate, (self.step + 1) / max(1, settings.warmup))
        try:
            self.window.append(self.learner.step(segment, self.rate))
        except LakhnesError as error:
            raise LakhnesError(f"{self.folder}: step {self.step + 1}: {error}") from None
        self.step += 1
        self.events += int((segment.targets >= 0).sum())

    def evaluate(self, progress: bool = False) -> None:
        """Measures valid, and saves the weights if they are the best so far."""
        model = self.learner.measured_model
        with self.learner.autocast():
            valid = perplexity.exact(model, self.valid, progress=progress, **self.measured.segments)
        self._log(valid_loss=round(valid.nats, 5))
        self.since_best += 1
        if valid.nats < self.best:
            self.best, self.best_step, self.since_best = valid.nats, self.step, 0
            metrics = {"valid_perplexity": valid.perplexity, "valid_targets": valid.targets}
            metrics |= {"step": self.step}
            if processes.rank() == 0:
                checkpoints.save(model, self.folder / "best", metrics=metrics, **self.details)

    def _log(self, **values) -> None:
        if processes.rank() > 0:
            return
        row = {"step": self.step, "events": self.events, "seconds": round(self.seconds, 1)} | values
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def snapshot(self) -> None:
        """Saves everything that ``restore`` needs, in one move."""
        values = {
            "config": self.model.config,
            "details": self.details,
            "streams": self.streams.position,
            "counts": {name: getattr(self, name) for name in _COUNTS},
            "learner": self.learner.state_dict(),
        }
        if processes.rank() == 0:
            snapshots.write(self.folder, values)

    def restore(self) -> None:
        """Goes back to the snapshot, and drops log lines written after it.

        Raises BadCheckpoint if it is damaged, LakhnesError if it is of other settings.
        """
        saved = snapshots.read(self.folder)
        if saved["details"] != self.details or saved["config"] != self.model.config:
            reason = "was begun with another profile, seed or corpus; resume with the same ones"
            raise LakhnesError(f"{self.folder}: {reason}")
        try:
            self.learner.load_state_dict(saved["learner"])
            self.streams.position = saved["streams"]
            for name in _COUNTS:
                setattr(self, name, type(getattr(self, name))(saved["counts"][name]))
            if not (self.folder / "best").exists():
                self.best = inf
            path = self.folder / "log.jsonl"
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
            earlier = [line for line in lines if json.loads(line)["step"] <= self.step]
            processes.gather(None)  # nobody writes before all have read
            if processes.rank() == 0:
                write_file(path, "".join(earlier))
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            reason = f"snapshot.pt or log.jsonl is damaged ({str(error)[:100]!r})"
            raise BadCheckpoint(f"{self.folder}: {reason}") from None


def train(
    profile: Profile,
    corpus,
    folder,
    *,
    model: str = "transformer_xl",
    start=None,
    resume: bool = False,
    max_minutes: float | None = None,
    device: str | None = None,
    progress: bool = True,
) -> TrainingRun:
    """Trains one of a profile's models on a corpus, in a folder; returns the finished run.

    model: a name of the profile's ``models`` and ``training``; start: a checkpoint folder to
    fine-tune from, which stays the run's best until a step beats it; resume: go on from the
    folder's snapshot; max_minutes: stop in good order after so long.
    Processes that ``torchrun`` has started anew after one was lost resume by themselves.
    Raises LakhnesError if the folder already holds a run and ``resume`` is not set, or if there is
    none to resume.

    >>> import tempfile
    >>> import lakhnes_lib as nes
    >>> profile, corpus = nes.load_profile("smoke"), nes.load_corpus("songbook")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = nes.train(profile, corpus, folder, max_minutes=0.01, progress=False)
    >>> run.step > 0
    True
    """
    folder = Path(folder)
    if model not in profile.models or model not in profile.training:
        names = ", ".join(profile.models)
        raise LakhnesError(f"profile {profile.name}: has no model {model!r}, only {names}")
    resume = resume or (processes.is_restarted() and snapshots.exists(folder))
    if (snapshots.exists(folder) or (folder / "best").exists()) and not resume:
        reason = "already holds a training run; resume it, or choose another folder"
        raise LakhnesError(f"{folder}: {reason}")
    if resume and not snapshots.exists(folder):
        raise LakhnesError(f"{folder}: holds no snapshot to resume from")
    processes.gather(None)  # nobody writes before all have looked
    torch.manual_seed(profile.seed + profile.training[model].seed)
    built = first_model(profile, model, start)
    if processes.rank() > 0:  # all begin with the same weights, and drop other units
        torch.manual_seed(torch.initial_seed() + 2**32 * processes.rank())
    folder.mkdir(parents=True, exist_ok=True)
    run = TrainingRun(built, profile, model, corpus, folder, choose_device(device))
    writes = processes.rank() == 0
    with locked(folder, "another process is training there") if writes else nullcontext():
        if resume:
            run.restore()
        else:
            (folder / "log.jsonl").unlink(missing_ok=True)
            if start:
                run.evaluate(progress)  # what no step beats remains the best
        run.go(max_minutes, progress)
    return run
