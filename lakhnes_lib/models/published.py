"""The paper's published checkpoints, as this library's Transformer-XL.

Paper: §4.1, §6; the weights behind Table 2 and Figure 3. Notebook: 07_quantitative_analysis.
The files hold whole pickled programs; ``legacy_pickle.py`` reads them without running anything. Here their tensors get
this library's names, each used exactly once, and their sizes are read from the module's attributes.
Differences from the paper: its ``qkv_net`` is one matrix for queries, keys and values, here the queries' stands alone;
its output weights are the embedding under a second name; its table of frequencies is computed here.
"""

import torch
from torch import Tensor

from lakhnes_lib.errors import BadCheckpoint
from lakhnes_lib.models.language_model import VOCABULARY_SIZE
from lakhnes_lib.models.legacy_pickle import Legacy, View
from lakhnes_lib.models.pickle_machine import LONGEST_NAME, Record

CLASS = "MemTransformerLM"
MOST_PARTS = 5_000
"""Modules and tensors of a model, those that are None counted: tables can be shared, so that a small file has many."""
_OPTIONS = {"attn_type": 0, "same_length": False, "ext_len": 0, "pre_lnorm": False, "eps": 1e-5}
"""Attributes of modules that change what is computed, with the values that this library's model has."""
_EMBEDDING, _AGAIN = "word_emb.emb_layers.0.weight", "crit.out_layers.0.weight"
"""The one matrix that stands under two names."""


def read(path) -> tuple[dict, dict[str, Tensor]]:
    """A published file's model: settings for ``TransformerXL``, and float32 tensors by this library's names.

    Raises DataNotFound if there is no such file; BadCheckpoint if it is damaged, calls for anything to be run, is no
    model of the published kind, or holds a tensor too few, too many, misshapen or not finite.
    """
    file = Legacy(path)
    try:
        return _convert(file)
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error


def _convert(file: Legacy) -> tuple[dict, dict[str, Tensor]]:
    root = file.root
    if not isinstance(root, Record) or root.kind.rpartition(".")[2] != CLASS:
        kind = root.kind if isinstance(root, Record) else type(root).__name__
        raise BadCheckpoint(f"holds a {kind[:80]!r}, not the published {CLASS}")
    number = {
        name: _number(root.state, name)
        for name in ("n_token", "n_layer", "d_model", "n_head", "d_head", "mem_len")
    }
    views, kinds = _parts(
        root, _OPTIONS | {"emb_scale": number["d_model"] ** 0.5, "scale": number["d_head"] ** -0.5}
    )
    storages = [view.storage.key for name, view in views.items() if name != _AGAIN]
    if len(set(storages)) < len(storages):  # a small file would make a model of any size
        raise BadCheckpoint("has tensors that share their values")
    tensors = {name: file.tensor(view) for name, view in views.items()}
    if number["n_token"] != VOCABULARY_SIZE:
        raise BadCheckpoint(
            f"is a model of {number['n_token']} events, not of Table 1's {VOCABULARY_SIZE}"
        )
    clamp = root.state.get("clamp_len", -1)
    if type(clamp) is not int or clamp > 0:
        raise BadCheckpoint("has clamped distances, which this library's model has not")
    if number["d_model"] % 2:
        raise BadCheckpoint(
            "has an odd width, of which no positions can be made: half are sines, half cosines"
        )
    width, inside = number["d_model"], number["n_head"] * number["d_head"]

    def take(name: str, *shape: int) -> Tensor:
        tensor = tensors.pop(name, None)
        if tensor is None:
            raise BadCheckpoint(f"lacks the tensor {name!r}")
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise BadCheckpoint(
                f"tensor {name!r} is {tensor.dtype} {tuple(tensor.shape)}, not floats {shape}"
            )
        tensor = tensor.float()  # then looked at: what is finite in float64 may not be in float32
        if not torch.isfinite(tensor).all():
            raise BadCheckpoint(f"tensor {name!r} holds values that are not finite")
        return tensor

    ours = {
        "embedding.weight": take(_EMBEDDING, VOCABULARY_SIZE, width),
        "output_bias": take("crit.out_layers.0.bias", VOCABULARY_SIZE),
        "u": take("r_w_bias", number["n_head"], number["d_head"]),
        "v": take("r_r_bias", number["n_head"], number["d_head"]),
    }
    if not torch.equal(take(_AGAIN, VOCABULARY_SIZE, width), ours["embedding.weight"]):
        raise BadCheckpoint(
            "has output weights of their own, this library's model shares them with the embedding"
        )
    frequency = 10_000 ** (-torch.arange(0, width, 2.0) / width)
    if not torch.allclose(take("pos_emb.inv_freq", len(frequency)), frequency, rtol=1e-3, atol=0):
        raise BadCheckpoint("has positions of other frequencies than the paper's")
    first = tensors.get("layers.0.pos_ff.CoreNet.0.bias")
    feed_forward = len(first) if first is not None and first.dim() == 1 else 0
    for number_of_layer in range(number["n_layer"]):
        layer = f"layers.{number_of_layer}."
        query, key, value = take(layer + "dec_attn.qkv_net.weight", 3 * inside, width).chunk(3)
        ours[layer + "query.weight"], ours[layer + "key_value.weight"] = (
            query,
            torch.cat([key, value]),
        )
        ours[layer + "position.weight"] = take(layer + "dec_attn.r_net.weight", inside, width)
        ours[layer + "output.weight"] = take(layer + "dec_attn.o_net.weight", width, inside)
        for name, theirs, shape in (
            ("attention_norm", "dec_attn.layer_norm", (width,)),
            ("inner", "pos_ff.CoreNet.0", (feed_forward, width)),
            ("outer", "pos_ff.CoreNet.3", (width, feed_forward)),
            ("feed_forward_norm", "pos_ff.layer_norm", (width,)),
        ):
            ours[f"{layer}{name}.weight"] = take(f"{layer}{theirs}.weight", *shape)
            ours[f"{layer}{name}.bias"] = take(f"{layer}{theirs}.bias", shape[0])
        if not kinds.get(f"{layer}pos_ff.CoreNet.1.", "").endswith(".ReLU"):
            raise BadCheckpoint(f"has no ReLU within {layer}pos_ff, as the published models have")
    for name in sorted(tensors):
        raise BadCheckpoint(f"holds the tensor {name[:80]!r}, which the published model has not")
    config = {
        "vocabulary_size": VOCABULARY_SIZE,
        "layers": number["n_layer"],
        "width": width,
        "heads": number["n_head"],
        "head_width": number["d_head"],
        "feed_forward": feed_forward,
        "dropout": _dropout(root),
        "memory_length": number["mem_len"],
    }
    return config, ours


def _parts(root: Record, options: dict) -> tuple[dict[str, View], dict[str, str]]:
    """A pickled module's tensors, by their dotted names, and the classes of the modules inside it, whose names end with
    a dot."""
    views, kinds, seen, waiting, parts = {}, {}, set(), [("", root)], 0
    while waiting:
        prefix, module = waiting.pop()
        if not isinstance(module.state, dict) or len(prefix) > LONGEST_NAME or id(module) in seen:
            raise BadCheckpoint(
                f"module {prefix[:80]!r} has no attributes, too long a name, or stands in two places"
            )
        seen.add(id(module))
        kinds[prefix] = module.kind
        for option, expected in options.items():
            found = module.state.get(option, expected)
            if type(found) is not type(expected) or not abs(found - expected) <= 1e-6 * abs(
                expected
            ):
                raise BadCheckpoint(
                    f"module {prefix[:80]!r} has {option} otherwise than the published models"
                )
        for part, kind in (("_parameters", View), ("_buffers", View), ("_modules", Record)):
            table = module.state.get(part, {})
            if not isinstance(table, dict):
                raise BadCheckpoint(f"module {prefix[:80]!r} has no table of {part}")
            parts += len(table)
            if parts > MOST_PARTS:
                raise BadCheckpoint(f"has more than {MOST_PARTS:,} modules and tensors")
            for name, value in table.items():
                if value is None:
                    continue
                if not isinstance(name, str) or not isinstance(value, kind):
                    raise BadCheckpoint(
                        f"module {prefix[:80]!r} has a {type(value).__name__} among its {part}"
                    )
                path = f"{prefix}{name}"
                if kind is View:
                    views[path] = value
                else:
                    waiting.append((f"{path}.", value))
    return views, kinds


def _number(state, name: str) -> int:
    value, lowest = (
        state.get(name) if isinstance(state, dict) else None,
        0 if name == "mem_len" else 1,
    )
    if type(value) is not int or not lowest <= value < 2**20:
        raise BadCheckpoint(f"its attribute {name!r} is no number of {lowest} or more")
    return value


def _dropout(root: Record) -> float:
    """The share of the dropout in front of the first layer, which is that of all."""
    drop = root.state.get("_modules", {}).get("drop")
    share = drop.state.get("p") if isinstance(drop, Record) else None
    if type(share) not in (int, float) or not 0 <= share < 1:
        raise BadCheckpoint("has no dropout with a share from 0 to 1")
    return float(share)
