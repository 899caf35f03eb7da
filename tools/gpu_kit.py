"""One row of Table 2 on a GPU that is lent for a quarter of an hour: packed here, trained there.

    python tools/gpu_kit.py pack KIT.tar.xz data/packed/nesmdb-midi [data/packed/lakh5]
    python tools/gpu_kit.py run KIT.tar.xz OUT --row ROW --minutes 8
    python tools/split_checkpoint.py join OUT/weights FOLDER
    python tools/gpu_kit.py collect OUT…

``pack`` writes the corpora that training reads into one archive of at most 40 MB, and as wheels
what training needs and that machine lacks: pydantic. ``run`` needs nothing but that archive, this
repository, Python 3.12 (for another one, ``pack --python``), PyTorch, NumPy, SciPy, safetensors,
PyYAML and tqdm, and no network. It works in three stages, each limited in time, and after each
stage OUT holds what there is so far:

1. ``checks.json``, within a minute: does the fused attention take the bias of relative positions,
   how many events of training a second and how much memory at the row's batch, half and double of
   it, and last, does the compiled step work, and how much faster is it.
2. ``log.jsonl`` and ``weights/``: the row is trained by the clock. Whenever valid gets better, the
   weights are written again, in parts of 15 MB with 8 bits a weight, or 16 if one part holds all.
3. ``results.json``: perplexity on test and valid by every protocol.

``collect`` writes what several folders OUT hold of stages 1 to 3 to results/gpu.json; rows that are
there already and in none of the folders stay. benchmarks/gpu_kit_trial.py tries all of it on a CPU.

A row is a name of ``models`` in the profile, or ``transformer_xl_lakh``, which spends
``--lakh-minutes`` on Lakh first. A run that is stopped leaves what it has written. Where one
command may last only so long, ``--seconds`` ends it in good order before, and the same command
with the same ``--work`` folder goes on. A row whose machine was lost goes on by ``--start`` from
the weights that came back, joined; ``collect`` adds up the goes of a row.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the library need not be installed
from gpu_archive import PYTHON, pack, unpack
from one_line_errors import one_line_errors

ROWS = {
    # name: (model of the profile for NES-MDB, model of the profile for Lakh before it)
    "transformer_xl": ("transformer_xl_minutes", None),
    "transformer_xl_augmented": ("transformer_xl_minutes_augmented", None),
    "transformer_xl_lakh": ("transformer_xl_minutes_augmented", "lakh_minutes"),
    "modern_decoder": ("modern_decoder", None),
    "mini": ("mini_minutes", None),
    # Of profile laptop:
    "laptop_transformer_xl": ("transformer_xl_hours", None),
    "laptop_transformer_xl_augmented": ("transformer_xl_hours_augmented", None),
    "laptop_transformer_xl_lakh": ("transformer_xl_hours_augmented", "lakh_hours"),
}
CHECK_SECONDS = 60
PART_MEGABYTES = 15.0


def run(chosen: argparse.Namespace, work: Path) -> None:
    """All stages of one row, in a folder ``work``."""
    unpack(chosen.archive, work)
    from gpu_stages import Kit  # only now is there all that the library needs

    kit = Kit(chosen, ROWS[chosen.row], work)
    kit.checks(chosen.check_seconds)
    if chosen.minutes:
        best = kit.train(chosen.minutes, chosen.lakh_minutes, chosen.start)
        if best is None:
            print(f"not finished: the same command with --work {work} goes on")
        else:
            kit.evaluate(best)


def arguments() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack", help="write the archive that the lent machine needs")
    packing.add_argument("archive", type=Path)
    packing.add_argument("corpora", type=Path, nargs="+")
    packing.add_argument("--python", default=PYTHON, help=f"of the lent machine [{PYTHON}]")
    running = verbs.add_parser("run", help="check the machine, train one row, evaluate it")
    running.add_argument("archive", type=Path)
    running.add_argument("out", type=Path)
    running.add_argument("--row", choices=ROWS, default="transformer_xl_augmented")
    running.add_argument(
        "--minutes", type=float, default=8.0, help="of training on NES-MDB, 0: the checks alone"
    )
    running.add_argument("--lakh-minutes", type=float, default=4.0, help="on Lakh before it")
    running.add_argument(
        "--start", type=Path, help="checkpoint folder to train on, instead of Lakh"
    )
    running.add_argument(
        "--check-seconds", type=float, default=CHECK_SECONDS, help="0: no check of speed"
    )
    running.add_argument("--seconds", type=float, help="end in good order after so many seconds")
    running.add_argument("--work", type=Path, help="folder to go on from [default: a new one]")
    running.add_argument("--profile", default="paper", help="a profile's name or file")
    running.add_argument("--device", help="cpu or cuda [default: cuda if there is one]")
    running.add_argument(
        "--part-megabytes", type=float, default=PART_MEGABYTES, help="of the weights' files, each"
    )
    collecting = verbs.add_parser("collect", help="write results/gpu.json")
    collecting.add_argument("folders", type=Path, nargs="+")
    return parser


@one_line_errors
def main() -> int:
    chosen = arguments().parse_args()
    chosen.started = time.monotonic()
    if chosen.verb == "pack":
        megabytes = pack(chosen.archive, chosen.corpora, chosen.python)
        print(f"{chosen.archive}: {megabytes:.1f} MB")
    elif chosen.verb == "collect":
        from gpu_rows import collect  # needs the library, which `run` must not load yet

        print(collect(chosen.folders))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            run(chosen, chosen.work or Path(temporary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
