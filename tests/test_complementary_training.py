"""Training and composing complementary tracks: resumed runs, seeds, masks, and what is learned."""

import numpy as np
import pytest
import torch

from lakhnes_lib.companions import accompanying
from lakhnes_lib.companions.encoder_decoder import EncoderDecoder
from lakhnes_lib.companions.paired_parts import NesPairs
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.music import events, nes

SIZES = dict(width=16, layers=1, heads=2, feed_forward=16, dropout=0.1, reach=8)


class Echo:
    """A task of eight tokens: the target is the source backwards."""

    vocabulary, end, starts = 8, 0, 1

    def draw(self, split, random):
        source = random.integers(1, 8, random.integers(2, 5)).tolist()
        return source, [8, *source[::-1], 0]

    def able(self, target):
        return np.arange(8) != 7


def build():
    torch.manual_seed(0)
    return EncoderDecoder(8, 1, **SIZES)


HOW = dict(batch=4, learning_rate=0.01, warmup=2, decay=0.5, evaluate_every=3, steps=9)


def test_a_run_that_was_stopped_goes_on(tmp_path):
    whole = build()
    log = accompanying.train(whole, Echo(), tmp_path / "whole", HOW, seed=1)
    assert [row["step"] for row in log] == [3, 6, 9]

    class Stop(Exception):
        pass

    def stop(model):
        stopped.append(1)
        if len(stopped) == 2:
            raise Stop
        return {}

    stopped = []
    with pytest.raises(Stop):
        accompanying.train(build(), Echo(), tmp_path / "cut", HOW, seed=1, probe=stop)
    again = build()
    log_again = accompanying.train(again, Echo(), tmp_path / "cut", HOW, seed=1)
    losses = [[row[name] for row in log] for name in ("train_loss", "valid_loss")]
    assert losses == [[row[name] for row in log_again] for name in ("train_loss", "valid_loss")]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    loaded = accompanying.load(tmp_path / "cut")
    assert torch.equal(loaded.embedding.weight, whole.embedding.weight)
    assert accompanying.train(build(), Echo(), tmp_path / "cut", HOW, seed=1) == log_again


def test_it_learns_to_echo(tmp_path):
    model = EncoderDecoder(8, 1, **SIZES | dict(width=32, feed_forward=64, dropout=0.0))
    how = HOW | dict(batch=32, evaluate_every=100, learning_rate=0.005, steps=300)
    log = accompanying.train(model, Echo(), tmp_path, how)
    assert log[-1]["valid_loss"] < 0.75 * log[0]["valid_loss"]


def test_the_clock_ends_training(tmp_path):
    log = accompanying.train(build(), Echo(), tmp_path, HOW | dict(steps=10**6, minutes=0.0017))
    assert log[-1]["seconds"] >= 0.1 and log[-1]["step"] < 10**6


def test_composing_keeps_what_is_able_and_depends_on_the_seed_alone():
    model, sources = build(), [[1, 2, 3], [4, 5], [6, 1, 2, 3]]
    options = dict(length=20, seed=3)
    made = accompanying.compose(model, Echo(), sources, [[8]] * 3, **options)
    assert all(row[0] == 8 and 7 not in row and 0 not in row for row in made)
    assert made[:2] == accompanying.compose(model, Echo(), sources[:2], [[8]] * 2, **options)
    assert made != accompanying.compose(model, Echo(), sources, [[8]] * 3, length=20, seed=4)
    begun = accompanying.compose(model, Echo(), sources, [[8, 1, 1]] * 3, **options)
    assert all(row[:3] == [8, 1, 1] for row in begun)
    free = accompanying.compose(model, Echo(), sources * 9, [[8]] * 27, masked=False, **options)
    assert any(7 in row for row in free)


def test_the_likeliest_token_by_hand():
    """With top-k 1 a target is what one gets by asking the model for each token anew."""
    model, source = build().eval(), [3, 1, 4]
    (made,) = accompanying.compose(model, Echo(), [source], [[8]], length=6, top_k=1, masked=False)
    target = [8]
    with torch.inference_mode():
        while len(target) < 7:
            logits = model(torch.tensor([source]), torch.tensor([target]))[0, -1]
            if logits.argmax() == 0:
                break
            target.append(int(logits.argmax()))
    assert made == target


def test_an_untrained_model_composes_a_valid_voice():
    corpus = prepare("songbook")
    task = NesPairs(corpus, seconds=4.0)
    model = EncoderDecoder(task.vocabulary, task.starts, by_time=True, **SIZES)
    model.set_clock(*task.clock)
    scores = [corpus["test"].score(0).excerpt(0, 4), corpus["valid"].score(0).excerpt(0, 4)]
    pairs = [task.pair(score, nes.TR) for score in scores]
    sources, targets = zip(*pairs, strict=True)
    made = accompanying.compose(model, task, sources, [row[:1] for row in targets], length=60)
    for row in made:
        voice = events.decode(row[1:])
        assert set(voice.notes["voice"]) <= {nes.TR}
