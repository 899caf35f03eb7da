"""One step of composing as an ONNX graph, which ``engine.py`` runs.

Paper: §8 (sampling with a memory of events). Notebook: 09_composing.
A step reads the newest event, and the keys and values of the events before it. It gives the
log-probabilities of the next event, and the newest keys and values. The formulas are those of the
readable models, written for one event and with as few operations as possible: at this size each
costs about a microsecond, whatever it computes. Tests compare the two.
Differences from the paper: none in what is computed. With int8 the weights of all matrix products
but the last are rounded to 8 bits, every 32 values on their own scale, and so are their inputs.

Inputs of every graph: ``history`` int64 (1 or more,), the newest events, the newest one first;
``position`` int64 (), how many events came before; ``ages`` int64 (memory,), how many events ago a
slot of the memory was written, 0 if it is empty; ``carry``, what the last step gave; and for each
layer ``keys0`` … float32 (heads, head width, memory) and ``values0`` … float32 (heads, memory, head
width), events in any order. Outputs: ``log_probs`` float32 (1, vocabulary); ``new_keys`` and
``new_values`` float32 (layers * heads, 1, head width); ``new_carry``.
"""

import logging
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lakhnes_lib.models.language_model import LanguageModel
from lakhnes_lib.models.modern_block import activated, normalised, rotary_angles, rotate
from lakhnes_lib.models.modern_decoder import ModernDecoder
from lakhnes_lib.models.transformer_xl import TransformerXL

_EXAMPLE_MEMORY = 8  # slots of the example that a graph is made from; the graph takes any number


class Product(nn.Module):
    """Linear layers that read the same input, as one product: (…, in) -> (…, sum of outs)."""

    def __init__(self, *weights: Tensor, bias: Tensor | None = None):
        """weights: (out, in) each."""
        super().__init__()
        self.matrix = nn.Parameter(torch.cat(weights).T.contiguous())
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        product = x @ self.matrix
        return product if self.bias is None else product + self.bias


def attention(query: Tensor, key: Tensor, value: Tensor, past: tuple, bias: Tensor, own=None):
    """Attention of one event to the memory and to itself: (1, heads * head width).

    query, key, value: (heads, 1, head width); past: keys and values of a layer; bias: added to the
    scores of the memory, (heads or 1, 1, memory); own: added to the event's own, (heads, 1, 1).
    """
    keys, values = past
    own_score = (query * key).sum(-1, keepdim=True)
    own_score = own_score if own is None else own_score + own
    weights = torch.cat([query @ keys + bias, own_score], -1).softmax(-1)
    of_memory, of_own = weights.split([keys.shape[2], 1], -1)
    return (of_memory @ values + of_own * value).view(1, -1)


def empty_slots(ages: Tensor) -> Tensor:
    """float32 (1, memory): 0 for slots in use, -inf for empty ones."""
    used = torch.zeros_like(ages, dtype=torch.float32)
    return used.masked_fill(ages == 0, -torch.inf).unsqueeze(0)


class ModernStep(nn.Module):
    """The step of a ``ModernDecoder``; carries half keys, (layers * heads, 1, head width / 2)."""

    def __init__(self, model: ModernDecoder):
        super().__init__()
        self.layers, self.heads = len(model.blocks), model.blocks[0].heads
        self.head_width, self.history = model.head_width, len(model.embeddings)
        self.carry_shape = (self.layers * self.heads, 1, model.head_width // 2)
        self.rotary, self.late_keys = model.rotary, model.blocks[0].late_keys
        self.qk_norm = model.blocks[0].sharpness is not None
        self.activation = model.blocks[0].activation
        self.embeddings = model.embeddings
        self.logits = Product(model.output_weight)
        self.products = nn.ModuleList()
        self.scales = nn.ParameterList()  # of each layer's queries, then of its keys
        ones = torch.ones(self.heads, 1, 1)
        for block in model.blocks:
            projections = Product(block.query.weight, block.key.weight, block.value.weight)
            nets = (Product(net.weight) for net in (block.output, block.inner, block.outer))
            self.products.append(nn.ModuleList([projections, *nets]))
            sharpness = block.sharpness if self.qk_norm else ones
            self.scales.append(torch.cat([sharpness * self.head_width**-0.5, ones]))

    def forward(self, history, position, ages, carry, *past):
        heads, width = self.heads, self.head_width
        rotation, empty = self.rotation(position), empty_slots(ages)
        tables = enumerate(self.embeddings)
        x = sum(table(history[back : back + 1]) for back, table in tables)  # (1, model width)
        x = x * x.shape[-1] ** 0.5
        keys, values, carried = [], [], []
        for layer, late in enumerate(carry.split(heads)):
            project, output, inner, outer = self.products[layer]
            parts = project(normalised(x)).view(3 * heads, 1, width)
            both, value = parts.split([2 * heads, heads])  # queries and keys together
            both = (normalised(both) if self.qk_norm else both) * self.scales[layer]
            query, key = (both @ rotation if self.rotary else both).split(heads)
            turning, still = key.chunk(2, -1)
            if self.late_keys:
                key = torch.cat([turning, late], -1)
            x = x + output(attention(query, key, value, past[2 * layer :][:2], empty))
            x = x + outer(activated(inner(normalised(x)), self.activation))
            keys, values, carried = [*keys, key], [*values, value], [*carried, still]
        log_probs = F.log_softmax(self.logits(normalised(x)), -1)
        return log_probs, torch.cat(keys), torch.cat(values), torch.cat(carried)

    def rotation(self, position: Tensor) -> Tensor:
        """A position's rotary embedding as one matrix: (head width, head width)."""
        cosine, sine = rotary_angles(position.double().view(1), self.head_width)
        return rotate(torch.eye(self.head_width), cosine.float(), sine.float())


class RelativeStep(nn.Module):
    """The step of a ``TransformerXL`` that looks back ``memory`` events at most.

    It carries nothing. The scores by distance, (q + v)·r, are computed for every distance; each
    slot of the memory takes the one of its age.
    """

    history, carry_shape = 1, (0,)

    def __init__(self, model: TransformerXL, memory: int):
        super().__init__()
        self.layers, (self.heads, self.head_width) = len(model.layers), model.u.shape
        scale = self.head_width**-0.5
        self.u, self.v = (nn.Parameter(part.unsqueeze(1) * scale) for part in (model.u, model.v))
        self.embedding, self.norm, self.width = model.embedding, model.norm, model.width
        self.logits = Product(model.embedding.weight, bias=model.output_bias)
        self.pre_norm = model.layers[0].pre_norm
        self.norms, self.products, self.r = nn.ModuleList(), nn.ModuleList(), nn.ParameterList()
        for layer, r in zip(model.layers, model.positions(memory + 1), strict=True):
            projections = Product(layer.query.weight * scale, layer.key_value.weight)
            nets = (layer.output, layer.inner, layer.outer)
            nets = (Product(net.weight, bias=net.bias) for net in nets)
            self.products.append(nn.ModuleList([projections, *nets]))
            self.norms.append(nn.ModuleList([layer.attention_norm, layer.feed_forward_norm]))
            self.r.append(r.flip(1).transpose(1, 2).contiguous())  # (heads, head width, distances)

    def forward(self, history, position, ages, carry, *past):
        empty, keys, values = empty_slots(ages), [], []
        x = self.embedding(history) * self.width**0.5  # (1, width)
        for layer, r in enumerate(self.r):
            project, output, inner, outer = self.products[layer]
            attention_norm, feed_forward_norm = self.norms[layer]
            parts = project(attention_norm(x) if self.pre_norm else x)
            query, key, value = parts.view(3 * self.heads, 1, -1).split(self.heads)
            by_distance = (query + self.v) @ r  # (heads, 1, distances)
            bias, own = by_distance.index_select(-1, ages) + empty, by_distance[..., :1]
            x = x + output(attention(query + self.u, key, value, past[2 * layer :][:2], bias, own))
            x = x if self.pre_norm else attention_norm(x)
            x = x + outer(F.relu(inner(feed_forward_norm(x) if self.pre_norm else x)))
            x = x if self.pre_norm else feed_forward_norm(x)
            keys, values = [*keys, key], [*values, value]
        log_probs = F.log_softmax(self.logits(self.norm(x)), -1)
        return log_probs, torch.cat(keys), torch.cat(values), carry.clone()


@torch.no_grad()
def export(model: LanguageModel, memory: int, precision: str, properties: dict[str, str]) -> bytes:
    """The step of a model as the content of an ONNX file.

    model: on the CPU; memory: events to look back to at most; precision: "fp32" or "int8";
    properties: to keep in the file.
    """
    import onnx

    step = ModernStep(model) if isinstance(model, ModernDecoder) else RelativeStep(model, memory)
    slots = torch.export.Dim("memory")
    example = {
        "history": torch.zeros(step.history, dtype=torch.int64),
        "position": torch.tensor(1),
        "ages": torch.ones(_EXAMPLE_MEMORY, dtype=torch.int64),
        "carry": torch.zeros(step.carry_shape),
    }
    for layer in range(step.layers):
        example[f"keys{layer}"] = torch.zeros(step.heads, step.head_width, _EXAMPLE_MEMORY)
        example[f"values{layer}"] = torch.zeros(step.heads, _EXAMPLE_MEMORY, step.head_width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch tells the developers of exporters
        for name in ("torch.onnx", "onnxscript"):
            logging.getLogger(name).setLevel(logging.ERROR)
        graph = torch.onnx.export(
            step.eval(),
            tuple(example.values()),
            input_names=list(example),
            output_names=["log_probs", "new_keys", "new_values", "new_carry"],
            dynamic_shapes=(None, None, {0: slots}, None, ({2: slots}, {1: slots}) * step.layers),
            opset_version=23,  # the first one with a node for the root mean square
            dynamo=True,
            verbose=False,
        ).model_proto
    if precision == "int8":
        graph = _in_8_bits(graph)
    onnx.helper.set_model_props(graph, properties)
    return graph.SerializeToString()


def _in_8_bits(graph):
    """The same ``onnx.ModelProto`` with the weights of its products, but for one, in 8 bits."""
    # The module sets up logging for the whole program on its import, unless somebody already has.
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    logging.getLogger().removeHandler(handler)
    products = [node.name for node in graph.graph.node if node.op_type == "MatMul"]
    quantizer = MatMulNBitsQuantizer(
        graph,
        bits=8,
        block_size=32,
        is_symmetric=True,
        accuracy_level=4,  # their inputs are rounded to 8 bits, too
        nodes_to_exclude=products[-1:],  # the logits: rounding them costs more than all others
    )
    quantizer.process()
    return quantizer.model.model
