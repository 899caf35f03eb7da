"""Training and fine-tuning: streams with carried memory, early stopping on valid, and snapshots that lose nothing.

Paper: §5 and §5.1. Notebook: 05_training. Runs from a packed corpus, without any MIDI library.
Differences from the paper: the optimiser, schedule and kind of stream are the profile's choice; a run that was killed
goes on from its last snapshot, on a CPU with the same losses as one that was not.
"""

import dataclasses
import json
import time
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from lakhnes_lib.data.streams import Streams
from lakhnes_lib.errors import BadCheckpoint, BadProfile, LakhnesError
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.files import locked, replacing
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.devices import choose_device, compiled, runs_bf16, without_denormals
from lakhnes_lib.models.language_model import LanguageModel
from lakhnes_lib.music import augmentation
from lakhnes_lib.profiles import Evaluation, Profile, Training
from lakhnes_lib.training import snapshots
from lakhnes_lib.training.optimisers import build_optimisers, learning_rate_share

LOG_EVERY = 10
"""Steps a line of the log."""


class Run:
    """One training run in its folder: ``log.jsonl``, ``snapshot/``, and ``best/``, the best weights by valid."""

    def __init__(
        self,
        model: LanguageModel,
        settings: Training,
        measured: Evaluation,
        corpus,
        folder,
        seed: int,
        device,
    ):
        self.model, self.settings, self.measured = model.to(device), settings, measured
        self.folder, self.device = Path(folder), device
        self.streams = Streams(
            augmentation.songs_by_epoch(
                corpus["train"], settings.augment, seed, settings.draws, settings.train_songs
            ),
            settings.batch * settings.accumulate,
            settings.segment,
            seed,
            settings.streams,
        )
        valid = corpus["valid"].framed()
        self.valid = (
            valid[:: -(-len(valid) // settings.valid_songs)] if settings.valid_songs else valid
        )
        self.optimisers = build_optimisers(self.model, settings)
        self.average = (
            AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
            if settings.average
            else None
        )
        self.bf16 = runs_bf16(device, settings.precision)
        self.step, self.events, self.seconds = 0, 0, 0.0
        self.window: list[float] = []  # losses since the log's last line
        self.best, self.best_step, self.since_best = float("inf"), 0, 0
        self.states: list = [None] * settings.accumulate
        self.details = {
            "data": corpus.fingerprint,
            "seed": seed,
            "training": dataclasses.asdict(settings),
        }
        self._forward = None  # _loss or its compiled version, from the first step on

    # --- one step

    def _loss(self, ids, targets, state):
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.model.target_log_probs(ids, targets, state)

    def _train_step(self) -> float:
        """One optimiser step; returns the mean loss of its targets in nats. Raises LakhnesError if that is lost."""
        settings, segment, batch = self.settings, next(self.streams), self.settings.batch
        ids, targets, fresh = (
            torch.from_numpy(x).to(self.device)
            for x in (segment.ids, segment.targets, segment.fresh)
        )
        count, total = int((segment.targets >= 0).sum()), 0.0
        # Warm-up goes by steps, whatever the clock says: the first steps may take long.
        self.rate = min(
            learning_rate_share(self.place, settings), (self.step + 1) / max(1, settings.warmup)
        )
        for group in (group for optimiser in self.optimisers for group in optimiser.param_groups):
            group["lr"] = group["highest"] * self.rate
        for part in range(self.settings.accumulate):
            rows = slice(part * batch, (part + 1) * batch)
            if self.states[part] is None and settings.compile and self.streams.kind != "segments":
                self.states[part] = self.model.empty(
                    batch, torch.bfloat16 if self.bf16 else torch.float32
                )
            state = self.model.restart(self.states[part], fresh[rows])
            inputs = ids[rows], targets[rows], state
            if self._forward is None:
                self._forward = (
                    compiled(self._loss, self.model, *inputs) if settings.compile else self._loss
                )
            scores, state = self._forward(*inputs)
            self.states[part] = None if self.streams.kind == "segments" else state
            loss = -scores.sum() / count
            loss.backward()
            total += loss.detach()
        length = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        if not (total < 1e4 and length.isfinite()):  # before the weights are lost as well
            raise LakhnesError(
                f"{self.folder}: the loss became {float(total):.6g}, with a gradient of length {float(length):.6g}, "
                f"at step {self.step + 1}; lower the learning rate"
            )
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if self.average:
            self.average.update_parameters(self.model)
        self.step += 1
        self.events += count
        return float(total)

    # --- the whole run

    @property
    def place(self) -> float:
        """Steps taken; where the profile gives minutes, as many as the time spent stands for, if that is more."""
        minutes = self.settings.minutes
        return max(self.step, self.settings.steps * self.seconds / (60 * minutes) if minutes else 0)

    def go(self, max_minutes: float | None = None, progress: bool = True) -> None:
        """Trains to the last step, to early stopping, or for so many minutes; the limit keeps a snapshot, and so does
        Ctrl-C, which waits for the end of the step.

        Raises LakhnesError if the loss is lost; the snapshot is then the last good one.
        """
        settings, started, saved = self.settings, time.monotonic(), time.monotonic()
        before, events = self.seconds, self.events
        self.model.train()
        shown = dict(
            initial=self.step, desc="training", unit="step", disable=not progress, smoothing=0.1
        )
        with (
            tqdm(total=settings.steps, **shown) as bar,
            snapshots.interrupts() as interrupted,
            without_denormals(),
        ):
            while (
                self.place < settings.steps
                and self.since_best < settings.patience
                and not interrupted
            ):
                if max_minutes is not None and time.monotonic() - started > 60 * max_minutes:
                    break
                self.window.append(self._train_step())
                self.seconds = before + time.monotonic() - started
                bar.update()
                last = self.place >= settings.steps
                if self.step % LOG_EVERY == 0 or last:
                    speed = (self.events - events) / max(time.monotonic() - started, 1e-9)
                    mean = sum(self.window) / len(self.window)
                    bar.set_postfix_str(f"loss {mean:.3f}, {speed:,.0f} events/s")
                    self._log(train_loss=round(mean, 5), rate=self.rate, speed=round(speed))
                    self.window = []
                if self.step % settings.evaluate_every == 0 or last:
                    self._evaluate()
                if time.monotonic() - saved > 60 * settings.snapshot_minutes:
                    self.snapshot()
                    saved = time.monotonic()
            self.snapshot()
        if interrupted:
            raise KeyboardInterrupt

    def _evaluate(self, progress: bool = False) -> None:
        model = self.average.module.eval() if self.average and self.step else self.model
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            valid = perplexity.exact(model, self.valid, progress=progress, **self.measured.segments)
        self._log(valid_loss=round(valid.nats, 5))
        self.since_best += 1
        if valid.nats < self.best:
            self.best, self.best_step, self.since_best = valid.nats, self.step, 0
            metrics = {
                "valid_perplexity": valid.perplexity,
                "valid_targets": valid.targets,
                "step": self.step,
            }
            checkpoints.save(model, self.folder / "best", metrics=metrics, **self.details)

    def _log(self, **values) -> None:
        row = {"step": self.step, "events": self.events, "seconds": round(self.seconds, 1)} | values
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    # --- to stop and to go on

    def snapshot(self) -> None:
        """Keeps everything that ``restore`` needs, in one move."""
        snapshots.write(
            self.folder / "snapshot",
            {
                "config": self.model.config,
                "model": self.model.state_dict(),
                "average": self.average.state_dict() if self.average else None,
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "states": [None if s is None else self.model.state_tree(s) for s in self.states],
                "random": [
                    torch.get_rng_state(),
                    torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
                ],
                "streams": self.streams.position,
                "counts": {name: getattr(self, name) for name in _COUNTS},
                "details": self.details,
            },
        )

    def restore(self) -> None:
        """Goes back to the snapshot; log lines written after it are dropped. Raises BadCheckpoint, LakhnesError."""
        kept = snapshots.read(self.folder / "snapshot")
        same = kept["details"] == json.loads(json.dumps(self.details))
        if not same or kept.get("config", self.model.config) != self.model.config:
            raise LakhnesError(
                f"{self.folder}: was begun with another profile, seed or corpus; resume with the same ones"
            )
        self.model.load_state_dict(kept["model"])
        if self.average:
            self.average.load_state_dict(kept["average"])
        for optimiser, state in zip(self.optimisers, kept["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.states = [
            None if tree is None else self.model.state_from(tree, self.device)
            for tree in kept["states"]
        ]
        torch.set_rng_state(kept["random"][0])
        if self.device.type == "cuda" and kept["random"][1] is not None:
            torch.cuda.set_rng_state(kept["random"][1], self.device)
        self.streams.position = kept["streams"]
        for name, value in kept["counts"].items():
            setattr(self, name, value)
        self.best = self.best if (self.folder / "best").exists() else float("inf")
        log = self.folder / "log.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
        lines = [
            line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= self.step
        ]
        with replacing(log) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")


_COUNTS = ("step", "events", "seconds", "best", "best_step", "since_best", "window", "bf16")


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
) -> Run:
    """Trains one of a profile's models on a corpus, in a folder; returns the finished Run.

    model: a name of the profile's ``models`` and ``training``; start: a checkpoint folder to fine-tune from, which
    stays the run's best until a step beats it; resume: go on from the folder's snapshot; max_minutes: stop in good
    order after so long.
    Raises LakhnesError if the folder already holds a run and ``resume`` is not set, or if there is none to resume.
    """
    folder = Path(folder)
    if model not in profile.models or model not in profile.training:
        raise LakhnesError(
            f"profile {profile.name}: has no model {model!r}, only {', '.join(profile.models)}"
        )
    if (snapshots.exists(folder / "snapshot") or (folder / "best").exists()) and not resume:
        raise LakhnesError(
            f"{folder}: already holds a training run; resume it, or choose another folder"
        )
    if resume and not snapshots.exists(folder / "snapshot"):
        raise LakhnesError(f"{folder}: holds no snapshot to resume from")
    where = choose_device(device)
    seed = profile.seed + profile.training[model].seed
    torch.manual_seed(seed)
    try:
        built = checkpoints.load(start) if start else checkpoints.build(**profile.models[model])
    except BadCheckpoint as error:
        raise (
            error if start else BadProfile(f"profile {profile.name}: models: {model}: {error}")
        ) from error
    if not built.parameter_count():
        raise LakhnesError(f"a {built.architecture} model has no weights to train")
    if built.architecture != (wanted := profile.models[model]["architecture"]):
        raise LakhnesError(
            f"{start}: is a {built.architecture}, and {model} of profile {profile.name} is a {wanted}"
        )
    built.memory_length = profile.models[model].get("memory_length", built.memory_length)
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(built, profile.training[model], profile.evaluation, corpus, folder, seed, where)
    run.details["profile"] = profile.name
    with locked(folder, "another process is training there"):
        if resume:
            run.restore()
        else:
            (folder / "log.jsonl").unlink(missing_ok=True)
            if start:
                run._evaluate(progress)  # what nothing beats is kept
        run.go(max_minutes, progress)
    return run
