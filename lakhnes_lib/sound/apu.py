"""The NES sound chip, rendered: Score to audio.

Paper: §3 and §6 (what listeners heard). Notebook: 01_nes_ensemble.
Differences from the paper: its audio came from a C player at sample rate; here every change of
level happens on its CPU cycle, goes through the chip's non-linear mixer and is band-limited. In a
song from events alone every note has full volume and duty 0, as the paper's own audio had.
"""

from collections.abc import Iterator

import numpy as np
from scipy import signal

from lakhnes_lib.errors import BadAudio
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.sound import chip, presets, timeline
from lakhnes_lib.sound.bandlimit import DELAY, FILTERS, TAPS, StepSum, filter_coefficients
from lakhnes_lib.sound.edges import level_changes, voice_levels

SAMPLE_RATES = (4_000, 768_000)
BLOCK = 1 << 16
"""Most samples computed at a time."""
LONGEST = 1 << 28
"""Samples that one array may hold (1 GiB, 1.7 hours at 44.1 kHz)."""
MOST_CYCLES = 1 << 26
"""Cycles that ``levels`` gives at a time (256 MiB, 37 seconds)."""
GAIN = {"console": 2.0, "famicom": 1.4, "none": 1.3}
"""Output per unit of the mixer's level, by output filter.

Every song of NES-MDB stays below 1, as it is and at full volume. A score made for the purpose can
go beyond, and is then cut off at 1."""


def render(score: Score, sample_rate: int = 44_100, **options) -> np.ndarray:
    """The score as sound: float32 (samples,) in [-1, 1].

    There are ceil(score.length * sample_rate / 44,100) samples. Options:

    duty: None plays the score's timbre; 0-3 (or a pair for P1 and P2) plays that duty throughout.
    volume: None plays the score's velocities; 1-15 plays every pulse and noise note at that volume;
        "decay" lets each note fade from its velocity as the chip's own envelope does.
    voices: the voices that are heard (numbers 0-3, all by default); the others are as if they had
        no notes.
    output: "console" (high-pass 90 and 440 Hz, low-pass 14 kHz; the default), "famicom" (high-pass
        37 Hz) or "none" (the mixer's own level, which begins at 0 and goes up).
    seed: None starts the waveforms as after a reset; a number draws their phases.

    The gain is fixed: a song's loudness does not depend on what else is in it. The same arguments
    give the same samples. Raises BadAudio on an impossible sample rate or option, or a score too
    long for one array (use ``blocks``). Example:

    >>> len(render(Score.build([(nes.P1, 0, 22_050, 69, 15)])))
    22050
    """
    stream = blocks(score, sample_rate, **options)
    if length_in_samples(score, sample_rate) > LONGEST:
        raise BadAudio(
            f"{score.name or 'score'}: {score.seconds / 3600:.1f} hours at {sample_rate} Hz are "
            f"more than one array of {LONGEST} samples; use apu.blocks"
        )
    return np.concatenate([np.zeros(0, np.float32), *stream])


def blocks(
    score: Score,
    sample_rate: int = 44_100,
    *,
    duty: int | tuple[int, int] | None = None,
    volume: int | str | None = None,
    voices=(nes.P1, nes.P2, nes.TR, nes.NO),
    output: str = "console",
    seed: int | None = None,
) -> Iterator[np.ndarray]:
    """The same sound as ``render`` in pieces of at most BLOCK samples.

    The memory that this takes does not grow with the length. Options and errors as in ``render``;
    wrong ones are raised by this call, before the first piece is asked for.
    """
    low, high = SAMPLE_RATES
    if not isinstance(sample_rate, int | np.integer) or not low <= sample_rate <= high:
        raise BadAudio(f"sample rate {sample_rate!r} Hz is not a whole number from {low} to {high}")
    if output not in FILTERS:
        raise BadAudio(f"output filter {output!r} is not one of {', '.join(FILTERS)}")
    voices = list(voices)
    if not set(voices) <= set(range(len(nes.VOICES))):
        raise BadAudio(f"voices {voices} are not numbers 0-3 (P1, P2, TR, NO)")
    score = presets.dress(score.only(voices), duty, volume)
    return _stream(score, int(sample_rate), output, seed)


def length_in_samples(score: Score, sample_rate: int) -> int:
    """ceil(length * sample_rate / 44,100)."""
    return -(-score.length * int(sample_rate) // nes.TICKS_PER_SECOND)


def _stream(score, sample_rate, output, seed):
    samples = length_in_samples(score, sample_rate)
    song = timeline.build(score, seed)
    # At most a second and a half at a time: the noise changes up to 450,000 times a second.
    block = min(BLOCK, 3 * sample_rate // 2 // TAPS * TAPS)
    steps, coefficients = StepSum(block), filter_coefficients(output, sample_rate)
    state, skip, done = np.zeros(len(coefficients[0]) - 1), DELAY, 0
    for number in range(-(-(samples + DELAY) // block)):
        # In whole numbers, so that the last hour of a long song is as exact as its first second.
        begin, end = (-(-n * block * chip.CLOCK // sample_rate) for n in (number, number + 1))
        cycle, change = level_changes(song, begin, end)
        position = (cycle * sample_rate - number * block * chip.CLOCK) / chip.CLOCK
        sound, state = signal.lfilter(*coefficients, steps(position, change), zi=state)
        sound = sound[skip : skip + samples - done]
        skip, done = 0, done + len(sound)
        yield np.clip(sound * GAIN[output], -1, 1).astype(np.float32)


def levels(score: Score, begin: int = 0, end: int | None = None) -> np.ndarray:
    """The four voices' levels 0-15 on every CPU cycle in [begin, end): uint8 (4, cycles).

    These are the levels before the mixer: what ``render`` band-limits is, without a seed,
    ``chip.mix(levels(score))``. end: the score's last cycle if None. Raises BadAudio unless the
    cycles lie within the score and are at most MOST_CYCLES.
    """
    song = timeline.build(score)
    last = int(song.borders[-1])
    end = last if end is None else end
    if not (0 <= begin <= end <= last and end - begin <= MOST_CYCLES):
        limits = f"within the {last} of the song, or are more than {MOST_CYCLES}"
        raise BadAudio(f"{score.name or 'score'}: cycles {begin}-{end} are not {limits}")
    rows = [voice_levels(song, number, begin, end) for number in range(len(nes.VOICES))]
    rows = [np.repeat(level, np.diff(cycle, append=end)) for cycle, level in rows]
    return np.stack(rows).astype(np.uint8)
