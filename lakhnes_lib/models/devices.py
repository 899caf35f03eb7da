"""What a machine computes with: its device, the fastest arithmetic there, and a compiled step.

Paper: none. Notebook: 05_training. Differences from the paper: it had GPUs. On a CPU the step that
PyTorch's compiler makes of ours is not always correct, so its gradient is compared first.
"""

import sys
import warnings
from collections.abc import Callable
from contextlib import contextmanager

import torch

from lakhnes_lib.models import processes
from lakhnes_lib.models.fast import attention


def choose_device(device: str | None = None) -> torch.device:
    """The device asked for, or the best there is; of several processes each takes its own GPU."""
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    several = name == "cuda" and processes.count() > 1
    return torch.device(name, processes.rank_on_machine()) if several else torch.device(name)


def runs_bf16(device: torch.device, precision: str) -> bool:
    """Whether to compute in bfloat16, for a profile's ``precision``: auto, bf16 or fp32.

    On auto it is used where the hardware multiplies it faster: on a GPU that has it, and on a CPU
    with matrix units (AMX). CPUs that only have vector instructions for it may be slower with it.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return getattr(torch.cpu, "_is_amx_tile_supported", bool)()


@contextmanager
def without_denormals():
    """Within it a CPU takes numbers below 1e-38 for zero. Also usable as a decorator.

    Most of a sharp softmax is so small, and would take up to three times as long.
    """
    before = bool(torch.tensor(1e-40) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def compiled(step: Callable, model: torch.nn.Module, *inputs) -> Callable:
    """``torch.compile(step)`` if its gradient on these inputs is that of ``step``.

    step: returns float32 scores (any shape) and a state, by the model's parameters.
    Otherwise, or where nothing can be compiled, ``step`` itself, and a line on stderr. No gradient
    is left, and no random number is drawn, so that a run that was killed goes on with the same.
    """
    attention.stay_uncompiled()
    faster, devices = torch.compile(step), [inputs[0].device] if inputs[0].is_cuda else []
    try:
        norms = []
        for version in (step, faster):
            with torch.random.fork_rng(devices), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's own, which nobody can act upon
                loss = version(*inputs)[0].mean()
                gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
            norms.append(torch.stack([part.norm() for part in gradients if part is not None]))
        # Dropout draws anew, and bfloat16 is coarse, so right ones differ a little. A wrong
        # gradient is far off, or not a number.
        if torch.allclose(norms[1], norms[0], rtol=0.3, atol=0.02 * float(norms[0].max())):
            return faster
        reason = "the gradient of the compiled step is wrong"
    except Exception as error:  # no C++ compiler, or one that fails
        reason = str(error).strip().partition("\n")[0][:200]
    print(f"training goes on uncompiled, which is slower: {reason}", file=sys.stderr)
    return step
