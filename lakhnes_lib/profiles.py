"""Profiles: every size, step count and seed of a run, in one file of plain values.

Paper: §5 (settings). Notebook: all. ``smoke`` runs everything in minutes on what the repository
holds, ``laptop`` trains small models on the real data on a CPU, ``paper`` is the paper's setting on
a GPU. Profiles are read with YAML and checked with pydantic; they hold no code.
"""

import os
import sysconfig
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lakhnes_lib.errors import BadProfile, first_problem
from lakhnes_lib.files import read_bytes

LARGEST = 2**31 - 1
Count = Annotated[int, Field(ge=1, le=LARGEST)]
CountOrZero = Annotated[int, Field(ge=0, le=LARGEST)]
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
PositiveAmount = Annotated[float, Field(gt=0, le=LARGEST)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]


class Settings(BaseModel):
    """Base of a profile's parts: they cannot be changed, and a wrong type is not converted.

    ``settings.model_copy(update={"seed": 1})`` gives a copy with another value, unchecked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values):
        """A misspelt key, with the keys there are."""
        unknown = set(values) - set(cls.model_fields) if isinstance(values, dict) else set()
        if unknown:
            key, known = min(map(str, unknown)), ", ".join(cls.model_fields)
            raise ValueError(f"has the unknown key {key[:80]!r}; known are {known}")
        return values


class Training(Settings):
    """How to train. Lengths in events; learning rates are the highest reached."""

    steps: Count
    batch: Annotated[int, Field(ge=1, le=4096)]  # rows that are read side by side
    segment: Annotated[int, Field(ge=1, le=2**16)]
    learning_rate: Amount
    # If the steps take longer than these minutes, the schedule and the end of training go by the
    # clock; 0: by steps alone.
    minutes: Amount = 0.0
    optimizer: Literal["adam", "adamw", "muon"] = "adam"  # see training/optimisers.py
    matrix_learning_rate: Amount = 0.02  # Muon's
    weight_decay: Amount = 0.0
    warmup: CountOrZero = 0  # steps
    schedule: Literal["cosine", "constant", "linear"] = "cosine"
    # A linear schedule is constant at first and falls during this last share of the steps.
    decay_share: PositiveShare = 0.4
    clip: PositiveAmount = 0.25  # greatest length of the gradient
    # Batches whose gradients are added up for one step.
    accumulate: Annotated[int, Field(ge=1, le=4096)] = 1
    # How songs are read (data/streams.py); endless is the paper's way.
    streams: Literal["endless", "songs", "segments"] = "endless"
    augment: Literal["none", "paper", "published", "transposed"] = "none"  # music/augmentation.py
    draws: Literal["fresh", "published"] = "fresh"  # the examples of Lakh songs (data/lakh.py)
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # auto: bf16 where it is faster
    compile: bool = False
    evaluate_every: Count = 1000  # steps
    train_songs: CountOrZero = 0  # songs of the training split, drawn by the seed; 0: all
    valid_songs: CountOrZero = 0  # songs of valid, evenly spaced, for early stopping; 0: all
    # Decay of the moving average of the weights, which is then measured and saved; 0: no average.
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patience: Count = 10  # evaluations without a new best before training stops
    snapshot_minutes: Amount = 5.0
    seed: CountOrZero = 0  # added to the profile's, so that a later stage draws other songs


class Evaluation(Settings):
    """How perplexity is measured: §6, with segments and memory in events."""

    batch: Annotated[int, Field(ge=1, le=4096)] = 16
    segment: Annotated[int, Field(ge=1, le=2**20)] = 128
    memory_length: CountOrZero = 896
    songs: CountOrZero = 0  # 0: all

    @property
    def segments(self) -> dict:
        """How ``perplexity.exact`` reads songs: its arguments."""
        return {"segment": self.segment, "memory_length": self.memory_length, "batch": self.batch}


class Sampling(Settings):
    """How pieces are drawn. §8's own settings: 1,024 events, temperature 0.95, top-k 32."""

    pieces: Annotated[int, Field(ge=1, le=1000)] = 4
    seconds: PositiveAmount = 30.0  # greatest length of a piece that ends by itself
    length: Annotated[int, Field(ge=1, le=250_000)] = 1024  # events of one that does not
    temperature: PositiveAmount = 1.0
    top_k: CountOrZero = 0  # 0: all
    top_p: PositiveShare = 1.0
    memory_length: CountOrZero = 512  # events


def _check_architecture(sizes: dict) -> dict:
    if not isinstance(sizes.get("architecture"), str):
        raise ValueError("must be a table of values with an architecture")
    return sizes


class Profile(Settings):
    """One profile.

    models: a name -> the architecture and its sizes (``checkpoints.build`` takes them);
    training: a name -> how that model is trained.
    """

    name: Annotated[str, Field(pattern=r"^[\w-]+$")]  # a folder of runs is called so
    seed: CountOrZero
    corpus: str  # songbook, or a data set of the registry
    models: dict[str, Annotated[dict[str, Any], AfterValidator(_check_architecture)]]
    training: dict[str, Training]
    evaluation: Evaluation = Evaluation()
    sampling: Sampling = Sampling()
    # Settings of the systems in ``lakhnes_lib.companions``, by the system's name.
    companions: dict[str, dict[str, Any]] = {}


def root() -> Path:
    """The repository's folder, which holds ``profiles/``, ``assets/`` and ``runs/``; for a library
    that was installed without it, the folder of the profiles and assets that came along."""
    beside = Path(__file__).resolve().parent.parent
    if not (beside / "profiles").is_dir():
        beside = Path(sysconfig.get_path("data")) / "share" / "lakhnes"
    return Path(os.environ.get("LAKHNES_ROOT") or beside)


def shipped(path) -> Path:
    """This path; if nothing is there and the library came with it, as with
    ``assets/pretrained/mini``, the path where it is."""
    own = root() / path
    return own if own.exists() and not Path(path).exists() else Path(path)


def workspace(otherwise: Path | None = Path()) -> Path | None:
    """The folder that ``runs/`` and ``data/`` lie in: the repository's, or ``otherwise``, the
    current folder, for a library that was installed without it."""
    return root() if (root() / "pyproject.toml").is_file() else otherwise


def names() -> list[str]:
    """The profiles there are."""
    return sorted(path.stem for path in (root() / "profiles").glob("*.yaml"))


def load(name) -> Profile:
    """The profile called ``name`` (``smoke``), or that of a YAML file's path.

    Raises BadProfile with the file, the position in it and the rule that it breaks: an unknown or
    missing key, a wrong type, a number out of range.

    >>> import lakhnes_lib as nes
    >>> nes.load_profile("smoke").training["transformer_xl"].steps
    60
    """
    is_path = str(name).endswith((".yaml", ".yml"))
    path = Path(name) if is_path else root() / "profiles" / f"{name}.yaml"
    if not path.is_file():
        raise BadProfile(f"{name}: there is no such profile; there are {', '.join(names())}")
    try:
        values = yaml.safe_load(read_bytes(path, BadProfile))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        # ValueError and TypeError come of impossible dates, numbers and keys.
        reason = " ".join(str(error).split())[:120]
        raise BadProfile(f"{path}: is not YAML ({reason})") from None
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        raise BadProfile(f"{path}: {first_problem(error)}") from None
