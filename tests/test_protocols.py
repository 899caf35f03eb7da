"""The paper's protocol against the published loop, the authors' evaluation song by song, and
diagnostics against plain loops."""

import math

import numpy as np
import pytest
import torch
from songs import tune

from lakhnes_lib.__main__ import main
from lakhnes_lib.data.corpus import write_corpus
from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.evaluation import diagnostics, perplexity
from lakhnes_lib.listening import reproduction
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.language_model import RandomModel, UnigramModel
from lakhnes_lib.models.lstm import LSTM
from lakhnes_lib.models.transformer_xl import TransformerXL
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score

LENGTHS = (30, 10, 9, 77, 12, 41, 2, 64, 18, 33, 25, 10, 50, 11)


def some_songs(seed: int = 0, lengths=LENGTHS) -> list[np.ndarray]:
    """Framed songs of these numbers of events."""
    draw = np.random.default_rng(seed)
    return [
        np.concatenate([[0], draw.integers(1, 631, n - 2), [0]]).astype(np.uint16) for n in lengths
    ]


def published_loop(songs, streams: int, segment: int) -> list[list[list[tuple]]]:
    """Steps of rows of (song, position of the input in it), one event after the other."""
    waiting = [
        [(index, position) for position in range(len(song))]
        for index, song in songs
        if len(song) >= 10
    ]
    rows, steps = [[] for _ in range(streams)], []
    while True:
        step = []
        for row in range(streams):
            inputs = []
            while len(inputs) < segment:
                if len(rows[row]) <= 1:
                    if not waiting:
                        return steps
                    rows[row] = waiting.pop(0)
                inputs.append(rows[row].pop(0))
            step.append(inputs)
        steps.append(step)


def oracle(model, songs, order, streams, segment, memory_length) -> dict[int, list[float]]:
    """The scores of each song, in the order in which they were read; each row is read by itself."""
    steps = published_loop([(index, songs[index]) for index in order], streams, segment)
    scores = {index: [] for index in order if len(songs[index]) >= 10}
    for row in range(streams):
        state = None
        for step in steps:
            ids = torch.tensor([[int(songs[index][position]) for index, position in step[row]]])
            log_probs, state = model.log_probs(ids, state, memory_length=memory_length)
            for column, (index, position) in enumerate(step[row]):
                target = int(songs[index][position + 1])
                scores[index].append(float(log_probs[0, column, target]))
    return scores


@pytest.fixture(scope="module")
def models():
    """Small models of float64 that their past moves strongly."""
    sizes = dict(layers=2, width=16, heads=2, head_width=8, feed_forward=32)
    models = {"lstm": LSTM(embedding=8, units=16), "transformer_xl": TransformerXL(**sizes)}
    draw = np.random.default_rng(1)
    for model in models.values():
        model.double().eval().requires_grad_(False)
        for parameter in model.parameters():
            parameter.data = torch.from_numpy(draw.normal(0.0, 0.5, parameter.shape))
    return models


@pytest.mark.parametrize("streams, segment", [(3, 16), (1, 7), (10, 9), (2, 200), (4, 1)])
@pytest.mark.parametrize("name", ["lstm", "transformer_xl"])
def test_paper_is_the_published_loop(models, name, streams, segment):
    model = models[name]
    songs = some_songs() if segment > 1 else some_songs(lengths=(12, 9, 10, 15, 11, 10, 3, 13))
    names = [f"song {(7 * index) % len(songs):02d}" for index in range(len(songs))]
    order = sorted(range(len(songs)), key=lambda index: names[index])
    scores = perplexity.paper(
        model, songs, names, streams=streams, segment=segment, memory_length=20, progress=False
    )
    expected = oracle(model, songs, order, streams, segment, 20)
    assert scores.indices == tuple(expected)
    for scored, row in zip(scores.songs, expected.values(), strict=True):
        np.testing.assert_allclose(scored, row, rtol=0, atol=1e-5)
    assert scores.targets + scores.unscored == sum(
        len(song) - 1 for song in songs if len(song) >= 10
    )
    assert scores.targets % (streams * segment) == 0
    if scores.targets:
        every = [score for row in expected.values() for score in row]
        assert scores.perplexity == pytest.approx(math.exp(-sum(every) / len(every)), rel=1e-5)


def test_one_stream_leaves_less_than_a_segment():
    songs = some_songs()
    scores = perplexity.paper(RandomModel(), songs, streams=1, segment=32, progress=False)
    in_order = tuple(index for index, song in enumerate(songs) if len(song) >= 10)
    assert scores.indices == in_order
    assert 0 <= scores.unscored < 32
    assert scores.perplexity == pytest.approx(631, rel=1e-5)


def test_memory_runs_on_from_song_to_song(models):
    """The first song of a stream is scored as under the exact protocol, the next one is not."""
    songs = some_songs(3, (40, 40))
    settings = dict(segment=13, memory_length=100, progress=False)
    exact = perplexity.exact(models["transformer_xl"], songs, **settings)
    paper = perplexity.paper(models["transformer_xl"], songs, streams=1, **settings)
    assert paper.unscored == 0 and exact.unscored == 0 and exact.indices == paper.indices == (0, 1)
    np.testing.assert_allclose(exact.songs[0], paper.songs[0], atol=1e-5)
    assert np.abs(exact.songs[1] - paper.songs[1]).max() > 1e-3


def test_too_few_songs_score_nothing():
    scores = perplexity.paper(RandomModel(), some_songs()[:4], progress=False)
    assert scores.targets == 0 and scores.unscored == 29 + 9 + 76
    with pytest.raises(DataNotFound, match="no event was scored"):
        _ = scores.perplexity


# Song by song


def test_song_by_song_is_each_song_alone_in_segments_of_512(models):
    """Songs of any length; the first segment ends after 512 events, and the memory fades there."""
    model, songs = models["transformer_xl"], some_songs(4, (3, 600, 2, 9, 40))
    scores = perplexity.per_song(model, songs, memory_length=20, progress=False)
    assert scores.indices == (0, 1, 2, 3, 4)
    for scored, song in zip(scores.songs, songs, strict=True):
        ids, state, by_hand = torch.from_numpy(song.astype(np.int64))[None], None, []
        for start in range(0, len(song) - 1, 512):
            inputs, targets = ids[:, :-1], ids[:, 1:]
            part = slice(start, start + 512)
            with torch.inference_mode():
                log_probs, state = model.log_probs(inputs[:, part], state, memory_length=20)
            by_hand += log_probs[0].gather(1, targets[0, part, None])[:, 0].tolist()
        np.testing.assert_allclose(scored, by_hand, atol=1e-5)
    short = perplexity.per_song(model, songs, segment=128, memory_length=20, progress=False)
    assert np.abs(short.songs[1] - scores.songs[1]).max() > 1e-3


def test_a_whole_song_has_its_edge_waits():
    late = tune(1, beats=8).notes.copy()
    late["start"] += 500
    late["end"] += 500
    song = Score(late, int(late["end"].max()) + 2_000)
    ids = perplexity.whole(song)
    assert ids.dtype == np.uint16 and ids[0] == ids[-1] == events.START
    assert events.IS_WAIT[ids[[1, -2]]].all()
    assert ids[2:-2].tolist() == events.frame(events.encode(song))[1:-1].tolist()
    empty = perplexity.whole(Score([], 100))
    assert [events.VOCABULARY[event] for event in empty] == ["<S>", "WT_100", "<S>"]
    songs, settings = [song, Score([], 100)], {"protocol": "per_song", "progress": False}
    assert perplexity.perplexity(RandomModel(), songs, **settings) == pytest.approx(631, rel=1e-5)


def off_the_grid(text: str) -> list[int]:
    """The waits of an event text, in ticks, that the vocabulary lacks."""
    known = set(events.VOCABULARY)
    return [int(line.removeprefix("WT_")) for line in text.splitlines() if line not in known]


def test_the_authors_songs_are_ours(nesmdb):
    """Names, numbers of events and seconds of all songs of their list; its songs make up its
    total. (Their seconds are those of the waits that had to be rounded.)"""
    known, split = reproduction.known_answers()["song_by_song"], nesmdb["test"]
    songs = [perplexity.whole(split.score(index)) for index in range(len(split))]
    assert known["songs"].keys() == set(split.names)
    for index, (name, song) in enumerate(zip(split.names, songs, strict=True)):
        tokens, seconds, _ = known["songs"][name]
        assert len(song) == tokens, name
        ticks = sum(off_the_grid(events.to_tx1(split.score(index))))
        assert ticks / nes.TICKS_PER_SECOND == pytest.approx(seconds, abs=6e-4), name
    scores = perplexity.per_song(RandomModel(), songs, progress=False)
    assert scores.targets == sum(tokens - 1 for tokens, _, _ in known["songs"].values()) == 407_641
    targets, nats = diagnostics.per_song(scores)
    np.testing.assert_allclose(np.exp(nats), 631, rtol=1e-5)
    published = np.array([known["songs"][name][2] for name in split.names])
    mean = (targets * np.log(published)).sum() / targets.sum()
    # Each song has two digits only.
    rows = reproduction.known_answers()["published"]
    total = next(row["per_song"] for row in rows if row["name"] == known["model"])
    assert math.exp(mean) == pytest.approx(total, abs=5e-4)


# Diagnostics


@pytest.fixture(scope="module")
def scored(models):
    songs = [events.frame(events.encode(tune(seed, 8 + 4 * seed))) for seed in range(6)]
    songs.insert(2, np.array([0, 500, 0], np.uint16))  # too short, so it has no scores
    return songs, perplexity.paper(models["lstm"], songs, streams=2, segment=20, progress=False)


def by_hand(songs, scores, label_of) -> dict:
    """label -> the nats of its events; label_of: a function of event id and position."""
    nats = {}
    for index, values in zip(scores.indices, scores.songs, strict=True):
        for position, value in enumerate(values, 1):
            label = label_of(int(songs[index][position]), position)
            nats.setdefault(label, []).append(-float(value))
    return nats


def assert_groups(groups, expected):
    assert set(expected) <= set(groups.labels)
    for label, targets, nats in zip(groups.labels, groups.targets, groups.nats, strict=True):
        values = expected.get(label, [])
        assert targets == len(values)
        assert (
            math.isnan(nats)
            if not values
            else nats == pytest.approx(sum(values) / len(values), rel=1e-6)
        )


def test_by_kind_and_voice(scored):
    songs, scores = scored

    def kind(event, _):
        name = events.VOCABULARY[event]
        if event == 0:
            return "end"
        if name[:2] == "WT":
            return "time"
        return "note-off" if "OFF" in name else "note-on"

    def voice(event, _):
        title = events.VOCABULARY[event][:2]
        return title if title in nes.VOICES else "no voice"

    kinds, voices = diagnostics.by_kind(scores, songs), diagnostics.by_voice(scores, songs)
    assert_groups(kinds, by_hand(songs, scores, kind))
    assert_groups(voices, by_hand(songs, scores, voice))
    for groups in (kinds, voices):
        assert groups.targets.sum() == scores.targets
        assert np.nansum(groups.targets * groups.nats) == pytest.approx(
            scores.nats * scores.targets, rel=1e-6
        )
        assert groups.share.sum() == pytest.approx(1)
    np.testing.assert_allclose(kinds.perplexity, np.exp(kinds.nats))


def test_by_position(scored):
    songs, scores = scored
    edges, groups = diagnostics.by_position(scores)
    assert edges[:3].tolist() == [1, 2, 4] and groups.labels[:3] == ("1", "2-3", "4-7")
    assert groups.targets.sum() == scores.targets

    def octave(_, position):
        first = 2 ** int(math.log2(position))
        return "1" if first == 1 else f"{first}-{2 * first - 1}"

    assert_groups(groups, by_hand(songs, scores, octave))


def test_per_song(scored):
    songs, scores = scored
    targets, nats = diagnostics.per_song(scores)
    for values, count, mean in zip(scores.songs, targets, nats, strict=True):
        assert count == len(values)
        assert math.isnan(mean) if not count else mean == pytest.approx(-values.mean(), rel=1e-5)


def test_by_memory(models):
    songs, model = some_songs(2)[:4], models["transformer_xl"]
    perplexities = diagnostics.by_memory(model, songs, (0, 5, 1000), segment=4, progress=False)
    for memory_length, measured in zip((0, 5, 1000), perplexities, strict=True):
        scores = perplexity.exact(
            model, songs, segment=4, memory_length=memory_length, progress=False
        )
        assert measured == scores.perplexity
    assert len(set(perplexities)) == 3


# The command line, and real music


def test_evaluate_by_every_protocol(tmp_path, capsys):
    test = [tune(seed) for seed in range(12)]
    corpus = write_corpus({"test": test, "valid": test[:3]}, tmp_path / "corpus")
    checkpoints.save(LSTM(embedding=4, units=8), tmp_path / "model")
    command = [
        "evaluate",
        str(tmp_path / "model"),
        "--data",
        str(tmp_path / "corpus"),
        "--device",
        "cpu",
    ]
    assert main([*command, "--protocol", "paper", "--segment", "16"]) == 0
    line = capsys.readouterr().out
    model, songs = checkpoints.load(tmp_path / "model"), corpus["test"]
    scores = perplexity.paper(model, songs.framed(), songs.names, segment=16, progress=False)
    assert f"perplexity {scores.perplexity:.4f}" in line and f"{scores.targets:,} events" in line
    assert f"{scores.unscored:,} (" in line and "paper's protocol" in line
    assert main(command) == 0
    exact = perplexity.exact(model, songs.framed(), progress=False)
    assert f"perplexity {exact.perplexity:.4f}" in capsys.readouterr().out
    whole = [perplexity.whole(song) for song in test]
    short = ["--segment", "16", "--memory", "4"], {"segment": 16, "memory_length": 4}
    for options, settings in (([], {}), short):
        assert main([*command, "--protocol", "per-song", *options]) == 0
        scores = perplexity.per_song(model, whole, progress=False, **settings)
        line = f"perplexity {scores.perplexity:.4f}, 12 songs, {scores.targets:,} events\n"
        assert line in capsys.readouterr().out
        assert scores.targets == sum(map(len, whole)) - 12
    assert main([*command, "--protocol", "paper", "--split", "valid"]) == 1
    assert "too few songs" in capsys.readouterr().err
    assert main([*command, "--protocol", "other"]) == 2


def test_the_papers_protocol_leaves_four_percent_of_nesmdb_unscored(nesmdb):
    train = np.concatenate([song[1:-1] for song in nesmdb["train"].framed()]).astype(np.int64)
    unigram = UnigramModel().fit(torch.from_numpy(train))
    for split, songs, targets, unscored in (
        ("test", 371, 407_130, 18_010),
        ("valid", 402, 641_556, 9_236),
    ):
        framed, names = nesmdb[split].framed(), nesmdb[split].names
        exact = perplexity.exact(unigram, framed, progress=False)
        paper = perplexity.paper(unigram, framed, names, progress=False)
        assert (len(exact.songs), exact.targets) == (
            len(paper.songs),
            paper.targets + paper.unscored,
        )
        assert (len(exact.songs), exact.targets, paper.unscored) == (songs, targets, unscored)
        if split == "test":  # the paper's unigram: <S> neither counted nor scored
            kinds = diagnostics.by_kind(exact, framed)
            music = np.array(kinds.labels) != "end"
            nats = (kinds.targets * kinds.nats)[music].sum() / kinds.targets[music].sum()
            assert math.exp(nats) == pytest.approx(198.14, abs=0.005)
