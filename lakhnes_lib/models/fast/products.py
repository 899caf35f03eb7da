"""Matrix products with weights that stay as they are, so that they can be laid out beforehand as a CPU reads them best.

Paper: none; ``decoding.py`` composes with them. Notebook: 09_composing.
"""

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

PRECISIONS = ("fp32", "fp16", "int8")
STEADY = ("fp32", "fp16")
"""With these a row's result does not depend on the rows beside it; int8 rounds all rows on one scale."""

_INT8 = 127


def linear(
    weight: Tensor, bias: Tensor | None, precision: str = "fp32", relu: bool = False
) -> Callable:
    """x (rows, in) -> x · weightᵀ + bias, its negative values as 0 if ``relu``: float32 (rows, out).

    weight: float32 (out, in); bias: (out,) or None. precision: fp16 holds the weight in 16 bits, of which an x86 CPU
    makes float32 again as it reads them; int8 holds it in 8 bits, each row of it on a scale of its own, and rounds x to
    8 bits too. A GPU multiplies in float16 for both; CPUs without these products, such as Apple's, go on in float32.
    """
    if weight.is_cuda and precision != "fp32":
        weight, bias = weight.half(), None if bias is None else bias.half()
        product = lambda x: F.linear(x.half(), weight, bias).float()  # noqa: E731
        return (lambda x: product(x).relu_()) if relu else product
    known = (
        weight.is_cpu
        and weight.dtype == torch.float32
        and torch.backends.quantized.engine in ("x86", "fbgemm")
    )
    if known and (
        precision != "fp32"
        or torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
    ):
        return {"fp32": _in_32_bits, "fp16": _in_16_bits, "int8": _in_8_bits}[precision](
            weight, bias, relu
        )
    return lambda x: F.linear(x, weight, bias).relu_() if relu else F.linear(x, weight, bias)


def _in_32_bits(weight, bias, relu):
    product, after = torch.ops.mkldnn._linear_pointwise, "relu" if relu else "none"
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    return lambda x: product(x, packed, bias, after, [], "")


def _in_16_bits(weight, bias, relu):
    quantized = torch.ops.quantized
    packed = quantized.linear_prepack_fp16(weight, bias)
    product = quantized.linear_relu_dynamic_fp16 if relu else quantized.linear_dynamic_fp16
    return lambda x: product(x, packed)


def _in_8_bits(weight, bias, relu):
    quantized, weight = torch.ops.quantized, weight.detach()
    scale = (weight.abs().amax(1) / _INT8).clamp_min(1e-12)  # a row may be all zeros
    with (
        warnings.catch_warnings()
    ):  # PyTorch means to replace its 8-bit tensors; requirements.txt fixes its version
        warnings.simplefilter("ignore", UserWarning)
        rounded = torch.quantize_per_channel(
            weight, scale.double(), torch.zeros_like(scale).long(), 0, torch.qint8
        )
        packed = quantized.linear_prepack(rounded, bias)
    product = quantized.linear_relu_dynamic if relu else quantized.linear_dynamic
    # CPUs without VNNI add two products in 16 bits, which holds them if x has 7 bits.
    narrow = not torch.cpu._is_vnni_supported()
    return lambda x: product(x, packed, narrow)
