"""What a GPU can do for one model of a profile: the first stage of gpu_kit.py, within a minute.

All checks are tried in that minute: the quick ones come first, each ends when its share of the time
is over, and compiling, which may take longer than all others, comes last and gets what is left.
"""

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from lakhnes_lib.data.streams import Streams
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import augmentation
from lakhnes_lib.profiles import Profile, Training
from lakhnes_lib.training.learner import Learner

FIRST_STEPS = 2
"""Steps that are not counted: the first ones are slower."""
MOST_SECONDS = 4.0
"""Of counted steps with one batch."""
COMPILED_LAYERS = 2
"""Layers of the model that is compiled: each takes time, and two show whether it works."""


def checks(profile: Profile, name: str, train, device, seconds: float) -> Iterator[dict]:
    """Yields, after each check, what is known so far; one that fails says why, and the others go
    on. Without seconds only attention is checked.

    train: the split that the model called ``name`` is to be trained on.
    """
    end = time.monotonic() + seconds
    sizes, settings = profile.models[name], profile.training[name]
    known = {"fused_attention": tried(fused_attention, sizes, device, max(seconds, 20) / 10)}
    yield known
    if not seconds:
        return
    songs = augmentation.songs_by_epoch(train, settings.augment, 0)(0)
    known["speed"] = {}
    for batch in (settings.batch, max(1, settings.batch // 2), 2 * settings.batch):
        plain = settings.model_copy(update={"batch": batch, "compile": False})
        share = (end - time.monotonic()) / 10
        known["speed"][f"batch {batch}"] = tried(speed, sizes, plain, songs, device, share)
        yield known
    left = end - time.monotonic()
    known["compile"] = tried(compiled_step, sizes, settings, songs, device, left)
    yield known


def tried(check: Callable[..., dict], *parameters) -> dict:
    """What the check returns, or why it failed; its last parameter is how many seconds it has."""
    if parameters[-1] <= 0:
        return {"not_tried": "no time was left"}
    try:
        return check(*parameters)
    except Exception as error:  # whatever it is, it must not cost the lease
        return {"error": f"{type(error).__name__}: {str(error)[:300]}"}


def fused_attention(model: dict, device: torch.device, seconds: float) -> dict:
    """Milliseconds of attention with a bias for each backend that takes one.

    model: its sizes, as in a profile.
    """
    heads, segment = model["heads"], 512
    width = model.get("head_width") or model["width"] // heads
    shape = (8, heads, segment, width)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    query, key, value = (torch.randn(shape, device=device, dtype=dtype) for _ in "qkv")
    bias = torch.randn(8, heads, segment, segment, device=device, dtype=dtype)
    backends, times = ("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH"), {}
    for backend in backends:
        kind = getattr(torch.nn.attention.SDPBackend, backend)
        try:
            with torch.nn.attention.sdpa_kernel(kind):
                times[backend] = milliseconds(
                    lambda: F.scaled_dot_product_attention(query, key, value, attn_mask=bias),
                    device,
                    seconds / len(backends),
                )
        except RuntimeError as error:
            times[backend] = str(error).splitlines()[0][:120]
    return times


def milliseconds(work, device: torch.device, seconds: float, most: int = 10) -> float:
    """The mean time of one call after a first one that is not counted, over the most calls, or
    fewer when the seconds are over."""
    work()
    synchronize(device)
    begun, calls = time.perf_counter(), 0
    while calls < most and (not calls or time.perf_counter() - begun < seconds):
        work()
        calls += 1
    synchronize(device)
    return 1000 * (time.perf_counter() - begun) / calls


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def speed(model: dict, settings: Training, songs: list, device, seconds: float) -> dict:
    """Events of training a second with these settings, and the most memory: the GPU's, or, without
    one, that of the whole process so far."""
    is_cuda = device.type == "cuda"
    if is_cuda:
        torch.cuda.empty_cache()  # what the batch before has left
        torch.cuda.reset_peak_memory_stats()
    streams = Streams(songs, settings.batch, settings.segment, 0, settings.streams)
    learner = Learner(checkpoints.build(**model), settings, device)
    learner.model.train()
    begun = time.perf_counter()
    for _ in range(FIRST_STEPS):
        learner.step(next(streams), 0.0)  # a rate of nothing: it costs the same, and cannot diverge
    values = {"first_steps_seconds": round(time.perf_counter() - begun, 2)}
    begun, steps, events = time.perf_counter(), 0, 0
    while not steps or time.perf_counter() - begun < min(MOST_SECONDS, seconds):
        segment = next(streams)
        learner.step(segment, 0.0)
        events += int((segment.targets >= 0).sum())
        steps += 1
    synchronize(device)
    peak = torch.cuda.max_memory_allocated() if is_cuda else 1024 * _peak_kilobytes()
    values |= {"steps": steps, "events_a_second": round(events / (time.perf_counter() - begun))}
    values["peak_gigabytes"] = round(peak / 1e9, 3)
    if settings.compile:  # the library goes on uncompiled where that fails
        values["is_compiled"] = learner._forward != learner.forward
    return values


def _peak_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def compiled_step(model: dict, settings: Training, songs: list, device, seconds: float) -> dict:
    """Whether the compiled step works, how long compiling takes and how much faster it is, for the
    model cut down to a few layers.

    Nothing stops a compiler, so it works in a process of its own, which ends with the seconds.
    """
    model = model | {"layers": min(COMPILED_LAYERS, model["layers"])}
    if device.type == "cuda":
        torch.cuda.empty_cache()
    begun, context = time.monotonic(), multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    parameters = sender, model, settings, songs[: 8 * settings.batch], device, seconds / 20
    child = context.Process(target=_send_speeds, args=parameters)
    child.start()
    sender.close()  # so that the end of the child is noticed
    values: dict = {"layers": model["layers"]}
    try:
        for way in ("plain", "compiled"):
            if not receiver.poll(max(0.0, begun + seconds - time.monotonic())):
                return values | {"unfinished_after_seconds": round(seconds, 1)}
            values[way] = receiver.recv()
        child.join(5)  # in good order, if there is nothing left to do
    except EOFError:
        values["error"] = "the process that compiles came to an end"
    finally:
        child.kill()
        child.join()
    return values


def _send_speeds(sender, model: dict, settings: Training, songs: list, device, seconds) -> None:
    for compile in (False, True):
        settings = settings.model_copy(update={"compile": compile})
        sender.send(tried(speed, model, settings, songs, device, seconds))
