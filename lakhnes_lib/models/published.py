"""The paper's published checkpoints, as this library's Transformer-XL.

Paper: §4.1, §6; the weights behind Table 2 and Figure 3. Notebook: 07_quantitative_analysis.
The files hold whole pickled programs; ``legacy_pickle.py`` reads them without running anything.
Here their tensors get this library's names, and the model's sizes are read from the attributes of
the pickled modules, by ``published.yaml``; ``checkpoints.assembled`` compares both with the model
that they make.
Differences from the paper: its ``qkv_net`` is one matrix for queries, keys and values, here the
queries' stands alone; its output weights are the embedding under a second name; its table of
frequencies is computed here.
"""

from pathlib import Path

import torch
import yaml
from torch import Tensor

from lakhnes_lib.errors import BadCheckpoint, DataNotFound
from lakhnes_lib.models import legacy_pickle
from lakhnes_lib.models.legacy_pickle import Record

CLASS = "MemTransformerLM"
MOST_PARTS = 5_000
"""Modules and tensors of a model, those that are None counted: a small file can share tables."""
_OPTIONS, _SIZES, _NAMES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text()).values()


class _Parts(dict):
    """Parts of a model by name."""

    def __missing__(self, name: str):
        raise BadCheckpoint(f"lacks the part {name!r}")


def read(path) -> tuple[dict, dict[str, Tensor]]:
    """A published file's model: settings for ``TransformerXL``, and tensors by our names.

    Raises DataNotFound if there is no such file; BadCheckpoint if it is damaged, asks for anything
    to be run, or is no model of the published kind. Whether the settings make a model, and the
    tensors are those of that model, is left to ``checkpoints.assembled``.
    """
    if not Path(path).is_file():  # a pipe may never answer, a device never end
        reason = "is a folder or device" if Path(path).exists() else "there is no such file"
        raise DataNotFound(f"{path}: {reason}")
    try:
        return _convert(legacy_pickle.read(Path(path).read_bytes()))
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
    config = {ours: root.state.get(theirs) for ours, theirs in _SIZES.items()}
    for ours, theirs in _SIZES.items():
        if type(config[ours]) is not int:
            raise BadCheckpoint(f"its attribute {theirs!r} is no whole number")
    width, head_width = config["width"], config["head_width"]
    scales = {"emb_scale": width**0.5, "scale": head_width**-0.5}
    modules, theirs = _parts(root, _OPTIONS | scales)
    config["feed_forward"] = modules["layers.0.pos_ff.CoreNet.0."].state.get("out_features")
    config["dropout"] = modules["drop."].state.get("p")  # in front of the first layer, as in all
    output, frequency = theirs["crit.out_layers.0.weight"], theirs["pos_emb.inv_freq"]
    if not torch.equal(output, theirs["word_emb.emb_layers.0.weight"]):
        raise BadCheckpoint("has output weights of their own; here they are the embedding's")
    expected = 10_000 ** (-torch.arange(0, width, 2.0) / width)
    if not torch.allclose(frequency.float(), expected, rtol=1e-3, atol=0):
        raise BadCheckpoint("has positions of other frequencies than the paper's")
    for number in range(config["layers"]):
        if not modules[f"layers.{number}.pos_ff.CoreNet.1."].kind.endswith(".ReLU"):
            raise BadCheckpoint(f"has no ReLU within layers.{number}.pos_ff")
    del theirs["crit.out_layers.0.weight"], theirs["pos_emb.inv_freq"]
    own = [tensor.untyped_storage().data_ptr() for tensor in theirs.values()]
    if len(set(own)) < len(own):  # a small file would make a model of any size
        raise BadCheckpoint("has tensors that share their values")
    return config, dict(_renamed(theirs, config["heads"] * head_width))


def _renamed(theirs: dict[str, Tensor], inside: int):
    """Their tensors by our names; inside: rows of the queries among queries, keys and values."""
    for name, tensor in theirs.items():
        layer, query_key_value, _ = name.partition("dec_attn.qkv_net")
        for part, our_part in _NAMES.items():
            name = name.replace(part, our_part)
        if query_key_value:
            yield f"{layer}query.weight", tensor[:inside]
            yield f"{layer}key_value.weight", tensor[inside:]
        else:
            yield name, tensor


def _parts(root: Record, options: dict) -> tuple[dict[str, Record], dict[str, Tensor]]:
    """A pickled module's modules and tensors by their dotted names; a module's ends with a dot.

    options: attributes that a module may have with this value.
    """
    modules, tensors, waiting, count = _Parts(), _Parts(), [("", root)], 0
    while waiting:
        prefix, module = waiting.pop()
        modules[prefix], shown = module, f"module {prefix[:80]!r}"
        for option, expected in options.items():
            value = module.state.get(option, expected)
            same = type(value) is type(expected)
            if not same or not abs(value - expected) <= 1e-6 * abs(expected):
                raise BadCheckpoint(f"{shown} has {option} otherwise than the published models")
        for part in ("_parameters", "_buffers", "_modules"):
            table = module.state.get(part, {})
            count += len(table)
            for name, value in table.items():
                if isinstance(value, Record):
                    waiting.append((f"{prefix}{name}.", value))
                elif isinstance(value, Tensor):
                    tensors[f"{prefix}{name}"] = value
                elif value is not None:
                    raise BadCheckpoint(f"{shown} has a {type(value).__name__} among its {part}")
        if count > MOST_PARTS:
            raise BadCheckpoint(f"has more than {MOST_PARTS:,} parts")
    return modules, tensors
