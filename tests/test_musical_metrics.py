"""Musical metrics against their definitions, counted by hand, and on music made to have them."""

import warnings
from collections import Counter
from math import exp, log, log2

import numpy as np
import pytest
from _likeness import divergence_and_overlap
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from songs import scores, tune

from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.generation import sampling
from lakhnes_lib.listening.metric_plots import metrics_picture
from lakhnes_lib.models.language_model import RandomModel
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import tunes

SECOND = nes.TICKS_PER_SECOND
MAJOR = {0, 2, 4, 5, 7, 9, 11}


def by_hand(score: Score) -> dict[str, float]:
    """Every metric as its docstring says it, in plain Python."""
    nan, rows = float("nan"), score.notes.tolist()
    melodic = [(voice, pitch) for voice, _, _, pitch, _ in rows if voice != nes.NO]
    classes = Counter(pitch % 12 for _, pitch in melodic)
    total = len(melodic)
    best = max(
        sum(n for pitch, n in classes.items() if (pitch - root) % 12 in MAJOR) for root in range(12)
    )
    lines = [[pitch for v, pitch in melodic if v == voice] for voice in nes.MELODIC]
    phrases = [[tuple(line[i : i + 8]) for i in range(len(line) - 7)] for line in lines]
    count = sum(map(len, phrases))
    borders = sorted(
        {0, score.length, *(tick for _, start, end, _, _ in rows for tick in (start, end))}
    )
    silent = sum(
        b - a
        for a, b in zip(borders, borders[1:], strict=False)
        if not any(s <= a < e for _, s, e, _, _ in rows)
    )
    onsets = {start * 60 // SECOND for _, start, _, _, _ in rows}
    frames, shares = score.length * 60 // SECOND + 1, []
    for bar in range(60, min(240, frames // 2) + 1):
        later = [onset for onset in onsets if onset >= bar]
        if later:
            heard = sum(
                bool({onset - bar + near for near in (-1, 0, 1)} & onsets) for onset in later
            )
            shares.append(heard / len(later))
    ids = events.encode(score).tolist()
    halves = [
        ("wait", int(events.TICKS_OF[event]) * 60 // SECOND) if events.IS_WAIT[event] else event
        for event in ids
    ][len(ids) // 2 :]
    loops = [
        np.mean([one == other for one, other in zip(halves[n:], halves[:-n], strict=True)])
        for n in range(1, min(64, len(halves) // 3) + 1)
    ]
    held = [sum(e - s for v, s, e, _, _ in rows if v == voice) for voice in nes.MELODIC]
    return {
        "longest_note": max((e - s for v, s, e, _, _ in rows if v != nes.NO), default=0) / SECOND,
        "looping": max(loops, default=nan),
        "silent_voices": sum(ticks < 0.02 * score.length for ticks in held),
        "pitch_class_entropy": -sum(n / total * log2(n / total) for n in classes.values())
        if total
        else nan,
        "scale_consistency": best / total if total else nan,
        "groove_consistency": max(shares, default=nan),
        "repetition": sum(len(line) - len(set(line)) for line in phrases) / count if count else nan,
        "voices_sounding": sum(e - s for _, s, e, _, _ in rows) / score.length
        if score.length
        else nan,
        "note_density": len(rows) / (score.length / SECOND) if score.length else nan,
        "empty_time": silent / score.length if score.length else nan,
    }


def same(measured, expected):
    assert list(measured) == list(musical_metrics.METRICS)
    for name, values in measured.items():
        assert values == pytest.approx([one[name] for one in expected], abs=1e-9, nan_ok=True), name


@given(st.lists(scores(), max_size=3))
@settings(max_examples=15, deadline=None)
def test_any_scores(songs):
    with warnings.catch_warnings(action="error"):
        measured = musical_metrics.measure(songs)
    same(measured, [by_hand(song) for song in songs])


def test_real_tunes():
    songs = [
        tune(1),
        Score.build([], 0),
        *tunes.scores("test")[:3],
        Score.build([], 9 * SECOND),
        tune(2, beats=9),
    ]
    measured = musical_metrics.measure(songs)
    same(measured, [by_hand(song) for song in songs])
    assert (
        not np.isnan(measured["repetition"][2:5]).any()
        and not np.isnan(measured["groove_consistency"][2:5]).any()
    )


def test_music_made_to_have_them():
    step = SECOND // 4
    scale = [
        (nes.P1, i * step, i * step + step // 2, 60 + pitch, 9)
        for i, pitch in enumerate(sorted(MAJOR) * 3)
    ]
    measured = musical_metrics.measure([Score.build(scale, 21 * step)])
    # The scale's seven notes are a loop of 28 events, of which the second half holds no third.
    expected = [log2(7), 1, 1, 7 / 14, 0.5, 4, 0.5, 1 / 8]
    values = [float(values[0]) for values in measured.values()]
    assert values[:8] == pytest.approx(expected, abs=1e-3) and values[9] == 2


def test_of_bars_that_fit_alike_the_one_to_the_frame_counts():
    rhythm = (0, 12, 30, 55)  # frames of a bar of 82, which also lets 81 and 83 fit
    starts = [(82 * bar + frame) * SECOND // 60 for bar in range(8) for frame in rhythm]
    rows = [(nes.P1, start, start + SECOND // 15, 60 + i % 7, 8) for i, start in enumerate(starts)]
    score = Score.build(rows, 8 * 82 * SECOND // 60)
    assert musical_metrics.bar(score) == (82 * SECOND // 60, 1.0)


def test_distances():
    metrics = {name: np.arange(5.0) for name in musical_metrics.METRICS}
    moved = metrics | {
        "repetition": np.append(np.arange(5.0) + 2**0.5, np.nan),
        "empty_time": np.full(3, np.nan),
    }
    far = musical_metrics.distances(moved, metrics)
    assert far["repetition"] == pytest.approx(1)  # the standard deviation is 2**0.5
    assert np.isnan(far["empty_time"])
    assert far["note_density"] == 0
    assert np.isnan(
        musical_metrics.distances(metrics, {name: np.ones(2) for name in metrics})["repetition"]
    )


def density(differences, points):
    """A Gaussian kernel's density in plain Python, with the width of Scott's rule."""
    count = len(differences)
    mean = sum(differences) / count
    variance = sum((one - mean) ** 2 for one in differences) / (count - 1)
    width = (variance * count ** (-2 / 5)) ** 0.5
    heights = [
        sum(exp(-(((point - one) / width) ** 2) / 2) for one in differences) for point in points
    ]
    return [height / sum(heights) for height in heights]


def test_likeness_by_its_definition():
    reference, values = [0.1, 0.5, 0.6, 1.4, 2.0], [0.3, 1.5, 1.9]
    within = [abs(a - b) for i, a in enumerate(reference) for b in reference[:i]]
    between = [abs(a - b) for a in values for b in reference]
    points = [max(within + between) * number / 199 for number in range(200)]
    real, ours = density(within, points), density(between, points)
    expected = (
        sum(p * log(p / q) for p, q in zip(real, ours, strict=True)),
        sum(min(p, q) for p, q in zip(real, ours, strict=True)),
    )
    with_gaps = np.array([np.nan, *values])
    assert divergence_and_overlap(with_gaps, np.array(reference)) == pytest.approx(expected)


def test_likeness_of_sets_of_which_it_is_known():
    random = np.random.default_rng(0)
    real, same = random.normal(size=(2, 300))
    divergence, area = divergence_and_overlap(same, real)
    assert divergence < 0.02 and area > 0.95
    # Differences of normal values are normal: beside the reference's own, of which the standard
    # deviation is sqrt(2), stand those of a set that is moved by four.
    same_again = divergence_and_overlap(np.arange(40.0), np.arange(40.0))
    assert same_again[0] < 0.01 < 0.97 < same_again[1]
    points = np.linspace(0, 12, 5000)

    def folded(shift):
        return stats.norm.pdf(points, shift, 2**0.5) + stats.norm.pdf(points, -shift, 2**0.5)

    near, far = folded(0.0), folded(4.0)
    divergence, area = divergence_and_overlap(same + 4.0, real)
    assert area == pytest.approx(np.minimum(near, far).sum() / near.sum(), abs=0.03)
    assert divergence == pytest.approx(stats.entropy(near, far), rel=0.15)
    divergence, area = divergence_and_overlap(same + 1e6, real)
    assert area < 1e-6 and 100 < divergence < np.inf
    for values, reference in ((real, real[:1]), (np.ones(3), np.ones(4)), (real * np.nan, real)):
        assert np.isnan(divergence_and_overlap(values, reference)).all()


@pytest.fixture(scope="module")
def measured():
    """The songbook, and what the uniform model composes, in pieces of 200 events."""
    real = [
        events.decode(events.frame(events.encode(song))[1:201])
        for song in tunes.scores("train")[:8]
    ]
    drawn = sampling.sample(
        RandomModel(), n=8, length=200, temperature=1, top_k=None, memory_length=0
    )
    sets = {"songbook": real, "uniform": [events.decode(ids) for ids in drawn]}
    return {name: musical_metrics.measure(pieces) for name, pieces in sets.items()}


def test_real_music_and_the_uniform_model_are_far_apart(measured):
    far = musical_metrics.distances(measured["uniform"], measured["songbook"])
    assert (
        far["scale_consistency"] > 1
        and far["groove_consistency"] > 1
        and far["pitch_class_entropy"] > 1
    )


@pytest.mark.parametrize("seed", range(12))
def test_longest_trill_is_the_longest_run_that_goes_round(seed):
    random, rows = np.random.default_rng(seed), []
    for voice in (nes.P1, nes.TR, nes.NO):
        round_ = random.integers(40, 60, random.integers(1, 4)).tolist()
        pitches = random.integers(40, 44, 25).tolist() + round_ * random.integers(0, 5)
        if voice == nes.NO:
            pitches = [pitch % 16 + 1 for pitch in pitches]
        loudness = 1 if voice == nes.TR else 9
        rows += [(voice, 90 * n, 90 * n + 80, pitch, loudness)
                 for n, pitch in enumerate(pitches)]  # fmt: skip
    score = Score.build(rows)
    line = [(voice, pitch) for voice in nes.MELODIC
            for v, _, _, pitch, _ in score.notes.tolist() if v == voice]  # fmt: skip
    line = [note for n, note in enumerate(line) if n == 0 or note != line[n - 1]]
    longest = 0
    for first in range(len(line)):
        for last in range(first, len(line)):
            run = line[first : last + 1]
            if any(run[n:] == run[: len(run) - n] for n in (2, 3) if n <= len(run)) or len(run) < 3:
                longest = max(longest, len(run))
    assert musical_metrics.longest_trill(score) == longest
    assert musical_metrics.longest_trill(Score.build([], SECOND)) == 0


def test_picture_of_metrics(measured):
    half = {name: values[:4] for name, values in measured["songbook"].items()}
    silent = musical_metrics.measure([Score.build([], SECOND)])
    shown = measured | {"half": half, "silent": silent}
    picture = metrics_picture(shown, real="songbook")
    assert picture.png().startswith(b"\x89PNG")
    titles = [panel.get_title(loc="left") for panel in picture.axes[: len(musical_metrics.METRICS)]]
    assert [title.replace("\n", " ") for title in titles] == list(musical_metrics.METRICS.values())
    assert sum(len(panel.texts) for panel in picture.axes) == 1, "the key is drawn once"
    bars = [bar.get_facecolor() for bar in picture.axes[0].patches]
    assert len(set(bars[: len(shown)])) == len(shown), "every set has a colour of its own"
