"""Composing from a beginning and a rhythm: what is given stays, the rest is valid."""

import itertools

import numpy as np
import pytest
import symusic
import torch
from composed import SETTINGS, SONG, last
from small_models import small_transformer

from lakhnes_lib.data.build import read_any, read_song
from lakhnes_lib.errors import BadMidi, LakhnesError
from lakhnes_lib.generation import continuation, given_voices, rhythm, sampling
from lakhnes_lib.models.language_model import RandomModel
from lakhnes_lib.music import events, grammar, midi, nes
from lakhnes_lib.music.score import Score


@pytest.fixture(scope="module")
def model():
    return small_transformer()


def names(ids) -> list[str]:
    return [events.VOCABULARY[event] for event in ids]


# Beginnings


def test_cut_at_a_time_keeps_what_has_begun_and_leaves_open_what_sounds():
    song = Score.build([(nes.P1, 44_100, 132_300, 60, 9), (nes.TR, 66_150, 88_200, 40, 1)], 176_400)
    assert names(continuation.cut(song, seconds=1.6)) == [
        "P1_NOTEON_60",
        "WT_22000",
        "TR_NOTEON_40",
    ]
    assert names(continuation.cut(song, seconds=1.4)) == ["P1_NOTEON_60"]
    assert names(continuation.cut(song, count=2)) == ["P1_NOTEON_60", "WT_22000"]
    assert len(continuation.cut(song)) == len(events.frame(events.encode(song))) - 2


@pytest.mark.parametrize("options", [{"seconds": 0.9}, {"seconds": 0.0}, {"count": 0}])
def test_nothing_to_go_on_from(options):
    song = Score.build([(nes.P1, 44_100, 132_300, 60, 9)], name="late")
    with pytest.raises(LakhnesError, match="late: .* holds no note to go on from"):
        continuation.cut(song, **options)
    with pytest.raises(LakhnesError, match="no note to go on from"):
        continuation.cut(Score.build([], 1000))


def test_continuations_begin_alike_and_go_on_differently(model):
    prime = continuation.cut(SONG, seconds=1.0)
    made = sampling.sample(model, prime=prime, n=3, length=40, seed=1, **SETTINGS)
    for ids in made:
        grammar.check(ids)
        assert ids[: len(prime)].tolist() == prime.tolist() and len(ids) > len(prime)
    assert not np.array_equal(made[0], made[1])
    again = sampling.sample(model, prime=prime, n=1, length=40, seed=1, **SETTINGS)
    assert again[0].tolist() == made[0].tolist()


def test_perplexity_of_a_beginning_is_that_of_its_events(model):
    assert continuation.perplexity(RandomModel(), continuation.cut(SONG)) == pytest.approx(
        631, rel=1e-5
    )
    ids = continuation.cut(SONG, count=20).astype(np.int64)
    with torch.inference_mode():
        log_probs, _ = model.log_probs(torch.from_numpy(np.concatenate([[0], ids]))[None, :-1])
    by_hand = np.exp(-np.mean([float(log_probs[0, i, event]) for i, event in enumerate(ids)]))
    assert continuation.perplexity(model, ids) == pytest.approx(by_hand, rel=1e-4)
    assert np.isnan(continuation.perplexity(model, ids[:3]))


def test_what_is_composed_before_a_stop_is_a_score(model):
    settings = dict(SETTINGS, prime=continuation.cut(SONG, count=9), n=2, length=90, seed=0)
    for steps in (
        sampling.grow(sampling.stream(model, **settings), settings["prime"]),
        rhythm.compose(model, SONG, n=2, seed=0, **SETTINGS),
        given_voices.compose(model, SONG, [nes.NO], n=2, candidates=4, **SETTINGS),
    ):
        made = list(itertools.islice(steps, 17))[-1]
        for ids in made:
            assert events.decode(np.array(ids)).length > 0
        steps.close()


# Reading


def band(path, *parts, name="band"):
    """A General MIDI file at 120 beats a minute.

    parts: (program, is drum, [(beat, beats, pitch)]) for each instrument.
    """
    song = symusic.Score(480)
    song.tempos.append(symusic.Tempo(0, 120))
    for program, is_drum, notes in parts:
        track = symusic.Track(name, program, is_drum)
        for beat, beats, pitch in notes:
            track.notes.append(symusic.Note(int(beat * 480), int(beats * 480), pitch, 100))
        song.tracks.append(track)
    song.dump_midi(path)
    return path


def test_midi_of_other_instruments_is_read_by_role(tmp_path):
    bass = [(beat, 0.9, 40 + beat % 5) for beat in range(12)]
    song = read_any(band(tmp_path / "bass.mid", (33, False, bass)))
    assert song.name == "bass" and len(song.voice(nes.TR)) == len(song.notes) == 12
    assert len(read_any(band(tmp_path / "unnamed.mid", (33, False, bass), name="")).notes) == 12


def test_two_notes_in_one_voice_are_an_error_of_nes_music(tmp_path):
    """Music for any instruments is cut to one note at a time."""
    song = symusic.Score(22_050)
    track = symusic.Track("p1", 80, False)
    for start, pitch in ((0, 60), (500, 64)):
        track.notes.append(symusic.Note(start, 1000, pitch, 9))
    song.tracks.append(track)
    song.dump_midi(tmp_path / "two.mid")
    with pytest.raises(BadMidi, match="starts before its voice's last note ends"):
        read_song(tmp_path / "two.mid")
    notes = read_any(tmp_path / "two.mid").notes[["start", "end", "velocity"]]
    assert notes.tolist() == [(0, 500, 9), (500, 1500, 9)]


# Rhythm


def test_rhythm_keeps_everything_but_the_pitches(model):
    script = events.frame(events.encode(SONG))[1:-1]
    made = last(rhythm.compose(model, SONG, n=3, seed=2, **SETTINGS))
    free = events.IS_NOTE_ON[script] & (events.VOICE_OF[script] != nes.NO)
    for ids in made:
        grammar.check(ids)
        assert np.array_equal(ids[~free], script[~free])
        assert np.array_equal(events.VOICE_OF[ids[free]], events.VOICE_OF[script[free]])
        assert events.IS_NOTE_ON[ids[free]].all()
    assert len({ids.tobytes() for ids in made}) == 3


def test_rhythm_obeys_temperature_and_top_k(model):
    cold = last(rhythm.compose(model, SONG, n=3, seed=2, **SETTINGS | {"temperature": 1e-6}))
    first = last(rhythm.compose(model, SONG, n=3, seed=5, **SETTINGS | {"top_k": 1}))
    assert len({ids.tobytes() for ids in cold + first}) == 1
    ids = cold[0].astype(np.int64)
    with torch.inference_mode():
        log_probs, _ = model.log_probs(torch.from_numpy(np.concatenate([[0], ids]))[None, :-1])
    for index in np.flatnonzero(events.IS_NOTE_ON[ids] & (events.VOICE_OF[ids] != nes.NO))[:8]:
        same = np.flatnonzero(events.IS_NOTE_ON & (events.VOICE_OF == events.VOICE_OF[ids[index]]))
        assert ids[index] == same[int(log_probs[0, index, same].argmax())], (
            "the likeliest pitch of its voice"
        )


def test_rhythm_without_a_melodic_onset():
    with pytest.raises(LakhnesError, match="hum: no note of P1, P2 or TR begins"):
        next(
            rhythm.compose(
                RandomModel(),
                Score.build([(nes.NO, 0, 9, 3, 5)], name="hum"),
                n=1,
                seed=0,
                **SETTINGS,
            )
        )


def test_drums_alone_are_a_rhythm(tmp_path):
    hits = [(0, 0.1, 36), (0, 0.1, 42), (1, 0.1, 38), (1.5, 0.1, 42), (2, 0.1, 36)]
    song = rhythm.read(band(tmp_path / "drums.mid", (0, True, hits)))
    beat = 22_050
    assert song.voice(nes.TR)["start"].tolist() == [0, 2 * beat]
    assert song.voice(nes.P1)["start"].tolist() == [beat]
    assert song.voice(nes.P2)["start"].tolist() == [0, 1.5 * beat]
    assert song.voice(nes.NO)["start"].tolist() == [0, beat, 1.5 * beat, 2 * beat]
    assert song.voice(nes.NO)["pitch"].tolist() == [4, 10, 16, 4], (
        "in one instant the deepest sounds"
    )
    midi.write(song.only([nes.NO]), tmp_path / "noise.mid")
    assert np.array_equal(rhythm.read(tmp_path / "noise.mid").voice(nes.TR)["start"], [0, 2 * beat])
    midi.write(SONG, tmp_path / "song.mid")
    assert rhythm.read(tmp_path / "song.mid") == SONG
    grammar.check(last(rhythm.compose(RandomModel(), song, n=1, seed=0, **SETTINGS))[0])


def test_a_rhythm_without_a_note(tmp_path):
    midi.write(Score.build([], 44_100), tmp_path / "silence.mid")
    song = rhythm.read(tmp_path / "silence.mid")
    with pytest.raises(LakhnesError, match="silence: no note of P1, P2 or TR begins"):
        next(rhythm.compose(RandomModel(), song, n=1, seed=0, **SETTINGS))


def late(song: Score, ticks: int) -> Score:
    """The song after a silence."""
    notes = song.notes.copy()
    notes["start"] += ticks
    notes["end"] += ticks
    return Score.build(notes, name=song.name)


def test_a_silence_before_the_first_note_stays(model):
    for seconds in (2, 7):  # the longest wait has 2.3
        song = late(SONG, seconds * 44_100)
        for ids in (
            last(rhythm.compose(model, song, n=1, seed=2, **SETTINGS))[0],
            last(given_voices.compose(model, song, [nes.TR], candidates=2, **SETTINGS))[0],
        ):
            composed = events.decode(ids).voice(nes.TR)["start"]
            assert np.abs(composed - song.voice(nes.TR)["start"]).max() <= 500 * (1 + seconds // 2)
