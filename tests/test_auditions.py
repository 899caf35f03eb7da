"""Auditions leave out what a listener would; spans and loops are composed around what stays."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from small_models import small_transformer
from songs import tune

from lakhnes_lib.errors import BadSetting
from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.generation import auditions, decoding, infilling
from lakhnes_lib.listening import results
from lakhnes_lib.models.language_model import LanguageModel, RandomModel
from lakhnes_lib.music import events, grammar, nes
from lakhnes_lib.music.score import Score

SETTINGS = dict(temperature=1.0, top_k=None, top_p=1.0, memory_length=32)
BEAT = 22_050


def melody(pitches, voice=nes.P1, length=0.8, begin=0):
    """Notes of one voice, one a beat: tuples for ``Score.build``."""
    velocity = int(nes.HIGHEST_VELOCITY[voice])
    starts = [begin + number * BEAT for number in range(len(pitches))]
    return [
        (voice, start, start + round(length * BEAT), pitch, velocity)
        for start, pitch in zip(starts, pitches, strict=True)
    ]


def wander(count, seed=0):
    return np.random.default_rng(seed).integers(60, 80, count).tolist()


def test_faults_are_heard_one_by_one():
    line = melody(wander(40))
    bass = melody(wander(40, 1), nes.TR)
    assert auditions.faults(Score.build(line + bass)) == []
    assert auditions.faults(Score.build(line + bass), seconds=41.0) == ["ends early"]
    assert auditions.faults(Score.build(line + bass), seconds=39.0) == []
    for voice, pitch in ((nes.P2, 70), (nes.NO, 7)):
        for seconds, heard in ((5.9, []), (6.1, ["freezes"])):
            held = [(voice, 12 * 44_100, round((12 + seconds) * 44_100), pitch, 9)]
            assert auditions.faults(Score.build(line + bass + held)) == heard
    for count, heard in ((146, []), (147, ["plays too fast"])):  # beside two each of P1 and TR
        times = [12 * 44_100 + 290 * number for number in range(count)]
        roll = [(nes.NO, time, time + 99, 7, 9) for time in times]
        assert auditions.faults(Score.build(line + bass + roll)) == heard
    assert auditions.faults(Score.build(melody(wander(20) + [60, 64, 67] * 10))) == ["loops"]
    for count, heard in ((100, []), (101, ["trills on"])):
        times = [round((1 + number / 10) * 44_100) for number in range(count)]
        trill = [(nes.P2, t, t + 4_000, 60 + 2 * (n % 2), 9) for n, t in enumerate(times)]
        assert auditions.faults(Score.build(line + bass + trill)) == heard
    assert auditions.faults(Score.build(line + bass[:15])) == ["loses a voice"]
    assert auditions.faults(Score.build(line + melody(wander(15), nes.TR, begin=25 * BEAT))) == []


def test_a_piece_is_cut_at_its_last_bar_line():
    bars = [(nes.P1, bar * 4 * BEAT, bar * 4 * BEAT + 900, 60, 9) for bar in range(20)]
    upbeats = [
        (nes.P1, (bar * 4 + 3) * BEAT, (bar * 4 + 3) * BEAT + 900, 62, 9) for bar in range(20)
    ]
    bass = [(nes.TR, bar * 4 * BEAT, bar * 4 * BEAT + 900, 40, 1) for bar in range(20)]
    song = Score.build(bars + upbeats + bass)
    cut = auditions.end_with_a_bar(song, 21.0)  # bars of 2 s begin at 0, 2, ... 20
    assert cut.seconds == 20.0 and len(cut.notes) == 30
    assert auditions.end_with_a_bar(song, 60.0) is song
    assert auditions.end_with_a_bar(song, 0.6).seconds == 0.6, "the beginning is no end"
    nothing = Score.build([(nes.P1, 0, 9 * nes.TICKS_PER_SECOND, 60, 9)])
    assert auditions.end_with_a_bar(nothing, 3.0).seconds == 3.0


class Metronome(LanguageModel):
    """Plays one note a quarter second, of a pitch drawn from twelve; ends a song now and then."""

    END = 0.02

    def log_probs(self, ids, state=None, *, memory_length=None):
        weights = torch.full((*ids.shape, 631), 1e-9)
        on, off = (int(table[nes.P1]) for table in (events.NOTE_ON, events.NOTE_OFF))
        wait = int(events.wait_ids(np.array([11_000]))[0])
        names = ids.numpy()
        is_on, is_off = events.IS_NOTE_ON[names], names == off
        weights[..., on + 60 : on + 72] = 1 / 12
        weights[torch.from_numpy(is_on | is_off)] = 1e-9
        weights[..., wait][torch.from_numpy(is_on | is_off)] = 1.0
        after_note = torch.from_numpy(events.IS_WAIT[names])
        # Between notes: half of the waits end one, half begin one; the grammar mask decides.
        weights[..., off][after_note] = 1.0
        weights[..., 0][torch.from_numpy(is_off)] = self.END
        return (weights / weights.sum(-1, keepdim=True)).log(), ()

    def select(self, state, rows):
        return state


def last(steps):
    *_, result = steps
    return result


def test_pieces_end_where_the_model_ends_them_whatever_the_temperature():
    lengths = {}
    for temperature in (0.2, 1.0):
        options = SETTINGS | dict(temperature=temperature)
        ends = last(
            auditions.compose(Metronome(), n=40, seconds=60.0, seed=1, choices=1, **options)
        )
        lengths[temperature] = np.mean([piece.seconds for piece in ends.pieces])
    assert abs(lengths[0.2] - lengths[1.0]) < 0.3 * lengths[1.0]


def test_candidates_are_left_out_with_their_faults_and_the_best_are_taken_if_all_have_some():
    audition = last(auditions.compose(RandomModel(), n=2, seconds=4.0, seed=3, **SETTINGS))
    assert len(audition.pieces) == 2
    assert len(audition.pieces) + len(audition.left_out) <= 2 * auditions.CANDIDATES + 2
    for score, faults in audition.left_out:
        assert faults == auditions.faults(score, 4.0) or not faults
    for piece in audition.pieces:
        grammar.check(events.frame(events.encode(piece)))
    text = str(audition)
    assert text.startswith("2 of ") and "taken" in text


def test_the_same_seed_gives_the_same_pieces_however_many():
    few = last(auditions.compose(Metronome(), n=1, seconds=9.0, seed=5, **SETTINGS))
    many = last(auditions.compose(Metronome(), n=3, seconds=9.0, seed=5, **SETTINGS))
    assert few.pieces[0] == many.pieces[0]


def test_strangeness_is_the_mean_distance_from_the_middle_of_real_songs():
    song = tune(3, beats=24)
    measured = {name: values[0] for name, values in musical_metrics.measure([song]).items()}
    distances = []
    for name, values in auditions.TYPICAL.items():
        below = 0.0  # share of the real songs, between two known ones by a straight line
        if math.isnan(measured[name]) or measured[name] >= values[-1]:
            below = 1.0
        for number, (low, high) in enumerate(pairwise(values)):
            if low <= measured[name] < high:
                first, second = auditions.SHARES[number : number + 2]
                below = first + (measured[name] - low) / (high - low) * (second - first)
        weight = {"looping": 4, "groove_consistency": 2}.get(name, 1)
        distances += [abs(below - 0.5) * 2] * weight
    assert 0.1 < auditions.strangeness(song) < 0.9
    assert auditions.strangeness(song) == pytest.approx(sum(distances) / len(distances))
    assert auditions.strangeness(Score.build([], 44_100)) > 0.9, "nothing is as strange as silence"


def test_usual_values_are_those_that_were_measured():
    usual = results.read("auditions")["values"]["usual"]
    assert usual.keys() == auditions.TYPICAL.keys()
    for name, quantiles in usual.items():
        assert auditions.TYPICAL[name] == pytest.approx(quantiles, rel=6e-3), name


def test_of_each_three_candidates_without_a_fault_the_least_strange_is_taken():
    options = dict(seconds=9.0, seed=5, **SETTINGS)
    everyone = last(auditions.compose(Metronome(), n=6, choices=1, **options)).pieces
    chosen = last(auditions.compose(Metronome(), n=2, choices=3, **options))
    groups = everyone[:3], everyone[3:]
    assert chosen.pieces == [min(group, key=auditions.strangeness) for group in groups]
    others = [score for score, faults in chosen.left_out if not faults]
    assert len(others) == 4 and all(score in everyone for score in others)
    assert "not needed (4)" in str(chosen)


def test_no_candidate_vanishes(monkeypatch):
    """Eight are composed side by side; those after the one that was needed are left out, too."""
    monkeypatch.setattr(decoding, "usable_cores", lambda: 8)
    audition = last(auditions.compose(Metronome(), n=1, seconds=9.0, seed=5, choices=1, **SETTINGS))
    assert len(audition.pieces) == 1 and (1 + len(audition.left_out)) % 8 == 0
    assert [] in [faults for _, faults in audition.left_out]


# Between two cuts

SONG = tune(3, beats=24)


@pytest.fixture(scope="module")
def model():
    return small_transformer()


@pytest.mark.parametrize("voices", [(0, 1, 2, 3), (nes.P1, nes.P2), (nes.NO,)], ids=str)
@pytest.mark.parametrize("begin", [0.0, 2.03])
def test_what_lies_outside_the_span_stays_to_the_tick(model, voices, begin):
    end = 5.51
    first, last_tick = (round(border * nes.TICKS_PER_SECOND) for border in (begin, end))
    songs = last(infilling.compose(model, SONG, begin, end, voices, n=2, candidates=3, **SETTINGS))
    assert len(songs) == 2 and songs[0] != songs[1]
    for song in songs:
        assert song.length == SONG.length
        for voice in range(4):
            ours, theirs = song.voice(voice), SONG.voice(voice)
            if voice not in voices:
                assert np.array_equal(ours, theirs)
                continue
            before = theirs["end"] <= first
            after = theirs["start"] >= last_tick
            assert set(theirs[before | after].tolist()) <= set(ours.tolist())
            rest = set(ours.tolist()) - set(theirs[before | after].tolist())
            # What else there is lies in the span, or is the rest of a note that crossed a border.
            crossing = theirs[~before & (theirs["start"] < first)]["start"].tolist()
            assert all(first <= start or start in crossing for _, start, _, _, _ in rest)
            crossing = theirs[~after & (theirs["end"] > last_tick)]["end"].tolist()
            assert all(end <= last_tick or end in crossing for _, _, end, _, _ in rest)
        changed = [not np.array_equal(song.voice(voice), SONG.voice(voice)) for voice in voices]
        assert any(changed)


@pytest.mark.parametrize("span", [(5, 5), (-1, 3), (40, 50), (6, 2)])
def test_a_span_that_is_not_in_the_song(model, span):
    with pytest.raises(BadSetting, match="no span from"):
        next(infilling.compose(model, SONG, *span, **SETTINGS))


def test_likelihood_is_that_of_the_events_that_follow(model):
    ids = events.frame(events.encode(SONG))[1:-1].astype(np.int64)
    with torch.inference_mode():
        whole = torch.from_numpy(np.concatenate([[0], ids[:30]]))[None]
        log_probs, _ = model.log_probs(whole[:, :-1])
    by_hand = sum(float(log_probs[0, step, ids[step]]) for step in range(20, 30))
    pairs = [(ids[:20], ids[20:30]), (ids[:20], ids[20:60]), (ids[:8], ids[8:])]
    values = infilling.likelihood(model, pairs, 32)
    assert values[:2] == pytest.approx([by_hand] * 2, rel=1e-4) and values[2] != values[0]


def test_a_loop_lasts_whole_bars_and_says_how_well_it_closes(model):
    """Bars of 1.35 s from the first note on, three beats each, the first beat of two voices: the
    second beat of the last bar has as many notes, and would do as well for an end."""
    beat = 0.45 * nes.TICKS_PER_SECOND
    notes = [
        (voice, round(beat * number), round(beat * (number + 0.8)), pitch + number % 3, 1)
        for number in range(29)
        for voice, pitch in ((nes.P1, 60), (nes.TR, 48))
        if voice == nes.P1 or number % 3 == 0 or number == 28
    ]
    waltz = Score.build(notes, round(29 * beat))
    late = Score.build([(v, a + 9000, b + 9000, p, loud) for v, a, b, p, loud in notes], 600_000)
    for score in (waltz, late, SONG):
        bar, _ = musical_metrics.bar(score)
        piece, seam = infilling.loop(model, score, 32)
        assert 0 < piece.length <= score.length and np.isfinite(seam)
        grammar.check(events.frame(events.encode(piece)))
        assert abs(piece.length / bar - round(piece.length / bar)) < 0.03
        ids, opening = events.encode(piece), events.encode(score)
        ids, opening = (each[events.IS_WAIT[each].argmin() :] for each in (ids, opening))
        pairs = [([], opening[:64]), (ids, opening[:64])]
        start, end = infilling.likelihood(model, pairs, 32)
        assert seam == pytest.approx((start - end) / 64, abs=1e-5)
    assert infilling.loop(model, SONG.excerpt(0, 0.6), 32)[0].seconds == 0.6  # too short for a bar
