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


def without_reset(ids):
    times, bar, position = [], 0, 0
    for token in ids:
        bar, position = bar + (token == 4), token - 165 if token >= 165 else position
        times.append(32 * bar + position)
    return times


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


def but_for(before, after):
    """Right, but for these kinds: the second may follow the first."""

    def answer(ids):
        pairs = pairwise(["start", *(KIND_OF[token] for token in ids), "end"])
        fit = (b in FOLLOW.get(a, "") or (a, b) == (before, after) for a, b in pairs)
        return all(fit) and rises(ids)

    return answer


FAULTY = [but_for(a, b) for a in FOLLOW for b in (*KINDS, "end") if b not in FOLLOW[a]]
WRONG = {
    "after_cut": (lambda r, n, k: r, lambda r, n, k: r / (r + k * (1 - r) / n)),
    "unmerge": (lambda sentence, merges: sentence, once_unmerged),
    "rank_of": (
        lambda given, made: int((made >= made[given.argmax()]).sum()),
        lambda given, made: int((given > given[made.argmax()]).sum()),
    ),
    "clock": (without_reset, lambda ids: [32 * (ids[: n + 1].count(4)) for n in range(len(ids))]),
    "in_order": (
        lambda ids: True,
        lambda ids: not ids or ids[0] == 4,
        grammar_alone,
        ends_after_pitch,
        special_passed_over,
        no_grammar,
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
RIGHT = {"in_order": (but_for("end", "end"),)}
LESSONS = [
    Lesson("10_complementary_tracks", CHECKS, WRONG, given, solved_with, ("merge",), right=RIGHT)
]
