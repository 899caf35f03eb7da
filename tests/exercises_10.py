"""The exercises of notebook 10: what their checks need, and answers that are wrong."""

from collections import Counter
from itertools import pairwise

import numpy as np
import torch
from exercises import Lesson

from lakhnes_lib import profiles
from lakhnes_lib.companions import band_parts
from lakhnes_lib.companions.encoder_decoder import EncoderDecoder

PUBLIC = {"np": np, "torch": torch, "Counter": Counter, "pairwise": pairwise}
PUBLIC |= {"EncoderDecoder": EncoderDecoder}


def given() -> dict:
    tokenizer, sentences = band_parts.remi(), []
    for path in sorted((profiles.root() / "assets" / "band").glob("*.mid"))[::8]:
        for piece in band_parts.snippets(band_parts.parts_of(path), 4):
            sentences += [band_parts.tokens_of(tokenizer, part) for part in piece]
    return PUBLIC | {"real_sentences": sentences}


def solved_with() -> dict:
    return PUBLIC.copy()


def once_unmerged(sentence, merges):
    return [part for token in sentence for part in merges.get(token, (token,))]


def thrice_unmerged(sentence, merges):
    for _ in range(3):
        sentence = once_unmerged(sentence, merges)
    return sentence


def without_reset(ids):
    times, bar, position = [], 0, 0
    for token in ids:
        bar, position = bar + (token == 4), token - 165 if token >= 165 else position
        times.append(32 * bar + position)
    return times


def clock_up_to(last):
    """Right, but the positions end with this token."""

    def answer(ids):
        times, now = [], 0
        for token in ids:
            if token == 4:
                now += 32 - now % 32
            elif 165 <= token <= last:
                now += token - 165 - now % 32
            times.append(now)
        return times

    return answer


def grammar_alone(ids, ends=(1, 4)):
    kinds = np.repeat(range(6), (4, 1, 88, 8, 64, 32))[list(ids)] if ids else []
    follows = {1: (1, 5), 2: (3,), 3: (4,), 4: (1, 2, 5), 5: (2,)}
    rows = all(b in follows.get(a, ()) for a, b in pairwise(kinds))
    return len(ids) == 0 or (rows and kinds[0] == 1 and kinds[-1] in ends)


def ends_after_pitch(ids):
    return rises(ids) and grammar_alone(ids, ends=(1, 2, 4))


def special_passed_over(ids):
    ids = [token for token in ids if token >= 4]
    return ends_after_pitch(ids) and grammar_alone(ids)


def rises(ids):
    """Whether each position of a bar is later than the one before it."""
    latest = -1
    for token in ids:
        if 165 <= token <= latest:
            return False
        latest = token if token >= 165 else -1 if token == 4 else latest
    return True


def no_grammar(ids):
    """Wrong: it looks at beginning, end and positions, and at no token between."""
    ends = len(ids) == 0 or (ids[0] == 4 and (ids[-1] == 4 or 101 <= ids[-1] < 165))
    return ends and min(ids, default=4) >= 4 and rises(ids)


KINDS = ("bar", "pitch", "velocity", "duration", "position")
KIND_OF = np.repeat(("special", *KINDS), (4, 1, 88, 8, 64, 32)).tolist()
FOLLOW = {"start": "bar end", "bar": "bar position end", "position": "pitch", "pitch": "velocity"}
FOLLOW |= {"velocity": "duration", "duration": "bar pitch position end"}


def keeps(ids, kind_of=KIND_OF, extra=None):
    """The right answer, if nothing is changed in it; extra: one more kind that may follow one."""
    pairs = pairwise(["start", *(kind_of[token] for token in ids), "end"])
    return all(b in FOLLOW.get(a, "") or (a, b) == extra for a, b in pairs) and rises(ids)


def but_for(before, after):
    """Right, but for these kinds: the second may follow the first."""
    return lambda ids: keeps(ids, extra=(before, after))


def by_ranges(**ranges):
    """Right, but for the first and last tokens of these kinds."""
    kind_of = ["bar" if token == 4 else "special" for token in range(197)]
    for kind, (first, last) in (RANGES | ranges).items():
        kind_of[first : last + 1] = [kind] * (last + 1 - first)
    return lambda ids: keeps(ids, kind_of)


def velocity_as_pitch(ids):
    """Wrong: the first velocity is taken for a pitch after a position."""
    taken = [92 if token == 93 and last >= 165 else token for last, token in pairwise([0, *ids])]
    return keeps(taken)


RANGES = {"pitch": (5, 92), "velocity": (93, 100), "duration": (101, 164), "position": (165, 196)}
SHIFTED = [
    by_ranges(**{kind: (first + low, last + high)})
    for kind, (first, last) in RANGES.items()
    for low, high in ((1, 0), (0, -1))
]
TOO_NARROW = by_ranges(pitch=(5, 91), velocity=(93, 99), duration=(101, 163), position=(165, 195))
FAULTY = [but_for(a, b) for a in FOLLOW for b in (*KINDS, "end") if b not in FOLLOW[a]]
WRONG = {
    "after_cut": (lambda r, n, k: r, lambda r, n, k: r / (r + k * (1 - r) / n)),
    "unmerge": (lambda sentence, merges: sentence, once_unmerged, thrice_unmerged),
    "rank_of": (
        lambda given, made: int((made >= made[given.argmax()]).sum()),
        lambda given, made: int((given > given[made.argmax()]).sum()),
    ),
    "clock": (
        without_reset,
        lambda ids: [32 * (ids[: n + 1].count(4)) for n in range(len(ids))],
        clock_up_to(189),
        clock_up_to(195),
    ),
    "in_order": (
        lambda ids: True,
        lambda ids: not ids or ids[0] == 4,
        grammar_alone,
        ends_after_pitch,
        special_passed_over,
        no_grammar,
        velocity_as_pitch,
        TOO_NARROW,
        *SHIFTED,
        *FAULTY,
    ),
}
CHECKS = {
    "after_cut": "is_cut",
    "unmerge": "is_unmerge",
    "rank_of": "is_rank",
    "clock": "is_clock",
    "in_order": "is_in_order",
}
RIGHT = {"in_order": (keeps, by_ranges()), "clock": (clock_up_to(196),)}
LESSONS = [
    Lesson("10_complementary_tracks", CHECKS, WRONG, given, solved_with, ("merge",), right=RIGHT)
]
