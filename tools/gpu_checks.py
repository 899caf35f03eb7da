"""What a GPU can do for one model of a profile: the first stage of gpu_kit.py, within a minute."""

import time

import torch
import torch.nn.functional as F

from lakhnes_lib.data.streams import Streams
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import augmentation
from lakhnes_lib.profiles import Profile
from lakhnes_lib.training.learner import Learner

BATCHES = (30, 64, 128)
"""Rows of a training step that are tried: the paper's 30, and what a large GPU may hold."""


def fused_attention(profile: Profile, name: str, device: torch.device) -> dict:
    """Milliseconds of attention with a bias for each backend that takes one."""
    model = profile.models[name]
    heads, segment = model["heads"], 512
    width = model.get("head_width") or model["width"] // heads
    shape = (8, heads, segment, width)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    query, key, value = (torch.randn(shape, device=device, dtype=dtype) for _ in "qkv")
    bias = torch.randn(8, heads, segment, segment, device=device, dtype=dtype)
    times = {}
    for backend in ("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH"):
        kind = getattr(torch.nn.attention.SDPBackend, backend)
        try:
            with torch.nn.attention.sdpa_kernel(kind):
                times[backend] = milliseconds(
                    lambda: F.scaled_dot_product_attention(query, key, value, attn_mask=bias),
                    device,
                )
        except RuntimeError as error:
            times[backend] = str(error).splitlines()[0][:120]
    return times


def milliseconds(work, device: torch.device, repeats: int = 10) -> float:
    """The mean time of one call after a first one that is not counted."""
    work()
    synchronize(device)
    begun = time.perf_counter()
    for _ in range(repeats):
        work()
    synchronize(device)
    return 1000 * (time.perf_counter() - begun) / repeats


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def speeds(profile: Profile, name: str, train, device: torch.device, seconds: float) -> dict:
    """Events of training a second and peak memory: as the model is trained on a split, and then
    uncompiled at several batch sizes, as long as seconds are left."""
    values, trained = {}, profile.training[name]
    songs = augmentation.songs_by_epoch(train, trained.augment, 0)
    deadline, is_cuda = time.monotonic() + seconds, device.type == "cuda"
    plain = trained.model_copy(update={"compile": False})
    tries = {"as trained": trained} | {
        f"batch {batch}": plain.model_copy(update={"batch": batch}) for batch in BATCHES
    }
    for title, settings in tries.items():
        if values and not (is_cuda and time.monotonic() < deadline):
            break
        if is_cuda:
            torch.cuda.reset_peak_memory_stats()
        streams = Streams(songs, settings.batch, settings.segment, 0, settings.streams)
        model = checkpoints.build(**profile.models[name])
        learner = Learner(model, settings, device)
        model.train()
        begun, events = time.perf_counter(), 0
        for _ in range(3):  # the first are slower, above all where they are compiled
            learner.step(next(streams), 1.0)
        values[title] = {"first_steps_seconds": round(time.perf_counter() - begun, 1)}
        begun = time.perf_counter()
        while time.perf_counter() - begun < min(4, seconds / 4):
            segment = next(streams)
            learner.step(segment, 1.0)
            events += int((segment.targets >= 0).sum())
        synchronize(device)
        values[title]["events_a_second"] = round(events / (time.perf_counter() - begun))
        if is_cuda:
            values[title]["peak_gigabytes"] = torch.cuda.max_memory_allocated() / 1e9
        del learner, model  # the next batch needs the memory
    return values
