"""Composing measured: events a second by exported steps, beside the plain key/value cache.

python benchmarks/sampling_speed.py [--seconds 10] [--only mini] [--write]
taskset -c 0 python benchmarks/sampling_speed.py …       (the same on one core)

Sizes: mini (the shipped modern decoder), transformer_xl (the shipped one) and paper, with weights
as drawn: speed does not depend on them. Each is timed at a song's start and with a full memory of
512 events, one piece and 32 at once, with grammar mask and draw: by reading the whole history anew
for each event, by the model's own key/value cache ("plain"), and as the library composes, with
weights in 32 and in 8 bits. "step" is the exported step without mask and draw.
For mini also: seconds from the command `lakhnes generate` to its first event, how much slower
composing is while another process computes on the same core, and, with NES-MDB at hand, the
perplexity of 40 valid songs by the step in 8 and in 32 bits.
The published code on two CPU cores: 50 events a second at the start, 12 with a full memory.
Each figure is the median of three rounds. With --write the numbers go to results/sampling.json.
Leave the machine alone meanwhile.
"""

import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from _shared import arguments, keep

from lakhnes_lib import profiles
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.generation import decoding, sampling
from lakhnes_lib.models import checkpoints, fast
from lakhnes_lib.music import events

MEMORY = 512
PUBLISHED = {"start": 50, "full": 12}  # events a second, 41 million parameters, one piece
OPTIONS = dict(temperature=0.95, top_k=32, top_p=1.0)
START_EVENTS = 32
PIECES = 32
ROUNDS = 3  # of which the median counts: other programs may take a core for seconds
SONGS = 40
SONG_EVENTS = 1024
SHIPPED = profiles.root() / "assets/pretrained"
SIZES = {"mini": SHIPPED / "mini", "transformer_xl": SHIPPED / "transformer_xl", "paper": None}
PREFIX = {"fp32": "", "int8": "int8_"}
BUSY = "while True: pass"
FIRST_EVENT = """
import sys
from lakhnes_lib.generation import sampling
plain = sampling.draw
def draw(*given, **options):
    print("first event", flush=True)
    sampling.draw = plain
    return plain(*given, **options)
sampling.draw = draw
from lakhnes_lib.__main__ import main
sys.exit(main())
"""


def prime() -> np.ndarray:
    """As many events as the memory holds: a scale in one voice."""
    pitches = np.tile(np.arange(40, 80), MEMORY)[: MEMORY // 4 + 1]
    others = (np.full(len(pitches), x) for x in (100, events.NOTE_OFF[0], 100))
    return np.stack([events.NOTE_ON[0] + pitches, *others], 1).ravel()[:-1]


def composed(model, seconds: float, n: int, full: bool, precision: str = "fp32") -> float:
    """Events a second of ``sampling.stream``, all pieces counted.

    Its first event, for which the prime is read, is not.
    """
    options = OPTIONS | dict(memory_length=MEMORY, precision=precision, seed=0, n=n)
    options |= dict(length=100_000, prime=prime()) if full else dict(length=START_EVENTS)
    made, spent, limit = 0, 0.0, time.perf_counter() + seconds
    while spent == 0 or time.perf_counter() < limit:
        stream = sampling.stream(model, **options)
        next(stream)
        begin = time.perf_counter()
        if not spent:  # reading the prime may have taken all the time
            limit = max(limit, begin + seconds / 2)
        for _ in islice(stream, options["length"] - 1):
            made += n
            if time.perf_counter() > limit:
                break
        spent += time.perf_counter() - begin
        stream.close()
    return made / spent


def stepped(folder, seconds: float, precision: str) -> float:
    """Events a second of the exported step alone, with a full memory."""
    beginning = np.concatenate([[events.START], prime()])
    pieces = decoding.begin(folder, beginning, 1, MEMORY, precision)
    newest, made, begin = beginning[-1:], 0, time.perf_counter()
    while time.perf_counter() < begin + seconds:
        pieces.feed(newest)
        made += 1
    return made / (time.perf_counter() - begin)


@torch.inference_mode()
def anew(model, seconds: float, full: bool) -> float:
    """Events a second when every event is drawn after a pass over the whole history."""
    random, made, spent = torch.Generator().manual_seed(0), 0, 0.0
    start = [0, *prime().tolist()] if full else [0]
    history, limit = list(start), time.perf_counter() + seconds
    while time.perf_counter() < limit or made < 3:
        if not full and len(history) > START_EVENTS:
            history = list(start)
        begin = time.perf_counter()
        logits = model.log_probs(torch.tensor([history[-MEMORY - 1 :]]))[0][0, -1]
        likely = (logits / OPTIONS["temperature"]).topk(OPTIONS["top_k"])
        drawn = torch.multinomial(likely.values.softmax(-1), 1, generator=random)
        history.append(int(likely.indices[drawn]))
        made, spent = made + 1, spent + time.perf_counter() - begin
    return made / spent


def measure(folder, seconds: float) -> dict:
    """Events a second of one size, at the start and with a full memory: medians of all rounds."""
    model = checkpoints.load(folder)
    values = {"parameters": model.parameter_count()}
    for name, full in (("start", False), ("full", True)):
        rounds = [measure_once(model, folder, seconds / ROUNDS, full) for _ in range(ROUNDS)]
        speeds = {key: float(np.median([each[key] for each in rounds])) for key in rounds[0]}
        for prefix in PREFIX.values():
            faster = speeds[f"{prefix}events_a_second"] / speeds["anew_events_a_second"]
            speeds[f"{prefix}times_anew"] = faster
        values[name] = speeds
    return values


def measure_once(model, folder, seconds: float, full: bool) -> dict:
    """One round: each way to compose, one after the other."""
    speeds = {"anew_events_a_second": anew(model, seconds, full)}
    with fast.switched(False):
        speeds["plain_events_a_second"] = composed(model, seconds, 1, full)
    for precision, prefix in PREFIX.items():
        one, many = (composed(folder, seconds, n, full, precision) for n in (1, PIECES))
        speeds[f"{prefix}events_a_second"] = one
        speeds[f"{prefix}events_a_second_{PIECES}_at_once"] = many
        if full:
            speeds[f"{prefix}step_events_a_second"] = stepped(folder, seconds, precision)
    return speeds


def first_event() -> float:
    """Seconds from the command to the first event of mini."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-c", FIRST_EVENT, "generate", str(SHIPPED / "mini"), out]
        begin = time.perf_counter()
        process = subprocess.Popen([*command, "--length", "8"], stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        seconds = time.perf_counter() - begin
        process.communicate()
    return seconds


def times_slower(seconds: float) -> float:
    """By which factor eight pieces of mini take longer beside a busy process on each core."""
    alone = composed(SHIPPED / "mini", seconds, 8, True, "int8")
    count = decoding.usable_cores()
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        return alone / composed(SHIPPED / "mini", seconds, 8, True, "int8")
    finally:
        for process in busy:
            process.kill()


def perplexities() -> dict:
    """Of the first events of valid songs, by mini's step in 32 and in 8 bits."""
    valid = prepare("nesmdb-midi")["valid"]
    songs = [ids[: SONG_EVENTS + 1].astype(np.int64) for ids in islice(valid.framed(), SONGS)]
    values = {}
    for precision, prefix in PREFIX.items():
        losses = []
        for ids in songs:
            pieces = decoding.begin(SHIPPED / "mini", ids[:1], 1, MEMORY, precision)
            for event, following in zip(ids[:-1], ids[1:], strict=True):
                losses.append(-pieces.feed(np.array([event]))[0, following])
        values[f"{prefix}valid_perplexity"] = float(np.exp(np.mean(losses)))
    values["valid_songs"] = len(songs)
    values["int8_change"] = values["int8_valid_perplexity"] / values["valid_perplexity"] - 1
    return values


def main() -> None:
    parser = arguments("sampling", __doc__)
    parser.add_argument(
        "--seconds", type=float, default=10, help="time for each figure, all rounds together"
    )
    parser.add_argument("--only", choices=SIZES, help="one size alone")
    chosen = parser.parse_args()
    threads = decoding.usable_cores()
    torch.set_num_threads(threads)
    values = {"device": "cpu", "threads": threads, "memory": MEMORY}
    with tempfile.TemporaryDirectory() as home:
        for name, folder in SIZES.items():
            if chosen.only not in (None, name):
                continue
            if folder is None:
                folder = Path(home) / name
                torch.manual_seed(0)
                model = checkpoints.build(**profiles.load(name).models["transformer_xl"])
                checkpoints.save(model, folder)
            values[name] = measure(folder, chosen.seconds)
    if "mini" in values:
        values["mini"]["first_event_seconds"] = first_event()
        values["mini"]["times_slower_beside_a_busy_process"] = times_slower(chosen.seconds)
        try:
            values["mini"] |= perplexities()
        except DataNotFound as error:
            print(error, file=sys.stderr)
    for part, published in PUBLISHED.items():
        if "paper" not in values:
            break
        speeds = values["paper"][part]
        speeds["published_events_a_second"] = published
        for prefix in PREFIX.values():
            speeds[f"{prefix}times_published"] = speeds[f"{prefix}events_a_second"] / published
            many = speeds[f"{prefix}events_a_second_{PIECES}_at_once"]
            speeds[f"{prefix}times_published_{PIECES}_at_once"] = many / published
    keep("sampling", values, chosen.write, packages=("numpy", "torch", "onnxruntime"))


if __name__ == "__main__":
    main()
