"""Profiles: every size, step count and seed of a run, in one file of plain values.

Paper: §5 (settings). Notebook: all. ``smoke`` runs everything in minutes on what the repository holds, ``laptop``
trains small models on the real data on a CPU, ``paper`` is the paper's setting on a GPU.
"""

import dataclasses
import os
import re
import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import yaml

from lakhnes_lib.errors import BadProfile


@dataclass(frozen=True)
class Training:
    """How to train. Lengths in events; learning rates are the highest reached."""

    steps: int
    batch: int
    segment: int
    learning_rate: float
    minutes: float = 0.0  # where the steps take longer than this, schedule and end go by the clock; 0: by steps alone
    optimizer: Literal["adam", "adamw", "muon"] = (
        "adam"  # muon: matrices by Muon, the rest by AdamW
    )
    matrix_learning_rate: float = 0.02  # Muon's
    weight_decay: float = 0.0
    warmup: int = 0
    schedule: Literal["cosine", "constant", "linear"] = "cosine"
    decay_share: float = (
        0.4  # of the steps, the last, in which a linear schedule falls; until then it is constant
    )
    clip: float = 0.25
    accumulate: int = 1  # segments of gradient a step
    streams: Literal["endless", "songs", "segments"] = (
        "endless"  # endless is the paper's; see data/streams.py
    )
    augment: Literal["none", "paper", "published", "transposed"] = (
        "none"  # see music/augmentation.py
    )
    draws: Literal["fresh", "published"] = (
        "fresh"  # the examples drawn of Lakh songs, see data/lakh.py
    )
    mix_share: float = 0.0  # of the notes, how many come from a second corpus: data/mixture.py
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # auto: bf16 where it is faster
    compile: bool = False
    evaluate_every: int = 1000  # steps
    train_songs: int = 0  # songs of the training split, drawn by the seed; 0 for all
    valid_songs: int = 0  # songs of valid, evenly spaced, that early stopping looks at; 0 for all
    average: float = (
        0.0  # decay of the moving average of the weights that is measured and saved; 0: none
    )
    patience: int = 10  # evaluations without a new best before training stops
    snapshot_minutes: float = 5.0
    seed: int = 0  # added to the profile's: a later stage wants other songs, and other draws


@dataclass(frozen=True)
class Evaluation:
    """How perplexity is measured: §6, with segments and memory in events."""

    batch: int = 16
    segment: int = 128
    memory_length: int = 896
    songs: int = 0  # 0 for all

    @property
    def segments(self) -> dict:
        """How ``evaluation.exact`` reads songs: its arguments."""
        return {"segment": self.segment, "memory_length": self.memory_length, "batch": self.batch}


@dataclass(frozen=True)
class Sampling:
    """How pieces are drawn: §8's published defaults."""

    pieces: int = 4
    length: int = 1024
    temperature: float = 0.95
    top_k: int = 32
    top_p: float = 1.0
    memory_length: int = 512


@dataclass(frozen=True)
class Profile:
    """One profile. models: a name -> the architecture and its sizes; training: a name -> how it is trained."""

    name: str
    seed: int
    corpus: str  # songbook, or a data set of the registry
    models: dict
    training: dict[str, Training]
    evaluation: Evaluation = field(default_factory=Evaluation)
    sampling: Sampling = field(default_factory=Sampling)


def root() -> Path:
    """The repository's folder: where ``profiles/``, ``assets/`` and ``runs/`` stand."""
    return Path(os.environ.get("LAKHNES_ROOT") or Path(__file__).resolve().parent.parent)


def names() -> list[str]:
    """The profiles there are."""
    return sorted(path.stem for path in (root() / "profiles").glob("*.yaml"))


def load(name) -> Profile:
    """Profile by name (``smoke``) or by path of a YAML file. Raises BadProfile for an unknown key or a wrong type."""
    path = (
        Path(name)
        if str(name).endswith((".yaml", ".yml"))
        else root() / "profiles" / f"{name}.yaml"
    )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadProfile(
            f"{name}: there is no such profile; there are {', '.join(names())}"
        ) from error
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # the latter two of dates, numbers and nests
        raise BadProfile(f"{path}: is not YAML ({' '.join(str(error).split())[:120]})") from error
    profile = _fill(Profile, values, str(path))
    if not re.fullmatch(r"[\w-]+", profile.name):  # a folder of runs is called so
        raise BadProfile(
            f"{path}: name: must be letters, digits, - and _, not {profile.name[:80]!r}"
        )
    for key, model in profile.models.items():
        if not isinstance(model, dict) or not isinstance(model.get("architecture"), str):
            raise BadProfile(
                f"{path}: models: {key}: must be a table of values with an architecture"
            )
    return profile


_AT_LEAST_1 = {
    "steps",
    "batch",
    "segment",
    "accumulate",
    "evaluate_every",
    "patience",
    "pieces",
    "length",
}
_ABOVE_0 = {"decay_share", "clip", "temperature", "top_p"}
_SHARES = {"mix_share", "decay_share", "top_p", "average"}


def _check_range(key: str, value, where: str) -> None:
    """Raises BadProfile for a number that nothing can be done with."""
    least, most = int(key in _AT_LEAST_1), 1 if key in _SHARES else 2**31 - 1
    if (
        not least <= value <= most
        or value == 0
        and key in _ABOVE_0
        or value == 1
        and key == "mix_share"
    ):
        low = "above 0" if key in _ABOVE_0 else f"at least {least}"
        high = f"{'below' if key == 'mix_share' else 'at most'} {most:,}"
        raise BadProfile(f"{where}: must be {low} and {high}, not {reprlib.repr(value)}")


def _fill(kind, values, where: str):
    """A dataclass (or plain value) of checked YAML values."""
    table = dataclasses.is_dataclass(kind) or get_origin(kind) is dict
    if table and not isinstance(values, dict):
        raise BadProfile(f"{where}: must be a table of values, not {reprlib.repr(values)}")
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        unknown = set(values) - set(hints)
        if unknown:
            raise BadProfile(
                f"{where}: has the unknown key {min(map(str, unknown))!r}; known are {', '.join(hints)}"
            )
        for entry in dataclasses.fields(kind):
            if (
                entry.name not in values
                and entry.default is entry.default_factory is dataclasses.MISSING
            ):
                raise BadProfile(f"{where}: lacks {entry.name!r}")
        return kind(
            **{key: _fill(hints[key], value, f"{where}: {key}") for key, value in values.items()}
        )
    if get_origin(kind) is dict:
        return {
            key: _fill(get_args(kind)[1], value, f"{where}: {key}") for key, value in values.items()
        }
    if get_origin(kind) is Literal:
        if values not in get_args(kind):
            raise BadProfile(
                f"{where}: must be {' or '.join(get_args(kind))}, not {reprlib.repr(values)}"
            )
        return values
    if kind is float and type(values) is int:
        values = float(values)
    if type(values) is not kind:
        raise BadProfile(f"{where}: must be {kind.__name__}, not {reprlib.repr(values)}")
    if kind in (int, float):
        _check_range(where.rpartition(": ")[2], values, where)
    return values
