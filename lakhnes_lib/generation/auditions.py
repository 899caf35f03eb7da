"""Auditions: pieces that freeze, loop, trill, race, lose a voice or end at once are left out.

Paper: none (§8 keeps what is drawn). Notebook: 09_composing.
A language model that is drawn from goes wrong now and then, and a listener hears it at once: a note
that is held for ever, a bar that never changes. Composing is fast, so more candidates are composed
than asked for. Those with such a fault are left out; hardly any real song has one. Of each few of
the others the one is taken whose musical metrics are most like those of real songs.
``benchmarks/audition_goals.py`` measures both. A piece ends where the model ends it; one that goes
on beyond the length asked for is cut at the end of a bar.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.generation import decoding, sampling
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score

LONGEST_NOTE = 6.0
"""Seconds: a note that is held for longer is a fault, in every voice."""
LET_GO_AFTER = 2.0
"""Seconds after which a note ends while composing, by its own end or by its voice's next note."""
LOOP_HEAT = 1.1
"""Factor of the temperature while the newest events are mostly one loop, so that it breaks up."""
TIMING = 0.85
"""Temperature of the choice among waits: below 1 the usual ones come more often, and the beat is
steadier."""
MOST_LOOPING = 0.9
"""The greatest share of the second half's events that one short loop may explain."""
LOST_AFTER = 0.3
"""A melodic voice that has sounded for this share of the first half may not fall silent."""
LEAST_HALF = 5.0
"""Seconds of the halves of a piece for which this is looked at."""
LEAST_NOTES = 1.5
"""Notes a second of all voices; the emptiest song of test has 1.7, half of them have over 13."""
MOST_NOTES = 150
"""Notes that begin within one second, of all voices; one song of valid and test has more."""
LONGEST_TRILL = 100
"""Notes of a melodic voice that go round between two or three pitches; in valid and test three
songs have more."""
LEAST_SHARE = 0.5
"""Of the seconds asked for: a piece that ends earlier is too short."""
CHOICES = 5
"""Of so many candidates without a fault one is taken."""
CANDIDATES = 20
"""For each piece so many are composed at most."""
SHARES, TYPICAL = yaml.safe_load(Path(__file__).with_name("typical.yaml").read_text()).values()
"""Of each metric, the values below which these shares of NES-MDB's valid songs lie, as
``benchmarks/audition_goals.py`` writes them: songs of 10 s or more, 30 s of each at most."""
_COUNTED_AGAIN = ("groove_consistency", "looping", "looping", "looping")
_EVENTS_A_SECOND = 200  # more than all but the densest music has
_BAR_BEYOND = 4.0  # seconds that are composed beyond the length asked for, so that a bar can end


def faults(score: Score, seconds: float = 0.0, begin: float = 0.0) -> list[str]:
    """What a listener would hear going wrong in a piece: no entries for most real songs.

    seconds: the length that was asked for; begin: look at what follows this second.

    >>> import lakhnes_lib as nes
    >>> faults(nes.read("assets/songbook/greensleeves.abc"))
    []
    """
    if score.length <= round(begin * nes.TICKS_PER_SECOND):
        return ["ends early"]
    score = score.excerpt(begin, score.seconds)
    metrics = musical_metrics.measure([score])
    middle = score.seconds / 2
    halves = score.excerpt(0, middle), score.excerpt(middle, score.seconds)
    first, second = map(_sounding, halves)
    starts = score.notes["start"]
    crowd = np.searchsorted(starts, starts + nes.TICKS_PER_SECOND) - np.arange(len(starts))
    held = (score.notes["end"] - starts).max(initial=0) / nes.TICKS_PER_SECOND
    lost = (first > LOST_AFTER) & (second < musical_metrics.SILENT_SHARE)
    checks = {
        "ends early": score.seconds < LEAST_SHARE * seconds,
        "freezes": held > LONGEST_NOTE,
        "loops": metrics["looping"][0] > MOST_LOOPING,
        "trills on": musical_metrics.longest_trill(score) > LONGEST_TRILL,
        "loses a voice": middle >= LEAST_HALF and lost.any(),
        "hardly plays": len(score.notes) < LEAST_NOTES * score.seconds,
        "plays too fast": crowd.max(initial=0) > MOST_NOTES,
    }
    return [fault for fault, heard in checks.items() if heard]


def strangeness(score: Score) -> float:
    """How unlike real songs a piece is: 0 in their middle by every metric, 1 beyond all of them.

    With half of the real songs below it a metric counts nothing, with all or none of them 1, and so
    does one that the piece does not have. The mean is taken, in which loops count four times and
    the beat (groove consistency) twice: these are what models miss most, and listeners hear first.
    """
    metrics, names = musical_metrics.measure([score]), [*TYPICAL, *_COUNTED_AGAIN]
    below = [np.interp(metrics[name][0], TYPICAL[name], SHARES) for name in names]
    return float(np.nan_to_num(np.abs(2 * np.array(below) - 1), nan=1.0).mean())


def best(pieces: list[Score], fit: np.ndarray) -> int:
    """The number of the piece with the fewest faults and, of those, the greatest fit.

    fit: float64 (pieces,). A piece without a note has more faults than any other.
    """
    counts = [len(faults(piece)) if len(piece.notes) else 9 for piece in pieces]
    return int(np.lexsort((-fit, counts))[0])


def _sounding(score: Score) -> np.ndarray:
    """Share of the time in which P1, P2 and TR sound: float64 (3,)."""
    length = score.notes["end"] - score.notes["start"]
    return np.bincount(score.notes["voice"], length, 4)[:3] / max(score.length, 1)


def end_with_a_bar(score: Score, seconds: float) -> Score:
    """The piece; where it is longer than so many seconds, up to the last bar line before that.

    A bar line is where most notes begin, counted modulo the bar that ``musical_metrics.bar`` finds.
    A piece without bars is cut at the time itself.
    """
    end = round(seconds * nes.TICKS_PER_SECOND)
    if score.length <= end:
        return score
    length, _ = musical_metrics.bar(score)
    starts = score.notes["start"]
    last_bar = starts[(starts > max(end - length, 0)) & (starts <= end)]
    if len(last_bar):
        frame = nes.TICKS_PER_SECOND // musical_metrics.FRAMES_PER_SECOND
        begins = np.bincount(starts % length // frame)
        end = int(last_bar[begins[last_bar % length // frame].argmax()])
    return score.excerpt(0, end / nes.TICKS_PER_SECOND)


@dataclass
class Audition:
    """What has been composed so far.

    pieces: those that were taken; left_out: the others, with the names of their faults, of which
    those that were not needed have none; growing: ids of the candidates that are being
    composed.
    """

    pieces: list[Score] = field(default_factory=list)
    left_out: list[tuple[Score, list[str]]] = field(default_factory=list)
    growing: list[list[int]] = field(default_factory=list)

    def __str__(self) -> str:
        """For people: how many were taken, and why the others were not."""
        names_of = [names or ["not needed"] for _, names in self.left_out]
        counts = Counter(fault for names in names_of for fault in names).most_common()
        reasons = ", ".join(f"{fault} ({count})" for fault, count in counts)
        taken = f"{len(self.pieces)} of {len(self.pieces) + len(self.left_out)} taken"
        return taken + (f"; left out: {reasons}" if reasons else "")


def compose(
    model,
    prime: np.ndarray | None = None,
    *,
    n: int,
    seconds: float,
    seed: int,
    length: int | None = None,
    audition: bool = True,
    choices: int = CHOICES,
    **options,
) -> Iterator[Audition]:
    """Pieces of about so many seconds without faults, from nothing or from a beginning.

    The same ``Audition`` after each event. prime: of ``continuation.cut``; faults are looked for
    in what follows it. length: greatest number of events, if any; then a piece may end early.
    audition: False takes every candidate. choices: of so many candidates without faults that follow
    one another the least strange is taken. When ``CANDIDATES`` for each piece were not enough,
    those with the fewest faults are taken as well. options: temperature, top_k, top_p,
    memory_length, precision, masked of ``sampling.stream``. Raises BadSetting for settings out of
    range.
    """
    result, composed, good = Audition(), 0, []
    begin = 0.0 if prime is None else events.decode(prime).seconds
    limits = dict(stop=True, seconds=seconds + _BAR_BEYOND, seed=seed, prime=prime)
    limits |= dict(length=length or round(_EVENTS_A_SECOND * limits["seconds"]))
    if audition:
        limits |= dict(longest_note=LET_GO_AFTER, loop_heat=LOOP_HEAT, timing=TIMING)
    while len(result.pieces) < n and composed < CANDIDATES * n:
        count = max(n - len(result.pieces), decoding.usable_cores()) if audition else n
        steps = sampling.stream(model, n=count, first=composed, **limits, **options)
        for result.growing in sampling.grow(steps, prime):
            yield result
        for ids in result.growing:
            score = end_with_a_bar(events.decode(ids), begin + seconds)
            heard = faults(score, 0.0 if length else seconds, begin) if audition else []
            if heard or len(result.pieces) == n:
                result.left_out.append((score, heard))
            else:
                good.append(score)
            if len(good) == (choices if audition else 1):
                taken, *others = sorted(good, key=strangeness)
                result.pieces.append(taken)
                result.left_out += [(other, []) for other in others]
                good = []
        composed, result.growing = composed + count, []
    result.left_out += [(other, []) for other in sorted(good, key=strangeness)]
    result.left_out.sort(key=lambda candidate: len(candidate[1]))
    while len(result.pieces) < n:
        result.pieces.append(result.left_out.pop(0)[0])
    yield result
