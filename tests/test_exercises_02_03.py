"""The checks of the exercises of notebooks 02 and 03 accept the solutions, and nothing near them.

The cells of the checks are run as they stand in the lesson, the solutions as they stand in theirs.
"""

from pathlib import Path

import numpy as np
import pytest
import songs
from exercises import code_of

from lakhnes_lib.listening import aggregates
from lakhnes_lib.music import events, filters, mapping, nes
from lakhnes_lib.music.nes import NO, P1, P2, TR
from lakhnes_lib.music.score import Score
from lakhnes_lib.music.tracks import TRACK_NOTE

FOLDER = Path(__file__).parents[1] / "notebooks"
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


def checks_of(name: str) -> dict:
    """The names of a lesson after its cells of exercises have run unanswered."""
    cells = code_of(FOLDER / f"{name}.ipynb")
    (first,) = (place for place, source in enumerate(cells) if "def check(" in source)
    namespace = PUBLIC | GIVEN[name]
    for source in cells[first:]:
        exec(source, namespace)
    return namespace


def answer_of(name: str, answer: str):
    """What the cell of the solutions that defines an answer gives."""
    for source in code_of(FOLDER / "solutions" / f"{name}.ipynb"):
        if f"def {answer}(" in source:
            source = source.split("\n\n\n")[0]  # without what proves it
        elif f"\n{answer} = " not in f"\n{source}":
            continue
        namespace = PUBLIC | GIVEN[name] | {"listen": print}
        exec(source, namespace)
        return namespace[answer]
    raise LookupError(f"no solution of {answer} in {name}")


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


def constant(counts, rng):
    return np.full(128, rng.choice(16, p=counts / counts.sum()) + 1)


def clipped(pitches, low, high):
    return np.clip(pitches, low, high)


def whole(notes):
    return sorted(notes)


WRONG = {
    "02_event_representation": {
        "written_events": ["TR_NOTEON_48", "WT_11000", "P2_NOTEON_67", "WT_11000", "TR_NOTEOFF"],
        "worst_wait": 106,
        "chain": (ones, lambda ticks: [*greedy(ticks - 1), 1] if ticks > 1 else [1]),
        "solo": (left_out, lambda lines, voice: lines),
        "steady": (nearest, lambda waits: waits, lambda waits: []),
    },
    "03_lakh_to_nes": {
        "with_24": 4.49304,
        "hole": [(0, 1, 10, 9), (1, 2, 21, 9), (2, 3, 120, 9), (3, 4, 9, 9)],
        "noise_map": (lambda counts, rng: rng.integers(1, 17, 128), constant),
        "fold": (clipped, lambda pitches, low, high: low + (pitches - low) % 12),
        "skyline": (whole, lambda notes: []),
    },
}
CHECKS = {
    "written_events": "is_written",
    "worst_wait": "is_worst",
    "chain": "is_chain",
    "solo": "is_solo",
    "steady": "is_steady",
    "with_24": "is_24",
    "hole": "is_hole",
    "noise_map": "is_noise_map",
    "fold": "is_fold",
    "skyline": "is_skyline",
}


@pytest.fixture(scope="module", params=list(WRONG))
def lesson(request):
    return request.param, checks_of(request.param)


def test_unanswered_exercises_say_so(lesson, capsys):
    name, _ = lesson
    checks_of(name)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(WRONG[name]) and all("unanswered" in line for line in printed)


def test_checks_accept_the_solutions(lesson):
    name, namespace = lesson
    for answer in WRONG[name]:
        assert namespace[CHECKS[answer]](answer_of(name, answer)), answer


def test_checks_refuse_what_is_wrong(lesson):
    name, namespace = lesson
    for answer, wrong in WRONG[name].items():
        for each in wrong if isinstance(wrong, tuple) else (wrong,):
            assert not namespace[CHECKS[answer]](each), (answer, each)
