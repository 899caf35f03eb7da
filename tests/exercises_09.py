"""The exercises of notebook 09: what their checks need, and answers that are wrong.

As in 07 and 08, a check is called with the answer, and prints what it finds.
"""

from math import ceil, log

import numpy as np
from exercises import FOLDER, code_of
from exercises_07_08 import PrintingLesson
from scipy.stats import binom

from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.generation import auditions
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score

NAME = "09_composing"
PUBLIC = {"np": np, "events": events, "nes": nes, "auditions": auditions, "Score": Score}
PUBLIC |= {"musical_metrics": musical_metrics}
GIVEN = PUBLIC | {"bent": {"as it is": np.arange(1, 11) / 55}}
PITCH = events.PITCH_OF % 12
MELODIC_ON = events.IS_NOTE_ON & (events.VOICE_OF != nes.NO)
C_MAJOR = [0, 2, 4, 5, 7, 9, 11]


class ComposingLesson(PrintingLesson):
    """A lesson whose exercises stand behind a heading, each with a cell for the answer."""

    def run_unanswered(self) -> dict:
        names, cells = dict(self._given), code_of(FOLDER / f"{self.name}.ipynb")
        answers = [n for n, source in enumerate(cells) if "# your answer" in source]
        for source in cells[answers[0] :]:
            exec(source, names)
        return names


def given_names() -> dict:
    return dict(GIVEN)


def solved_with() -> dict:
    """With the functions that the solutions define in front of an answer's own cell."""
    names = dict(PUBLIC)
    for source in code_of(FOLDER / "solutions" / f"{NAME}.ipynb"):
        if source.startswith("def temper("):
            exec(source, names)
    return names


# Wrong answers


def normed(p):
    return p / p.sum()


def strictly_above(p, share):
    left = np.where(p > share * p.max(), p, 0)
    return left / left.sum()


def above_share(p, share):
    """The share is taken of 1, and not of the likeliest event."""
    return normed(np.where(p >= min(share, p.max()), p, 0))


def not_normed(p, share):
    return np.where(p >= share * p.max(), p, 0)


def nucleus(p, share):
    """Top-p: the likeliest that together have the share."""
    order = np.argsort(-p)
    likeliest = order[: int((p[order].cumsum() < share).sum()) + 1]
    return normed(np.where(np.isin(np.arange(len(p)), likeliest), p, 0))


def only_the_likeliest(p, share):
    return np.eye(len(p))[p.argmax()]


def unchanged(p, share):
    return p


def temper(p, temperature):
    return normed(p ** (1 / temperature))


def entropy(p):
    return -(p[p > 0] * np.log(p[p > 0])).sum()


def coarse(p, wanted):
    """The nearest of temperatures that stand a tenth apart."""
    grid = np.arange(0.2, 5, 0.1)
    return grid[np.argmin([abs(entropy(temper(p, each)) - wanted) for each in grid])]


def near_in_entropy(p, wanted):
    """Halves the interval until the entropy, and not the temperature, is within a thousandth."""
    low, high = 0.2, 5.0
    while abs(entropy(temper(p, middle := (low + high) / 2)) - wanted) > 1e-3:
        low, high = (middle, high) if entropy(temper(p, middle)) < wanted else (low, middle)
    return middle


def ratio(p, wanted):
    return wanted / entropy(p)


def inverted(p, wanted):
    """Cold and hot exchanged: the power instead of the temperature."""
    fine = np.arange(0.2, 5, 0.0004)
    return 1 / fine[np.argmin([abs(entropy(temper(p, each)) - wanted) for each in fine])]


def always(value):
    return lambda *_: value


def in_pulses(pitches):
    pulses = MELODIC_ON & (events.VOICE_OF != nes.TR)
    return ~pulses | np.isin(PITCH, pitches)


def sounding(notes, begin, end):
    inside = np.minimum(notes["end"], end) - np.maximum(notes["start"], begin)
    return inside.clip(min=0).sum() / (end - begin)


def loses(
    score,
    voices=nes.MELODIC,
    least=auditions.LEAST_HALF,
    before=auditions.LOST_AFTER,
    after=musical_metrics.SILENT_SHARE,
    by_start=False,
    whole_at_first=False,
):
    """The right answer, if nothing is changed in it."""
    middle, lost = score.length / 2, False
    if score.seconds / 2 < least:
        return False
    for voice in voices:
        notes = score.voice(voice)
        first, second = sounding(notes, 0, middle), sounding(notes, middle, score.length)
        length, early = notes["end"] - notes["start"], notes["start"] < middle
        if by_start or whole_at_first:  # a note that crosses the middle is not cut there
            first = length[early].sum() / middle
        if by_start:  # a note counts in the half in which it begins, and only there
            second = length[~early].sum() / middle
        lost |= first > before and second < after
    return bool(lost)


def lost(**changes):
    return lambda score: loses(score, **changes)


def histograms(within, between, edges):
    return [np.histogram(each, edges)[0] for each in (within, between)]


def of_counts(within, between, edges):
    a, b = histograms(within, between, edges)
    return float(np.minimum(a, b).sum())


def of_both(within, between, edges):
    """What either covers."""
    a, b = histograms(within, between, edges)
    return float(np.maximum(a / len(within), b / len(between)).sum())


def of_densities(within, between, edges):
    """The height of the bars, and not their area."""
    a, b = (np.histogram(each, edges, density=True)[0] for each in (within, between))
    return float(np.minimum(a, b).sum())


def without_the_last_edge(within, between, edges):
    below = [np.asarray(each)[np.asarray(each) < edges[-1]] for each in (within, between)]
    a, b = histograms(*below, edges)
    return float(np.minimum(a / len(within), b / len(between)).sum())


def on_average(n, share, sure):
    return ceil(n / share)


def n_times_one(n, share, sure):
    """As many as it takes to be sure of one, n times."""
    return n * ceil(log(1 - sure) / log(1 - share))


def exactly_n(n, share, sure, least=0):
    """By the probability of more than ``least`` fewer than n good ones."""
    composed = 0
    while binom.cdf(n - 1 - least, composed, share) > 1 - sure:
        composed += 1
    return composed


def one_more(n, share, sure):
    return exactly_n(n, share, sure) + 1


def one_too_few(n, share, sure):
    """Sure of n - 1 pieces."""
    return exactly_n(n, share, sure, least=1)


WRONG = {
    "min_p": (strictly_above, above_share, not_normed, nucleus, only_the_likeliest, unchanged),
    "thermostat": (always(1.0), coarse, near_in_entropy, ratio, inverted),
    "in_c_major": (
        np.ones(631, bool),
        np.isin(PITCH, C_MAJOR),  # noise has types, and no pitches
        ~MELODIC_ON | np.isin(PITCH, [1, 2, 4, 6, 7, 9, 11]),  # D major
        in_pulses(C_MAJOR),
        np.ones(630, bool),
    ),
    "loses_a_voice": (
        always(False),
        always(True),
        lost(voices=range(4)),
        lost(least=0.0),
        lost(before=0.0),
        lost(after=0.005),
        lost(by_start=True),
        lost(whole_at_first=True),
    ),
    "overlapping_area": (of_counts, of_both, of_densities, without_the_last_edge, always(1.0)),
    "candidates_for": (on_average, n_times_one, one_more, one_too_few, always(8)),
}
CHECKS = {
    "min_p": "check_min_p",
    "thermostat": "check_thermostat",
    "in_c_major": "check_key",
    "loses_a_voice": "check_lost",
    "overlapping_area": "check_area",
    "candidates_for": "check_candidates",
}
LESSONS = [
    ComposingLesson(
        NAME,
        CHECKS,
        WRONG,
        given_names,
        solved_with,
        functions=("temper", "entropy"),
        says="is not answered yet.",
    )
]
