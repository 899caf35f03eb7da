"""Songs for tests: hypothesis strategies, a deterministic composer of small songs for training, and
random scores.
"""

import numpy as np
from hypothesis import strategies as st

from lakhnes_lib.music import nes
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score

# Few different lengths, so that notes of several voices often begin and end in one instant.
TICKS = st.sampled_from(
    [1, 2, 3, 100, 105, 441, 4410, 99_999, 100_000, 100_001, 250_000]
) | st.integers(1, 9000)

# Six notes of all voices in 1,000 ticks, with changes of velocity and timbre.
SMALL = Score.build(
    [
        (nes.P1, 100, 500, 33, 12),
        (nes.P1, 500, 900, 70, 12),
        (nes.P2, 100, 400, 108, 15),
        (nes.TR, 50, 950, 21, 1),
        (nes.NO, 300, 700, 16, 3),
        (nes.NO, 800, 900, 1, 15),
    ],
    1000,
    [
        (nes.P1, 40, TIMBRE_CHANGE, 2),
        (nes.P1, 200, VELOCITY_CHANGE, 7),
        (nes.P2, 1000, TIMBRE_CHANGE, 1),
        (nes.NO, 310, TIMBRE_CHANGE, 1),
    ],
    "small",
)


@st.composite
def voices(draw, number: int):
    """Notes of one voice, one after the other, some without a gap."""
    notes, now = [], 0
    for _ in range(draw(st.integers(0, 6))):
        now += draw(st.just(0) | TICKS)
        end = now + draw(TICKS)
        pitch = draw(st.integers(int(nes.LOWEST_PITCH[number]), int(nes.HIGHEST_PITCH[number])))
        notes.append(
            (number, now, end, pitch, draw(st.integers(1, int(nes.HIGHEST_VELOCITY[number]))))
        )
        now = end
    return notes


@st.composite
def controls(draw, length: int):
    """Velocity and timbre changes of any voice, at any tick."""
    rows = []
    for _ in range(draw(st.integers(0, 5))):
        voice = draw(st.integers(0, 3))
        kind = draw(st.sampled_from([VELOCITY_CHANGE, TIMBRE_CHANGE]))
        highest = (
            nes.HIGHEST_VELOCITY[voice] if kind == VELOCITY_CHANGE else nes.TIMBRE_VALUES[voice] - 1
        )
        rows.append((voice, draw(st.integers(0, length)), kind, draw(st.integers(0, int(highest)))))
    return sorted(rows, key=lambda row: (row[1], row[0]))


@st.composite
def scores(draw, with_controls: bool = False):
    """Any Score: silent ones, ones that end in silence, notes that follow one another at once."""
    notes = [note for number in range(4) for note in draw(voices(number))]
    length = max((note[2] for note in notes), default=0) + draw(st.just(0) | TICKS)
    return Score.build(notes, length, draw(controls(length)) if with_controls else ())


def tune(seed: int, beats: int = 24) -> Score:
    """A small song of a bass, a tune and a beat, the same for the same seed."""
    random, notes = np.random.default_rng(seed), []
    root, beat = int(random.integers(48, 60)), 11_025
    for number in range(beats):
        start = number * beat
        pitch = root + 12 + int(random.choice([0, 2, 4, 5, 7, 9]))
        notes.append((nes.P1, start, start + beat - 1000, pitch, 12))
        if number % 4 == 0:
            notes.append((nes.TR, start, start + min(4, beats - number) * beat, root, 1))
        notes.append((nes.NO, start, start + 2000, 1 + number % 2, 8))
    return Score.build(notes, (beats + 1) * beat, name=f"tune_{seed}")


def random_score(seed, length=6000, rests=True, shortest=100, longest=1500):
    """All voices, any pitch, velocities and timbre that change at any time."""
    random = np.random.default_rng(seed)
    notes, controls = [], []
    for voice in range(4):
        now = int(random.integers(0, 300))
        while True:
            end = now + int(random.integers(shortest, longest))
            if end > length:
                break
            pitch = int(
                random.integers(nes.LOWEST_PITCH[voice], nes.HIGHEST_PITCH[voice], endpoint=True)
            )
            notes.append(
                (voice, now, end, pitch, 1 if voice == nes.TR else int(random.integers(1, 16)))
            )
            if voice != nes.TR:
                controls.append(
                    (voice, (now + end) // 2, VELOCITY_CHANGE, int(random.integers(0, 16)))
                )
                controls.append(
                    (
                        voice,
                        (now + 2 * end) // 3,
                        TIMBRE_CHANGE,
                        random.integers(nes.TIMBRE_VALUES[voice]),
                    )
                )
            now = end + (int(random.integers(20, 400)) if rests else 0)
    return Score.build(notes, length, controls, f"random {seed}")
