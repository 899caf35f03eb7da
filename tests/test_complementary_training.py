"""Training and composing complementary tracks: rates, seeds, masks, and what is learned."""

import shutil

import numpy as np
import pytest
import torch

from lakhnes_lib.companions import accompanying, fitting
from lakhnes_lib.companions.encoder_decoder import EncoderDecoder
from lakhnes_lib.companions.paired_parts import NesPairs
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.errors import BadCheckpoint
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


HOW = dict(batch=4, learning_rate=0.01, warmup=2, decay=0.5, evaluate_every=3, steps=8)


def train(model, how, seed=0):
    def watch():
        assert not model.training
        return {"valid_loss": accompanying.valid_loss(model, Echo(), how["batch"])}

    def loss(random, done):
        assert model.training
        return model.loss(*accompanying.batch_of(Echo(), "train", how["batch"], random))

    return fitting.fit(model, loss, how, seed=seed, watch=watch)


def test_training_repeats_is_watched_and_saved(tmp_path):
    models = [build(), build(), build()]
    logs = [train(model, HOW, seed) for model, seed in zip(models, (1, 1, 2), strict=True)]
    losses = [[row["loss"] for row in log] for log in logs]
    assert losses[0] == losses[1] != losses[2] and len(losses[0]) == 8
    watched = [n for n, row in enumerate(logs[0], 1) if "valid_loss" in row]
    assert watched == [3, 6, 8]
    fitting.save(models[0], tmp_path, logs[0])
    again, log = fitting.load(EncoderDecoder, tmp_path)
    assert log == logs[0] and not again.training
    for name, tensor in models[1].state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    (tmp_path / "snapshot.pt").write_bytes(b"PK damaged")
    with pytest.raises(BadCheckpoint, match="damaged"):
        fitting.load(EncoderDecoder, tmp_path)


def test_a_training_that_was_killed_goes_on(tmp_path):
    def fit(model, steps, stop=None):
        def loss(random, done):
            if random.bit_generator.state["state"] == stop:
                raise KeyboardInterrupt
            before.append(random.bit_generator.state["state"])
            return model.loss(*accompanying.batch_of(Echo(), "train", 4, random))

        before = []
        return before, lambda: fitting.fit(model, loss, HOW | dict(steps=steps), folder=tmp_path)

    models = [EncoderDecoder(8, 1, **SIZES | dict(dropout=0.2)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    states, whole = fit(models[0], 8)
    log = whole()
    shutil.rmtree(tmp_path / "unfinished")
    _, killed = fit(models[1], 8, stop=states[4])
    with pytest.raises(KeyboardInterrupt):
        killed()
    again = EncoderDecoder(8, 1, **SIZES | dict(dropout=0.2))
    begun, go_on = fit(again, 8)
    assert [row["loss"] for row in go_on()] == [row["loss"] for row in log]
    assert begun == states[3:]  # from the measuring after the third step
    for name, tensor in models[0].state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    begun, over = fit(EncoderDecoder(8, 1, **SIZES | dict(dropout=0.2)), 8)
    assert len(over()) == 8 and not begun  # killed after its end, before the model was saved
    fitting.save(again, tmp_path, log)
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot.pt"]


def test_a_clock_is_saved(tmp_path):
    model = EncoderDecoder(8, 1, **SIZES, clock=([0.5] * 8, [-1.0] * 8))
    fitting.save(model, tmp_path, [])
    again, _ = fitting.load(EncoderDecoder, tmp_path)
    assert torch.equal(again.clock, model.clock) and again.clock[:, -1].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("how", "shares"),
    [
        (dict(steps=4), [1, 1, 1, 1]),
        (dict(steps=4, decay=1.0), [1, 0.75, 0.5, 0.25]),
        (dict(steps=6, warmup=3, decay=0.5), [1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3]),
    ],
)
def test_learning_rate_by_hand(monkeypatch, how, shares):
    net, rates = torch.nn.Linear(2, 1), []

    class Spy(torch.optim.Adam):
        def step(self):
            rates.append(self.param_groups[0]["lr"])
            return super().step()

    monkeypatch.setattr(torch.optim, "Adam", Spy)
    fitting.fit(
        net, lambda random, done: net(torch.ones(1, 2)).sum(), how | dict(learning_rate=0.1)
    )
    assert rates == pytest.approx([0.1 * share for share in shares])


def test_it_learns_to_echo():
    model = EncoderDecoder(8, 1, **SIZES | dict(width=32, feed_forward=64, dropout=0.0))
    log = train(model, HOW | dict(batch=32, evaluate_every=100, learning_rate=0.005, steps=300))
    assert log[-1]["valid_loss"] < 0.75 * log[99]["valid_loss"]


def test_the_clock_ends_training(monkeypatch):
    clock = iter(np.arange(0, 1000, 2.5))  # two looks a step
    monkeypatch.setattr(fitting, "process_time", lambda: next(clock))
    log = train(build(), HOW | dict(steps=10**6, minutes=1))
    assert len(log) == 24 and log[-1]["seconds"] == 60 and "valid_loss" in log[-1]


def test_composing_keeps_what_is_able_and_depends_on_the_seed_alone():
    model, sources = build(), [[1, 2, 3], [4, 5], [6, 1, 2, 3]]
    options = dict(length=20, seed=3)
    made = accompanying.compose(model, Echo(), sources, [8] * 3, **options)
    assert all(row[0] == 8 and 7 not in row and 0 not in row for row in made)
    assert made[:2] == accompanying.compose(model, Echo(), sources[:2], [8] * 2, **options)
    assert made != accompanying.compose(model, Echo(), sources, [8] * 3, length=20, seed=4)
    free = accompanying.compose(model, Echo(), sources * 9, [8] * 27, masked=False, **options)
    assert any(7 in row for row in free)


def test_the_likeliest_token_by_hand():
    """With top-k 1 a target is what one gets by asking the model for each token anew."""
    model, source = build().eval(), [3, 1, 4]
    (made,) = accompanying.compose(model, Echo(), [source], [8], length=6, top_k=1, masked=False)
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
    model = EncoderDecoder(task.vocabulary, task.starts, clock=task.clock, **SIZES)
    scores = [corpus["test"].score(0).excerpt(0, 4), corpus["valid"].score(0).excerpt(0, 4)]
    pairs = [task.pair(score, nes.TR) for score in scores]
    sources, targets = zip(*pairs, strict=True)
    made = accompanying.compose(model, task, sources, [row[0] for row in targets], length=60)
    for row in made:
        voice = events.decode(row[1:])
        assert set(voice.notes["voice"]) <= {nes.TR}
