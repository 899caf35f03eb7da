"""Composing around given voices: they stay, the rest is valid, and fits what comes later."""

import numpy as np
import pytest
import torch
from composed import SETTINGS, SONG, last
from small_models import small_transformer

from lakhnes_lib.cli.composing import voices_of
from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.generation import auditions, given_voices, rhythm
from lakhnes_lib.models.language_model import LanguageModel, RandomModel, UnigramModel
from lakhnes_lib.music import events, grammar, nes
from lakhnes_lib.music.score import Score


@pytest.fixture(scope="module")
def model():
    return small_transformer()


@pytest.mark.parametrize(
    "voices", [[nes.NO], [nes.TR, nes.NO], [nes.P1], [nes.P1, nes.P2, nes.NO]], ids=str
)
@pytest.mark.parametrize("candidates", [1, 6])
def test_given_voices_stay_and_the_rest_is_valid(model, voices, candidates):
    made = last(
        given_voices.compose(model, SONG, voices, n=2, candidates=candidates, seed=4, **SETTINGS)
    )
    for ids in made:
        grammar.check(ids)
        score = events.decode(ids)
        begin = SONG.only(voices).notes["start"].min()
        for voice in voices:
            given, composed = SONG.voice(voice), score.voice(voice)
            assert np.array_equal(given["pitch"], composed["pitch"])
            for edge in (
                "start",
                "end",
            ):  # half a step of the coarsest part of the grid, and never added up
                assert np.abs(given[edge] - composed[edge]).max(initial=0) <= 500 + begin // 20
        assert score.length <= SONG.length
    assert not np.array_equal(made[0], made[1])
    again = last(
        given_voices.compose(model, SONG, voices, n=1, candidates=candidates, seed=4, **SETTINGS)
    )
    assert np.array_equal(again[0], made[0])


def test_a_pause_longer_than_the_longest_wait(model):
    song = Score.build([(nes.NO, 0, 4410, 3, 9), (nes.NO, 400_000, 404_410, 3, 9)])
    ids = last(given_voices.compose(model, song, [nes.NO], candidates=3, **SETTINGS))[0]
    grammar.check(ids)
    assert np.abs(events.decode(ids).voice(nes.NO)["start"] - [0, 400_000]).max() <= 500


class Listener(LanguageModel):
    """A model that expects of TR the pitch that P1 has played, from then on."""

    PITCHES = np.array([60, 64, 67, 72])

    def log_probs(self, ids, state=None, *, memory_length=None):
        rows, time = ids.shape
        weights = torch.full((rows, time, 631), 1e-6)
        heard = torch.zeros(rows, dtype=torch.int64) if state is None else state
        p1, tr = (int(events.NOTE_ON[voice]) for voice in (nes.P1, nes.TR))
        for step in range(time):
            on = (ids[:, step] >= p1 + 33) & (ids[:, step] <= p1 + 108)
            heard = torch.where(on, ids[:, step] - p1, heard)
            wait = torch.from_numpy(events.IS_WAIT[ids[:, step].numpy()]) | (
                ids[:, step] == events.START
            )
            weights[:, step, 1:371] = torch.where(wait, 1e-6, 1.0)[:, None] / 370
            for pitch in self.PITCHES:
                weights[:, step, p1 + pitch] = torch.where(wait & (heard == 0), 1.0, 1e-6)
            for row in range(rows):
                if heard[row]:
                    weights[row, step, tr + int(heard[row])] = 1.0 if wait[row] else 1e-6
        return (weights / weights.sum(-1, keepdim=True)).log(), heard

    def select(self, state, rows):
        return state[rows]


def test_candidates_hear_what_the_given_voice_does_later():
    """P1 comes before TR and must guess; only candidates that guessed TR's pitch predict it."""
    hits = 0
    for seed, pitch in enumerate(Listener.PITCHES.tolist() * 2):
        song = Score.build([(nes.NO, 0, 100, 1, 9), (nes.TR, 22_000, 44_000, pitch, 1)])
        ids = last(
            given_voices.compose(
                Listener(), song, [nes.TR, nes.NO], candidates=24, seed=seed, **SETTINGS
            )
        )[0]
        grammar.check(ids)
        first = events.decode(ids).voice(nes.P1)["pitch"][:1].tolist()
        hits += first == [pitch]
    assert hits >= 6, "by chance two of eight"


class Lazy(RandomModel):
    """Lets the longest wait come, and hardly ever anything else."""

    def log_probs(self, ids, state=None, *, memory_length=None):
        log_probs, state = super().log_probs(ids, state, memory_length=memory_length)
        log_probs = log_probs.clone()
        log_probs[..., events.wait_ids(np.array(events.LONGEST_WAIT))] = 30.0
        return log_probs.log_softmax(-1), state


@pytest.mark.parametrize("given", range(4))
def test_no_voice_rests_on_beside_a_given_one(given):
    """It begins at a given event, whether its events stand before the given voice's or after."""
    notes = [(given, start, start + 10_000, 10, 1) for start in range(0, 500_000, 20_000)]
    pitch = 10 if given == nes.NO else 60
    song = Score.build([(voice, start, end, pitch, 1) for voice, start, end, *_ in notes])
    ids = last(given_voices.compose(Lazy(), song, [given], candidates=1, **SETTINGS))[0]
    score = events.decode(ids)
    for voice in set(range(4)) - {given}:
        assert len(score.voice(voice)) and score.voice(voice)["start"][0] < 2 * 44_100


def test_what_plays_nothing_is_taken_last():
    noise = Score.build([(nes.P1, 0, 44_100 * 9, 60, 9)])  # freezes, hardly plays
    silence = Score.build([], 44_100 * 9)
    assert auditions.best([silence, noise], np.array([5.0, 0.0])) == 1


def test_a_candidate_with_a_fault_is_not_taken():
    """Even if the given voice is predicted best beside a note that is held for long."""
    song = Score.build([(nes.NO, beat * 22_050, beat * 22_050 + 900, 3, 9) for beat in range(40)])
    options = dict(candidates=4, seed=0, **SETTINGS)
    given = given_voices.given_events(song, [nes.NO])
    pieces = given_voices.Accompaniment(UnigramModel(), given, [nes.P1], **options)
    held = np.array([events.NOTE_ON[nes.P1] + 60, *given_wait(20.0), events.NOTE_OFF[nes.P1]])
    off = events.NOTE_OFF[nes.P1]
    pitches = np.random.default_rng(0).integers(60, 80, 40)
    notes = [[events.NOTE_ON[nes.P1] + p, *given_wait(0.4), off, *given_wait(0.1)] for p in pitches]
    moving = np.concatenate(notes)
    longest = max(len(held), len(moving)) + 1
    rows = [np.pad([0, *ids], (0, longest - 1 - len(ids))) for ids in (held, moving, moving, held)]
    pieces.made, pieces.fit = np.stack(rows), np.array([0.0, -9.0, -5.0, -1.0])
    assert pieces.best().tolist() == moving.tolist()
    pieces.fit = np.array([0.0, -5.0, -9.0, -1.0])
    assert pieces.best().tolist() == moving.tolist()


def given_wait(seconds: float) -> list[int]:
    """Ids of waits that last so long together."""
    ticks, ids = round(seconds * nes.TICKS_PER_SECOND), []
    while ticks > 0:
        ids.append(int(events.wait_ids(np.array([min(ticks, events.LONGEST_WAIT)]))[0]))
        ticks -= events.LONGEST_WAIT
    return ids


@pytest.mark.parametrize(
    ("voices", "rule"),
    [
        ([0, 1, 2, 3], "all four voices are given"), ([nes.P2], "P2 given, and there is no note"),
        ([], "no voice given"), ([4], "numbers from 0 to 3"),
    ],
)  # fmt: skip
def test_voices_that_cannot_be_given(voices, rule):
    with pytest.raises(LakhnesError, match=rule):
        given_voices.given_events(SONG, voices)


def test_settings_out_of_range(model):
    for wrong, rule in (
        ({"temperature": 0}, "temperature"), ({"temperature": -1}, "temperature"),
        ({"top_k": -1}, "top-k"), ({"n": 0}, "0 pieces of"), ({"seed": -1}, "seed"),
        ({"n": 10**9}, "not 1 to 50,000,000 in all"), ({"memory_length": 10**9}, "at most 250,000"),
        ({"candidates": 0}, "at least one candidate"),
    ):  # fmt: skip
        with pytest.raises(LakhnesError, match=rule):
            next(given_voices.compose(model, SONG, [nes.NO], **SETTINGS | wrong))
        if "candidates" not in wrong:
            with pytest.raises(LakhnesError, match=rule):
                next(rhythm.compose(model, SONG, **{"n": 1, "seed": 0} | SETTINGS | wrong))
    with pytest.raises(LakhnesError, match="'DRUMS' is no voice"):
        voices_of("TR,drums")
    assert voices_of("no, p1") == [nes.NO, nes.P1]
