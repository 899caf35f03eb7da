"""Perplexity, by both protocols, of every model there is, on NES-MDB's valid and test splits.

python benchmarks/perplexity_table.py [--only NAME] [--split test] [--exact] [--published] [--write]

Random, unigram and the two 5-grams are made each time. Checkpoints are those in assets/pretrained
(as they are stored, in bfloat16) and in runs/PROFILE/MODEL/best, but for the smoke profile's. With
--published they are the authors' own instead, if they are fetched or are in the folder
LAKHNES_MIRROR. All compute in float32. Results of the same weights on the same data are kept, and
so are those of checkpoints that are not here any more. A shipped model that remembers more events
than the protocol's 896 is measured once more with all of its memory, as NAME_memory. A checkpoint
that cannot be read is named, and the others are measured; the exit code is then 1.

Needs NES-MDB (`lakhnes data fetch nesmdb-midi`, or LAKHNES_MIRROR). With --write the numbers go to
results/perplexity.json, after each model.
"""

import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from _shared import arguments, circumstances, command, corpus_at_hand, earlier, keep

from lakhnes_lib import profiles
from lakhnes_lib.data import fetching, registry
from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.listening import reproduction
from lakhnes_lib.models import checkpoints, packed_weights
from lakhnes_lib.models.devices import choose_device
from lakhnes_lib.models.language_model import RandomModel, UnigramModel
from lakhnes_lib.models.ngram import SMOOTHINGS, NGram

SPLITS = ("valid", "test")
SETTINGS = {"segment": 128, "memory_length": 896}
STREAMS = 10
PACKAGES = ("numpy", "torch")


def unigram(songs):
    targets = [song[1:] for song in songs if len(song) >= perplexity.SHORTEST]
    return UnigramModel().fit(torch.from_numpy(np.concatenate(targets).astype(np.int64)))


BASELINES = {"random": lambda songs: RandomModel(), "unigram": unigram} | {
    f"5-gram_{smoothing}": lambda songs, smoothing=smoothing: NGram(smoothing=smoothing).fit(songs)
    for smoothing in SMOOTHINGS
}


def folders() -> dict[str, Path]:
    """The checkpoints of this repository: mini, mini_memory, laptop/lstm, …"""
    root = profiles.root()
    folder_of = {
        path.parent.name: path.parent for path in root.glob("assets/pretrained/*/config.json")
    }
    long = {
        name: folder
        for name, folder in folder_of.items()
        if memory(folder) > SETTINGS["memory_length"]
    }
    folder_of |= {name + reproduction.MEMORY: folder for name, folder in long.items()}
    runs = [path.parent for path in root.glob("runs/*/*/best/config.json")]
    return folder_of | {
        f"{run.parts[-3]}/{run.parts[-2]}": run for run in runs if run.parts[-3] != "smoke"
    }


PUBLISHED = {
    f"published/{name}": name
    for name, entry in registry.REGISTRY.items()
    if "published/" in entry.folder
}
"""What a model of the authors is called here -> in the registry."""


def published(only=None) -> dict[str, Path]:
    """The authors' checkpoints that are here, converted: published/nes, …; ``only``: these names.

    Prints which are not here, or cannot be read.
    """
    folder_of = {}
    for name in (name for name in PUBLISHED if name in (only or PUBLISHED)):
        try:
            folder_of[name] = converted(PUBLISHED[name])
        except LakhnesError as error:
            print(f"{name}: {error}", flush=True)
    return folder_of


def converted(name: str) -> Path:
    """The folder of a converted checkpoint; it is converted if it is not here, or damaged."""
    folder, mirror = fetching.home() / "converted" / name, os.environ.get("LAKHNES_MIRROR")
    try:
        checkpoints.load(folder)
    except LakhnesError as error:
        if not mirror and not fetching.folder(name).exists():
            why = error if folder.exists() else "not at hand"
            raise DataNotFound(f"{why}; `lakhnes data fetch {name}` brings it") from error
        files = sorted(fetching.fetch(name, mirror=mirror).rglob("*.pt"))
        file = min(
            files,
            key=lambda path: path.name != "model.pt",
            default=fetching.folder(name) / "model.pt",
        )
        checkpoints.convert_published(file, folder)
    return folder


def memory(folder: Path) -> int:
    """Events that a checkpoint remembers."""
    return checkpoints.details(folder)["config"].get("memory_length", 0)


def own_memory(name: str, folder: Path | None) -> dict:
    """The settings in which the second measurement of a shipped model differs; else nothing."""
    return (
        {"memory_length": memory(folder)}
        if folder and name == folder.name + reproduction.MEMORY
        else {}
    )


def weights(folder: Path) -> str:
    """sha256 over a checkpoint's tensors and sizes."""
    packed_weights.unpack(folder)
    sizes = json.dumps(checkpoints.details(folder)["config"], sort_keys=True).encode()
    return hashlib.sha256((folder / "model.safetensors").read_bytes() + sizes).hexdigest()


def trained(folder: Path) -> dict:
    """How a checkpoint was trained: its last stage's profile, seed, data, settings and curve."""
    about = checkpoints.details(folder)
    stage = about.get("stages", [about])[-1]
    names = ("profile", "seed", "data", "training", "device")  # device: on a GPU
    values = {key: stage[key] for key in names if key in stage}
    log = next(
        (path / "log.jsonl" for path in (folder, folder.parent) if (path / "log.jsonl").exists()),
        None,
    )
    if log is None:
        return values | {key: about[key] for key in ("published",) if key in about}
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    curve, heard = [], []
    for row in rows:
        heard += [row["train_loss"]] if "train_loss" in row else []
        if "valid_loss" in row:
            mean = (
                {"train_loss": float(np.mean(heard))} if heard else {}
            )  # none before the first step
            curve.append(
                {key: row[key] for key in ("step", "events", "seconds", "valid_loss")} | mean
            )
            heard = []
    return values | {
        "minutes": rows[-1]["seconds"] / 60,
        "events": rows[-1]["events"],
        "curve": curve,
    }


def measure(model, split, streams: bool, settings: dict) -> dict:
    """Exact perplexity of a split, songs, targets and seconds; with streams, also by the paper's
    protocol."""
    songs, begin = split.framed(), time.perf_counter()
    exact = perplexity.exact(model, songs, **settings)
    spent = time.perf_counter() - begin
    values = {"exact": exact.perplexity, "songs": len(exact.songs), "targets": exact.targets}
    values |= {"seconds": spent, "events_a_second": exact.targets / spent}
    if streams:
        paper = perplexity.paper(model, songs, split.names, streams=STREAMS, **settings)
        values |= {
            "paper": paper.perplexity,
            "paper_targets": paper.targets,
            "paper_unscored": paper.unscored,
        }
    return values


def models_before(fingerprint: str) -> dict:
    """The models measured before on the same data with the same settings."""
    values = earlier("perplexity", fingerprint)
    return values["models"] if values.items() >= SETTINGS.items() else {}


def main():
    parser = arguments("perplexity", __doc__)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="as random, mini, laptop/lstm; repeatable"
    )
    parser.add_argument(
        "--split", action="append", choices=SPLITS, help="repeatable; both if not given"
    )
    parser.add_argument("--exact", action="store_true", help="leave the paper's protocol out")
    parser.add_argument(
        "--published", action="store_true", help="the authors' checkpoints, where they are at hand"
    )
    parser.add_argument("--device", help="cpu or cuda; the best there is if not given")
    chosen = parser.parse_args()
    corpus = corpus_at_hand()
    device, models = choose_device(chosen.device), models_before(corpus.fingerprint)
    checkpoint_of = (
        published(chosen.only)
        if chosen.published
        else dict.fromkeys(BASELINES) | dict(sorted(folders().items()))
    )
    known = PUBLISHED if chosen.published else checkpoint_of
    if unknown := set(chosen.only or []) - set(known):
        parser.error(f"there is no model {', '.join(sorted(unknown))}, only {', '.join(known)}")
    names = [name for name in checkpoint_of if name in (chosen.only or checkpoint_of)]
    # ``published`` has printed why these are left out.
    left_out = [name for name in chosen.only or [] if name not in names]
    train = corpus["train"].framed()
    for name in names:
        try:
            entry = measured(name, checkpoint_of[name], models, chosen, corpus, train, device)
        except (LakhnesError, OSError) as error:
            print(f"{name}: {error}", flush=True)
            left_out.append(name)
            continue
        models[name] = entry
        # Read anew: another process may have measured meanwhile.
        stored = models_before(corpus.fingerprint)
        if "weights" in entry and stored.get(name, {}).get("weights") == entry["weights"]:
            models[name] = stored[name] | entry
        values = SETTINGS | {"streams": STREAMS, "models": stored | {name: models[name]}}
        shown = {name: {key: models[name].get(key) for key in ("parameters", *SPLITS)}}
        keep("perplexity", values, chosen.write, shown=shown, corpus=corpus, packages=PACKAGES)
    if left_out:
        parser.exit(1, f"not measured: {', '.join(left_out)}\n")


def measured(name: str, folder: Path | None, models: dict, chosen, corpus, train, device) -> dict:
    """One model's results: those in ``models`` with the same weights, and what is measured now."""
    own = own_memory(name, folder)
    made = {"weights": weights(folder)} | trained(folder) | own if folder else {}
    # The same weights measured before, under whatever name.
    alike = (old for old in models.values() if old.get("memory_length") == own.get("memory_length"))
    known = next((old for old in alike if folder and old.get("weights") == made["weights"]), {})
    entry = {key: known[key] for key in SPLITS if key in known}
    if missing := [split for split in chosen.split or SPLITS if split not in entry]:
        model = checkpoints.load(folder, device) if folder else BASELINES[name](train)
        for split in missing:
            print(f"{name}: {split}", flush=True)
            streams = split == "test" and not chosen.exact
            entry[split] = measure(model, corpus[split], streams, SETTINGS | own)
        made |= {
            "architecture": model.architecture,
            "config": model.config,
            "parameters": model.parameter_count(),
        }
        how = {"device": model.device.type, "command": command()}
        entry["measured"] = how | circumstances(PACKAGES)
        made |= entry
    return known | made


if __name__ == "__main__":
    main()
