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
    starts = [place for place, token in enumerate(ids) if token == 4] + [len(ids)]
    for first, last in pairwise(starts):
        positions = [token for token in ids[first:last] if token >= 165]
        if any(b <= a for a, b in pairwise(positions)):
            return False
    return grammar_alone(ids, ends=(1, 2, 4))


def special_passed_over(ids):
    ids = [token for token in ids if token >= 4]
    return ends_after_pitch(ids) and grammar_alone(ids)


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
    ),
}
CHECKS = {
    "after_cut": "is_cut",
    "unmerge": "is_unmerge",
    "rank_of": "is_rank",
    "clock": "is_clock",
    "in_order": "is_in_order",
}
LESSONS = [Lesson("10_complementary_tracks", CHECKS, WRONG, given, solved_with, ("merge",))]
