"""The renderer measured: speed, what each part costs, pitch, aliasing, level. Processor time of one
core, best of 3.

python benchmarks/apu_accuracy.py [--write]

Needs NES-MDB (`lakhnes data fetch nesmdb-midi`, or LAKHNES_MIRROR): 50 songs of its test split,
evenly spaced by name. With --write the numbers go to results/apu.json. The published chain (Python
2 and a C player) is known by one report
alone: 142 s for 15 s of sound.
"""

import itertools
import os
import time

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np  # noqa: E402
from _shared import arguments, corpus_at_hand, keep  # noqa: E402
from scipy import signal  # noqa: E402

from lakhnes_lib.music import nes  # noqa: E402
from lakhnes_lib.music.nes import P1, P2, TR  # noqa: E402
from lakhnes_lib.music.score import TIMBRE_CHANGE, Score  # noqa: E402
from lakhnes_lib.sound import apu, chip, timeline  # noqa: E402
from lakhnes_lib.sound.bandlimit import StepSum, filter_coefficients  # noqa: E402
from lakhnes_lib.sound.edges import level_changes  # noqa: E402

PUBLISHED_TIMES_REAL_TIME = 15 / 142
SONGS = 50


def best(work, runs=3):
    """Shortest processor time (s) of several runs, and the last one's result."""
    seconds = []
    for _ in range(runs):
        begin = time.process_time()
        result = work()
        seconds.append(time.process_time() - begin)
    return min(seconds), result


def textbook(score, rate=44_100):
    """The chip as textbooks have it: every sample, every counter, in plain Python, sampled naively.
    Full volume.
    """
    sound, position = np.zeros(apu.length_in_samples(score, rate)), [0.0] * 4
    notes = [score.voice(voice).tolist() for voice in range(4)]
    register = 1
    for sample in range(len(sound)):
        tick, level = sample * 44_100 / rate, [0, 0, 0, 0]
        for voice in range(4):
            while notes[voice] and notes[voice][0][2] <= tick:
                notes[voice].pop(0)
            if not notes[voice] or notes[voice][0][1] > tick:
                continue
            _, _, _, pitch, velocity = notes[voice][0]
            if voice == nes.NO:
                position[voice] += chip.CLOCK / rate / int(chip.NOISE_PERIODS[16 - pitch])
                while position[voice] >= 1:
                    register = register >> 1 | ((register ^ register >> 1) & 1) << 14
                    position[voice] -= 1
                level[voice] = 0 if register & 1 else velocity
            else:
                hertz = 440 * 2 ** ((pitch - 69) / 12)
                position[voice] = (position[voice] + hertz / rate) % 1
                triangle = int(chip.TRIANGLE[int(position[voice] * 32)])
                level[voice] = (
                    triangle
                    if voice == TR
                    else int(chip.DUTY[0][int(position[voice] * 8)]) * velocity
                )
        pulses, rest = level[0] + level[1], level[2] / 8227 + level[3] / 12241
        sound[sample] = (95.88 / (8128 / pulses + 100) if pulses else 0) + (
            159.79 / (1 / rest + 100) if rest else 0
        )
    return sound


def parts(score, rate=44_100):
    """Seconds spent in each part of one rendering."""
    stages = ("edges", "band_limiting", "output_filter")
    spent, clock = dict.fromkeys(("timeline", *stages), 0.0), time.process_time
    begin = clock()
    song = timeline.build(score)
    spent["timeline"] = clock() - begin
    steps, stage = StepSum(apu.BLOCK), filter_coefficients("console", rate)
    for number in range(-(-apu.length_in_samples(score, rate) // apu.BLOCK)):
        first = number * apu.BLOCK * chip.CLOCK / rate
        marks = [clock()]
        last = int(np.ceil(first + apu.BLOCK * chip.CLOCK / rate))
        cycle, change = level_changes(song, int(np.ceil(first)), last)
        position = (cycle - first) * (rate / chip.CLOCK)
        marks.append(clock())
        sound = steps(position, change)
        marks.append(clock())
        signal.lfilter(*stage, sound)
        marks.append(clock())
        for name, (a, b) in zip(stages, itertools.pairwise(marks), strict=True):
            spent[name] += b - a
    return spent


def speed(scores):
    apu.render(scores[0])  # tables are built once
    times = [best(lambda score=score: apu.render(score))[0] for score in scores]
    ratios = np.array([score.seconds / spent for score, spent in zip(scores, times, strict=True)])
    share = {}
    for score in scores:
        for name, spent in parts(score).items():
            share[name] = share.get(name, 0) + spent
    full = [score for score in scores if score.seconds > 5]
    excerpt = max(full or scores, key=lambda score: len(score.notes) / score.length)
    excerpt = excerpt.excerpt(0, min(5, excerpt.seconds))
    slow, fast = best(lambda: textbook(excerpt), 1)[0], best(lambda: apu.render(excerpt))[0]
    return {
        "songs": len(scores),
        "seconds_of_music": sum(score.seconds for score in scores),
        "times_real_time_mean": float(ratios.mean()),
        "times_real_time_total": sum(score.seconds for score in scores) / sum(times),
        "times_real_time_worst": float(ratios.min()),
        "worst_song": scores[int(ratios.argmin())].name,
        "share_of_time": {name: spent / sum(share.values()) for name, spent in share.items()},
        "times_faster_than_textbook": slow / fast,
        "textbook_times_real_time": excerpt.seconds / slow,
        "published_chain_times_real_time": PUBLISHED_TIMES_REAL_TIME,
        "times_faster_than_published": float(ratios.mean()) / PUBLISHED_TIMES_REAL_TIME,
    }


def tone(voice, pitch, duty, seconds, **options):
    length = round(seconds * 44_100)
    controls = [(voice, 0, TIMBRE_CHANGE, duty)] if voice != TR else []
    score = Score.build([(voice, 0, length, pitch, 1 if voice == TR else 15)], length, controls)
    return apu.render(score, **options).astype(float)


def pitch_error():
    """Worst distance (cents) of a note's pitch from its timer's frequency, and of that from equal
    temperament.
    """
    worst, tuning = {}, {}
    for voice in (P1, P2, TR):
        name = nes.VOICES[voice]
        pitches = np.arange(nes.LOWEST_PITCH[voice], nes.HIGHEST_PITCH[voice] + 1)
        exact = chip.timer_frequency(voice, chip.timer(voice, pitches))
        cents = 1200 * np.log2(exact / chip.frequency(pitches))
        tuning[name] = {"flattest": float(cents.min()), "sharpest": float(cents.max())}
        worst[name] = 0.0
        for pitch, hertz in zip(pitches.tolist(), exact, strict=True):
            sound = tone(voice, pitch, 2, 2.0, output="none")[2000:-2000]
            half = len(sound) // 2
            wave = np.hanning(half) * np.exp(-2j * np.pi * hertz * np.arange(half) / 44_100)
            turn = np.angle((sound[half : 2 * half] * wave).sum() / (sound[:half] * wave).sum())
            turn = (turn - 2 * np.pi * hertz * half / 44_100 + np.pi) % (2 * np.pi) - np.pi
            measured = hertz + turn / (2 * np.pi * half / 44_100)
            worst[name] = max(worst[name], abs(1200 * np.log2(measured / hertz)))
    return {"cents_from_timer_worst": worst, "timer_cents_from_equal_temperament": tuning}


def aliasing():
    """Sound that is no harmonic of the note, in dB of all of it, in the whole band; and the same
    for naive sampling.
    """
    rows = []
    for voice, pitch, duty in [
        *itertools.product((P1,), (84, 96, 108), range(4)),
        (TR, 96, 0),
        (TR, 108, 0),
    ]:
        timer = int(chip.timer(voice, pitch))
        hertz = float(chip.timer_frequency(voice, timer))
        angle = (
            2
            * np.pi
            * hertz
            * np.outer(np.arange(36_000) / 44_100, np.arange(1, int(22_050 / hertz) + 1))
        )
        basis = np.hstack([np.ones((36_000, 1)), np.cos(angle), np.sin(angle)])
        step = np.floor(
            np.arange(44_100) * chip.CLOCK / 44_100 / ((timer + 1) * (1 if voice == TR else 2))
        ).astype(int)
        sequence = chip.TRIANGLE if voice == TR else chip.DUTY[duty]
        naive = sequence[step % len(sequence)].astype(float)
        row = {"voice": nes.VOICES[voice], "pitch": pitch, "duty": duty}
        for name, sound in (
            ("dB", tone(voice, pitch, duty, 1.0, output="none")),
            ("naive_dB", naive),
        ):
            sound = sound[4000:40_000]
            left = sound - basis @ np.linalg.lstsq(basis, sound, rcond=None)[0]
            row[name] = float(20 * np.log10(left.std() / sound.std()))
        rows.append(row)
    return {"worst_dB": max(row["dB"] for row in rows), "rows": rows}


def level(scores):
    """Peak and loudness (dB of full scale) of songs as they are and at full volume."""
    levels = {}
    for name, options in {
        "console": {},
        "famicom": {"output": "famicom"},
        "none": {"output": "none"},
        "console, volume 15, duty 0": {"volume": 15, "duty": 0},
        "console, volume 15, duty 2": {"volume": 15, "duty": 2},
    }.items():
        peaks, loudness = [], []
        for score in scores:
            sound = apu.render(score, **options)
            peaks.append(float(np.abs(sound).max(initial=0)))
            loudness.append(float(np.sqrt(np.mean((sound - sound.mean()) ** 2))))
        levels[name] = {
            "highest_peak": max(peaks),
            "median_loudness_dB": float(20 * np.log10(np.median(loudness))),
        }
    return levels


def main():
    chosen = arguments("apu", __doc__).parse_args()
    corpus = corpus_at_hand()
    songs = corpus["test"]
    scores = [
        songs.score(index)
        for index in np.linspace(0, len(songs) - 1, SONGS).round().astype(int).tolist()
    ]
    values = {
        "speed": speed(scores),
        "pitch": pitch_error(),
        "aliasing": aliasing(),
        "level": level(scores),
    }
    keep("apu", values, chosen.write, corpus=corpus, packages=("numpy", "scipy"))


if __name__ == "__main__":
    main()
