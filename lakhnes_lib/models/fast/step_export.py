"""One step of composing as an ONNX graph, which ``engine.py`` runs.

Paper: §8 (sampling with a memory of events). Notebook: 09_composing.
A step reads the newest event, and the keys and values of the events before it. It gives the
log-probabilities of the next event, and writes the newest keys and values behind the others. The
formulas are those of the readable models, written for one event and with as few operations as
possible: at this size each costs some microseconds, whatever it computes. Attention as a whole is
one operation of ONNX Runtime, ``GroupQueryAttention``. Tests compare the two.
Differences from the paper: none in what is computed. With int8 the weights of all matrix products
but the last are rounded to 8 bits, every 32 values on their own scale, and so are their inputs;
keys and values are remembered in 8 bits, each of their numbers on a scale of its own.

Inputs of every graph: ``history`` int64 (1 or more,), the newest events, the newest one first;
``position`` int64 (), how many events came before; ``length`` int32 (1,), how many of them are
remembered; ``bias`` float32 (1, 1, 1, length + 1), added to their scores and to the event's own:
-inf hides an event; ``carry``, what the last step gave; and for each layer ``keys0`` … and
``values0`` …, float32 or int8 (1, heads, slots, head width), the remembered events in their order
and at least one free slot. Outputs: ``new_log_probs`` float32 (1, vocabulary); ``new_carry``; and
``new_keys0`` …, ``new_values0`` …, which may be the same memory as ``keys0`` … and ``values0`` ….
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
from lakhnes_lib.music import events

_LISTENED_PIECES, _LISTENED_EVENTS = 16, 192  # composed to see how great keys and values are
_EXAMPLE_SLOTS = 8  # of the memory that a graph is made with; the graph takes any number


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


def attend(query, key, value, memory: tuple[Tensor, Tensor], length, bias, scales):
    """Attention of one event to what a layer remembers and to itself.

    query, key, value: (heads, 1, head width); memory, length and bias: as inputs of the graph;
    scales: None, or of a memory in 8 bits: what one step of its keys and values is worth, each
    float32 (1, heads, 1, head width). Returns (1, width), and the memory with the event in it.
    """
    form, rest = dict(num_heads=len(query), kv_num_heads=len(query), scale=1.0), []
    if scales is not None:
        form |= dict(k_quant_type="PER_CHANNEL", v_quant_type="PER_CHANNEL", kv_cache_bit_width=8)
        rest = [None, *scales]
    three = [part.reshape(1, 1, -1) for part in (query, key, value)]
    attended, *memory = torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        [*three, *memory, length, length + 1, None, None, None, bias, *rest],
        form,
        dtypes=[query.dtype, *(part.dtype for part in memory)],
        shapes=[three[0].shape, *(part.shape for part in memory)],
        version=1,
    )
    return attended.view(1, -1), memory


class ModernStep(nn.Module):
    """The step of a ``ModernDecoder``; carries half keys, (layers * heads, 1, head width / 2)."""

    def __init__(self, model: ModernDecoder, memory_scales: list):
        super().__init__()
        self.memory_scales = memory_scales
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

    def forward(self, history, position, length, bias, carry, *past):
        heads, width = self.heads, self.head_width
        rotation = self.rotation(position)
        tables = enumerate(self.embeddings)
        x = sum(table(history[back : back + 1]) for back, table in tables)  # (1, model width)
        x = x * x.shape[-1] ** 0.5
        remembered, carried = [], []
        for layer, late in enumerate(carry.split(heads)):
            project, output, inner, outer = self.products[layer]
            parts = project(normalised(x)).view(3 * heads, 1, width)
            both, value = parts.split([2 * heads, heads])  # queries and keys together
            both = (normalised(both) if self.qk_norm else both) * self.scales[layer]
            query, key = (both @ rotation if self.rotary else both).split(heads)
            turning, still = key.chunk(2, -1)
            if self.late_keys:
                key = torch.cat([turning, late], -1)
            memory, steps = past[2 * layer :][:2], self.memory_scales[layer]
            attended, memory = attend(query, key, value, memory, length, bias, steps)
            x = x + output(attended)
            x = x + outer(activated(inner(normalised(x)), self.activation))
            remembered, carried = [*remembered, *memory], [*carried, still]
        log_probs = F.log_softmax(self.logits(normalised(x)), -1)
        return log_probs, torch.cat(carried), *remembered

    def rotation(self, position: Tensor) -> Tensor:
        """A position's rotary embedding as one matrix: (head width, head width)."""
        cosine, sine = rotary_angles(position.double().view(1), self.head_width)
        return rotate(torch.eye(self.head_width), cosine.float(), sine.float())


class RelativeStep(nn.Module):
    """The step of a ``TransformerXL`` whose memory has so many slots at most.

    It carries nothing. The scores by distance, (q + v)·r, are added to the others as a bias.
    """

    history, carry_shape = 1, (0,)

    def __init__(self, model: TransformerXL, memory_scales: list, slots: int):
        super().__init__()
        self.memory_scales = memory_scales
        self.layers, (self.heads, self.head_width) = len(model.layers), model.u.shape
        scale = self.head_width**-0.5
        self.u, self.v = (nn.Parameter(part.unsqueeze(1) * scale) for part in (model.u, model.v))
        self.embedding, self.norm, self.width = model.embedding, model.norm, model.width
        self.logits = Product(model.embedding.weight, bias=model.output_bias)
        self.pre_norm = model.layers[0].pre_norm
        self.norms, self.products, self.r = nn.ModuleList(), nn.ModuleList(), nn.ParameterList()
        for layer, r in zip(model.layers, model.positions(slots), strict=True):
            projections = Product(layer.query.weight * scale, layer.key_value.weight)
            nets = (layer.output, layer.inner, layer.outer)
            nets = (Product(net.weight, bias=net.bias) for net in nets)
            self.products.append(nn.ModuleList([projections, *nets]))
            self.norms.append(nn.ModuleList([layer.attention_norm, layer.feed_forward_norm]))
            self.r.append(r.transpose(1, 2).contiguous())  # (heads, head width, distances)

    def forward(self, history, position, length, bias, carry, *past):
        remembered, events = [], bias.shape[-1]
        x = self.embedding(history) * self.width**0.5  # (1, width)
        for layer, r in enumerate(self.r):
            project, output, inner, outer = self.products[layer]
            attention_norm, feed_forward_norm = self.norms[layer]
            parts = project(attention_norm(x) if self.pre_norm else x)
            query, key, value = parts.view(3 * self.heads, 1, -1).split(self.heads)
            # Every distance, then those that count: cutting r first would copy it at each event.
            by_distance = ((query + self.v) @ r)[..., r.shape[-1] - events :]  # (heads, 1, events)
            memory, steps = past[2 * layer :][:2], self.memory_scales[layer]
            scores = by_distance.unsqueeze(0) + bias
            attended, memory = attend(query + self.u, key, value, memory, length, scores, steps)
            x = x + output(attended)
            x = x if self.pre_norm else attention_norm(x)
            x = x + outer(F.relu(inner(feed_forward_norm(x) if self.pre_norm else x)))
            x = x if self.pre_norm else feed_forward_norm(x)
            remembered = [*remembered, *memory]
        log_probs = F.log_softmax(self.logits(self.norm(x)), -1)
        return log_probs, carry.clone(), *remembered


@torch.no_grad()
def export(model: LanguageModel, slots: int, precision: str, properties: dict[str, str]) -> bytes:
    """The step of a model as the content of an ONNX file.

    model: on the CPU, in evaluation; slots: of its memory, at most; precision: "fp32" or "int8";
    properties: to keep in the file.
    """
    import onnx

    modern, in_8_bits = isinstance(model, ModernDecoder), precision == "int8"
    layers = len(model.blocks if modern else model.layers)
    scales = scales_of_memory(model) if in_8_bits else [None] * layers
    step = ModernStep(model, scales) if modern else RelativeStep(model, scales, slots)
    shape = (1, step.heads, _EXAMPLE_SLOTS, step.head_width)
    example = {
        "history": torch.zeros(step.history, dtype=torch.int64),
        "position": torch.tensor(1),
        "length": torch.ones(1, dtype=torch.int32),
        "bias": torch.zeros(1, 1, 1, _EXAMPLE_SLOTS - 1),
        "carry": torch.zeros(step.carry_shape),
    }
    names = [f"{kind}{layer}" for layer in range(layers) for kind in ("keys", "values")]
    past = torch.zeros(shape, dtype=torch.int8 if in_8_bits else torch.float32)
    example |= {name: past.clone() for name in names}
    slots, events = torch.export.Dim("slots"), torch.export.Dim("events")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch tells the developers of exporters
        for name in ("torch.onnx", "onnxscript"):
            logging.getLogger(name).setLevel(logging.ERROR)
        graph = torch.onnx.export(
            step.eval(),
            tuple(example.values()),
            input_names=list(example),
            output_names=["new_log_probs", "new_carry", *(f"new_{name}" for name in names)],
            dynamic_shapes=(None, None, None, {3: events}, None, ({2: slots},) * 2 * layers),
            opset_version=23,  # the first one with a node for the root mean square
            dynamo=True,
            verbose=False,
        ).model_proto
    if in_8_bits:
        graph = _in_8_bits(graph)
    for node in graph.graph.node:
        node.ClearField("metadata_props")  # else where its code lies on this machine
    onnx.helper.set_model_props(graph, properties)
    return graph.SerializeToString()


def scales_of_memory(model: LanguageModel) -> list[Tensor]:
    """What one step of 8 bits is worth in each layer's keys and values: (2, 1, heads, 1, head
    width) each.

    127 steps are the greatest number there while the model composes some pieces, and half as much.
    """
    random = torch.Generator().manual_seed(0)
    state, ids = None, torch.full((_LISTENED_PIECES, 1), events.START)
    for _ in range(_LISTENED_EVENTS):
        log_probs, state = model.log_probs(ids, state, memory_length=_LISTENED_EVENTS)
        ids = torch.multinomial(log_probs[:, -1].exp(), 1, generator=random)
    pairs = (torch.stack(layer[:2]) for layer in state.layers)  # (2, pieces, heads, time, width)
    greatest = (pair.abs().amax((1, 3), keepdim=True) for pair in pairs)
    return [each.clamp_min(1e-6) * (1.5 / 127) for each in greatest]


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
