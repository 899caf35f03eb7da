"""What learns: the model that training begins with, and a step from it to slightly better weights.

Paper: §5 (segments with carried memory, clipped gradients), §4.2 (fine-tuning). Notebook:
05_training.
A step is: set the learning rates, predict every event, measure the loss and its gradient, clip the
gradient, check both, update the weights.
Differences from the paper: a step may add up the gradients of several batches and of several
processes, compute in bfloat16, be compiled, and keep a moving average of the weights.
"""

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lakhnes_lib.data.streams import Segment
from lakhnes_lib.errors import BadCheckpoint, BadProfile, LakhnesError
from lakhnes_lib.models import checkpoints, processes
from lakhnes_lib.models.devices import compiled, runs_bf16
from lakhnes_lib.models.language_model import LanguageModel
from lakhnes_lib.profiles import Profile, Training
from lakhnes_lib.training.optimisers import build_optimisers

LARGEST_LOSS = 1e4
"""Nats. A model that knows nothing loses 6.4; far above, training has gone wrong."""


def first_model(profile: Profile, name: str, start) -> LanguageModel:
    """The model that training begins with: new, or that of a checkpoint of the same architecture.

    Raises BadProfile, BadCheckpoint, DataNotFound, or LakhnesError for one that cannot be trained.
    """
    sizes = profile.models[name]
    try:
        model = checkpoints.load(start) if start else checkpoints.build(**sizes)
    except BadCheckpoint as error:
        if start:
            raise
        raise BadProfile(f"profile {profile.name}: models: {name}: {error}") from None
    if not model.parameter_count():
        raise LakhnesError(f"a {model.architecture} model has no weights to train")
    if model.architecture != sizes["architecture"]:
        kinds = f"is a {model.architecture}, and {name} of profile {profile.name} is a"
        raise LakhnesError(f"{start}: {kinds} {sizes['architecture']}")
    model.memory_length = sizes.get("memory_length", model.memory_length)
    return model


class Learner:
    """A model and what changes it: the optimisers, and the memory of what it has just read.

    average: the moving average of the weights after each step, or None.
    states: the model's state after the last segment, for each batch of ``settings.accumulate``.
    bf16: whether it computes in bfloat16.
    """

    def __init__(self, model: LanguageModel, settings: Training, device: torch.device):
        self.model, self.settings, self.device = model.to(device), settings, device
        self.optimisers = build_optimisers(self.model, settings)
        self.average = None
        if settings.average:
            update = get_ema_multi_avg_fn(settings.average)
            self.average = AveragedModel(self.model, multi_avg_fn=update)
        self.bf16 = runs_bf16(device, settings.precision)
        self.states: list = [None] * settings.accumulate
        self._forward = None  # ``forward``, or its compiled version, from the first step on

    @property
    def measured_model(self) -> LanguageModel:
        """The model that is evaluated and saved: with averaged weights, if there are any."""
        return self.average.module if self.average else self.model

    def autocast(self):
        """The context in which matrices are multiplied in bfloat16, if they are to be."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def step(self, segment: Segment, rate: float) -> float:
        """Takes one step, and returns the mean loss of the segment's targets, in nats.

        rate: the learning rates, as a share of the highest.
        Raises LakhnesError, before the weights have changed, if the loss or its gradient is lost.
        """
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["highest"] * rate
        loss = self._add_up_gradients(segment)
        length = clip_grad_norm_(self.model.parameters(), self.settings.clip)
        if not (loss < LARGEST_LOSS and length.isfinite()):
            values = f"{float(loss):.6g}, with a gradient of length {float(length):.6g}"
            raise LakhnesError(f"the loss became {values}; lower the learning rate")
        self._update_weights()
        return float(loss)

    def _add_up_gradients(self, segment: Segment) -> Tensor:
        """The mean loss over all batches of the segment, those of the other processes included; the
        parameters get its gradient. A process reads its own rows, which follow each other."""
        count, batch = int((segment.targets >= 0).sum()), self.settings.batch
        rows = batch * self.settings.accumulate
        own = slice(processes.rank() * rows, (processes.rank() + 1) * rows)
        arrays = segment.ids[own], segment.targets[own], segment.fresh[own]
        ids, targets, fresh = (torch.from_numpy(array).to(self.device) for array in arrays)
        total = torch.zeros((), device=self.device)
        for part in range(self.settings.accumulate):
            rows = slice(part * batch, (part + 1) * batch)
            log_probs = self._predict(part, ids[rows], targets[rows], fresh[rows])
            loss = -log_probs.sum() / count  # the parts' losses add up to the mean of all
            loss.backward()
            total += loss.detach()
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        processes.add_up([total, *gradients])
        return total

    def _predict(self, part: int, ids: Tensor, targets: Tensor, fresh: Tensor) -> Tensor:
        """Log-probabilities of the targets: (batch, time), by one part's memory, which goes on.

        fresh: bool (batch,), rows whose memory is forgotten first.
        """
        has_memory = self.settings.streams != "segments"
        if self.settings.compile and has_memory and self.states[part] is None:
            # Of full size from the first step on: for other sizes it would be compiled anew.
            with self.autocast():
                self.states[part] = self.model.empty(len(ids))
        inputs = ids, targets, self.model.restart(self.states[part], fresh)
        if self._forward is None:
            step = self.forward
            self._forward = compiled(step, self.model, *inputs) if self.settings.compile else step
        log_probs, state = self._forward(*inputs)
        self.states[part] = state if has_memory else None
        return log_probs

    def forward(self, ids: Tensor, targets: Tensor, state):
        """Log-probabilities of the targets, float32 (batch, time), and the state after them."""
        with self.autocast():
            return self.model.target_log_probs(ids, targets, state)

    def _update_weights(self) -> None:
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if self.average:
            self.average.update_parameters(self.model)

    def state_dict(self) -> dict:
        """All that the next step depends on, as tensors and plain values; random numbers too.

        With several processes each calls it, and each gets everything.
        """
        is_cuda = self.device.type == "cuda"
        own = {
            "states": [self.model.state_tree(state) for state in self.states],
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if is_cuda else None,
        }
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "bf16": self.bf16,
            "processes": processes.gather(own),
        }

    def load_state_dict(self, saved: dict) -> None:
        """Goes on from what ``state_dict`` gave, of a learner with the same settings."""
        self.model.load_state_dict(saved["model"])
        if self.average:
            self.average.load_state_dict(saved["average"])
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.bf16, own = saved["bf16"], saved["processes"][processes.rank()]
        self.states = [self.model.state_from(tree, self.device) for tree in own["states"]]
        torch.set_rng_state(own["random"])
        if self.device.type == "cuda" and own["random_cuda"] is not None:
            torch.cuda.set_rng_state(own["random_cuda"], self.device)
