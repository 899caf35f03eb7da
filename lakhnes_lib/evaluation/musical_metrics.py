"""Is it any good? Musical metrics of the field's papers, for any list of songs.

Paper: none of these (§6 measures perplexity, §7 asks listeners). Notebook: 09_composing. The
definitions follow MusPy (Dong et al., ISMIR 2020), MusDr (Wu and Yang, *The Jazz Transformer on the
front line*, ISMIR 2020), and for repetition Welleck et al. (ICLR 2020, seq-rep-n).
Differences from these: they count in beats and bars, which NES music does not have. So shares are
shares of time, and a bar is the period from 1 to 4 s after which a song's own rhythm repeats best.

A longer piece has more pitches, rests and repeats than its own beginning, so compare pieces of
about the same length.
"""

import numpy as np
from scipy import signal, stats

from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import NOTE, Score

METRICS = {
    "pitch_class_entropy": "pitch-class entropy, bits",
    "scale_consistency": "scale consistency",
    "groove_consistency": "groove consistency",
    "repetition": "repeated 8-note phrases, share",
    "voices_sounding": "voices sounding at once",
    "note_density": "notes a second",
    "empty_time": "empty time, share",
    "longest_note": "longest melodic note, seconds",
    "looping": "events that one short loop explains, share",
    "silent_voices": "melodic voices that are all but silent",
}
"""Every metric, with its title and unit."""

PHRASE = 8
"""Notes of a phrase, for ``repetition``."""
LONGEST_LOOP = 64
"""Events of the longest loop, for ``looping``."""
SILENT_SHARE = 0.02
"""A voice that sounds for less than this share of the time is all but silent."""
FRAMES_PER_SECOND, BAR_SECONDS = 60, (1, 4)
"""The grid of onsets, which is the chip's own rate, and the shortest and longest bar."""

_MAJOR = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1])
# A natural minor scale has the notes of its relative major scale, so these twelve are all.
_SCALES = np.array([np.roll(_MAJOR, root) for root in range(12)])


def measure(scores: list[Score]) -> dict[str, np.ndarray]:
    """Every metric of every song: name -> float64 (songs,).

    - pitch_class_entropy: of the notes of P1, P2 and TR, in bits, from 0 (one class) to log2(12);
    - scale_consistency: share of these notes in the major or minor scale that holds most of them;
    - groove_consistency: share of onsets that had an onset a bar earlier, give or take one frame;
    - repetition: share of the 8-note phrases in P1, P2 and TR that their voice has played before;
    - voices_sounding: how many of the four voices sound, on average over time;
    - note_density: notes a second of all voices;
    - empty_time: share of the time in which no voice sounds;
    - longest_note: seconds of the longest note of P1, P2 and TR;
    - looping: of the events of the second half, the share that is the same as so many events
      before, for the number up to 64 for which it is largest;
    - silent_voices: how many of P1, P2 and TR sound for less than 2 % of the time.

    A value is NaN where a song has nothing to measure it by.

    >>> import lakhnes_lib as nes
    >>> metrics = nes.measure([nes.read("assets/songbook/greensleeves.abc")])
    >>> metrics["scale_consistency"].round(2)
    array([0.92])
    """
    count, lengths = len(scores), np.array([score.length for score in scores], np.int64)
    notes = np.concatenate([np.zeros(0, NOTE), *(score.notes for score in scores)])
    seconds = lengths / nes.TICKS_PER_SECOND
    song = np.repeat(np.arange(count), [len(score.notes) for score in scores])
    melodic = notes["voice"] != nes.NO
    classes = np.zeros((count, 12), np.int64)
    np.add.at(classes, (song[melodic], notes["pitch"][melodic] % 12), 1)
    duration = (notes["end"] - notes["start"]) / nes.TICKS_PER_SECOND
    longest = np.zeros(count)
    np.maximum.at(longest, song[melodic], duration[melodic])
    halves = [ids[len(ids) // 2 :] for ids in map(events.encode, scores)]  # the second ones
    sounding = np.zeros((count, len(nes.MELODIC)))
    np.add.at(sounding, (song[melodic], notes["voice"][melodic]), duration[melodic])
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "pitch_class_entropy": stats.entropy(classes, axis=1, base=2),
            "scale_consistency": (classes @ _SCALES.T).max(1, initial=0) / classes.sum(1),
            "groove_consistency": np.array([bar(score)[1] for score in scores], float),
            "repetition": _repetition(notes[melodic], song[melodic], count),
            "voices_sounding": np.bincount(song, duration, count) / seconds,
            "note_density": np.bincount(song, minlength=count) / seconds,
            "empty_time": 1 - _sounding_ticks(notes, song, lengths) / lengths,
            "longest_note": longest,
            "looping": np.array([loop_shares(half[None])[0] for half in halves], float),
            "silent_voices": (sounding < SILENT_SHARE * seconds[:, None]).sum(1).astype(float),
        }


def bar(score: Score) -> tuple[int, float]:
    """A song's bar in ticks, and the share of onsets that had another onset a bar earlier.

    The bar is the length from 1 to 4 s that makes the share largest, where an onset one frame early
    or late counts as well. A song that is too short to tell has a bar of 0, and the share NaN.
    """
    frames = score.length * FRAMES_PER_SECOND // nes.TICKS_PER_SECOND + 1
    onsets = np.zeros(frames)
    onsets[score.notes["start"] * FRAMES_PER_SECOND // nes.TICKS_PER_SECOND] = 1
    near_onset = np.convolve(onsets, np.ones(3))[1:-1] > 0
    shortest, longest = (seconds * FRAMES_PER_SECOND for seconds in BAR_SECONDS)
    bars = np.arange(shortest, min(longest, frames // 2) + 1)
    # Correlation by Fourier transform counts the repeated onsets for all lengths of a bar at once.
    near = signal.correlate(onsets, near_onset, method="fft")[frames - 1 :].round()
    exact = signal.correlate(onsets, onsets, method="fft")[frames - 1 :].round()
    possible = onsets.sum() - onsets.cumsum()[bars - 1]  # onsets that have a whole bar before them
    bars, possible = bars[possible > 0], possible[possible > 0]
    if not len(bars):
        return 0, np.nan
    shares = near[bars] / possible
    # Of lengths with the same share the one counts after which most onsets are met to the frame.
    best = int(np.lexsort((-exact[bars] / possible, -shares))[0])
    return int(bars[best]) * nes.TICKS_PER_SECOND // FRAMES_PER_SECOND, float(shares[best])


def loop_shares(ids: np.ndarray) -> np.ndarray:
    """Of each row of events the largest share that equals the event so many before it.

    ids: integers (rows, events). Waits of as many frames are equal. A loop has 64 events at most,
    and is heard three times or more. Returns float64 (rows,), NaN for fewer than three events.
    """
    frames = events.TICKS_OF[ids] * FRAMES_PER_SECOND // nes.TICKS_PER_SECOND
    ids = np.where(events.IS_WAIT[ids], -frames, ids.astype(np.int64))
    lengths = range(1, min(LONGEST_LOOP, ids.shape[1] // 3) + 1)
    shares = [(ids[:, n:] == ids[:, :-n]).mean(1) for n in lengths]
    return np.max(shares, axis=0) if shares else np.full(len(ids), np.nan)


def longest_trill(score: Score) -> int:
    """The most notes in a row of P1, P2 or TR that go round between the same two or three pitches.

    A note that is repeated counts once.

    >>> import lakhnes_lib as nes
    >>> longest_trill(nes.read("assets/songbook/greensleeves.abc"))
    5
    """
    notes = score.notes[score.notes["voice"] != nes.NO]
    notes = notes[np.argsort(notes["voice"], kind="stable")]
    pitch = notes["pitch"] + 128 * notes["voice"].astype(int)  # no voice shares one with another
    pitch = pitch[np.diff(pitch, prepend=-1) != 0]
    breaks = {n: np.flatnonzero(pitch[n:] != pitch[:-n]) + n for n in (2, 3)}  # n: the pitches
    runs = {n: np.diff([n - 1, *after, len(pitch)]) + n - 1 for n, after in breaks.items()}
    return int(max(lengths.max() for lengths in runs.values()))


def _repetition(notes: np.ndarray, song: np.ndarray, count: int) -> np.ndarray:
    """Share of each song's phrases that the same voice has played before: float64 (songs,); notes:
    melodic ones."""
    line = song * len(nes.VOICES) + notes["voice"]  # one number for each voice of each song
    order = np.argsort(line, kind="stable")
    line, pitch = line[order], notes["pitch"][order]
    starts = np.flatnonzero(line[: max(len(line) - PHRASE + 1, 0)] == line[PHRASE - 1 :])
    phrases = pitch[starts[:, None] + np.arange(PHRASE)]  # (phrases, 8)
    distinct = np.unique(np.column_stack([line[starts], phrases]), axis=0)
    total = np.bincount(line[starts] // len(nes.VOICES), minlength=count)
    different = np.bincount(distinct[:, 0] // len(nes.VOICES), minlength=count)
    return 1 - different / total


def _sounding_ticks(notes: np.ndarray, song: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Ticks of each song in which some voice sounds; notes: sorted by song, then by start."""
    # All songs one after the other on one line of time.
    begin = np.append(0, np.cumsum(lengths))[song]
    start = notes["start"] + begin
    end = np.maximum.accumulate(notes["end"] + begin)
    end_before = np.append(0, end[:-1])[: len(end)]
    return np.bincount(song, end - np.clip(start, end_before, end), len(lengths))


def distances(metrics: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> dict[str, float]:
    """How far a set of songs lies from a reference set, metric by metric.

    metrics, reference: what ``measure`` returned for the two sets. The distance is the Wasserstein
    distance of the two distributions divided by the reference's standard deviation: 0 if they are
    the same, 1 if one lies a standard deviation beside the other. NaN if a set has no song with
    that metric, or all songs of the reference have the same.
    """
    distance = {}
    for name, values in metrics.items():
        ours, theirs = (each[~np.isnan(each)] for each in (values, reference[name]))
        distance[name] = float("nan")
        if len(ours) and len(theirs) and theirs.std():
            distance[name] = float(stats.wasserstein_distance(ours, theirs) / theirs.std())
    return distance
