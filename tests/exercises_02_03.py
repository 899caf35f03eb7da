"""The exercises of notebooks 02 and 03: what their checks need, and answers that are wrong."""

from functools import partial

import numpy as np
import songs
from exercises import Lesson

from lakhnes_lib.listening import aggregates
from lakhnes_lib.music import events, filters, mapping, nes
from lakhnes_lib.music.nes import NO, P1, P2, TR
from lakhnes_lib.music.score import Score
from lakhnes_lib.music.tracks import TRACK_NOTE

FACTS = {name: aggregates.load(name)["facts"] for name in ("lakh", "nesmdb")}
TOY = Score.build(
    [(P1, 0, 500, 72, 12), (P2, 500, 900, 67, 9), (TR, 0, 900, 48, 1), (NO, 500, 600, 5, 12)], 1_000
)
PUBLIC = {
    "np": np,
    "events": events,
    "nes": nes,
    "Score": Score,
    "filters": filters,
    "mapping": mapping,
    "TRACK_NOTE": TRACK_NOTE,
}
GIVEN = {
    "02_event_representation": {
        "P2": P2,
        "TR": TR,
        "toy": TOY,
        "opening": songs.tune(0),
        "songs": [songs.random_score(seed) for seed in range(3)],
    },
    "03_lakh_to_nes": {
        "facts": FACTS,
        "by_melodies": FACTS["lakh"]["parts"]["songs_by_melodies"],
        "left": FACTS["lakh"]["funnel"]["files"],
        "files": FACTS["lakh"]["funnel"]["files"][0],
    },
}
WRITTEN = ["TR_NOTEON_48", "WT_11000", "P2_NOTEON_67", "WT_11000", "P2_NOTEOFF", "TR_NOTEOFF"]


def nothing(*given):
    """A function that is not written yet."""


def ones(ticks):
    return [1] * ticks


def greedy(ticks):
    parts = []
    while ticks:
        parts.append(int(events.WAIT_TICKS[events.WAIT_TICKS <= ticks][-1]))
        ticks -= parts[-1]
    return parts


def nearest(waits):
    return events.TICKS_OF[events.wait_ids(np.array(waits))].tolist()


def left_out(lines, voice):
    return [line for line in lines if line[:2] in ("WT", voice)]


def nothing_for_silence(lines, voice):
    """The voice alone, but without the song's length where the voice never plays."""
    if not any(line.startswith(voice) for line in lines):
        return []
    merged = []
    for line in left_out(lines, voice):
        if merged and line.startswith("WT") and merged[-1].startswith("WT"):
            line = f"WT_{int(merged.pop()[3:]) + int(line[3:])}"
        merged.append(line)
    return merged


def constant(counts, rng):
    return np.full(128, rng.choice(16, p=counts / counts.sum()) + 1)


def in_fixed_numbers(counts, rng):
    """The types as often as their shares say, only shuffled."""
    exact = 128 * counts / counts.sum()
    numbers = np.floor(exact).astype(int)
    numbers[np.argsort(numbers - exact)[: 128 - numbers.sum()]] += 1
    return rng.permutation(np.repeat(np.arange(1, 17), numbers))


def in_pairs(counts, rng):
    """Drums n and n + 64 always agree."""
    return np.tile(rng.choice(16, 64, p=counts / counts.sum()) + 1, 2)


def of_shares(counts, rng):
    return rng.choice(16, 128, p=counts / counts.sum()) + 1


def hole_of(velocity=9, begins=0, highest=127):
    """Four notes below and above what the NES can play."""
    pitches = 0, highest, 0, highest
    return [(begins + n, begins + n + 1, pitch, velocity) for n, pitch in enumerate(pitches)]


def clipped(pitches, low, high):
    return np.clip(pitches, low, high)


def unsigned(pitches, low, high):
    """Right for whole numbers, but not for those that cannot be negative."""
    up = np.ceil(np.maximum(low - pitches, 0) / 12).astype(int)
    down = np.ceil(np.maximum(pitches - high, 0) / 12).astype(int)
    return pitches + 12 * (up - down)


def whole(notes):
    return sorted(notes)


WRONG = {
    "02_event_representation": {
        "written_events": (WRITTEN[:4] + WRITTEN[5:], ["<S>", *WRITTEN], ["<S>"], [], 5),
        "worst_wait": (106,),
        "chain": (ones, nothing, lambda ticks: [*greedy(ticks - 1), 1] if ticks > 1 else [1]),
        "solo": (left_out, nothing, lambda lines, voice: lines, nothing_for_silence),
        "steady": (nearest, nothing, lambda waits: waits, lambda waits: []),
    },
    "03_lakh_to_nes": {
        "with_24": (float(FACTS["lakh"]["funnel"]["examples_a_file"]),),
        "hole": (
            [(0, 1, 10, 9), (1, 2, 21, 9), (2, 3, 120, 9), (3, 4, 9, 9)],
            [],
            hole_of(velocity=0),
            hole_of(begins=-50),
            hole_of()[:3],
            hole_of(highest=128),
        ),
        "noise_map": (
            lambda counts, rng: rng.integers(1, 17, 128),
            constant,
            in_fixed_numbers,
            in_pairs,
            lambda counts, rng: of_shares(counts + 1, rng),
        ),
        "fold": (clipped, lambda pitches, low, high: low + (pitches - low) % 12, unsigned),
        "skyline": (whole, lambda notes: []),
    },
}
RIGHT = {
    "02_event_representation": {"written_events": (["<S>", *WRITTEN, "<S>"],)},
    "03_lakh_to_nes": {"hole": (hole_of(), hole_of(begins=7)), "noise_map": (of_shares,)},
}
CHECKS = {
    "02_event_representation": {
        "written_events": "is_written",
        "worst_wait": "is_worst",
        "chain": "is_chain",
        "solo": "is_solo",
        "steady": "is_steady",
    },
    "03_lakh_to_nes": {
        "with_24": "is_24",
        "hole": "is_hole",
        "noise_map": "is_noise_map",
        "fold": "is_fold",
        "skyline": "is_skyline",
    },
}


def names_of(name: str) -> dict:
    return PUBLIC | GIVEN[name]


def solved_with(name: str) -> dict:
    return names_of(name) | {"listen": print}


LESSONS = [
    Lesson(
        name,
        CHECKS[name],
        WRONG[name],
        partial(names_of, name),
        partial(solved_with, name),
        right=RIGHT[name],
    )
    for name in WRONG
]
