"""The grammar against plain rules: a song is grammatical exactly if decoding and encoding gives it
back.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from songs import scores

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.music import events, grammar
from lakhnes_lib.music.events import VOCABULARY

ID = {name: number for number, name in enumerate(VOCABULARY)}
EVENTS = st.sampled_from(
    [ID[n] for n in ("WT_1", "WT_900", "P1_NOTEOFF", "P1_NOTEON_60", "P1_NOTEON_61")]
) | st.sampled_from(
    [
        ID[n]
        for n in (
            "P2_NOTEOFF",
            "P2_NOTEON_60",
            "TR_NOTEON_40",
            "TR_NOTEOFF",
            "NO_NOTEON_3",
            "NO_NOTEOFF",
        )
    ]
)


def follows(past: list[int]) -> set[int]:
    """The events that may follow, found by the rules as the module's head words them."""
    sounding, instant, waited = set(), [], True
    for number in past:
        name = VOCABULARY[number]
        waited = name.startswith("WT_")
        if waited:
            instant = []
            continue
        instant.append(name[:2])
        (sounding.add if "NOTEON" in name else sounding.discard)(name[:2])
    allowed = set()
    for number, name in enumerate(VOCABULARY[1:], 1):
        if name.startswith("WT_"):
            good = not waited
        else:
            order = ["P1", "P2", "TR", "NO"]
            good = all(order.index(name[:2]) > order.index(before) for before in instant)
            good &= "NOTEON" in name or name[:2] in sounding
        if good:
            allowed.add(number)
    if past and not waited and not sounding:
        allowed.add(0)
    return allowed


def state_of(past):
    state = grammar.start(1)
    for number in past:
        state = grammar.advance(state, np.array([number]))
    return state


def is_grammatical(ids):
    try:
        grammar.check(ids)
    except BadEvents:
        return False
    return True


@settings(max_examples=50, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 25))
def test_allowed_is_what_the_rules_say_along_any_walk(random, steps):
    past = []
    for _ in range(steps):
        allowed = follows(past) - {0}
        past.append(random.choice(sorted(allowed)))
        mask = grammar.allowed(state_of(past), end=True)
        assert mask.shape == (1, 631) and mask.dtype == bool
        assert set(np.flatnonzero(mask[0]).tolist()) == follows(past)
        assert not grammar.allowed(state_of(past))[0, 0]


@settings(max_examples=100, deadline=None)
@given(st.lists(EVENTS, max_size=12))
def test_check_agrees_with_the_steps_and_with_decoding(ids):
    """Songs that end in an event: grammatical is what can be walked to its end, and what comes back
    from a Score.
    """
    ids = [number for number in events.frame(ids).tolist() if number]
    walked = (
        all(number in follows(ids[:index]) for index, number in enumerate([*ids, 0]))
        if ids
        else True
    )
    assert is_grammatical(ids) == walked == is_grammatical([0, *ids, 0])
    again = events.encode(events.decode(ids)).tolist()
    if walked:
        assert again == ids
    elif [n for n in ids if n > 370]:
        assert is_grammatical(again)


@settings(max_examples=50, deadline=None)
@given(scores())
def test_what_is_encoded_keeps_the_grammar(score):
    grammar.check(events.encode(score))
    grammar.check(events.frame(events.encode(score)))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 10**6), st.booleans())
def test_a_walk_within_a_number_of_events_closes_every_note(length, seed, end):
    """Whatever is chosen among what is allowed, the song is grammatical after at most ``length``
    events.
    """
    random, state, walks = np.random.default_rng(seed), grammar.start(8), [[] for _ in range(8)]
    rows = np.arange(8)
    for step in range(length):
        able = grammar.allowed(state, np.full(len(rows), length - step), end)
        chosen = np.array(
            [random.choice(np.flatnonzero(row)) if row.any() else 0 for row in able], np.int64
        )
        going = chosen > 0
        rows, chosen = rows[going], chosen[going]
        state = grammar.State(state.sounding[going], state.last[going], state.waiting[going])
        state = grammar.advance(state, chosen)
        for row, event in zip(rows, chosen, strict=True):
            walks[row].append(int(event))
    for walk in walks:
        grammar.check(walk)
        assert len(walk) <= length
        assert not walk or walk[-1] > 370, "a song ends with a note's end, not with a wait"
        assert events.encode(events.decode(walk)).tolist() == walk
    if length >= 3 and not end:
        assert all(len(walk) >= 3 for walk in walks)


def test_no_step_is_forbidden_that_could_still_end_in_time():
    """``left`` against a search: an event is allowed exactly if some continuation closes all notes
    in time.
    """
    kinds = [
        ID[n]
        for n in (
            "WT_5",
            "P1_NOTEON_60",
            "P1_NOTEOFF",
            "P2_NOTEON_60",
            "P2_NOTEOFF",
            "NO_NOTEON_3",
            "NO_NOTEOFF",
        )
    ]
    known = {}

    def ends(past, left):
        """Whether at most ``left`` more events can end the song."""
        key = (
            tuple(state_of(past).sounding[0]),
            int(state_of(past).last[0]),
            bool(state_of(past).waiting[0]),
            left,
        )
        if key not in known:
            known[key] = 0 in follows(past) or (
                left > 0
                and any(ends([*past, kind], left - 1) for kind in kinds if kind in follows(past))
            )
        return known[key]

    beginnings = (
        "",
        "P1_NOTEON_60",
        "P1_NOTEON_60 NO_NOTEON_3",
        "P2_NOTEON_60 WT_5",
        "P1_NOTEON_60 P2_NOTEON_60 NO_NOTEON_3 WT_5 P2_NOTEOFF",
        "P1_NOTEON_60 WT_5 P1_NOTEOFF",
    )
    for beginning in beginnings:
        past = [ID[name] for name in beginning.split()]
        for left in range(1, 8):
            mask = grammar.allowed(state_of(past), np.array([left]))[0]
            for kind in kinds:
                expected = kind in follows(past) and ends([*past, kind], left - 1)
                assert mask[kind] == expected, (past, left, VOCABULARY[kind])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("P1_NOTEON_60 WT_5 WT_5 P1_NOTEOFF", "event 2 (WT_5) is a wait after a wait"),
        (
            "P2_NOTEON_60 P1_NOTEON_60 WT_5",
            "event 1 (P1_NOTEON_60) is out of order: an instant goes P1, P2, TR, NO, one each",
        ),
        ("P1_NOTEON_60 P1_NOTEON_61", "event 1 (P1_NOTEON_61) is out of order"),
        ("WT_5 P1_NOTEOFF", "event 1 (P1_NOTEOFF) ends a note that does not sound"),
        (
            "P1_NOTEON_60 WT_5 P1_NOTEOFF WT_5 P1_NOTEOFF",
            "event 4 (P1_NOTEOFF) ends a note that does not sound",
        ),
        ("P1_NOTEON_60 WT_5", "event 0 (P1_NOTEON_60) begins a note that never ends"),
        ("<S> P1_NOTEON_60 WT_5 <S>", "event 1 (P1_NOTEON_60) begins a note that never ends"),
        ("P1_NOTEON_60 <S> WT_5", "<S> stands inside the song, at event 1"),
    ],
)
def test_check_names_place_and_rule(names, said):
    with pytest.raises(BadEvents) as raised:
        grammar.check([ID[name] for name in names.split()], "piece")
    assert str(raised.value).startswith("piece: ") and said in str(raised.value)
