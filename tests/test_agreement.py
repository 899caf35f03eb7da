"""Agreement of given and composed voices: keys, edit distances, pairs that fit or do not."""

import numpy as np

from lakhnes_lib.companions import agreement
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score


def scale(*pitches, seconds=4, step=11_025) -> Score:
    length = seconds * nes.TICKS_PER_SECOND
    return Score.build(
        [(0, at, at + step, pitches[at // step % len(pitches)], 9) for at in range(0, length, step)]
    )


def test_keys_of_scales():
    major, minor = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)
    for tonic in range(12):
        c = [60 + tonic + step for step in major] + [60 + tonic] * 3 + [67 + tonic] * 2
        assert agreement.keys(scale(*c, seconds=3)).argmax() == tonic
        c = [60 + tonic + step for step in minor] + [60 + tonic] * 3 + [67 + tonic, 63 + tonic]
        assert agreement.keys(scale(*c, seconds=3)).argmax() == 12 + tonic
    assert np.isnan(agreement.keys(Score.build([(nes.NO, 0, 9, 3, 5)]))).all()


def slow_distance(a, b) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, before = [i], row
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
    return row[-1]


def test_edit_distance_against_the_textbook():
    random = np.random.default_rng(0)
    for width in (0, 1, 7):
        a, b = random.random((50, 9)) < 0.4, random.random((50, width)) < 0.4
        assert agreement.edit_distance(a, b).tolist() == [
            slow_distance(x, y) for x, y in zip(a, b, strict=True)
        ]


def test_agreement_of_pairs_that_fit_and_pairs_that_do_not():
    given = [
        scale(*(p + t for p in (60, 64, 67, 60, 67, 65, 62)), step=s)
        for t, s in ((0, 11_025), (6, 5_512))
    ]
    together = agreement.agreement(given, given)
    assert together["pairs"] == 2 and together["key_1"] == 1.0 and together["key_1_shuffled"] == 0.0
    assert together["bars"] == 4 and together["rhythm"] == 0.0 and together["rhythm_shuffled"] > 5
    alone = agreement.agreement(given[:1], given[:1])
    assert alone["key_1_shuffled"] is None and alone["rhythm_shuffled"] is None
