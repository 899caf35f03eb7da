"""How cost grows: training, evaluation and composing by length and width, mapping by files.

python benchmarks/growth.py [--write] [--seconds SECONDS]

Time and memory of one training step and of one evaluated segment of the profile laptop's
Transformer-XL, while one of segment, memory and width changes and the others stay (segment and
memory 256 events, width 256, 4 rows). Composing by mini while the memory changes. Mapping of Lakh
files while their number and that of the workers changes. Each point of the first kind is a process
of its own with one thread, so that its peak of memory is its own. An exponent is the slope of the
line through the last three points on logarithmic axes: 1 where twice the size costs twice as much.
With --write the numbers go to results/growth.json. Speeds are wall-clock: leave the machine alone.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _shared import arguments, at_hand, keep
from training_speed import Trainer

from lakhnes_lib import profiles
from lakhnes_lib.data import fetching, lakh_mapping
from lakhnes_lib.generation import sampling

ROWS = 4
FIXED = {"segment": 256, "memory": 256, "width": 256}
SIZES = {
    "segment": (64, 128, 256, 512, 1024, 2048),
    "memory": (0, 64, 128, 256, 512, 1024, 2048),
    "width": (64, 128, 256, 512, 768),
}
COMPOSING = (64, 128, 256, 512, 1024)
FILES = (250, 500, 1000, 2000)


def point(way: str, segment: int, memory: int, width: int, seconds: float) -> dict:
    """Median seconds of a step with a full memory, and how much memory all of it took."""
    torch.set_num_threads(1)
    profile = profiles.load("laptop")
    sizes = profile.models["transformer_xl"] | {
        "width": width,
        "head_width": width // 4,
        "feed_forward": 4 * width,
        "memory_length": memory,
    }
    settings = profile.training["transformer_xl"]
    settings = settings.model_copy(update={"batch": ROWS, "segment": segment})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer, times = Trainer(sizes, settings, torch.device("cpu")), []
    trainer.model.train(way == "training")
    warm_up = 1 + -(-memory // segment)
    begin = time.perf_counter()
    while len(times) < warm_up + 3 or time.perf_counter() - begin < seconds:
        if way == "training":
            times.append(trainer.step())
        else:
            step = time.perf_counter()
            with torch.no_grad():
                trainer.loss()
            times.append(time.perf_counter() - step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": statistics.median(times[warm_up:]),
        "megabytes": (peak - before) / 1024,
        "parameters": trainer.model.parameter_count(),
    }


def in_another_process(way: str, sizes: dict, seconds: float) -> dict:
    request = json.dumps({"way": way, **sizes, "seconds": seconds})
    command = [sys.executable, __file__, "--point", request]
    return json.loads(subprocess.run(command, stdout=-1, text=True, check=True).stdout)


def composing(memory: int, seconds: float) -> float:
    """Seconds an event of one piece of mini, in 8 bits, once the memory is full."""
    settings = dict(temperature=1.0, top_k=None, top_p=1.0, seed=0, precision="int8")
    length = memory + round(600 * seconds)
    steps = sampling.stream(
        profiles.root() / "assets/pretrained/mini",
        n=1,
        length=length,
        memory_length=memory,
        **settings,
    )
    for _ in range(memory):
        next(steps)
    begin, count = time.perf_counter(), 0
    for _ in steps:
        count += 1
        if time.perf_counter() - begin > seconds:
            break
    return (time.perf_counter() - begin) / count


def mapping(source: Path, files: int, workers: int) -> float:
    """Seconds to map so many files, links to which stand in a folder of their own."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "files"
        folder.mkdir()
        for path in sorted(source.rglob("*.mid"))[:files]:
            (folder / path.name).symlink_to(path.resolve())
        begin = time.perf_counter()
        lakh_mapping.map_corpus(folder, Path(work) / "corpus", workers=workers, progress=False)
        return time.perf_counter() - begin


def exponent(sizes, costs) -> float:
    """The slope through the last three points, both axes logarithmic."""
    return float(np.polyfit(np.log(sizes[-3:]), np.log(costs[-3:]), 1)[0])


def curve(sizes, costs) -> dict:
    return {"sizes": list(sizes), "costs": list(costs), "exponent": exponent(sizes, costs)}


def main():
    parser = arguments("growth", __doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each point")
    parser.add_argument("--point", type=json.loads, help="measure one point and print it")
    options = parser.parse_args()
    if options.point:
        print(json.dumps(point(**options.point)))
        return
    source, values = at_hand(fetching.fetch, "lmd-full-5"), {}
    for way in ("training", "evaluation"):
        for name, sizes in SIZES.items():
            points = [
                in_another_process(way, FIXED | {name: size}, options.seconds) for size in sizes
            ]
            for cost in ("seconds", "megabytes"):
                costs = [one[cost] for one in points]
                values[f"{way}, {cost} by {name}"] = curve(sizes, costs)
            print(f"{way} by {name}: {points}", flush=True)
    costs = [composing(memory, options.seconds) for memory in COMPOSING]
    values["composing, seconds an event by memory"] = curve(COMPOSING, costs)
    for workers in (1, 2):
        costs = [mapping(source, files, workers) for files in FILES]
        values[f"mapping, seconds by files, workers {workers}"] = curve(FILES, costs)
    values = {"rows": ROWS, "fixed": FIXED, "curves": values}
    keep("growth", values, options.write, packages=("numpy", "torch", "onnxruntime", "symusic"))


if __name__ == "__main__":
    main()
