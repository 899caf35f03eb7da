"""Pairs to learn complementary tracks from: nothing is lost, and what is composed is valid."""

import numpy as np
import pytest
import symusic
from songs import tune

from lakhnes_lib.companions import accompanying, band_parts, paired_parts
from lakhnes_lib.companions.encoder_decoder import EncoderDecoder
from lakhnes_lib.companions.paired_parts import STARTS, NesPairs
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.errors import BadMidi
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score


@pytest.fixture(scope="module")
def corpus():
    return prepare("songbook")


def test_starts_by_hand():
    densities = [0, 0.4, 0.5, 1, 1.9, 2, 11.9, 12, 99]
    assert [paired_parts.start_of(n * 10, 10) for n in densities] == [1, 1, 2, 3, 3, 4, 8, 9, 9]
    assert STARTS == 10


def test_long_rests_and_long_notes_are_kept():
    second = nes.TICKS_PER_SECOND
    score = Score.build([(nes.TR, 7 * second, 13 * second, 40, 1)], 20 * second)
    ids = paired_parts.voice_events(score, [nes.TR])
    again = events.decode(ids)
    for name in ("start", "end"):
        assert abs(int(again.notes[name][0]) - int(score.notes[name][0])) <= 500
    assert abs(again.length - score.length) <= 500
    assert (events.encode(score).size, len(ids)) == (5, 13)  # 4 + 3 + 4 waits, and two events


def test_voices_stay_together(corpus):
    """However many waits are rounded, no event is further off than half a step of the grid."""
    for number in range(5):
        score = corpus["train"].score(number)
        for voice in range(4):
            again = events.decode(paired_parts.voice_events(score, [voice])).voice(voice)
            ours = score.voice(voice)
            assert len(again) == len(ours)
            assert np.abs(again["start"] - ours["start"]).max(initial=0) <= 500


def test_the_shortest_notes_stay():
    """After a wait that was rounded up, notes of a tick or two would have no time left."""
    starts = [0, 1240, 1241, 1243, 1244]  # the first wait is written as 1,200 or 1,300 ticks
    rows = [(nes.TR, a, b, 40 + a % 7, 1) for a, b in zip(starts, [*starts[1:], 2000], strict=True)]
    for shift in (0, 20):
        score = Score.build([(v, a + shift * (a > 0), b + shift, p, 1) for v, a, b, p, _ in rows])
        again = events.decode(paired_parts.voice_events(score, [nes.TR]))
        assert again.notes["pitch"].tolist() == score.notes["pitch"].tolist()


def test_a_pair_is_the_whole_song(corpus):
    task, score = NesPairs(corpus, 10.0, mended=True), corpus["train"].score(0).excerpt(0, 10)
    source, (start, *target, end) = task.pair(score, nes.TR)
    assert end == events.START and start == 631 + nes.TR * STARTS + paired_parts.start_of(
        len(score.voice(nes.TR)), 5
    )
    assert len(events.decode(source).notes) == len(score.notes) - len(score.voice(nes.TR))
    assert len(events.decode(target).notes) == len(score.voice(nes.TR))
    assert set(events.VOICE_OF[target]) == {-1, nes.TR} and nes.TR not in events.VOICE_OF[source]


@pytest.mark.parametrize("mended", [False, True])
def test_what_is_drawn_is_able(corpus, mended):
    """Every token that is drawn may follow those before it, and the voice is the start's."""
    task, random = NesPairs(corpus, 5.0, 150, mended=mended), np.random.default_rng(0)
    voices = set()
    for _ in range(20):
        source, target = task.draw("train", random)
        voice, density = divmod(target[0] - 631, STARTS)
        voices.add(voice)
        assert 0 < len(source) <= 150 - len(target) and (density > 0) == mended
        assert voice not in events.VOICE_OF[source]
        for at in range(1, len(target)):
            assert task.able(target[:at])[target[at]]
    assert voices == {0, 1, 2, 3}


def test_able_by_hand(corpus):
    task = NesPairs(corpus, 10.0)
    start, wait, long = 631 + nes.P2 * STARTS, events.wait_ids(np.array(100)), 370
    on, off = int(events.NOTE_ON[nes.P2]) + 60, int(events.NOTE_OFF[nes.P2])
    ons = int(nes.HIGHEST_PITCH[nes.P2] - nes.LOWEST_PITCH[nes.P2]) + 1

    def kinds(*ids):
        able = task.able([start, *map(int, ids)])
        assert not able[(events.VOICE_OF >= 0) & (events.VOICE_OF != nes.P2)].any()
        return able[events.IS_WAIT].all(), able[on], able[off], able[task.end], able.sum()

    assert kinds() == (True, True, False, True, 370 + ons + 1)
    assert kinds(on) == (True, False, False, False, 370)
    assert kinds(on, wait) == (False, True, True, False, ons + 1)
    assert kinds(on, long) == (True, True, True, False, 370 + ons + 1)
    assert kinds(on, wait, off) == (True, False, False, True, 371)
    assert kinds(on, wait, off, wait) == (False, True, False, True, ons + 1)


def test_nothing_to_draw_is_an_error():
    class Silent:
        def __getitem__(self, split):
            return self

        def __len__(self):
            return 1

        def score(self, index):
            return tune(1).only([0])

    with pytest.raises(ValueError, match="train: in no excerpt"):
        NesPairs(Silent(), 5.0).draw("train", np.random.default_rng(0))


# Bands

SIZES = dict(width=8, layers=1, heads=1, feed_forward=8, dropout=0.0, reach=4)
BASE = [4, 165, 44, 97, 108, 181, 46, 97, 102, 4, 4, 165, 44, 93, 164, 48, 93, 164]
PART = [[0, 8, 60, 79], [16, 2, 62, 79], [64, 64, 60, 15], [64, 64, 64, 15]]


def test_snippets_by_hand():
    piano = np.array([[40, 8, 60, 80], [70, 8, 60, 80], [140, 8, 62, 80]])
    bass = np.array([[100, 8, 40, 80], [300, 8, 41, 80]])
    pieces = band_parts.snippets([piano, bass], bars=2)
    shown = [[part[:, 0].tolist() for part in piece] for piece in pieces]
    assert shown == [[[8, 38], []], [[44], [4]], [[], [12]]]  # from bar 1, 3 and 9; 5 and 7 rest
    assert band_parts.snippets([piano, bass[:0]], 2) == []


@pytest.fixture(scope="module")
def band():
    random, pieces = np.random.default_rng(0), []
    for _ in range(40):
        parts = []
        for low in (60, 36):
            time = np.sort(random.choice(64, 10, replace=False))
            time[0] = 0
            rows = [(t, random.integers(1, 16), low + random.integers(12), 79) for t in time]
            parts.append(np.array(rows))
        pieces.append(parts)
    return band_parts.trained(pieces), {"train": pieces, "valid": pieces[:4]}


def task_of(band, **settings):
    tokenizer, pieces = band
    return band_parts.BandPairs(pieces, tokenizer, bars=2, **settings)


def test_base_tokens_by_hand():
    assert band_parts.tokens_of(band_parts.remi(), np.array(PART)) == BASE
    names = {token: name for name, token in band_parts.remi().vocab.items()}
    assert len(names) == 197 and names[2].startswith("EOS") and names[4].startswith("Bar")
    expected = {5: "Pitch_21", 92: "Pitch_108", 101: "Duration_0.1.8", 196: "Position_31"}
    assert {token: names[token] for token in expected} == expected
    assert names[93].startswith("Velocity") and names[100].startswith("Velocity")
    assert names[164] == "Duration_8.0.8" and names[165] == "Position_0"


def test_nothing_to_write_gives_no_tokens(band):
    low = np.array([[0, 4, 20, 80]])  # one semitone below the tokens' pitches
    for tokenizer in (band_parts.remi(), band[0]):
        assert band_parts.tokens_of(tokenizer, low) == []
        assert band_parts.tokens_of(tokenizer, low[:0]) == []


def test_parts_of_tokens_by_hand(band):
    task = task_of(band)
    assert task.part([500, *BASE, task.end]).tolist() == PART
    assert task.part([]).shape == task.part([4, 4, 165, 44]).shape == (0, 4)
    assert task.part([4, 44, 97, 101, 97, 165, 44]).tolist() == [[0, 1, 60, 79]]
    assert task.part([44, 97, 101, 4, 44, 97, 101])[:, 0].tolist() == [0, 0]  # no bar yet


def test_merges_lose_nothing(band):
    tokenizer, pieces = band
    task = task_of(band)
    assert (task.vocabulary, task.end) == (500, 2)
    for piece in pieces["train"]:
        for part in piece:
            base = band_parts.tokens_of(band_parts.remi(), part)
            merged = band_parts.tokens_of(tokenizer, part)
            assert len(merged) < len(base) and task.base(merged) == base
            assert task.part(merged).tolist() == part.tolist()


@pytest.mark.parametrize("mended", [False, True])
def test_what_is_drawn_of_a_band_is_able(band, mended):
    task, random = task_of(band, mended=mended), np.random.default_rng(0)
    for _ in range(10):
        source, target = task.draw("train", random)
        assert (target[0] > 500) == mended and target[-1] == task.end
        for at in range(1, len(target)):
            assert task.able(target[:at])[target[at]]
        assert task.part(target)[:, 2].max() < 60 and task.part(source)[:, 2].min() > 50


def test_grammar_of_a_band_by_hand(band):
    """Which base tokens may follow a start, a bar, a position, a pitch, a velocity, a duration."""
    task, kinds = task_of(band), (("end", 2), ("bar", 4), ("pitch", 44), ("velocity", 97))
    kinds += (("duration", 101), ("position", 170))
    able = {
        length: {name for name, token in kinds if task.able([500, *BASE[:length]])[token]}
        for length in (0, 1, 2, 3, 4, 5, 10, 12)
    }
    after_note = {"end", "bar", "pitch", "position"}
    assert able[0] == {"end", "bar"} and able[1] == {"end", "bar", "position"}
    assert (able[2], able[3], able[4]) == ({"pitch"}, {"velocity"}, {"duration"})
    assert able[5] == after_note
    assert able[10] == {"end", "position"}  # two bars have begun
    assert not task.able([500])[[0, 1, 3]].any()


def test_transposed_together_and_only_for_training(band):
    task, random = task_of(band, mended=True), np.random.default_rng(0)
    piece = [np.array([[0, 4, 60, 79], [4, 4, 64, 79]]), np.array([[0, 4, 40, 79]])]
    task.pieces = {"train": [piece], "valid": [piece]}
    moves = set()
    for _ in range(60):
        source, target = task.draw("train", random)
        (first, second), (bass,) = (task.part(ids)[:, 2].tolist() for ids in (source, target))
        assert second - first == 4 and first - bass == 20
        moves.add(first - 60)
    assert moves == set(range(-6, 6))
    assert task.part(task.draw("valid", random)[0])[:, 2].tolist() == [60, 64]


def test_clock_of_a_band(band):
    task = task_of(band)
    model = EncoderDecoder(task.vocabulary, task.starts, clock=task.clock, **SIZES)
    for part in band[1]["train"][0]:
        merged = band_parts.tokens_of(band[0], part)
        times = model.times(accompanying.padded([merged]))[0].tolist()
        for at, token in enumerate(merged):
            expected, bar = 0, -1
            for each in task.base(merged[: at + 1]):
                if each == 4:
                    bar, expected = bar + 1, 32 * (bar + 2)
                elif each >= 165:
                    expected = 32 * (bar + 1) + each - 165
            assert times[at] == expected, (at, token)


def test_files_that_are_no_music(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"MThd, and no more")
    with pytest.raises(BadMidi, match="a.mid"):
        band_parts.parts_of(tmp_path / "a.mid")


def test_parts_of_a_file(tmp_path):
    song = symusic.Score(480)
    for program, drums, pitch in ((0, False, 60), (33, False, 36), (33, True, 40), (48, False, 70)):
        track = symusic.Track("", program, drums)
        track.notes.append(symusic.Note(480 + 60, 240, pitch, 90))
        song.tracks.append(track)
    song.dump_midi(tmp_path / "b.mid")
    piano, bass = band_parts.parts_of(tmp_path / "b.mid")
    assert piano.tolist() == [[9, 4, 60, 90]] and bass.tolist() == [[9, 4, 36, 90]]
