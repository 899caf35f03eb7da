"""Pairs to learn complementary tracks from: nothing is lost, and what is composed is valid."""

import numpy as np
import pytest
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
    assert (events.encode(score).size, ids.size) == (5, 13)  # 4 + 3 + 4 waits, and two events


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
        len(score.voice(nes.TR)), score.length / 2756 / 32
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

SIZES = dict(width=8, layers=1, heads=1, feed_forward=8, dropout=0.0, reach=4, by_time=True)
BASE = [4, 165, 44, 97, 108, 181, 46, 97, 102, 4, 4, 165, 44, 93, 164, 48, 93, 164]
PART = [[0, 8, 60, 79], [16, 2, 62, 79], [64, 64, 60, 15], [64, 64, 64, 15]]


def test_base_tokens_by_hand():
    assert band_parts.part_of(BASE).tolist() == PART
    assert band_parts.part_of([]).shape == band_parts.part_of([4, 4, 165, 44]).shape == (0, 4)
    assert band_parts.part_of([4, 44, 97, 101, 97, 165, 44]).tolist() == [[0, 1, 60, 79]]
    assert band_parts.part_of([44, 97, 101, 4, 44, 97, 101])[:, 0].tolist() == [0, 0]  # no bar yet


def test_snippets_by_hand():
    piano = np.array([[40, 8, 60, 80], [70, 8, 60, 80], [140, 8, 62, 80]])
    bass = np.array([[100, 8, 40, 80], [300, 8, 41, 80]])
    pieces = band_parts.snippets([piano, bass], bars=2)
    shown = [[part[:, 0].tolist() for part in piece] for piece in pieces]
    assert shown == [[[8, 38], []], [[44], [4]], [[], [12]]]  # from bar 1, 3 and 9; 5 and 7 rest
    assert len(band_parts.snippets([piano, bass], 2, most=2)) == 1
    assert band_parts.snippets([piano, bass[:0]], 2) == []


@pytest.fixture(scope="module")
def band():
    random, songs = np.random.default_rng(0), []
    for _ in range(40):
        parts = []
        for low in (60, 36):
            time = np.sort(random.choice(64, 10, replace=False))
            time[0] = 0
            rows = [(t, random.integers(1, 16), low + random.integers(12), 79) for t in time]
            parts.append(np.array(rows))
        songs.append(parts)
    pairs, tokenizer = band_parts.learned({"train": songs, "valid": songs[:4]}, bars=2)
    return tokenizer, pairs


def test_midi_tok_agrees():
    part = np.array(PART)
    assert band_parts.tokens_of(band_parts.remi(), part) == BASE
    names = {token: name for name, token in band_parts.remi().vocab.items()}
    assert len(names) == 197 and names[2].startswith("EOS") and names[4].startswith("Bar")
    expected = {5: "Pitch_21", 92: "Pitch_108", 101: "Duration_0.1.8", 196: "Position_31"}
    assert {token: names[token] for token in expected} == expected
    assert names[93].startswith("Velocity") and names[100].startswith("Velocity")
    assert names[164] == "Duration_8.0.8" and names[165] == "Position_0"


def test_merges_lose_nothing(band):
    tokenizer, pairs = band
    task = band_parts.BandPairs(pairs, tokenizer, bars=2)
    assert task.vocabulary == 500
    for piece in pairs["train"]:
        for base in piece:
            merged = task.merged(base)
            assert len(merged) < len(base) and task.base(merged) == list(base)


@pytest.mark.parametrize("mended", [False, True])
def test_what_is_drawn_of_a_band_is_able(band, mended):
    tokenizer, pairs = band
    task, random = (
        band_parts.BandPairs(pairs, tokenizer, 2, mended=mended),
        np.random.default_rng(0),
    )
    for _ in range(10):
        source, target = task.draw("train", random)
        assert (target[0] > 500) == mended and target[-1] == task.end
        for at in range(1, len(target)):
            assert task.able(target[:at])[target[at]]
        assert band_parts.part_of(task.base(target))[:, 2].max() < 60
        assert band_parts.part_of(task.base(source))[:, 2].min() > 50


def test_transposed_together_and_in_range(band):
    low, high = [4, 165, 6, 97, 101], [4, 165, 91, 97, 101]
    seen = set()
    for seed in range(40):
        a, b = band_parts.transposed([low, high], np.random.default_rng(seed))
        assert a[2] - 6 == b[2] - 91 and np.delete(a, 2).tolist() == [4, 165, 97, 101]
        seen.add(int(a[2]) - 6)
    assert seen == {-1, 0, 1}


def test_clock_of_a_band(band):
    tokenizer, pairs = band
    task = band_parts.BandPairs(pairs, tokenizer, bars=2)
    model = EncoderDecoder(task.vocabulary, task.starts, **SIZES)
    model.set_clock(*task.clock)
    base = pairs["train"][0][0]
    merged = task.merged(base)
    times = model.times(accompanying.padded([merged]))[0].tolist()
    for at, token in enumerate(merged):
        before = task.base(merged[: at + 1])
        expected, bar = 0, -1
        for each in before:
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
    import symusic

    song = symusic.Score(480)
    for program, drums, pitch in ((0, False, 60), (33, False, 36), (33, True, 40), (48, False, 70)):
        track = symusic.Track("", program, drums)
        track.notes.append(symusic.Note(480 + 60, 240, pitch, 90))
        song.tracks.append(track)
    song.dump_midi(tmp_path / "b.mid")
    piano, bass = band_parts.parts_of(tmp_path / "b.mid")
    assert piano.tolist() == [[9, 4, 60, 90]] and bass.tolist() == [[9, 4, 36, 90]]


def test_parts_of_nes_music():
    score = Score.build([(nes.P2, 0, 22_050, 60, 9), (nes.TR, 2_756, 2_757, 40, 1)])
    piano, bass = band_parts.parts_of_score(score)
    assert piano.tolist() == [[0, 8, 60, 95]] and bass.tolist() == [[1, 1, 40, 95]]
