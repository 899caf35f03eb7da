"""n-grams against dictionaries of tuples, Chen and Goodman's formulas written out, nltk, and the
paper's figures."""

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from nltk.lm import KneserNeyInterpolated
from songs import tune

from lakhnes_lib.data.corpus import pack
from lakhnes_lib.errors import BadCheckpoint, BadEvents, DataNotFound
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.generation import sampling
from lakhnes_lib.models import checkpoints, ngram
from lakhnes_lib.models.ngram import SMOOTHINGS, NGram
from lakhnes_lib.music import events

EVENTS = 7  # of the small vocabulary


def small_songs(seed=0, count=30):
    """Songs of six events that like to repeat themselves; one is empty."""
    random, songs = np.random.default_rng(seed), [np.zeros(2, np.uint16)]
    for _ in range(count):
        walk = 1 + np.cumsum(random.integers(0, 3, random.integers(1, 40))) % 6
        songs.append(np.concatenate([[0], walk, [0]]).astype(np.uint16))
    return songs


class Tables:
    """Counts of every order as dictionaries of tuples, and both ways to score, literally."""

    def __init__(self, songs, order):
        self.order, self.counts = order, [Counter() for _ in range(order + 1)]
        for song in songs:
            song = song.tolist()
            for length in range(1, order + 1):
                for index in range(
                    length == 1, len(song) - length + 1
                ):  # the first <S> is no unigram
                    self.counts[length][tuple(song[index : index + length])] += 1
        # Kneser-Ney's counts: below the highest order, how many different events precede; at a
        # song's start, plain.
        self.adjusted = [Counter(counts) for counts in self.counts]
        for length in range(1, order):
            preceded = Counter(longer[1:] for longer in self.counts[length + 1])
            for gram in self.counts[length]:
                if preceded[gram]:
                    self.adjusted[length][gram] = preceded[gram]
        self.discounts = [None]
        for length in range(1, order + 1):
            n = Counter(self.adjusted[length].values())
            discounts = [0.5, 1.0, 1.5]
            if n[1] and n[2] and n[3] and n[4]:
                y = n[1] / (n[1] + 2 * n[2])
                estimate = [
                    1 - 2 * y * n[2] / n[1],
                    2 - 3 * y * n[3] / n[2],
                    3 - 4 * y * n[4] / n[3],
                ]
                if all(0 <= d <= count for d, count in zip(estimate, (1, 2, 3), strict=True)):
                    discounts = estimate
            self.discounts.append([0, *discounts])

    def history(self, before):
        """The last order - 1 events since the last <S>, that one included."""
        start = len(before) - 1 - before[::-1].index(0)
        return tuple(before[start:])[-(self.order - 1) :]

    def backoff(self, history, event):
        while True:
            seen = sum(
                c for gram, c in self.counts[len(history) + 1].items() if gram[:-1] == history
            )
            if self.counts[len(history) + 1][(*history, event)]:
                return self.counts[len(history) + 1][(*history, event)] / seen
            if not history:
                return 1 / EVENTS
            history = history[1:]

    def kneser_ney(self, history, event):
        length = len(history) + 1
        lower = self.kneser_ney(history[1:], event) if history else 1 / EVENTS
        followers = [c for gram, c in self.adjusted[length].items() if gram[:-1] == history]
        if not followers:
            return lower
        d = self.discounts[length]
        n1, n2, n3 = followers.count(1), followers.count(2), sum(c >= 3 for c in followers)
        count = self.adjusted[length][(*history, event)]
        own = count - d[min(count, 3)]
        return (own + (d[1] * n1 + d[2] * n2 + d[3] * n3) * lower) / sum(followers)


def tensor(*songs):
    return torch.from_numpy(np.stack(songs).astype(np.int64))


@pytest.fixture(scope="module")
def scored():
    """What follows songs that training had and songs that it had not, by every order and both
    smoothings."""
    return small_songs(), small_songs(1, 4)[1:]


@pytest.mark.parametrize("order", [2, 3, 5])
def test_counts_equal_dictionaries(order, scored):
    model, tables = NGram(EVENTS, order).fit(scored[0]), Tables(scored[0], order)
    assert model.parameter_count() == sum(model.sizes) == sum(map(len, tables.counts))
    for length in range(1, order + 1):
        keys = getattr(model, f"keys_{length}").tolist()
        grams = [tuple(key >> 10 * back & 1023 for back in reversed(range(length))) for key in keys]
        assert (
            dict(zip(grams, getattr(model, f"counts_{length}").tolist(), strict=True))
            == tables.counts[length]
        )


@pytest.mark.parametrize("order, smoothing", list(itertools.product([2, 3, 5], SMOOTHINGS)))
def test_probabilities_equal_the_formulas_written_out(order, smoothing, scored):
    known, new = scored
    model, tables = NGram(EVENTS, order, smoothing).fit(known), Tables(known, order)
    for song in [*new, known[3]]:
        probabilities = model.probabilities(tensor(song[:-1]))[0][0].numpy()
        for index in range(len(song) - 1):
            history = tables.history(song[: index + 1].tolist())
            expected = [getattr(tables, smoothing)(history, event) for event in range(EVENTS)]
            np.testing.assert_allclose(probabilities[index], expected, rtol=1e-12)
        sums = probabilities.sum(1)
        assert np.abs(sums - 1).max() < 1e-12 if model.normalised else sums.max() > 1.05


def test_kneser_ney_equals_an_independent_library(scored, monkeypatch):
    """nltk's interpolated Kneser-Ney has one fixed discount, none on unigrams, and knows no song's
    start: with such
    discounts, and for histories without a start, both are the same."""
    for order in (2, 3, 4):
        discounts = iter([0.0] + [0.3] * order)
        monkeypatch.setattr(
            ngram,
            "modified_discounts",
            lambda seen, d=discounts: torch.tensor([0.0, *[next(d)] * 3]),
        )
        model = NGram(EVENTS, order).fit(scored[0])
        theirs = KneserNeyInterpolated(order, discount=0.3)
        grams = [
            [tuple(song[i : i + n]) for n in range(1, order + 1) for i in range(len(song) - n + 1)]
            for song in (list(map(str, song)) for song in scored[0])
        ]
        theirs.fit(grams, vocabulary_text=map(str, range(EVENTS)))
        compared = 0
        for song in scored[1]:
            probabilities = model.probabilities(tensor(song[:-1]))[0][0].numpy()
            for index in range(order - 1, len(song) - 1):
                history = list(map(str, song[index - order + 2 : index + 1]))
                expected = [theirs.score(str(event), history) for event in range(EVENTS)]
                np.testing.assert_allclose(probabilities[index], expected, rtol=1e-5, atol=1e-7)
                compared += 1
        assert compared > 30


def test_discounts():
    assert ngram.modified_discounts([5, 0, 1, 1]).tolist() == [0, 0.5, 1, 1.5]
    assert ngram.modified_discounts([10, 100, 1, 1]).tolist() == [
        0,
        *(1 - 20 / 21, 2 - 3 / 21 / 100 * 1, 3 - 4 / 21),
    ]
    assert ngram.modified_discounts([1, 1, 9, 1]).tolist() == [
        0,
        0.5,
        1,
        1.5,
    ]  # 2 - 3 * 9 / 3 is negative


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_pieces_of_a_song_score_as_the_whole(smoothing, scored):
    model = NGram(EVENTS, 4, smoothing).fit(scored[0])
    random = np.random.default_rng(3)
    rows = torch.from_numpy(random.integers(1, EVENTS, (3, 25)))
    rows[:, 0] = 0
    rows[0, [9, 10, 20]], rows[1, 24], rows[2, 1] = 0, 0, 0  # songs that end and begin inside
    ids, targets = rows[:, :-1], rows[:, 1:].clone()
    targets[1, 5] = -1
    whole, last = model.log_probs(ids)
    assert whole.shape == (3, 24, EVENTS) and whole.dtype == torch.float32
    picked, same = model.target_log_probs(ids, targets)
    expected = whole.gather(-1, targets.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    expected[1, 5] = 0
    torch.testing.assert_close(picked, expected)
    assert torch.equal(last, same)
    state, parts, scores = None, [], []
    for first, end in itertools.pairwise([0, 1, 2, 9, 10, 24]):
        part, _ = model.log_probs(ids[:, first:end], state)
        score, state = model.target_log_probs(ids[:, first:end], targets[:, first:end], state)
        parts.append(part)
        scores.append(score)
    assert torch.equal(torch.cat(parts, 1), whole) and torch.equal(torch.cat(scores, 1), picked)
    chosen = model.select(state, torch.tensor([2, 0, 0]))
    following, _ = model.log_probs(ids[:, :1], state)
    assert torch.equal(model.log_probs(ids[[2, 0, 0], :1], chosen)[0], following[[2, 0, 0]])
    fresh = model.restart(state, torch.tensor([True, False, True]))
    assert torch.equal(
        model.log_probs(ids[:, :1], fresh)[0][[0, 2]], model.log_probs(ids[[0, 2], :1])[0]
    )
    # A song that begins inside a row knows nothing of the one before it.
    assert torch.equal(whole[0, 10:20], model.log_probs(ids[:1, 10:20])[0][0])


@pytest.fixture(scope="module", params=SMOOTHINGS)
def composer(request):
    """A model of 631 events, made of small tunes."""
    return NGram(smoothing=request.param).fit(
        pack("train", [tune(seed) for seed in range(12)]).framed()
    )


def test_it_composes(composer):
    pieces = sampling.sample(composer, n=3, length=60, seed=4)
    again = sampling.sample(composer, n=2, length=60, seed=4)
    assert all(np.array_equal(a, b) for a, b in zip(pieces, again, strict=False))
    assert all(len(events.decode(piece).notes) > 5 for piece in pieces)
    free = sampling.sample(composer, n=2, length=40, masked=False, top_k=None, temperature=1.0)
    assert all(len(piece) == 40 for piece in free)


def test_checkpoints_keep_it(composer, tmp_path):
    checkpoints.save(composer.bfloat16(), tmp_path / "model")
    loaded = checkpoints.load(tmp_path / "model")
    song = tensor(pack("test", [tune(99)]).framed()[0])
    assert (loaded.smoothing, loaded.sizes, loaded.normalised) == (
        composer.smoothing,
        composer.sizes,
        composer.normalised,
    )
    assert torch.equal(loaded.log_probs(song)[0], composer.log_probs(song)[0])
    assert json.loads((tmp_path / "model" / "config.json").read_text())["parameters"] == sum(
        composer.sizes
    )


@pytest.mark.parametrize(
    "tensor_name, change, said",
    [
        ("keys_3", lambda keys: keys.flip(0), "3-grams are not sorted"),
        ("keys_5", lambda keys: keys | 1023, "5-grams are not sorted|5-gram ends with an event"),
        ("counts_2", lambda counts: counts * 0, "one of them has no count"),
        ("keys_2", lambda keys: keys[1:], "keys_2.*shape"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tensor_name, change, said, tmp_path):
    model = NGram().fit(pack("train", [tune(1)]).framed())
    checkpoints.save(model, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    tensors[tensor_name] = change(tensors[tensor_name]).contiguous()
    safetensors.torch.save_file(tensors, file)
    with pytest.raises(BadCheckpoint, match=said):
        checkpoints.load(tmp_path / "model").log_probs(torch.zeros(1, 1, dtype=torch.int64))


def test_bad_input_is_refused(scored):
    for wrong in [
        dict(order=1),
        dict(order=7),
        dict(smoothing="none"),
        dict(vocabulary_size=1024),
        dict(sizes=[1]),
    ]:
        with pytest.raises(BadCheckpoint, match="cannot be built"):
            checkpoints.build("ngram", **wrong)
    with pytest.raises(DataNotFound, match="no songs"):
        NGram().fit([])
    with pytest.raises(DataNotFound, match="counted nothing yet"):
        NGram().log_probs(torch.zeros(1, 1, dtype=torch.int64))
    with pytest.raises(BadEvents, match="ids must lie in 0-6"):
        NGram(EVENTS).fit([np.array([0, 7, 0])])
    with pytest.raises(BadEvents, match="ids must lie in 0-6"):
        NGram(EVENTS).fit(scored[0]).log_probs(torch.tensor([[0, -1]]))


def test_models_know_nothing_of_music():
    assert "lakhnes_lib.music" not in Path(ngram.__file__).read_text()


# --- the real data


@pytest.fixture(scope="module")
def real(nesmdb):
    """Both models of NES-MDB's training split, from one count, and its test songs."""
    counted = NGram(smoothing="backoff").fit(nesmdb["train"].framed())
    smooth = NGram(sizes=counted.sizes)
    smooth.load_state_dict(counted.state_dict())
    return {"backoff": counted, "kneser_ney": smooth}, nesmdb["test"].framed()


def test_the_papers_figures(real):
    models, songs = real
    assert round(models["backoff"].parameter_count(), -4) == 9_260_000
    measured = {
        name: perplexity.exact(model, songs, progress=False) for name, model in models.items()
    }
    assert measured["backoff"].targets == 407_130
    assert measured["backoff"].perplexity == pytest.approx(37.25, rel=0.005)
    assert 60 < measured["kneser_ney"].perplexity < 67


def test_kneser_ney_sums_to_one_in_two_thousand_real_contexts(real):
    models, songs = real
    seen, sums, masses = 0, [], []
    for song in songs:
        ids = tensor(song[:-1][:400])
        sums.append(models["kneser_ney"].log_probs(ids)[0].double().exp().sum(-1).flatten())
        masses.append(models["backoff"].probabilities(ids)[0].sum(-1).flatten())
        seen += ids.numel()
        if seen >= 2_000:
            break
    assert seen >= 2_000
    assert (torch.cat(sums) - 1).abs().max() < 1e-5
    assert torch.cat(masses).mean() > 2  # what the back-off hands out where one is due
