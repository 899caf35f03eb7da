"""Is it any good? Figures of music that the field's papers measure, for any list of songs.

Paper: none of these (§6 measures perplexity, §7 asks listeners). Notebook: 09_composing. The definitions follow MusPy
(Dong et al., ISMIR 2020), MusDr (Wu and Yang, *The Jazz Transformer on the front line*, ISMIR 2020), and for repetition
Welleck et al. (ICLR 2020, seq-rep-n); sets are held against sets figure by figure, as Yang and Lerch (2020) do.
Differences from these: they count in beats and bars, which NES music does not have. So shares are shares of time, and a
bar is the period from 1 to 4 s at which a song's own rhythm returns best.

A longer piece has more pitches, rests and repeats than its own beginning: compare sets of pieces of like length.
"""

import numpy as np
from scipy import fft, stats

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import NOTE, Score

FIGURES = {
    "pitch_class_entropy": "pitch-class entropy, bits",
    "scale_consistency": "scale consistency",
    "groove_consistency": "groove consistency",
    "repetition": "repeated 8-note phrases, share",
    "voices_sounding": "voices sounding at once",
    "note_density": "notes a second",
    "empty_time": "empty time, share",
}
"""Every figure, with its title and unit."""

PHRASE = 8
"""Notes of a phrase, for repetition."""
FRAMES_PER_SECOND, BAR_SECONDS = 60, (1, 4)
"""The grid of onsets (the chip's own rate), and how long a bar may be."""

_DEGREES = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1])
_SCALES = np.array(
    [np.roll(_DEGREES, root) for root in range(12)]
)  # natural minor has its relative major's notes


def measure(scores: list[Score]) -> dict[str, np.ndarray]:
    """Every figure of every song: float64 (songs,) by name, NaN where a song has nothing to measure it by.

    pitch_class_entropy: of the notes of P1, P2 and TR, 0 (one class) to log2(12) = 3.58;
    scale_consistency: share of these notes in the major or natural minor scale that holds the most of them;
    groove_consistency: share of onsets (of all voices, within one frame) that fall where one fell a bar before;
    repetition: share of the 8-note phrases in P1, P2 and TR that their voice has played before, pitch by pitch;
    voices_sounding: mean over time, 0 to 4; note_density: of all voices; empty_time: share of time without a note.
    """
    count, lengths = len(scores), np.array([score.length for score in scores], np.int64)
    notes = np.concatenate([np.zeros(0, NOTE), *(score.notes for score in scores)])
    seconds = lengths / nes.TICKS_PER_SECOND
    song = np.repeat(np.arange(count), [len(score.notes) for score in scores])
    melodic = notes["voice"] != nes.NO
    classes = np.bincount(
        song[melodic] * 12 + notes["pitch"][melodic] % 12, minlength=12 * count
    ).reshape(count, 12)
    held = (notes["end"] - notes["start"]) / nes.TICKS_PER_SECOND
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "pitch_class_entropy": stats.entropy(classes, axis=1, base=2),
            "scale_consistency": (classes @ _SCALES.T).max(1, initial=0) / classes.sum(1),
            "groove_consistency": np.array([_groove(score) for score in scores], float),
            "repetition": _repetition(notes[melodic], song[melodic], count),
            "voices_sounding": np.bincount(song, held, count) / seconds,
            "note_density": np.bincount(song, minlength=count) / seconds,
            "empty_time": 1 - _filled(notes, song, lengths) / lengths,
        }


def _groove(score: Score) -> float:
    """Share of onsets that one came before by a bar, for the bar that makes it largest."""
    frames = score.length * FRAMES_PER_SECOND // nes.TICKS_PER_SECOND + 1
    onsets = np.zeros(frames)
    onsets[score.notes["start"] * FRAMES_PER_SECOND // nes.TICKS_PER_SECOND] = 1
    near = np.convolve(onsets, np.ones(3))[1:-1] > 0
    bars = np.arange(
        BAR_SECONDS[0] * FRAMES_PER_SECOND, min(BAR_SECONDS[1] * FRAMES_PER_SECOND, frames // 2) + 1
    )
    size = fft.next_fast_len(2 * frames, real=True)
    returned = fft.irfft(fft.rfft(onsets, size) * fft.rfft(near, size).conj(), size)[bars]
    later = onsets.sum() - onsets.cumsum()[bars - 1]  # onsets that have a bar before them
    found = later > 0
    return (returned[found].round() / later[found]).max(initial=-1) if found.any() else np.nan


def _repetition(notes: np.ndarray, song: np.ndarray, count: int) -> np.ndarray:
    """Share of each song's phrases that came before in their voice."""
    line = song * len(nes.VOICES) + notes["voice"]
    order = np.argsort(line, kind="stable")
    line, pitch = line[order], notes["pitch"][order].astype(np.uint64)
    starts = np.flatnonzero(line[: max(len(line) - PHRASE + 1, 0)] == line[PHRASE - 1 :])
    phrases = sum(pitch[starts + place] << np.uint64(7 * place) for place in range(PHRASE))
    order = np.lexsort((phrases, line[starts]))
    known = np.append(False, (np.diff(line[starts][order]) == 0) & (np.diff(phrases[order]) == 0))[
        : len(order)
    ]
    where = line[starts][order] // len(nes.VOICES)
    return np.bincount(where, known, count) / np.bincount(where, minlength=count)


def _filled(notes: np.ndarray, song: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Ticks of each song in which a voice sounds; notes by song, then start."""
    begin = np.append(0, np.cumsum(lengths))[
        song
    ]  # all songs one after the other on one line of time
    start, end = notes["start"] + begin, np.maximum.accumulate(notes["end"] + begin)
    before = np.append(0, end[:-1])[: len(end)]
    return np.bincount(song, end - np.clip(start, before, end), len(lengths))


def distances(figures: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> dict[str, float]:
    """How far a set's figures lie from a reference set's: 0 if they are spread alike, 1 for one standard deviation.

    Both: what ``measure`` returned. Wasserstein distance of the two distributions over the reference's standard
    deviation; NaN if a set has no song with that figure, or the reference always has the same.
    """
    found = {}
    for name, values in figures.items():
        ours, theirs = (each[~np.isnan(each)] for each in (values, reference[name]))
        with np.errstate(divide="ignore", invalid="ignore"):
            known = len(ours) and len(theirs) and theirs.std()
            found[name] = (
                float(stats.wasserstein_distance(ours, theirs) / theirs.std())
                if known
                else float("nan")
            )
    return found
