"""Sampling measured: events a second with carried memory, beside reading the whole history anew for every event.

python benchmarks/sampling_speed.py [--seconds 10] [--write]

Sizes: mini (the laptop profile's modern decoder), transformer_xl (its Transformer-XL) and paper, weights as drawn:
speed does not depend on them. Each is timed at a song's start and with a full memory of 512 events, one piece and 32
at once: reading the whole history anew for every event, by the model's ``log_probs`` as perplexity is measured
("plain": memory carried, but made anew at every step), and as the library composes, with weights in 32, 16 and 8 bits.
PyTorch alone is needed. The published code on two CPU cores: 50 events a second at the start, 12 with a full memory.
With --write the numbers go to results/sampling.json. Speeds are wall-clock: leave the machine alone meanwhile.
"""

import time
from itertools import islice

import numpy as np
import torch
from _shared import arguments, keep

from lakhnes_lib import profiles
from lakhnes_lib.generation import sampling
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.fast.decoding import Decoding
from lakhnes_lib.models.fast.products import PRECISIONS
from lakhnes_lib.music import events
from lakhnes_lib.training import trainer

MEMORY = 512
PUBLISHED = {"start": 50, "full": 12}  # events a second, 41 million parameters, one piece
OPTIONS = dict(temperature=0.95, top_k=32, top_p=1.0)
START_EVENTS = 32
PIECES = 32
SIZES = {
    "mini": ("laptop", "modern_decoder"),
    "transformer_xl": ("laptop", "transformer_xl"),
    "paper": ("paper", "transformer_xl"),
}
PREFIX = {"fp32": "", "fp16": "fp16_", "int8": "int8_"}


def prime() -> np.ndarray:
    """As many events as the memory holds: a scale in one voice."""
    pitches = np.tile(np.arange(40, 80), MEMORY)[: MEMORY // 4 + 1]
    song = np.stack(
        [
            events.NOTE_ON[0] + pitches,
            *(np.full(len(pitches), x) for x in (100, events.NOTE_OFF[0], 100)),
        ],
        1,
    )
    return song.ravel()[:-1]


def with_memory(model, seconds: float, n: int, full: bool, precision: str) -> float:
    """Events a second of ``sampling.stream``, all pieces counted; its first event, which reads the prime, is not."""
    begun, made = prime() if full else None, 0
    steps = 100_000 if full else START_EVENTS
    spent, limit = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < limit:
        options = OPTIONS | dict(memory_length=MEMORY, prime=begun, precision=precision)
        stream = sampling.stream(model, n=n, length=steps, seed=0, **options)
        next(stream)
        begin = time.perf_counter()
        for _ in islice(stream, steps - 1):
            made += n
            if time.perf_counter() > limit:
                break
        spent += time.perf_counter() - begin
        stream.close()
    return made / spent


def plain(model, seconds: float, n: int, full: bool) -> float:
    """The same with the base class's decoding, which only calls ``log_probs`` and knows nothing of the model."""
    model.decoding = lambda rows, state, precision: Decoding(model, rows, state)
    try:
        return with_memory(model, seconds, n, full, "fp32")
    finally:
        del model.decoding


@torch.inference_mode()
def anew(model, seconds: float, full: bool) -> float:
    """Events a second when every event is drawn after a pass over the whole history, without any memory."""
    random, made, spent = torch.Generator().manual_seed(0), 0, 0.0
    start = [0, *prime().tolist()] if full else [0]
    history, limit = list(start), time.perf_counter() + seconds
    while time.perf_counter() < limit or made < 3:
        if not full and len(history) > START_EVENTS:
            history = list(start)
        begin = time.perf_counter()
        ids = torch.tensor([history[-MEMORY - 1 :]], device=model.device)
        logits = model.log_probs(ids)[0][0, -1].cpu() / OPTIONS["temperature"]
        likely = logits.topk(OPTIONS["top_k"])
        history.append(
            int(likely.indices[torch.multinomial(likely.values.softmax(-1), 1, generator=random)])
        )
        made, spent = made + 1, spent + time.perf_counter() - begin
    return made / spent


def measure(architecture: dict, device, seconds: float) -> dict:
    """Events a second of one size, at the start and with a full memory."""
    torch.manual_seed(0)
    model = checkpoints.build(**architecture).to(device).eval()
    found = {"parameters": model.parameter_count()}
    for name, full in (("start", False), ("full", True)):
        speeds = {"anew_events_a_second": anew(model, seconds, full)}
        speeds["plain_events_a_second"] = plain(model, seconds, 1, full)
        speeds[f"plain_events_a_second_{PIECES}_at_once"] = plain(model, seconds, PIECES, full)
        for precision in PRECISIONS:
            one, many = (with_memory(model, seconds, n, full, precision) for n in (1, PIECES))
            begin = PREFIX[precision]
            speeds |= {
                f"{begin}events_a_second": one,
                f"{begin}events_a_second_{PIECES}_at_once": many,
            }
            speeds[f"{begin}times_anew"] = one / speeds["anew_events_a_second"]
        found[name] = speeds
    return found


def main() -> None:
    parser = arguments("sampling", __doc__)
    parser.add_argument("--seconds", type=float, default=10, help="time for each figure")
    parser.add_argument("--device", help="cpu or cuda; the best there is if not given")
    parser.add_argument("--threads", type=int, help="CPU threads; PyTorch's choice if not given")
    chosen = parser.parse_args()
    device = trainer.choose_device(chosen.device)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    values = {"device": device.type, "threads": torch.get_num_threads(), "memory": MEMORY}
    for name, (profile, model) in SIZES.items():
        values[name] = measure(profiles.load(profile).models[model], device, chosen.seconds)
    for place, published in PUBLISHED.items():
        found = values["paper"][place]
        found["published_events_a_second"] = published
        for begin in PREFIX.values():
            found[f"{begin}times_published"] = found[f"{begin}events_a_second"] / published
            many = found[f"{begin}events_a_second_{PIECES}_at_once"]
            found[f"{begin}times_published_{PIECES}_at_once"] = many / published
    keep("sampling", values, chosen.write, packages=("numpy", "torch"))


if __name__ == "__main__":
    main()
