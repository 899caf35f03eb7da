"""Composing from a beginning, a rhythm and given voices: what is given stays, the rest is valid."""

import itertools
import json
import wave

import numpy as np
import pytest
import symusic
import torch
from small_models import small_transformer
from songs import tune

from lakhnes_lib.cli.composing import voices_of
from lakhnes_lib.data.build import read_any, read_song
from lakhnes_lib.errors import BadMidi, LakhnesError, OutOfSpace
from lakhnes_lib.generation import auditions, continuation, given_voices, rhythm, sampling
from lakhnes_lib.listening import gallery
from lakhnes_lib.models.language_model import LanguageModel, RandomModel, UnigramModel
from lakhnes_lib.music import events, grammar, midi, nes
from lakhnes_lib.music.score import Score

SETTINGS = dict(temperature=1.0, top_k=None, top_p=1.0, memory_length=32)
SONG = tune(3, beats=8)


@pytest.fixture(scope="module")
def model():
    return small_transformer()


def last(steps) -> list[np.ndarray]:
    """What the last step of a way to compose gives."""
    *_, made = steps
    return [np.array(ids) for ids in made]


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


# Given voices


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


# Keeping


def test_every_form_comes_back_and_the_gallery_shows_it(tmp_path):
    song = SONG.renamed("<a> & b")
    gallery.save_pieces([song], tmp_path, "piece", "from <nothing>")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["index.html", *(f"piece_00.{ending}" for ending in (*gallery.ENDINGS, "png", "json"))]
    )
    assert read_song(tmp_path / "piece_00.mid") == song and len(
        read_song(tmp_path / "piece_00.vgm").notes
    )
    assert events.to_tx1(read_song(tmp_path / "piece_00.tx1.txt")) == events.to_tx1(song)
    with wave.open(str(tmp_path / "piece_00.wav")) as sound:
        assert sound.getnframes() == song.length
    assert json.loads((tmp_path / "piece_00.json").read_text())["caption"] == "from <nothing>"
    (tmp_path / "config.json").write_text('{"layers": 3}')  # of something else, so no piece
    page = gallery.write_gallery(tmp_path).read_text(encoding="utf-8")
    assert page.count("<figure") == 1
    assert "&lt;a&gt; &amp; b" in page and "<nothing>" not in page
    assert all(f'"piece_00.{ending}"' in page for ending in (*gallery.ENDINGS, "png"))


def test_a_full_disk_loses_the_sound_alone(tmp_path, monkeypatch):
    """The notes of every piece are saved, and the page shows them."""
    write = gallery.write_song

    def full(score, path, **options):
        if path.endswith(".wav"):
            raise OutOfSpace(f"{path}: the disk is full; nothing of it was saved")
        write(score, path, **options)

    monkeypatch.setattr(gallery, "write_song", full)
    with pytest.raises(OutOfSpace, match="piece_00.wav: the disk is full"):
        gallery.save_pieces([SONG, SONG.renamed("second")], tmp_path, "piece")
    assert [read_song(tmp_path / f"piece_0{number}.mid") for number in range(2)] == [SONG, SONG]
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 2 and "second" in page
