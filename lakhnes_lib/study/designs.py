"""Listening tests: from music and models to pairs of clips in which nothing but the music tells them apart.

Paper: §7. Notebook: 08_user_study. Answers: ``study_answers``; their statistics: ``study_statistics``.
As published: clips of 5 seconds (Turing test: one real, one from a model) or 10 (preference: two of all methods) from
random places; in 2 of 10 pairs real music stands against uniformly random events; models sample with temperature 1 and
without top-k. Differences from the paper: which methods meet, and on which side, is balanced instead of drawn; all four
voices begin a note within each clip (the paper: within its piece); clips are equally loud and faded, none comes twice;
everything follows from the seed. Real music goes through the events too, lest its dynamics and timbres give it away.
A design is a folder: ``design.json``, which says what each clip is (keep it from listeners), and ``clips/NAME.wav``.
"""

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from lakhnes_lib.errors import BadSetting, BadStudy
from lakhnes_lib.files import check_place, replacing
from lakhnes_lib.generation import sampling
from lakhnes_lib.listening.player import PREVIEW_RATE
from lakhnes_lib.models.language_model import LanguageModel, RandomModel
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound import apu, audio

FORMAT = 1
SECONDS = {"turing": 5.0, "preference": 10.0}
REAL, CONTROL = "real", "random"
LOUDNESS = 0.1
"""RMS of every clip; less, for all of them, if the clip with the highest peak would be cut off."""
FADE = 0.005
"""Seconds of fading at both ends."""
_TRIES, _ROUNDS = 100, 6


@dataclass(frozen=True)
class Trial:
    """A pair of clips: names and methods of A and B."""

    id: str
    batch: int
    clips: tuple[str, str]
    methods: tuple[str, str]

    @property
    def is_control(self) -> bool:
        """Real music against random events."""
        return CONTROL in self.methods


@dataclass(frozen=True)
class Design:
    """A listening test. clips: name -> method, piece, start in seconds, sha256; folder: None if it is only planned."""

    kind: str
    seconds: float
    seed: int
    trials: tuple[Trial, ...]
    clips: dict[str, dict] = field(repr=False)
    folder: Path | None = None

    @property
    def methods(self) -> list[str]:
        """What is compared: every method but the control; real music first."""
        found = dict.fromkeys(method for trial in self.trials for method in trial.methods)
        return sorted(found.keys() - {CONTROL}, key=lambda method: (method != REAL, method))

    def batch(self, number: int) -> list[Trial]:
        """The trials of one batch, in order. Raises BadStudy if there is no such batch."""
        found = [trial for trial in self.trials if trial.batch == number]
        if not found:
            last = max(trial.batch for trial in self.trials)
            raise BadStudy(f"{self.folder or 'design'}: has no batch {number}, only 0 to {last}")
        return found

    def sound(self, name: str) -> bytes:
        """The WAV file of a clip. Raises BadStudy if it is missing or was changed."""
        path = self.folder / "clips" / f"{name}.wav"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadStudy(
                f"{path}: clip of the design cannot be read ({error.strerror})"
            ) from error
        if hashlib.sha256(content).hexdigest() != self.clips[name]["sha256"]:
            raise BadStudy(f"{path}: is not the clip that the design was made with")
        return content

    @property
    def fingerprint(self) -> str:
        """``d`` and 12 digits of a hash of everything; the letter keeps spreadsheets from taking it for a number."""
        return (
            "d" + hashlib.sha256(json.dumps(self.table, sort_keys=True).encode()).hexdigest()[:12]
        )

    @property
    def table(self) -> dict:
        """What ``design.json`` holds, but for the fingerprint."""
        trials = [
            {"id": t.id, "batch": t.batch, "a": t.clips[0], "b": t.clips[1]} for t in self.trials
        ]
        head = {"format": FORMAT, "kind": self.kind, "seconds": self.seconds, "seed": self.seed}
        return head | {"trials": trials, "clips": self.clips}


def plan(
    kind: str,
    methods,
    *,
    batches: int = 1,
    pairs: int = 10,
    controls: int = 2,
    seed: int = 0,
    seconds=None,
) -> Design:
    """Who meets whom, in which order and on which side, without any sound.

    kind: turing or preference; methods: names, ``real`` among them; controls: of the ``pairs`` of each batch, so many
    are real against random. In the others every method is heard equally often (but for a rest of one), and meets each
    other one about equally often; in each batch half of the pairs are turned. Raises BadSetting.
    """
    methods = [method for method in dict.fromkeys(methods) if method != CONTROL]
    if kind not in SECONDS:
        raise BadSetting(f"a study is one of {', '.join(SECONDS)}, not {kind!r}")
    if REAL not in methods or len(methods) < 2:
        raise BadSetting(
            f"a study compares {REAL!r} and at least one other method, not {', '.join(methods) or 'nothing'}"
        )
    seconds = SECONDS[kind] if seconds is None else float(seconds)
    if batches < 1 or not 0 <= controls < pairs or not 0.5 <= seconds <= 60 or seed < 0:
        raise BadSetting(
            "a study has a batch or more, fewer controls than pairs, clips of 0.5 to 60 seconds and a seed from 0 on; "
            f"not {batches} batches of {pairs} pairs with {controls} controls, {seconds:g} s, seed {seed}"
        )
    choices = [p for p in combinations(sorted(methods), 2) if kind == "preference" or REAL in p]
    random = np.random.default_rng(seed)
    met, heard = Counter(), Counter()
    trials, clips = [], {}
    for batch in range(batches):
        chosen = [(CONTROL, REAL)] * controls
        while len(chosen) < pairs:
            some = [choices[i] for i in random.permutation(len(choices))]
            pair = min(some, key=lambda p: (heard[p[0]] + heard[p[1]], met[p]))
            met[pair] += 1
            heard.update(pair)
            chosen.append(pair)
        turned = random.permutation(pairs) < pairs // 2 + random.integers(pairs % 2 + 1)
        for place in random.permutation(pairs):
            pair = chosen[place][::-1] if turned[place] else chosen[place]
            names = tuple(f"c{random.bytes(6).hex()}" for _ in pair)
            clips |= {name: {"method": method} for name, method in zip(names, pair, strict=True)}
            trials.append(Trial(f"t{random.bytes(6).hex()}", batch, names, pair))
    return Design(kind, seconds, int(seed), tuple(trials), clips)


def make(
    kind: str, sources: dict, folder, *, length: int = 1024, progress: bool = True, **options
) -> Design:
    """Makes a listening test and writes it to ``folder``, which must be new or empty.

    sources: method -> list of Scores, or a LanguageModel, which composes pieces of ``length`` events; ``real`` among
    them; ``random`` is added. options: as in ``plan``. The same arguments give the same files.
    Raises BadSetting for a plan that is none, BadStudy for music too short or without all four voices, and LakhnesError
    if the folder holds anything.
    """
    check_place(folder)
    design = plan(kind, sources, **options)
    sources = {CONTROL: RandomModel()} | sources
    by_method = defaultdict(list)
    for name, clip in design.clips.items():
        by_method[clip["method"]].append(name)
    sounds = {}
    for number, method in enumerate(
        tqdm(sorted(by_method), unit="method", desc="clips", disable=not progress)
    ):
        names, seed = by_method[method], [design.seed, number]
        for name, (piece, start) in zip(
            names,
            _cuts(method, sources[method], len(names), design.seconds, seed, length),
            strict=True,
        ):
            sounds[name] = _faded(
                apu.render(piece.excerpt(start, start + design.seconds), PREVIEW_RATE)
            )
            design.clips[name].update(piece=piece.name, start=round(start, 6))
    loudness = {
        name: np.sqrt(np.mean(sound**2, dtype=np.float64)) for name, sound in sounds.items()
    }
    target = min(
        LOUDNESS, *(0.99 * loudness[name] / np.abs(sound).max() for name, sound in sounds.items())
    )
    with replacing(folder, folder=True) as temporary:
        for name in sorted(sounds):
            path = temporary / "clips" / f"{name}.wav"
            audio.write_wav(sounds[name] * np.float32(target / loudness[name]), path, PREVIEW_RATE)
            design.clips[name]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        text = json.dumps(design.table | {"fingerprint": design.fingerprint}, indent=1)
        (temporary / "design.json").write_text(text + "\n", encoding="utf-8")
    return open_design(folder)


def open_design(folder) -> Design:
    """The design that a folder holds. Raises BadStudy if there is none, or if it was changed since it was made."""
    path = Path(folder) / "design.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != FORMAT:
            raise BadStudy(f"{path}: is of format {table['format']}, this library reads {FORMAT}")
        clips = table["clips"]
        trials = tuple(
            Trial(
                t["id"],
                t["batch"],
                (t["a"], t["b"]),
                (clips[t["a"]]["method"], clips[t["b"]]["method"]),
            )
            for t in table["trials"]
        )
        design = Design(table["kind"], table["seconds"], table["seed"], trials, clips, Path(folder))
        fingerprint = table["fingerprint"]
    except OSError as error:
        raise BadStudy(
            f"{path}: cannot be read ({error.strerror}); `lakhnes study make` makes a design"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadStudy(
            f"{path}: is no design of a study ({type(error).__name__}: {error})"
        ) from error
    if design.fingerprint != fingerprint:
        raise BadStudy(
            f"{path}: was changed after it was made (fingerprint {design.fingerprint}, not {fingerprint})"
        )
    return design


def _cuts(
    method: str, source, count: int, seconds: float, seed: list[int], length: int
) -> list[tuple[Score, float]]:
    """So many pieces and starts in seconds. A model whose pieces are too short composes more, a few times."""
    random, found = np.random.default_rng(seed), []
    width = round(seconds * nes.TICKS_PER_SECOND)
    for _ in range(_ROUNDS if isinstance(source, LanguageModel) else 1):
        if isinstance(source, LanguageModel):
            options = dict(
                length=length,
                temperature=1.0,
                top_k=None,
                masked=False,
                seed=int(random.integers(1 << 31)),
            )
            composed = sampling.sample(source, n=count - len(found), **options)
            pieces = [
                events.decode(ids, f"{method} {number}") for number, ids in enumerate(composed)
            ]
        else:
            pieces = [source[place] for place in random.permutation(len(source))]
        found += _slices(pieces, count - len(found), width, random)
        if len(found) == count:
            return found
    raise BadStudy(
        f"{method}: {count} clips of {seconds:g} s in which all four voices begin a note are needed, "
        f"and its music holds only {len(found)}"
    )


def _slices(pieces: list[Score], count: int, width: int, random) -> list[tuple[Score, float]]:
    """At most so many, one of each piece before a second of any; none overlap."""
    taken, found, usable = defaultdict(list), [], list(range(len(pieces)))
    while usable and len(found) < count:
        for place in usable.copy():
            if not taken[place]:
                pieces[place] = events.decode(events.encode(pieces[place]), pieces[place].name)
            start = _start(pieces[place], width, taken[place], random)
            if start is None:
                usable.remove(place)
            elif len(found) < count:
                taken[place].append(start)
                found.append((pieces[place], start / nes.TICKS_PER_SECOND))
    return found


def _start(piece: Score, width: int, taken: list[int], random) -> int | None:
    """A random tick at which a clip can begin, or None if none of many is one."""
    if piece.length < width:
        return None
    starts = random.integers(0, piece.length - width + 1, _TRIES)
    able = np.ones(_TRIES, bool)
    for voice in range(len(nes.VOICES)):
        onsets = piece.voice(voice)["start"]
        able &= np.searchsorted(onsets, starts) < np.searchsorted(onsets, starts + width)
    for other in taken:
        able &= np.abs(starts - other) >= width
    return int(starts[able][0]) if able.any() else None


def _faded(samples: np.ndarray) -> np.ndarray:
    ramp = np.sin(np.linspace(0, np.pi / 2, round(FADE * PREVIEW_RATE), dtype=np.float32)) ** 2
    samples[: len(ramp)] *= ramp
    samples[-len(ramp) :] *= ramp[::-1]
    return samples
