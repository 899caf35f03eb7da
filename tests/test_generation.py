"""Sampling: what is composed is always a song, and a seed always means the same notes."""

import numpy as np
import pytest
import torch
from draws import UNIFORM, Made, draw_by_hand

from lakhnes_lib.errors import BadEvents, LakhnesError
from lakhnes_lib.generation import sample, sampling
from lakhnes_lib.models.language_model import RandomModel
from lakhnes_lib.models.transformer_xl import TransformerXL
from lakhnes_lib.music import events, grammar, nes
from lakhnes_lib.sound import apu


@pytest.fixture(scope="module")
def small() -> TransformerXL:
    """A Transformer-XL with strong opinions: new weights, three times as large as usual."""
    torch.manual_seed(1)
    model = TransformerXL(
        layers=2, width=32, heads=2, head_width=16, feed_forward=64, memory_length=16
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


# What is composed


@pytest.fixture(scope="module")
def thousand() -> list[np.ndarray]:
    return sampling.sample(RandomModel(), n=1000, length=40, seed=3, **UNIFORM)


def test_a_thousand_uniform_pieces_keep_the_grammar_and_come_back_from_the_score(thousand):
    for number, ids in enumerate(thousand):
        grammar.check(ids, f"piece {number}")
        score = events.decode(ids)
        assert (events.frame(events.encode(score))[1:-1] == ids).all()
        assert len(score.notes) == events.IS_NOTE_ON[ids].sum()
    assert all(0 < len(ids) <= 40 and ids.dtype == np.uint16 for ids in thousand)
    assert len({ids.tobytes() for ids in thousand}) == 1000
    assert set(np.unique(events.VOICE_OF[np.concatenate(thousand)])) == {-1, 0, 1, 2, 3}


def test_composed_pieces_sound(thousand):
    for ids in thousand[:5]:
        score = events.decode(ids)
        sound = apu.render(score, 8000)
        assert (
            len(sound) == apu.length_in_samples(score, 8000)
            and sound.any()
            and np.abs(sound).max() <= 1
        )


def test_without_the_mask_uniform_events_break_the_grammar_but_still_decode():
    for ids in sampling.sample(RandomModel(), n=20, length=40, masked=False, **UNIFORM):
        assert len(ids) == 40 and events.START not in ids
        with pytest.raises(BadEvents):
            grammar.check(ids)
        events.decode(ids)


@pytest.mark.parametrize("length", range(1, 9))
def test_short_pieces_close_their_notes(length):
    for ids in sampling.sample(RandomModel(), n=50, length=length, **UNIFORM):
        grammar.check(ids)
        assert len(ids) <= length


def test_the_model_ends_a_piece_only_if_it_may():
    # Short notes and rests: silence, in which a piece can end, comes often.
    shares = {events.START: 0.5}
    kinds = [(events.IS_NOTE_OFF, 0.3), (events.IS_WAIT, 0.15), (events.IS_NOTE_ON, 0.05)]
    shares |= {event: share / kind.sum() for kind, share in kinds for event in np.flatnonzero(kind)}
    model = Made(np.array([shares[event] for event in range(len(events.VOCABULARY))]))
    ended = sampling.sample(model, n=50, length=60, stop=True, **UNIFORM)
    going = sampling.sample(model, n=50, length=60, **UNIFORM)
    assert np.mean([len(ids) for ids in ended]) < 30 and min(len(ids) for ids in going) > 50
    for ids in ended + going:
        grammar.check(ids)
        assert events.START not in ids


# Seeds


def test_a_seed_gives_piece_i_the_same_notes_whatever_n(small):
    several = sampling.sample(small, n=6, length=60, seed=5)
    for n in (1, 3):
        for ids, again in zip(
            several, sampling.sample(small, n=n, length=60, seed=5), strict=False
        ):
            assert ids.tolist() == again.tolist()
    other = sampling.sample(small, n=6, length=60, seed=6)
    assert all(ids.tolist() != again.tolist() for ids, again in zip(several, other, strict=True))
    assert len({ids.tobytes() for ids in several}) == 6


def test_stream_gives_the_events_of_sample_one_by_one(small):
    assert sample is sampling.sample
    options = dict(n=3, length=20, temperature=0.9, top_k=8, top_p=0.9, seed=2, memory_length=16)
    steps = np.array(list(sampling.stream(small, **options)))  # (steps, n)
    whole = sampling.sample(small, **options)
    assert [column[column >= 0].tolist() for column in steps.T] == [ids.tolist() for ids in whole]


@pytest.mark.parametrize(
    "prime", [None, np.array([371 + 20, 50, 371]), np.array([400, 470, 40, 448, 30, 371])]
)
def test_composing_equals_reading_everything_again_before_each_event(small, prime):
    """The slow way: the model reads the whole piece before each event, and Python draws."""
    length, temperature, top_k, top_p = 30, 0.9, 20, 0.95
    options = dict(temperature=temperature, top_k=top_k, top_p=top_p, memory_length=1000, seed=7)
    quick = sampling.sample(small, n=2, length=length, prime=prime, **options)
    beginning = [] if prime is None else prime.tolist()
    for number, ids in enumerate(quick):
        uniform = np.random.default_rng([7, number]).random(length)
        slow, rules = list(beginning), grammar.start(1)
        for event in beginning:
            rules = grammar.advance(rules, np.array([event]))
        for step in range(length):
            with torch.inference_mode():
                log_probs, _ = small.log_probs(torch.tensor([[events.START, *slow]]))
            able = grammar.allowed(rules, np.array([length - step]))[0]
            if not able.any():
                break
            probabilities = np.where(able, log_probs[0, -1].double().exp().numpy(), 0)
            slow.append(draw_by_hand(probabilities, uniform[step], temperature, top_k, top_p))
            rules = grammar.advance(rules, np.array(slow[-1:]))
        assert ids.tolist() == slow


def test_a_prime_is_kept_and_gone_on_from(small):
    prime = np.array(
        [events.START, 371 + 20, 50, 371 + 25, 525 + 12], np.uint16
    )  # two voices sound at its end
    for ids in sampling.sample(small, n=4, length=25, prime=prime):
        assert ids[:4].tolist() == prime[1:].tolist() and 4 < len(ids) <= 4 + 25
        grammar.check(ids)


# Greatest lengths, narrower choices


def seconds_of(ids) -> float:
    return events.TICKS_OF[ids].sum() / nes.TICKS_PER_SECOND


@pytest.mark.parametrize("seconds", [1 / 44_100, 0.001, 0.4, 3.0])
def test_a_greatest_time_is_kept_with_every_note_closed(seconds):
    pieces = sampling.sample(RandomModel(), n=200, length=60, seconds=seconds, seed=1, **UNIFORM)
    for ids in pieces:
        grammar.check(ids)
        assert seconds_of(ids) <= seconds + 1e-9
        assert not len(ids) or not events.IS_WAIT[ids[-1]]
    if seconds < 1:  # many pieces end for lack of time, not of events
        assert np.mean([len(ids) < 50 for ids in pieces]) > 0.3
    if 0.01 < seconds < 1:  # the time is used
        assert np.mean([seconds_of(ids) for ids in pieces]) > 0.5 * seconds


def test_choices_narrow_down_what_the_grammar_allows():
    seen = []

    def melody_alone(step):
        seen.append(step)
        return events.IS_WAIT | (events.VOICE_OF == 1) if step % 2 else np.ones(631, bool)

    pieces = sampling.sample(RandomModel(), n=3, length=30, choices=melody_alone, **UNIFORM)
    assert seen == list(range(len(seen)))
    for ids in pieces:
        assert np.isin(events.VOICE_OF[ids[1::2]], (-1, 1)).all()


@pytest.mark.parametrize("limit", [0.5, 3.0])
def test_a_note_that_was_held_for_so_long_ends_or_is_followed_at_once(limit):
    options = dict(n=6, length=600, seconds=30.0, seed=3, **UNIFORM)
    free, bound = (
        [events.decode(ids).notes for ids in sampling.sample(RandomModel(), **options, **more)]
        for more in ({}, {"longest_note": limit})
    )
    ticks = limit * nes.TICKS_PER_SECOND

    def too_late(notes) -> int:
        """Notes that sounded on though something happened after so many ticks."""
        times = np.union1d(notes["start"], notes["end"])
        times = np.append(times, times[-1])  # nothing happens after the last note's end
        following = times[np.searchsorted(times[:-1], notes["start"] + ticks, side="right")]
        return int((following < notes["end"]).sum())

    assert sum(map(too_late, free)) > 0 and sum(map(too_late, bound)) == 0


# The model, and bad settings


def test_the_model_is_left_as_it_was(small):
    options = dict(n=2, length=9, seed=3, memory_length=3)
    whole = sampling.sample(small, **options)
    small.train()
    try:
        steps = sampling.stream(small, **UNIFORM | options)
        next(steps)
        assert small.training and small.memory_length == 16
        again = sampling.sample(small, **options)
        assert small.training and small.memory_length == 16
    finally:
        small.eval()
    assert [ids.tolist() for ids in whole] == [ids.tolist() for ids in again], "without dropout"


def test_an_interrupted_piece_leaves_everything_in_order(small):
    def stop_at_seven(step):
        if step == 7:
            raise KeyboardInterrupt
        return np.ones(631, bool)

    whole = sampling.sample(small, n=2, length=12, seed=3)
    with pytest.raises(KeyboardInterrupt):
        sampling.sample(small, n=2, length=12, seed=3, choices=stop_at_seven)
    again = sampling.sample(small, n=2, length=12, seed=3)
    assert [ids.tolist() for ids in whole] == [ids.tolist() for ids in again]


@pytest.mark.parametrize(
    "setting",
    [
        {"n": 0}, {"length": 0}, {"temperature": 0}, {"temperature": -1.0},
        {"temperature": float("nan")}, {"top_k": -1}, {"top_k": -3}, {"top_p": 0.0},
        {"top_p": 1.01}, {"top_p": float("nan")},
        {"seconds": 0}, {"seconds": -1}, {"precision": "bf16"}, {"precision": "fp16"},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_settings_are_refused_in_one_sentence(setting):
    with pytest.raises(LakhnesError) as refused:
        sampling.sample(RandomModel(), **{"n": 1, "length": 4} | setting)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("prime", [[631], [-1], [400, 0, 400], [0.5], [[400]]], ids=str)
def test_a_prime_out_of_the_vocabulary_is_refused(prime):
    with pytest.raises(BadEvents):
        sampling.sample(RandomModel(), n=1, length=4, prime=np.array(prime))


def test_a_prime_that_ends_in_a_wait_keeps_it():
    prime = np.array([events.NOTE_ON[0] + 60, 50, events.NOTE_OFF[0], 40], np.uint16)
    piece = sampling.sample(
        RandomModel(), n=1, length=20, top_k=None, temperature=1.0, prime=prime, seed=5
    )[0]
    assert piece[:4].tolist() == prime.tolist()
    assert not events.IS_WAIT[piece[4]]
    grammar.check(piece)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": float("inf")},
        {"temperature": "x"},
        {"seed": -1},
        {"top_k": 2.5},
        {"memory_length": -1},
    ],
)
def test_settings_of_the_wrong_type_or_range_are_named(wrong):
    with pytest.raises(LakhnesError):
        sampling.sample(RandomModel(), n=1, length=5, **wrong)
