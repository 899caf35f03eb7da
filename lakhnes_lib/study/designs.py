"""The design of a listening test: which two clips meet in each pair, and on which side.

Paper: §7. Notebook: 08_user_study. The clips: ``clips``; answers: ``answers``; statistics:
``study_statistics``.
As published: clips of 5 seconds (Turing test: one real, one from a model) or 10 (preference: two of
all methods); in 2 of 10 pairs real music stands against uniformly random events, which shows who
does not listen.
Differences from the paper: which methods meet, and on which side, is balanced instead of drawn.
A design is a folder: ``design.json``, which says what each clip is (keep it from listeners), and
``clips/NAME.wav``.
"""

import hashlib
import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from lakhnes_lib.errors import BadSetting, BadStudy, first_problem
from lakhnes_lib.files import read_bytes

SECONDS = {"turing": 5.0, "preference": 10.0}
"""The kinds of listening test, and how long a clip lasts in each."""
MOST_SECONDS = 7_200
"""Of all clips together, which are made in memory: two hours have 640 MB."""
REAL, CONTROL = "real", "random"
"""The names of real music and of random events among the methods."""

Name = Annotated[str, Field(pattern=r"^\w+$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Clip(_Strict):
    """What a clip is. Where it was cut is None as long as the test is only planned.

    piece: the piece's name; start: seconds in the piece; sha256: of the WAV file.
    """

    method: str
    piece: str | None = None
    start: Annotated[float, Field(ge=0)] | None = None
    sha256: Hash | None = None


class Trial(_Strict):
    """A pair of clips, A and B, by name; batch: number of the batch that it belongs to, from 0."""

    id: Name
    batch: Annotated[int, Field(ge=0)]
    a: Name
    b: Name
    _methods: tuple[str, str] = PrivateAttr(("", ""))

    @property
    def clips(self) -> tuple[str, str]:
        """The names of both clips."""
        return self.a, self.b

    @property
    def methods(self) -> tuple[str, str]:
        """The methods of both clips, which the design tells."""
        return self._methods


class Design(_Strict):
    """A listening test. seconds: of a clip; clips: by name; folder: where ``design.json`` and the
    clips are, None as long as it is only planned."""

    format: Literal[1] = 1
    kind: Literal["turing", "preference"]
    seconds: Annotated[float, Field(ge=0.5, le=60)]
    seed: Annotated[int, Field(ge=0)]
    trials: Annotated[tuple[Trial, ...], Field(min_length=1, strict=False)]
    clips: dict[str, Clip]
    folder: Annotated[Path | None, Field(exclude=True)] = None

    @model_validator(mode="after")
    def _tell_trials_their_methods(self):
        for trial in self.trials:
            for name in set(trial.clips) - self.clips.keys():
                raise ValueError(f"the trial {trial.id} has a clip {name} that is not listed")
            trial._methods = (self.clips[trial.a].method, self.clips[trial.b].method)
        return self

    @property
    def methods(self) -> list[str]:
        """What is compared: every method but the control; real music first."""
        return real_first({clip.method for clip in self.clips.values()} - {CONTROL})

    def batch(self, number: int) -> list[Trial]:
        """The trials of one batch, in order. Raises BadStudy if there is no such batch."""
        trials = [trial for trial in self.trials if trial.batch == number]
        if not trials:
            last = max(trial.batch for trial in self.trials)
            raise BadStudy(f"{self.folder or 'design'}: has no batch {number}, only 0 to {last}")
        return trials

    def sound(self, name: str) -> bytes:
        """The WAV file of a clip. Raises BadStudy if it is missing or was changed."""
        path = self.folder / "clips" / f"{name}.wav"
        content = read_bytes(path, BadStudy)
        if hashlib.sha256(content).hexdigest() != self.clips[name].sha256:
            raise BadStudy(f"{path}: is not the clip that the design was made with")
        return content

    @property
    def fingerprint(self) -> str:
        """``d`` and 12 digits of a hash of everything; the letter keeps spreadsheets from taking it
        for a number."""
        text = json.dumps(self.model_dump(exclude_none=True), sort_keys=True)
        return "d" + hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """What ``design.json`` holds: the design and its fingerprint."""
        values = self.model_dump(exclude_none=True) | {"fingerprint": self.fingerprint}
        return json.dumps(values, indent=1) + "\n"


def real_first(methods) -> list[str]:
    """The names of methods in the order in which they are shown: real music, then by name."""
    return sorted(methods, key=lambda name: (name != REAL, name))


def open_design(folder) -> Design:
    """The design that a folder holds. Raises BadStudy if there is none, or if it was changed since
    it was made."""
    path = Path(folder) / "design.json"
    try:
        values = json.loads(read_bytes(path, BadStudy))
        saved_fingerprint = values.pop("fingerprint", None) if isinstance(values, dict) else None
        design = Design.model_validate(values)
    except (ValueError, RecursionError) as error:
        raise BadStudy(f"{path}: is no design of a study ({first_problem(error)})") from None
    if saved_fingerprint != design.fingerprint:
        raise BadStudy(f"{path}: was changed after it was made, for its fingerprint does not fit")
    return design.model_copy(update={"folder": path.parent})


def plan(kind, methods, *, batches=1, pairs=10, controls=2, seed=0, seconds=None) -> Design:
    """Who meets whom, in which order and on which side, without any sound.

    kind: turing or preference; methods: names, ``real`` among them; controls: of the ``pairs`` of
    each batch, so many are real against random; seconds: of a clip, the published ones if None. In
    the other pairs every method is heard equally often (but for a rest of one), and meets each
    other one about equally often; in each batch half of the pairs are turned. Raises BadSetting.

    >>> design = plan("turing", ["real", "mini"], batches=3)
    >>> len(design.trials), design.methods
    (30, ['real', 'mini'])
    """
    methods = [method for method in dict.fromkeys(methods) if method != CONTROL]
    if kind not in SECONDS:
        raise BadSetting(f"a study is one of {', '.join(SECONDS)}, not {kind!r}")
    if REAL not in methods or len(methods) < 2:
        names = ", ".join(methods) or "nothing"
        raise BadSetting(f"a study compares {REAL!r} and at least one other method, not {names}")
    seconds = SECONDS[kind] if seconds is None else float(seconds)
    size = f"{batches:,} batches of {pairs:,} pairs, {controls:,} controls, {seconds:g} s"
    if batches < 1 or not 0 <= controls < pairs or not 0.5 <= seconds <= 60 or seed < 0:
        rule = "a batch or more, fewer controls than pairs, clips of 0.5 to 60 seconds"
        raise BadSetting(f"a study has {rule} and a seed from 0 on; not {size}, seed {seed}")
    if 2 * batches * pairs * seconds > MOST_SECONDS:
        raise BadSetting(f"a study has {MOST_SECONDS:,} s of sound at most; not {size}")
    random = np.random.default_rng(seed)
    candidates = combinations(sorted(methods), 2)
    candidates = [pair for pair in candidates if kind == "preference" or REAL in pair]
    met, heard = Counter(), Counter()  # how often a pair met and a method was heard
    trials, clips = [], {}
    for batch in range(batches):
        chosen = [(CONTROL, REAL)] * controls
        while len(chosen) < pairs:
            shuffled = [candidates[i] for i in random.permutation(len(candidates))]
            pair = min(shuffled, key=lambda p: (heard[p[0]] + heard[p[1]], met[p]))
            met[pair] += 1
            heard.update(pair)
            chosen.append(pair)
        turned = random.permutation(pairs) < pairs // 2 + random.integers(pairs % 2 + 1)
        for i in random.permutation(pairs):
            pair = chosen[i][::-1] if turned[i] else chosen[i]
            a, b = (f"c{random.bytes(6).hex()}" for _ in pair)
            clips |= {a: Clip(method=pair[0]), b: Clip(method=pair[1])}
            trials.append(Trial(id=f"t{random.bytes(6).hex()}", batch=batch, a=a, b=b))
    return Design(kind=kind, seconds=seconds, seed=int(seed), trials=tuple(trials), clips=clips)
