"""Exact perplexity: every event once, nothing but the song's own past, whatever the batch."""

from collections import Counter
from math import exp, log

import numpy as np
import pytest
import torch
from songs import tune

from lakhnes_lib.errors import BadSetting, LakhnesError
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.models.language_model import RandomModel, UnigramModel
from lakhnes_lib.models.transformer_xl import TransformerXL
from lakhnes_lib.music import events

PAPER_UNIGRAM = 198.14  # test perplexity, Table 2


def song(rng, length: int) -> np.ndarray:
    """A framed song of so many random events."""
    return np.concatenate([[0], rng.integers(1, len(events.VOCABULARY), length), [0]]).astype(
        np.uint16
    )


@pytest.fixture(scope="module")
def songs() -> list[np.ndarray]:
    """Lengths in no order, two of them too short to be scored (9 events with <S>, and 3)."""
    rng = np.random.default_rng(0)
    return [song(rng, length) for length in (40, 7, 130, 8, 41, 1, 77, 64, 300, 63)]


@pytest.fixture(scope="module")
def small() -> TransformerXL:
    torch.manual_seed(1)
    return TransformerXL(
        layers=2, width=32, heads=2, head_width=16, feed_forward=64, memory_length=20
    ).eval()


def score(model, songs, **options) -> perplexity.Scores:
    return perplexity.exact(model, songs, progress=False, **options)


def test_targets_are_all_events_but_the_first_of_each_song(songs):
    scored = score(RandomModel(), songs)
    long_enough = [len(each) - 1 for each in songs if len(each) >= 10]
    assert [len(each) for each in scored.songs] == long_enough
    assert scored.targets == sum(long_enough)


def test_uniform_perplexity_is_631(songs):
    assert score(RandomModel(), songs).perplexity == pytest.approx(631, abs=5e-3)


@pytest.mark.parametrize("weight", [float("nan"), 3e38])
def test_weights_that_give_no_probabilities_are_an_error(songs, weight):
    model = TransformerXL(layers=1, width=8, heads=1, head_width=8, feed_forward=8)
    model.output_bias.data[5:9] = weight
    with pytest.raises(LakhnesError, match="no perplexity: the mean log-probability of"):
        score(model, songs).perplexity  # noqa: B018


def test_unigram_by_hand(songs):
    train, test = songs[:5], songs[5:]
    model = UnigramModel().fit(
        torch.from_numpy(np.concatenate([each[1:] for each in train]).astype(np.int64))
    )
    counts = Counter(int(event) for each in train for event in each[1:])
    total = sum(counts.values()) + 631
    losses = [
        -log((counts[int(event)] + 1) / total)
        for each in test
        if len(each) >= 10
        for event in each[1:]
    ]
    scored = score(model, test)
    assert scored.nats == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert scored.perplexity == pytest.approx(exp(sum(losses) / len(losses)), rel=1e-5)


@pytest.mark.parametrize("batch", [2, 3, 8, 100])
def test_perplexity_does_not_depend_on_the_batch(small, songs, batch):
    alone = score(small, songs, segment=16, memory_length=24, batch=1)
    together = score(small, songs, segment=16, memory_length=24, batch=batch)
    assert together.perplexity == pytest.approx(alone.perplexity, rel=1e-4)
    for one, other in zip(alone.songs, together.songs, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


def test_perplexity_does_not_depend_on_the_other_songs_or_their_order(small, songs):
    long = [each for each in songs if len(each) >= 10]
    forward = score(small, long, segment=16, memory_length=24)
    backward = score(small, long[::-1], segment=16, memory_length=24)
    for one, other in zip(forward.songs, backward.songs[::-1], strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize("segment", [7, 16, 500])
def test_with_a_memory_that_holds_the_song_it_is_one_long_pass(small, songs, segment):
    scored = iter(score(small, songs, segment=segment, memory_length=1000).songs)
    for each in (each for each in songs if len(each) >= 10):
        ids = torch.from_numpy(each.astype(np.int64))
        with torch.inference_mode():
            log_probs, _ = small.log_probs(ids[None, :-1])
        np.testing.assert_allclose(
            next(scored), log_probs[0, torch.arange(len(ids) - 1), ids[1:]], atol=2e-4
        )


def test_segments_and_memory_are_those_asked_for(small, songs):
    """Segment by segment in a loop; another memory length gives another number."""
    each = max(songs, key=len)
    ids, state, by_hand = torch.from_numpy(each.astype(np.int64)), None, []
    with torch.inference_mode():
        for start in range(0, len(ids) - 1, 16):
            part = ids[None, start : min(start + 16, len(ids) - 1)]
            log_probs, state = small.log_probs(part, state, memory_length=5)
            by_hand += [float(row[ids[start + i + 1]]) for i, row in enumerate(log_probs[0])]
    scored = score(small, [each], segment=16, memory_length=5)
    np.testing.assert_allclose(scored.songs[0], by_hand, atol=2e-4)
    assert (
        np.abs(score(small, [each], segment=16, memory_length=50).songs[0] - by_hand).max() > 1e-3
    )


def test_the_models_own_memory_counts_where_none_is_given(small, songs):
    own, same = (score(small, songs, segment=16, memory_length=length) for length in (None, 20))
    assert own.nats == same.nats


def test_perplexity_of_scores_and_ids(small, songs):
    piece = tune(3)
    framed = events.frame(events.encode(piece))
    for protocol, settings in (("exact", {}), ("paper", {"streams": 1, "segment": 4})):
        settings |= {"memory_length": 30, "progress": False}
        value = perplexity.perplexity(small, [piece, songs[0]], protocol=protocol, **settings)
        scores = getattr(perplexity, protocol)(small, [framed, songs[0]], **settings)
        assert value == scores.perplexity
    with pytest.raises(BadSetting, match="one of exact, paper, per_song, not 'published'"):
        perplexity.perplexity(small, [piece], protocol="published")


def test_the_model_is_left_as_it_was(small, songs):
    small.train()
    score(small, songs[:1], memory_length=3)
    assert small.training and small.memory_length == 20
    small.eval()


def test_real_test_split_has_the_known_targets_and_the_papers_unigram(nesmdb):
    train = np.concatenate([each[1:] for each in nesmdb["train"].framed()])
    model = UnigramModel().fit(torch.from_numpy(train.astype(np.int64)))
    scored = score(model, nesmdb["test"].framed())
    assert (len(scored.songs), scored.targets) == (371, 407_130)
    assert scored.perplexity == pytest.approx(PAPER_UNIGRAM, rel=5e-3)
