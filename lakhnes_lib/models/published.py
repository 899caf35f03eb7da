"""The paper's published checkpoints, as this library's Transformer-XL.

Paper: §4.1, §6; the weights behind Table 2 and Figure 3. Notebook: 07_quantitative_analysis.
The files hold whole pickled programs; ``legacy_pickle.py`` reads them without running anything.
Here their tensors get this library's names, each used exactly once, and the model's sizes are read
from the attributes of the pickled modules.
Differences from the paper: its ``qkv_net`` is one matrix for queries, keys and values, here the
queries' stands alone; its output weights are the embedding under a second name; its table of
frequencies is computed here.
"""

from pathlib import Path

import torch
from torch import Tensor

from lakhnes_lib.errors import BadCheckpoint, DataNotFound
from lakhnes_lib.models import legacy_pickle
from lakhnes_lib.models.language_model import VOCABULARY_SIZE
from lakhnes_lib.models.legacy_pickle import Record

CLASS = "MemTransformerLM"
MOST_PARTS = 5_000
"""Modules and tensors of a model, those that are None counted: a small file can share tables."""
_OPTIONS = {"attn_type": 0, "same_length": False, "ext_len": 0, "pre_lnorm": False, "eps": 1e-5}
"""Attributes of modules that change what is computed, with the values of this library's model."""
_EMBEDDING, _AGAIN = "word_emb.emb_layers.0.weight", "crit.out_layers.0.weight"
"""The one matrix that has two names."""


def read(path) -> tuple[dict, dict[str, Tensor]]:
    """A published file's model: settings for ``TransformerXL``, and float32 tensors by our names.

    Raises DataNotFound if there is no such file; BadCheckpoint if it is damaged, asks for anything
    to be run, is no model of the published kind, or holds a tensor too few, too many, of another
    shape, or not finite.
    """
    try:
        return _convert(legacy_pickle.read(Path(path).read_bytes()))
    except (FileNotFoundError, IsADirectoryError):
        reason = "is a folder, not a file" if Path(path).is_dir() else "there is no such file"
        raise DataNotFound(f"{path}: {reason}") from None
    except (OSError, MemoryError):
        raise
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle is a wrong program, and may end in any of them
        reason = f"{type(error).__name__} {str(error)[:100]!r}"
        raise BadCheckpoint(f"{path}: is damaged, or no legacy PyTorch file ({reason})") from None


def _convert(root) -> tuple[dict, dict[str, Tensor]]:
    """The same of the pickled module."""
    if not isinstance(root, Record) or root.kind.rpartition(".")[2] != CLASS:
        kind = root.kind if isinstance(root, Record) else type(root).__name__
        raise BadCheckpoint(f"holds a {kind[:80]!r}, not the published {CLASS}")
    layers, width, heads, head_width, memory_length = _sizes(root.state)
    scales = {"emb_scale": width**0.5, "scale": head_width**-0.5}
    theirs, kinds = _parts(root, _OPTIONS | scales)
    own = [tensor.untyped_storage() for name, tensor in theirs.items() if name != _AGAIN]
    if len({storage.data_ptr() for storage in own}) < len(
        own
    ):  # a small file would make a model of any size
        raise BadCheckpoint("has tensors that share their values")
    first = theirs.get("layers.0.pos_ff.CoreNet.0.bias")
    feed_forward = len(first) if first is not None and first.dim() == 1 else 0
    ours = {
        "embedding.weight": _take(theirs, _EMBEDDING, VOCABULARY_SIZE, width),
        "output_bias": _take(theirs, "crit.out_layers.0.bias", VOCABULARY_SIZE),
        "u": _take(theirs, "r_w_bias", heads, head_width),
        "v": _take(theirs, "r_r_bias", heads, head_width),
    }
    if not torch.equal(_take(theirs, _AGAIN, VOCABULARY_SIZE, width), ours["embedding.weight"]):
        raise BadCheckpoint("has output weights of their own; here they are the embedding's")
    frequency = 10_000 ** (-torch.arange(0, width, 2.0) / width)
    their_frequency = _take(theirs, "pos_emb.inv_freq", len(frequency))
    if not torch.allclose(their_frequency, frequency, rtol=1e-3, atol=0):
        raise BadCheckpoint("has positions of other frequencies than the paper's")
    for number in range(layers):
        ours |= _layer(theirs, f"layers.{number}.", width, heads * head_width, feed_forward)
        if not kinds.get(f"layers.{number}.pos_ff.CoreNet.1.", "").endswith(".ReLU"):
            raise BadCheckpoint(f"has no ReLU within layers.{number}.pos_ff")
    for name in sorted(theirs):
        raise BadCheckpoint(f"holds the tensor {name[:80]!r}, which the published model has not")
    config = {
        "vocabulary_size": VOCABULARY_SIZE,
        "layers": layers,
        "width": width,
        "heads": heads,
        "head_width": head_width,
        "feed_forward": feed_forward,
        "dropout": _dropout(root),
        "memory_length": memory_length,
    }
    return config, ours


def _sizes(attributes) -> tuple[int, int, int, int, int]:
    """Layers, width, heads, head width and memory length, from the model's attributes."""
    lowest = {"n_token": 1, "n_layer": 1, "d_model": 1, "n_head": 1, "d_head": 1, "mem_len": 0}
    numbers = [attributes.get(name) for name in lowest]
    for (name, least), number in zip(lowest.items(), numbers, strict=True):
        if type(number) is not int or not least <= number < 2**20:
            raise BadCheckpoint(f"its attribute {name!r} is no number of {least} or more")
    clamp = attributes.get("clamp_len", -1)
    if type(clamp) is not int or clamp > 0:
        raise BadCheckpoint("has clamped distances, which this library's model has not")
    tokens, layers, width, heads, head_width, memory_length = numbers
    if tokens != VOCABULARY_SIZE:
        raise BadCheckpoint(f"is a model of {tokens} events, not of Table 1's {VOCABULARY_SIZE}")
    if width % 2:
        raise BadCheckpoint("has an odd width, but half of a position are sines, half cosines")
    return layers, width, heads, head_width, memory_length


def _take(tensors: dict[str, Tensor], name: str, *shape: int) -> Tensor:
    """Removes the tensor and returns it as float32. Raises BadCheckpoint unless it is as told."""
    tensor = tensors.pop(name, None)
    if tensor is None:
        raise BadCheckpoint(f"lacks the tensor {name!r}")
    if tuple(tensor.shape) != shape or not tensor.is_floating_point():
        values = f"{tensor.dtype} {tuple(tensor.shape)}"
        raise BadCheckpoint(f"tensor {name!r} is {values}, not floats {shape}")
    tensor = tensor.float()  # then looked at: what is finite in float64 may not be in float32
    if not torch.isfinite(tensor).all():
        raise BadCheckpoint(f"tensor {name!r} holds values that are not finite")
    return tensor


def _layer(theirs, layer: str, width: int, inside: int, feed_forward: int) -> dict[str, Tensor]:
    """The tensors of one layer, ``layer`` being the beginning of their names."""
    query_key_value = _take(theirs, layer + "dec_attn.qkv_net.weight", 3 * inside, width)
    ours = {
        "query.weight": query_key_value[:inside],
        "key_value.weight": query_key_value[inside:],
        "position.weight": _take(theirs, layer + "dec_attn.r_net.weight", inside, width),
        "output.weight": _take(theirs, layer + "dec_attn.o_net.weight", width, inside),
    }
    for name, their_name, shape in (
        ("attention_norm", "dec_attn.layer_norm", (width,)),
        ("inner", "pos_ff.CoreNet.0", (feed_forward, width)),
        ("outer", "pos_ff.CoreNet.3", (width, feed_forward)),
        ("feed_forward_norm", "pos_ff.layer_norm", (width,)),
    ):
        ours[f"{name}.weight"] = _take(theirs, f"{layer}{their_name}.weight", *shape)
        ours[f"{name}.bias"] = _take(theirs, f"{layer}{their_name}.bias", shape[0])
    return {layer + name: tensor for name, tensor in ours.items()}


def _parts(root: Record, options: dict) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A pickled module's tensors by their dotted names, and the classes of the modules in it.

    The names of modules end with a dot. options: attributes that a module may have with this value.
    """
    tensors, kinds, seen, waiting, parts = {}, {}, set(), [("", root)], 0
    while waiting:
        prefix, module = waiting.pop()
        shown = f"module {prefix[:80]!r}"
        if not isinstance(module.state, dict) or id(module) in seen:
            raise BadCheckpoint(f"{shown} has no attributes, or is in two places")
        seen.add(id(module))
        kinds[prefix] = module.kind
        for option, expected in options.items():
            value = module.state.get(option, expected)
            same = type(value) is type(expected)
            if not same or not abs(value - expected) <= 1e-6 * abs(expected):
                raise BadCheckpoint(f"{shown} has {option} otherwise than the published models")
        for part, kind in (("_parameters", Tensor), ("_buffers", Tensor), ("_modules", Record)):
            table = module.state.get(part, {})
            parts += len(table)
            if not isinstance(table, dict) or parts > MOST_PARTS:
                raise BadCheckpoint(f"{shown} has no {part}, or more than {MOST_PARTS:,} parts")
            for name, value in table.items():
                if value is None:
                    continue
                if not isinstance(name, str) or not isinstance(value, kind):
                    raise BadCheckpoint(f"{shown} has a {type(value).__name__} among its {part}")
                if kind is Tensor:
                    tensors[f"{prefix}{name}"] = value
                else:
                    waiting.append((f"{prefix}{name}.", value))
    return tensors, kinds


def _dropout(root: Record) -> float:
    """The share of the dropout in front of the first layer, which is that of all."""
    drop = root.state.get("_modules", {}).get("drop")
    share = drop.state.get("p") if isinstance(drop, Record) else None
    if type(share) not in (int, float) or not 0 <= share < 1:
        raise BadCheckpoint("has no dropout with a share from 0 to 1")
    return float(share)
