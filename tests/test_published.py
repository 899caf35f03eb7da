"""Published checkpoints: files in their format are built here, read, and held to the published
definition.

The definition is restated below event by event, in float64: layers' inputs as memory, one matrix
for queries, keys and values, distances counted instead of shifted.
"""

import json
import os
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from pickled_calls import Call
from torch import nn

from lakhnes_lib.__main__ import main
from lakhnes_lib.errors import BadCheckpoint, LakhnesError
from lakhnes_lib.models import checkpoints

SIZES = dict(n_layer=3, d_model=12, n_head=3, d_head=5, d_inner=20, mem_len=9)


class Backend:
    """What every module of old PyTorch carried along: a call without arguments."""

    def __reduce__(self):
        return sys.modules["torch.nn.backends.thnn"]._get_thnn_function_backend, ()


@pytest.fixture
def program(monkeypatch):
    """The modules whose classes a published file names, with no more than the files show."""

    def thing(module: str, name: str, kind=nn.Module):
        made = type(name, (kind,), {"__module__": module, "__qualname__": name})
        if module not in sys.modules:
            monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        setattr(sys.modules[module], name, made)
        return made

    for name in (
        "AdaptiveEmbedding",
        "PositionalEmbedding",
        "RelPartialLearnableDecoderLayer",
        "RelPartialLearnableMultiHeadAttn",
        "PositionwiseFF",
        "MemTransformerLM",
    ):
        thing("mem_transformer", name)
    thing("proj_adaptive_softmax", "ProjectedAdaptiveLogSoftmax")
    backend = types.ModuleType("torch.nn.backends.thnn")

    def _get_thnn_function_backend():
        raise AssertionError("it was called")

    _get_thnn_function_backend.__module__ = backend.__name__
    _get_thnn_function_backend.__qualname__ = "_get_thnn_function_backend"
    backend._get_thnn_function_backend = _get_thnn_function_backend
    monkeypatch.setitem(sys.modules, "torch.nn.backends", types.ModuleType("torch.nn.backends"))
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    return sys.modules["mem_transformer"]


def made(kind, **parts) -> nn.Module:
    module = kind()
    for name, part in parts.items():
        setattr(module, name, part)
    return module


def published_model(
    program, n_layer, d_model, n_head, d_head, d_inner, mem_len, n_token=631
) -> nn.Module:
    """A module with the names, sizes and attributes of the published ones, every parameter far from
    its start."""
    torch.manual_seed(0)
    inside, criterion = (
        n_head * d_head,
        sys.modules["proj_adaptive_softmax"].ProjectedAdaptiveLogSoftmax,
    )
    layers = nn.ModuleList()
    for _ in range(n_layer):
        attention = made(
            program.RelPartialLearnableMultiHeadAttn, n_head=n_head, d_model=d_model,
            d_head=d_head, dropout=0.1, qkv_net=nn.Linear(d_model, 3 * inside, bias=False),
            drop=nn.Dropout(0.1), dropatt=nn.Dropout(0.0),
            o_net=nn.Linear(inside, d_model, bias=False), layer_norm=nn.LayerNorm(d_model),
            scale=1 / d_head**0.5, pre_lnorm=False, r_net=nn.Linear(d_model, inside, bias=False),
        )  # fmt: skip
        net = nn.Sequential(
            nn.Linear(d_model, d_inner),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(d_inner, d_model),
            nn.Dropout(0.1),
        )
        forward = made(
            program.PositionwiseFF, CoreNet=net, layer_norm=nn.LayerNorm(d_model), pre_lnorm=False
        )
        layers.append(
            made(program.RelPartialLearnableDecoderLayer, dec_attn=attention, pos_ff=forward)
        )
    table = nn.Embedding(n_token, d_model)
    embedding = made(
        program.AdaptiveEmbedding, n_token=n_token, d_embed=d_model, cutoffs=[n_token], div_val=1,
        emb_scale=d_model**0.5, emb_layers=nn.ModuleList([table]), emb_projs=nn.ParameterList(),
    )  # fmt: skip
    output = nn.Linear(d_model, n_token)
    output.weight = table.weight
    positions = program.PositionalEmbedding()
    positions.register_buffer(
        "inv_freq", 1 / (10000 ** (torch.arange(0.0, d_model, 2.0) / d_model))
    )
    model = made(
        program.MemTransformerLM, n_token=n_token, d_embed=d_model, d_model=d_model, n_head=n_head,
        d_head=d_head, word_emb=embedding, drop=nn.Dropout(0.1), n_layer=n_layer, tgt_len=128,
        mem_len=mem_len, ext_len=0, max_klen=128 + mem_len, attn_type=0, layers=layers,
        sample_softmax=-1, crit=made(
            criterion, n_clusters=0, out_layers=nn.ModuleList([output]),
            out_projs=nn.ParameterList(),
        ),
        same_length=False, clamp_len=-1, pos_emb=positions,
        r_w_bias=nn.Parameter(torch.zeros(n_head, d_head)),
        r_r_bias=nn.Parameter(torch.zeros(n_head, d_head)),
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.4)
    for module in model.modules():
        module._backend = Backend()
    return model


def store(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch looks for the classes' source text
        torch.save(model, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture
def model_pt(program, tmp_path):
    """A published file, and the module in it."""
    model = published_model(program, **SIZES)
    return store(model, tmp_path / "model.pt"), model


def layer_norm(x, norm):
    weight, bias = norm.weight.detach().double().numpy(), norm.bias.detach().double().numpy()
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(
        x.var(-1, keepdims=True) + 1e-5
    ) * weight + bias


def matrix(module):
    return module.weight.detach().double().numpy()


def published_segment(model, ids, memory) -> tuple[np.ndarray, list[np.ndarray]]:
    """Log-probabilities (time, 631) of one row's segment; the memory after it: each layer's inputs
    (remembered, width)."""
    heads, width, time = model.n_head, model.d_head, len(ids)
    table = model.word_emb.emb_layers[0].weight.detach().double().numpy()
    u, v = model.r_w_bias.detach().double().numpy(), model.r_r_bias.detach().double().numpy()
    x, remembered = table[ids] * model.d_model**0.5, []
    for layer, past in zip(model.layers, memory, strict=True):
        cat = np.concatenate([past, x])
        remembered.append(cat[max(0, len(cat) - model.mem_len) :])
        query, key, value = np.split(cat @ matrix(layer.dec_attn.qkv_net).T, 3, axis=1)
        query = query[len(past) :]
        attended = np.zeros((time, heads * width))
        for i in range(time):
            distance = i + len(past) - np.arange(i + len(past) + 1)
            angle = distance[:, None] * model.pos_emb.inv_freq.double().numpy()
            r = np.concatenate([np.sin(angle), np.cos(angle)], 1) @ matrix(layer.dec_attn.r_net).T
            for head in range(heads):
                own = slice(head * width, (head + 1) * width)
                k = key[: i + len(past) + 1, own]
                scores = (
                    k @ (query[i, own] + u[head]) + r[:, own] @ (query[i, own] + v[head])
                ) / width**0.5
                weights = np.exp(scores - scores.max())
                attended[i, own] = weights / weights.sum() @ value[: i + len(past) + 1, own]
        x = layer_norm(x + attended @ matrix(layer.dec_attn.o_net).T, layer.dec_attn.layer_norm)
        first, second = layer.pos_ff.CoreNet[0], layer.pos_ff.CoreNet[3]
        inner = np.maximum(x @ matrix(first).T + first.bias.detach().double().numpy(), 0)
        x = layer_norm(
            x + inner @ matrix(second).T + second.bias.detach().double().numpy(),
            layer.pos_ff.layer_norm,
        )
    logits = x @ table.T + model.crit.out_layers[0].bias.detach().double().numpy()
    logits -= logits.max(1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True)), remembered


def test_a_converted_model_is_the_published_definition(model_pt, tmp_path):
    path, theirs = model_pt
    converted = checkpoints.convert_published(path, tmp_path / "out")
    ours = checkpoints.load(tmp_path / "out")
    assert ours.memory_length == converted.memory_length == SIZES["mem_len"]
    assert ours.parameter_count() == sum(
        p.numel() for p in theirs.parameters()
    )  # tied weights count once
    ids = np.random.default_rng(0).integers(0, 631, (2, 40))
    memory, state, worst = [[np.zeros((0, SIZES["d_model"]))] * SIZES["n_layer"]] * 2, None, 0.0
    for start, stop in ((0, 7), (7, 11), (11, 12), (12, 30), (30, 40)):
        with torch.inference_mode():
            log_probs, state = ours.log_probs(torch.from_numpy(ids[:, start:stop]), state)
        for row in range(2):
            expected, memory[row] = published_segment(theirs, ids[row, start:stop], memory[row])
            worst = max(worst, np.abs(log_probs[row].numpy() - expected).max())
    assert worst < 1e-5
    details = json.loads((tmp_path / "out" / "config.json").read_text())
    assert details["config"]["dropout"] == 0.1 and details["published"]["file"] == "model.pt"


def test_the_papers_size(program, tmp_path):
    """All but the values: layers cut from twelve to one, everything else as published."""
    sizes = dict(n_layer=1, d_model=512, n_head=8, d_head=64, d_inner=2048, mem_len=512)
    ours = checkpoints.convert_published(
        store(published_model(program, **sizes), tmp_path / "big.pt"), tmp_path / "out"
    )
    layer = sum(parameter.numel() for parameter in ours.layers.parameters())
    assert ours.parameter_count() + 11 * layer == 41_274_487


def test_half_precision_is_widened(program, tmp_path):
    model = published_model(program, **SIZES).half()
    ours = checkpoints.convert_published(store(model, tmp_path / "half.pt"), tmp_path / "out")
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert torch.equal(ours.u, model.r_w_bias.float())


def test_convert_from_the_command_line(model_pt, tmp_path, capsys):
    path, _ = model_pt
    assert main(["convert", str(path), str(tmp_path / "out")]) == 0
    assert "transformer_xl" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "none.pt"), str(tmp_path / "other")]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


# Models that are not the published one


def changed(program, change):
    model = published_model(program, **SIZES)
    change(model)
    return model


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda m: setattr(m, "extra", nn.Linear(2, 2)), "extra.weight|extra.bias"),
        (lambda m: delattr(m, "r_w_bias"), 'Missing key.*"u"'),
        (lambda m: m.layers.__delitem__(2), "lacks the part 'layers.2"),
        (lambda m: setattr(m, "n_layer", 2), "layers.2"),
        (lambda m: setattr(m, "n_head", 5), "size mismatch for u"),
        (lambda m: setattr(m, "n_head", "3"), "n_head"),
        (lambda m: setattr(m, "mem_len", -1), "memory_length: must be greater"),
        (lambda m: setattr(m, "clamp_len", 100), "clamp_len"),
        (lambda m: setattr(m, "same_length", True), "same_length"),
        (lambda m: setattr(m, "attn_type", 2), "attn_type"),
        (lambda m: setattr(m.layers[1].dec_attn, "pre_lnorm", True), "pre_lnorm"),
        (lambda m: setattr(m, "n_token", 630), "630 events"),
        (lambda m: m.r_r_bias.data.fill_(float("nan")), "not finite"),
        (lambda m: m.pos_emb.inv_freq.mul_(2), "frequencies"),
        (
            lambda m: setattr(m.crit.out_layers[0], "weight", nn.Parameter(torch.zeros(631, 12))),
            "weights of their own",
        ),
        (lambda m: setattr(m, "again", m.word_emb), "share their values"),
        (lambda m: setattr(m, "drop", nn.Identity()), "dropout"),
        (
            lambda m: m.layers[1].pos_ff.CoreNet.__setitem__(1, nn.GELU()),
            "no ReLU within layers.1.pos_ff",
        ),
        (lambda m: setattr(m.word_emb, "emb_scale", 1.0), "emb_scale"),
        (
            lambda m: setattr(m.layers[2].dec_attn, "scale", float("nan")),
            "module 'layers.2.dec_attn.' has scale",
        ),
        (
            lambda m: (m.double(), m.r_w_bias.data.fill_(1e300)),
            "'u' holds values that are not finite",
        ),
        (
            lambda m: setattr(
                m.layers[0].dec_attn.o_net, "weight", m.layers[1].dec_attn.o_net.weight
            ),
            "share their",
        ),
        (lambda m: setattr(m.r_w_bias, "data", m.r_r_bias.data), "share their values"),
        (
            lambda m: m._modules.update({str(n): None for n in range(5001)}),
            "more than 5,000 parts",
        ),
    ],
)
def test_other_models_are_refused(program, tmp_path, change, reason):
    path = store(changed(program, change), tmp_path / "model.pt")
    with pytest.raises(BadCheckpoint, match=reason) as caught:
        checkpoints.convert_published(path, tmp_path / "out")
    assert str(caught.value).startswith(f"{path}: ") and str(caught.value).count(str(path)) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "what", [nn.Linear(2, 2), {"model": torch.zeros(3)}, [1, 2], torch.zeros(2)]
)
def test_other_objects_are_refused(tmp_path, what):
    with pytest.raises(
        BadCheckpoint, match="^[^\n]*holds a '.*', not the published MemTransformerLM"
    ):
        checkpoints.convert_published(store(what, tmp_path / "model.pt"), tmp_path / "out")


def test_an_odd_width_is_refused(program, tmp_path):
    path = store(published_model(program, **SIZES | {"d_model": 15}), tmp_path / "model.pt")
    with pytest.raises(BadCheckpoint, match="model.pt: .*width must be even"):
        checkpoints.convert_published(path, tmp_path / "out")


# Hostile and damaged files


def test_a_payload_inside_a_published_model(program, tmp_path):
    mark = tmp_path / "it_ran"
    path = store(
        changed(program, lambda m: setattr(m, "note", Call(os.system, f"touch {mark}"))),
        tmp_path / "model.pt",
    )
    with pytest.raises(BadCheckpoint, match=r"asks to call '(posix|nt)\.system'"):
        checkpoints.convert_published(path, tmp_path / "out")
    assert not mark.exists() and not (tmp_path / "out").exists()


def test_truncated_anywhere(model_pt, tmp_path):
    path, _ = model_pt
    whole, part = path.read_bytes(), tmp_path / "part.pt"
    for end in [*range(0, 300, 23), *np.linspace(300, len(whole) - 1, 25).astype(int)]:
        part.write_bytes(whole[:end])
        with pytest.raises(BadCheckpoint, match="part.pt: "):
            checkpoints.convert_published(part, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_anywhere(model_pt, tmp_path):
    """A changed byte gives another number or a refusal, never anything else."""
    path, _ = model_pt
    whole, draw = path.read_bytes(), np.random.default_rng(0)
    pickled = whole.index(b"r_r_bias") + 3000
    refused = 0
    for position in draw.integers(0, pickled, 60):
        damaged = bytearray(whole)
        damaged[position] = draw.integers(256)
        (tmp_path / "odd.pt").write_bytes(damaged)
        try:
            checkpoints.published.read(tmp_path / "odd.pt")
        except LakhnesError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 10
