"""What a machine trains with: its device, the arithmetic that is fastest there, and a compiled step if it is right.

Paper: none. Notebook: 05_training. Differences from the paper: it had GPUs. On a CPU two things have to be found out:
some with instructions for bfloat16 multiply it in half the time of float32, some in twice the time; and what a compiler
makes of a step is not always that step.
"""

import sys
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache

import torch


def choose_device(device: str | None = None) -> torch.device:
    """The device asked for, or the best there is."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def runs_bf16(device: torch.device, precision: str) -> bool:
    """Whether to compute in bfloat16: if asked for, or on auto where the hardware multiplies it faster."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return _multiplies_bf16_faster()


@cache
def _multiplies_bf16_faster() -> bool:
    """Whether this CPU does, timed in a few hundredths of a second."""
    if not any(
        getattr(torch.cpu, probe, bool)()
        for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    ):
        return False
    fastest = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(8):
        for kind, before in fastest.items():
            a, b = torch.ones(2048, 256, dtype=kind), torch.ones(256, 256, dtype=kind)
            begin = time.perf_counter()
            a @ b
            fastest[kind] = min(before, time.perf_counter() - begin)
    return 1.2 * fastest[torch.bfloat16] < fastest[torch.float32]


@contextmanager
def without_denormals():
    """Within it a CPU takes numbers under 1e-38 for zero: a sharp softmax is full of them, and they would take up to
    three times as long. Goes as a decorator, too."""
    before = bool(torch.tensor(1e-40) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def compiled(step: Callable, model: torch.nn.Module, *inputs) -> Callable:
    """``torch.compile(step)`` if its gradient on these inputs is that of ``step``; else ``step``, and a line on stderr.

    step: returns float32 scores (any shape) and a state, by the model's parameters. No gradient is left, and no random
    number is drawn, so that a run that was killed goes on with the same ones.
    """
    parameters, faster = list(model.parameters()), torch.compile(step)
    devices = [inputs[0].device] if inputs[0].is_cuda else []
    try:
        norms = []
        for version in (step, faster):
            with torch.random.fork_rng(devices), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a compiler's own, which nobody here can act upon
                found = torch.autograd.grad(
                    version(*inputs)[0].mean(), parameters, allow_unused=True
                )
            norms.append(torch.stack([part.norm() for part in found if part is not None]))
        # Far apart: dropout draws anew, and bfloat16 is coarse. A wrong gradient is far off, or not a number.
        if torch.allclose(norms[1], norms[0], rtol=0.3, atol=0.02 * float(norms[0].max())):
            return faster
        reason = "compiled, the gradient of a step is another"
    except Exception as error:  # no C++ compiler, or one that stumbles
        reason = str(error).strip().partition("\n")[0][:200]
    print(f"training goes on uncompiled, which is slower: {reason}", file=sys.stderr)
    return step
