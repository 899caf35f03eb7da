"""Training measured: events a second of whole steps, beside the same model without its fast parts.

python benchmarks/training_speed.py [--seconds 20] [--write]

Sizes: transformer_xl (the laptop profile's) and paper (4 × 512 events, for which the published
code takes 13 s a step on two CPU cores). A step is loss, gradient, clipping and optimiser, with
a full memory, on random events; PyTorch alone is needed. The plain version is the readable model,
without ``models/fast`` (as with LAKHNES_FAST=0). With --write the numbers go to
results/training.json. Speeds are wall-clock: leave the machine alone meanwhile.
"""

import statistics
import time

import torch
from _shared import arguments, keep

from lakhnes_lib import profiles
from lakhnes_lib.models import checkpoints, devices, fast
from lakhnes_lib.training.optimisers import build_optimisers

PUBLISHED_SECONDS_A_STEP = 13  # 41 million parameters, 4 x 512 events, two CPU cores
IN_A_ROW = 4


class Trainer:
    """A model with its optimisers and memory, on random events."""

    def __init__(self, architecture: dict, settings: profiles.Training, device: torch.device):
        torch.manual_seed(0)
        self.model, self.settings = checkpoints.build(**architecture).to(device).train(), settings
        self.optimisers, self.state, self.device = (
            build_optimisers(self.model, settings),
            None,
            device,
        )
        self.bf16 = devices.runs_bf16(device, settings.precision)
        self.random = torch.Generator().manual_seed(0)

    def loss(self):
        ids = torch.randint(
            1, 631, (self.settings.batch, self.settings.segment + 1), generator=self.random
        )
        ids = ids.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            scores, self.state = self.model.target_log_probs(ids[:, :-1], ids[:, 1:], self.state)
        return -scores.mean()

    def step(self) -> float:
        """Seconds of one step."""
        begin = time.perf_counter()
        self.loss().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin


def measure(architecture, settings, device, seconds: float) -> dict:
    """Median step of the library and of the plain version, in turns of ``IN_A_ROW`` steps, as
    training takes them in a row too; a turn's first is not counted, for it waits for the memory
    that the other version held. And how far apart their losses are."""
    versions = {"library": True, "plain": False}
    trainers = {name: Trainer(architecture, settings, device) for name in versions}
    times, losses = {name: [] for name in versions}, {}
    full = -(-architecture["memory_length"] // settings.segment)  # steps until the memory is full
    for name, on in versions.items():
        with torch.no_grad(), fast.switched(on):
            losses[name] = [float(trainers[name].loss()) for _ in range(full)]
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(times["plain"]) < 2:
        for name, on in versions.items():
            with fast.switched(on):
                times[name] += [trainers[name].step() for _ in range(IN_A_ROW)][1:]
    events = settings.batch * settings.segment
    step = {name: statistics.median(spent) for name, spent in times.items()}
    return {
        "parameters": trainers["library"].model.parameter_count(),
        "batch": settings.batch,
        "segment": settings.segment,
        "memory": architecture["memory_length"],
        "bf16": trainers["library"].bf16,
        "steps_timed": len(times["library"]),
        "seconds_a_step": step["library"],
        "events_a_second": events / step["library"],
        "plain_seconds_a_step": step["plain"],
        "plain_events_a_second": events / step["plain"],
        "times_plain": step["plain"] / step["library"],
        "losses_apart": max(
            abs(a - b) for a, b in zip(losses["library"], losses["plain"], strict=True)
        ),
    }


def main() -> None:
    parser = arguments("training", __doc__)
    parser.add_argument("--seconds", type=float, default=20, help="time for each size")
    parser.add_argument("--device", help="cpu or cuda; the best there is if not given")
    chosen = parser.parse_args()
    device = devices.choose_device(chosen.device)
    laptop, paper = (profiles.load(name) for name in ("laptop", "paper"))
    values = {"device": device.type, "threads": torch.get_num_threads()}
    for name, profile, changes in (
        ("transformer_xl", laptop, {"batch": 16}),
        ("paper", paper, {"batch": 4}),
    ):
        settings = profile.training["transformer_xl"].model_copy(update=changes)
        values[name] = measure(profile.models["transformer_xl"], settings, device, chosen.seconds)
    values["paper"]["published_seconds_a_step"] = PUBLISHED_SECONDS_A_STEP
    values["paper"]["times_published"] = (
        PUBLISHED_SECONDS_A_STEP / values["paper"]["seconds_a_step"]
    )
    keep("training", values, chosen.write, packages=("numpy", "torch"))


if __name__ == "__main__":
    main()
