"""The clips of a listening test: cut from music by people and by models, and made equally loud.

Paper: §7. Notebook: 08_user_study. Who meets whom: ``designs``.
As published: clips from random positions in the pieces; models sample with temperature 1 and
without top-k.
Differences from the paper: all four voices begin a note within each clip (the paper: within its
piece); clips are equally loud and faded, none comes twice; everything follows from the seed; real
music goes through the events too, so that its dynamics and timbres do not give it away.
"""

import hashlib
from itertools import zip_longest

import numpy as np
from scipy import signal
from tqdm.auto import tqdm

from lakhnes_lib.errors import BadStudy
from lakhnes_lib.files import check_target, replacing
from lakhnes_lib.generation import sampling
from lakhnes_lib.listening.player import PREVIEW_RATE
from lakhnes_lib.models.language_model import LanguageModel, RandomModel
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound import apu, audio
from lakhnes_lib.study.designs import CONTROL, Clip, Design, open_design, plan

LOUDNESS = 0.1
"""RMS of every clip; less, for all of them, if the clip with the highest peak would be cut off."""
FADE = 0.005
"""Seconds of fading at both ends."""
_ROUNDS_OF_COMPOSING = 20


def make_study(
    kind: str, sources: dict, folder, *, length: int = 1024, progress: bool = True, **options
) -> Design:
    """Makes a listening test and writes it to ``folder``, which must be new or empty.

    sources: method -> list of Scores, or a LanguageModel, which composes pieces of ``length``
    events; ``real`` among them; ``random`` is added. options: as in ``designs.plan``. The same
    arguments give the same files. Raises BadSetting for an impossible plan, BadStudy for music too
    short or without all four voices, and LakhnesError if the folder holds anything.
    """
    check_target(folder)
    design = plan(kind, sources, **options)
    sources = {CONTROL: RandomModel()} | sources
    origins, sounds, clips = {}, {}, {}
    methods = sorted({clip.method for clip in design.clips.values()})
    bar = tqdm(methods, unit="method", desc="clips", disable=not progress)
    for number, method in enumerate(bar):
        names = [name for name, clip in design.clips.items() if clip.method == method]
        seed = [design.seed, number]
        excerpts = _excerpts(method, sources[method], len(names), design.seconds, seed, length)
        for name, (piece, start) in zip(names, excerpts, strict=True):
            excerpt = piece.excerpt(start, start + design.seconds)
            sounds[name] = _fade(apu.render(excerpt, PREVIEW_RATE))
            origins[name] = dict(method=method, piece=piece.name, start=round(start, 6))
    with replacing(folder, folder=True) as temporary:
        sounds = _equally_loud(sounds)
        for name in design.clips:
            path = temporary / "clips" / f"{name}.wav"
            audio.write_wav(sounds[name], path, PREVIEW_RATE)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            clips[name] = Clip(**origins[name], sha256=sha256)
        text = design.model_copy(update={"clips": clips}).to_json()
        (temporary / "design.json").write_text(text, encoding="utf-8")
    return open_design(folder)


def _excerpts(method, source, count, seconds, seed, length) -> list[tuple[Score, float]]:
    """So many pieces and starts in seconds. A model whose pieces are too short composes more, a few
    times."""
    random = np.random.default_rng(seed)
    width = round(seconds * nes.TICKS_PER_SECOND)
    excerpts = []
    for _ in range(_ROUNDS_OF_COMPOSING if isinstance(source, LanguageModel) else 1):
        missing = count - len(excerpts)
        if isinstance(source, LanguageModel):
            published = dict(temperature=1.0, top_k=None, masked=False)
            own_seed = int(random.integers(1 << 31))
            composed = sampling.sample(source, n=missing, length=length, seed=own_seed, **published)
            pieces = [events.decode(ids, f"{method} {i}") for i, ids in enumerate(composed)]
        else:
            pieces = [source[i] for i in random.permutation(len(source))]
        # One of each piece before a second one of any.
        in_turn = zip_longest(*(_slices(piece, width, random) for piece in pieces))
        excerpts += [each for row in in_turn for each in row if each][:missing]
        if len(excerpts) == count:
            return excerpts
    needed = f"{count} clips of {seconds:g} s in which all four voices begin a note are needed"
    raise BadStudy(f"{method}: {needed}, and its music holds only {len(excerpts)}")


def _slices(piece: Score, width: int, random) -> list[tuple[Score, float]]:
    """The piece, as the events have it, with starts in seconds, in random order: of slices of
    ``width`` ticks that follow each other from a random tick on, those in which all four voices
    begin a note."""
    piece = events.decode(events.encode(piece), piece.name)
    last = piece.length - width
    first = random.integers(np.clip(last + 1, 1, width))
    starts = random.permutation(np.arange(first, last + 1, width))
    for voice in range(len(nes.VOICES)):
        onsets = piece.voice(voice)["start"]
        begins = np.searchsorted(onsets, starts) < np.searchsorted(onsets, starts + width)
        starts = starts[begins]
    return [(piece, start / nes.TICKS_PER_SECOND) for start in starts.tolist()]


def _fade(samples: np.ndarray) -> np.ndarray:
    """The samples with both ends faded, each along half a period of a cosine."""
    share = 2 * (round(FADE * PREVIEW_RATE) - 1) / (len(samples) - 1)  # of both fades
    return samples * signal.windows.tukey(len(samples), share).astype(np.float32)


def _equally_loud(sounds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every clip at the same RMS, without a peak beyond full scale."""
    rms = {name: np.sqrt(np.mean(sound**2, dtype=np.float64)) for name, sound in sounds.items()}
    highest = min(0.99 * rms[name] / np.abs(sound).max() for name, sound in sounds.items())
    target = min(LOUDNESS, highest)
    return {name: sound * np.float32(target / rms[name]) for name, sound in sounds.items()}
