"""What a machine computes with: its device, the fastest arithmetic there, and a compiled step.

Paper: none. Notebook: 05_training. Differences from the paper: it had GPUs. On a CPU two things
have to be measured: some with instructions for bfloat16 multiply it in half the time of float32,
some in twice the time; and the step that PyTorch's compiler makes of ours is not always correct.
"""

import sys
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache

import torch

from lakhnes_lib.models.fast import attention

_BF16_INSTRUCTIONS = "_is_avx512_bf16_supported", "_is_amx_tile_supported"


def choose_device(device: str | None = None) -> torch.device:
    """The device asked for, or the best there is."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def runs_bf16(device: torch.device, precision: str) -> bool:
    """Whether to compute in bfloat16, for a profile's ``precision``: auto, bf16 or fp32.

    On auto it is used where the hardware multiplies it faster.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return _multiplies_bf16_faster()


@cache
def _multiplies_bf16_faster() -> bool:
    """Whether this CPU does, timed in a few hundredths of a second."""
    if not any(getattr(torch.cpu, name, bool)() for name in _BF16_INSTRUCTIONS):
        return False
    fastest = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(8):
        for dtype in fastest:
            left, right = torch.ones(2048, 256, dtype=dtype), torch.ones(256, 256, dtype=dtype)
            began = time.perf_counter()
            left @ right
            fastest[dtype] = min(fastest[dtype], time.perf_counter() - began)
    return 1.2 * fastest[torch.bfloat16] < fastest[torch.float32]


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
