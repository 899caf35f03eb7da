"""A Score checks its own rules, and says which note breaks which."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from songs import scores

from lakhnes_lib.errors import BadScore
from lakhnes_lib.music.nes import NO, P1, P2, TR
from lakhnes_lib.music.score import CONTROL, NOTE, TIMBRE_CHANGE, VELOCITY_CHANGE, Score, counted

GOOD = [(P1, 0, 10, 60, 15), (TR, 0, 20, 21, 1), (P1, 10, 20, 108, 1), (NO, 15, 16, 16, 3)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            (4, 0, 1, 60, 1),
            "voice 4, pitch 60, velocity 1, ticks 0-1) has a voice that is not one of P1, P2, TR",
        ),
        (
            (P1, 30, 40, 32, 1),
            "note 4 (P1, pitch 32, velocity 1, ticks 30-40) is out of range (P1 P2 33-108, TR",
        ),
        (
            (P2, 30, 40, 109, 1),
            "(P2, pitch 109, velocity 1, ticks 30-40) is out of range (P1 P2 33-108, TR",
        ),
        ((TR, 30, 40, 20, 1), "(TR, pitch 20"),
        ((NO, 30, 40, 0, 1), "(NO, pitch 0"),
        ((NO, 30, 40, 17, 1), "(NO, pitch 17"),
        ((P1, 30, 40, 60, 0), "velocity 0, ticks 30-40) has a velocity that is not 1-15"),
        ((P1, 30, 40, 60, 16), "velocity 16, ticks 30-40) has a velocity that is not 1-15"),
        ((TR, 30, 40, 60, 2), "(TR, pitch 60, velocity 2, ticks 30-40) has a velocity"),
        ((P1, -1, 40, 60, 1), "ticks -1-40) starts before the beginning"),
        ((P1, 30, 30, 60, 1), "ticks 30-30) ends no later than it starts"),
        ((P1, 30, 29, 60, 1), "ticks 30-29) ends no later than it starts"),
        ((P1, 30, 51, 60, 1), "ticks 30-51) ends after the song's length of 50 ticks"),
        (
            (P1, 19, 21, 60, 1),
            "note 4 (P1, pitch 60, velocity 1, ticks 19-21) starts before its voice's last note",
        ),
        (
            (P1, 0, 5, 60, 1),
            "note 1 (P1, pitch 60, velocity 1, ticks 0-5) starts before its voice's last note ends",
        ),
    ],
)
def test_each_rule(change, said):
    with pytest.raises(BadScore) as raised:
        Score.build([*GOOD, change], 50, name="tune")
    assert said in str(raised.value) and str(raised.value).startswith("tune: note ")


def test_order_and_length():
    notes = np.array(sorted(GOOD, key=lambda note: note[1]), NOTE)
    assert len(Score(notes, 20).notes) == 4
    with pytest.raises(
        BadScore, match=r"score: note 1 .* is out of order \(notes go by start, then voice\)"
    ):
        Score(notes[[1, 0, 2, 3]], 20)
    with pytest.raises(BadScore, match="note 3 .* is out of order"):
        Score(notes[[0, 1, 3, 2]], 20)
    with pytest.raises(BadScore, match="length -1 is negative"):
        Score.build([], -1)
    assert Score.build(GOOD).length == 20 and Score.build([]).length == 0


@pytest.mark.parametrize(
    "note",
    [(P1, 0, 9, 300, 9), (P1, 0, 9, -1, 9), (P1, 0, 2**70, 60, 9), (P1, 0), "note", ("a",) * 5],
)
def test_what_is_no_note(note):
    with pytest.raises(BadScore, match="tune: "):
        Score.build([note], 50, name="tune")


@pytest.mark.parametrize(
    "control",
    [
        (4, 0, VELOCITY_CHANGE, 1),
        (P1, 0, 10, 1),
        (P1, 0, VELOCITY_CHANGE, 16),
        (TR, 0, VELOCITY_CHANGE, 2),
        (P1, 0, TIMBRE_CHANGE, 4),
        (TR, 0, TIMBRE_CHANGE, 1),
        (NO, 0, TIMBRE_CHANGE, 2),
        (P1, -1, TIMBRE_CHANGE, 0),
        (P1, 51, TIMBRE_CHANGE, 0),
    ],
)
def test_controls(control):
    with pytest.raises(
        BadScore, match=r"tune: control \d .* is out of range, out of order or of no known kind"
    ):
        Score.build(GOOD, 50, [(P1, 3, TIMBRE_CHANGE, 1), control], "tune")
    with pytest.raises(BadScore, match="control 1 .* out of order"):
        Score(np.zeros(0, NOTE), 9, np.array([(0, 5, 11, 1), (0, 4, 11, 1)], CONTROL))


@settings(max_examples=40, deadline=None)
@given(scores(with_controls=True), st.randoms())
def test_build_sorts(score, random):
    notes = score.notes.tolist()
    random.shuffle(notes)
    assert Score.build(notes, score.length, score.controls) == score
    assert Score.build(notes).length == max((note[2] for note in notes), default=0)


@settings(max_examples=40, deadline=None)
@given(scores(with_controls=True), st.sets(st.integers(0, 3)))
def test_only_and_voice(score, chosen):
    part = score.only(chosen)
    assert part.notes.tolist() == [note for note in score.notes.tolist() if note[0] in chosen]
    assert part.controls.tolist() == [
        control for control in score.controls.tolist() if control[0] in chosen
    ]
    assert part.length == score.length
    assert sum(len(score.voice(number)) for number in range(4)) == len(score.notes)


@settings(max_examples=50, deadline=None)
@given(scores(with_controls=True), st.floats(0, 1), st.floats(0, 1))
def test_excerpt_sounds_as_the_song_does(score, one, other):
    """At every tick of note or control, the same pitch sounds and the same velocity and timbre are
    set.
    """
    start, end = (round(share * score.length) for share in sorted((one, other)))
    if start == end:
        with pytest.raises(BadScore, match="no music between"):
            score.excerpt(start / 44_100, end / 44_100)
        return
    part = score.excerpt(start / 44_100, end / 44_100)
    assert part.length == end - start
    ticks = {
        start,
        end - 1,
        *score.notes["start"].tolist(),
        *score.notes["end"].tolist(),
        *score.controls["tick"].tolist(),
    }
    for tick in (tick for tick in ticks if start <= tick < end):
        assert sounding(part, tick - start) == sounding(score, tick)
        assert setting(part, tick - start) == setting(score, tick)


def sounding(score, tick):
    return {(n[0], n[3], n[4]) for n in score.notes.tolist() if n[1] <= tick < n[2]}


def setting(score, tick):
    return {
        (voice, kind): value for voice, at, kind, value in score.controls.tolist() if at <= tick
    }


def test_equality_and_description():
    song = Score.build(GOOD, 44_100, name="tune")
    assert song == song.renamed("other") and song != Score.build(GOOD, 44_101) and song != "tune"
    assert song != Score.build(GOOD[:-1], 44_100) and song != Score.build(
        GOOD, 44_100, [(P1, 0, 11, 3)]
    )
    assert repr(song) == "Score('tune', 1.00 s, notes: P1 2, P2 0, TR 1, NO 1)"
    assert song.seconds == 1.0


@pytest.mark.parametrize("notes, said", [(0, "0 notes"), (1, "1 note"), (2000, "2,000 notes")])
def test_a_number_of_notes_in_words(notes, said):
    assert counted(notes) == said
