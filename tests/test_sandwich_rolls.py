"""Piano rolls: drawn, read back, cut to phrases, packed, measured; against loops and by hand."""

import _sandwich_metrics
import _sandwich_phrases
import numpy as np
import pytest
import symusic
from songs import random_score, tune

from lakhnes_lib import profiles
from lakhnes_lib.companions import piano_rolls
from lakhnes_lib.companions.piano_rolls import LAKH, NES
from lakhnes_lib.errors import BadMidi
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import Score


def midi_file(parts, metre=(4, 4), resolution=480) -> bytes:
    """MIDI of (program or None for drums, [(beat, beats, pitch)])."""
    song = symusic.Score(resolution)
    song.time_signatures.append(symusic.TimeSignature(0, *metre))
    for program, rows in parts:
        track = symusic.Track("", program or 0, program is None)
        for beat, beats, pitch in rows:
            times = (round(beat * resolution), round(beats * resolution))
            track.notes.append(symusic.Note(*times, pitch, 80))
        song.tracks.append(track)
    return song.dumps_midi()


def test_draw_and_notes_against_loops():
    random = np.random.default_rng(0)
    shape = (3, 40, 10)
    track, row = random.integers(0, 3, 60), random.integers(-2, 12, 60)
    start = random.integers(0, 38, 60)
    end = start + random.integers(1, 9, 60)
    roll = np.zeros(shape, bool)
    for n in range(60):
        for step in range(start[n], end[n]):
            if step < 40 and 0 <= row[n] < 10:
                roll[track[n], step, row[n]] = True
    assert np.array_equal(piano_rolls.draw(track, start, end, row, shape), roll)
    runs = []
    for t in range(3):
        for r in range(10):
            for step in range(40):
                if roll[t, step, r] and not (step and roll[t, step - 1, r]):
                    stop = step
                    while stop < 40 and roll[t, stop, r]:
                        stop += 1
                    runs.append((t, step, stop, r))
    assert [tuple(map(int, run)) for run in zip(*piano_rolls.notes(roll), strict=True)] == runs
    again = piano_rolls.draw(*piano_rolls.notes(roll), shape)
    assert np.array_equal(again, roll)


def test_lakh_roll_by_hand():
    """Families go to their tracks, hits last a step, effects and pitches out of range are left
    out; two bars are begun."""
    parts = [
        (None, [(0, 1, 36)]),
        (3, [(1, 0.5, 60), (1, 2, 200 - 92)]),  # piano; 108 is one above the highest row
        (27, [(0, 4, 64)]),
        (33, [(4, 1, 24)]),
        (60, [(0.26, 0.25, 107)]),  # brass: with the strings
        (97, [(0, 4, 70)]),  # an effect
    ]
    roll = piano_rolls.lakh_roll(midi_file(parts))
    assert roll.shape == (5, 192, 84)
    runs = {tuple(map(int, run)) for run in zip(*piano_rolls.notes(roll), strict=True)}
    assert runs == {(0, 0, 1, 12), (1, 24, 36, 36), (2, 0, 96, 40), (3, 96, 120, 0), (4, 6, 12, 83)}


def test_other_metres_and_damaged_files_have_no_roll():
    note = [(0, [(0, 1, 60)])]
    assert piano_rolls.lakh_roll(midi_file(note, metre=(3, 4))).shape == (5, 0, 84)
    assert piano_rolls.lakh_roll(midi_file([(0, [(4 * 501, 1, 60)])])).shape == (5, 0, 84)
    with pytest.raises(BadMidi):
        piano_rolls.lakh_roll(midi_file(note)[:-9])


def test_nes_roll_by_hand_and_back():
    second = nes.TICKS_PER_SECOND
    notes = [
        (nes.P1, 0, second, 69, 12),
        (nes.TR, second // 2, second, 21, 1),
        (nes.NO, second, 2 * second, 16, 12),
        (nes.P2, 0, 100, 108, 12),  # shorter than a step
    ]
    roll = piano_rolls.nes_roll(Score.build(notes, 2 * second))
    runs = {tuple(map(int, run)) for run in zip(*piano_rolls.notes(roll), strict=True)}
    assert roll.shape == (4, 48, 88)
    assert runs == {(0, 0, 24, 48), (2, 12, 24, 0), (3, 24, 48, 15), (1, 0, 1, 87)}
    back = piano_rolls.to_score(roll)
    assert [tuple(note) for note in back.notes.tolist()] == [
        (0, 0, 44100, 69, 12),
        (1, 0, 1838, 108, 12),
        (2, 22050, 44100, 21, 1),
        (3, 44100, 88200, 16, 12),
    ]
    assert back.length == 2 * second


def test_a_roll_becomes_a_score_and_the_same_roll():
    for seed in range(3):
        score = random_score(seed, length=400_000, shortest=9_000, longest=40_000)
        line = piano_rolls.to_score(piano_rolls.nes_roll(score))
        assert len(line.notes) > 20
        assert np.array_equal(piano_rolls.nes_roll(line), piano_rolls.nes_roll(score))


def test_likeliest_pitch_of_a_voice_is_played():
    roll = np.zeros((4, 3, 88), np.float32)
    roll[0, 0, [40, 50]] = 0.6, 0.9
    roll[0, 1, [40, 50]] = 0.7, 0.6
    roll[0, 2, 40] = 0.4
    roll[1, 0, 3] = 0.9  # below what a pulse plays
    assert [note["pitch"] for note in piano_rolls.to_score(roll).notes] == [71, 61]


def test_phrases_are_cut_and_chosen():
    roll = np.zeros((5, 384 * 5 + 50, 84), bool)
    for phrase, tracks in enumerate((3, 2, 5, 3, 4)):
        roll[:tracks, 384 * phrase + 100, phrase] = True
    cut = piano_rolls.phrases(roll, 99)
    assert cut.shape == (4, 4, 5, 96, 84)
    assert [int(np.argmax(each.any((0, 1, 2)))) for each in cut] == [0, 2, 3, 4]
    assert cut[0, 1, 0, 4, 0] and cut.sum() == 3 + 5 + 3 + 4
    some = piano_rolls.phrases(roll, most=2)
    assert [int(np.argmax(each.any((0, 1, 2)))) for each in some] == [0, 3]
    assert piano_rolls.phrases(roll[:, :300], 99).shape == (0, 4, 5, 96, 84)


def test_packed_rolls():
    songs = [(split, tune(n, beats=150)) for n, split in enumerate(("train", "train", "test"))]
    rolls = piano_rolls.packed(
        NES, ((split, piano_rolls.nes_roll(song)) for split, song in songs), most=99
    )
    assert [len(rolls.splits[name]) for name in ("train", "valid", "test")] == [16, 0, 8]
    assert rolls.splits["valid"].shape == (0, 4, 96, 11)
    whole = piano_rolls.nes_roll(songs[2][1])
    assert np.array_equal(rolls.unpack(rolls.splits["test"])[5], whole[:, 5 * 96 : 6 * 96])
    batch = rolls.batch(3, np.random.default_rng(0))
    bars = rolls.unpack(rolls.splits["train"])
    assert batch.shape == (3, 4, 96, 88)
    assert all((bars == bar.bool().numpy()).all((1, 2, 3)).any() for bar in batch)


def test_rolls_of_files_by_the_benchmark(tmp_path, monkeypatch):
    """Files that give nothing are counted; the packed rolls are read again."""
    bars = [(beat, 1, 60) for beat in range(16)]
    good = midi_file([(None, bars), (0, bars), (33, bars)])
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.mid").write_bytes(good)
    (files / "b.mid").write_bytes(midi_file([(0, bars)], metre=(3, 4)))
    (files / "c.mid").write_bytes(good[:40])
    monkeypatch.setattr(_sandwich_phrases.fetching, "fetch", lambda name: files)
    rolls, facts = _sandwich_phrases.rolls_of("lakh", tmp_path / "run", 2)
    assert facts["left_out"] == {"damaged": 1, "not in 4/4, or longer than 500 bars": 1}
    assert sum(map(len, rolls.splits.values())) == 4 and rolls.kind == LAKH
    monkeypatch.setattr(_sandwich_phrases.fetching, "fetch", None)
    again, facts_again = _sandwich_phrases.rolls_of("lakh", tmp_path / "run", 2)
    assert facts_again == facts
    assert all(np.array_equal(again.splits[name], rolls.splits[name]) for name in rolls.splits)


def test_band_of_the_repository():
    files = sorted((profiles.root() / "assets/band").glob("*.mid"))
    songs = [("train", piano_rolls.lakh_roll(path.read_bytes(), path)) for path in files]
    rolls = piano_rolls.packed(LAKH, songs, most=40)
    bars = rolls.unpack(rolls.splits["train"])
    assert bars.shape[1:] == (5, 96, 84) and len(bars) > 200 and len(bars) % 4 == 0
    assert bars.any((2, 3)).mean(0).min() > 0.5  # all five tracks play in most bars


def hand_made() -> np.ndarray:
    """A phrase: drums on three sixteenths, one step late, and far off; a piano with C, C#, and a
    note of two steps; silence otherwise."""
    phrase = np.zeros((1, 4, 5, 96, 84), bool)
    for step in (0, 6, 12, 25, 33):
        phrase[0, 0, 0, step, 12] = True
    phrase[0, 0, 1, 0:24, 36] = True  # C, 24 cells
    phrase[0, 0, 1, 24:26, 37] = True  # C#, 2 cells
    phrase[0, 1, 1, 0:6, 48] = True  # C, an octave higher, 6 cells
    return phrase


def test_metrics_by_hand():
    metrics = _sandwich_metrics.measure(hand_made(), LAKH)
    assert metrics["scale_ratio"][1] == pytest.approx(30 / 32)
    assert metrics["used_pitch_classes"].tolist() == [1 / 4, 3 / 4, 0, 0, 0]
    assert metrics["qualified_notes"][:2].tolist() == [0, pytest.approx(2 / 3)]
    assert metrics["drum_patterns"][0] == pytest.approx((3 + 0.1) / 5)
    assert (
        np.isnan(metrics["drum_patterns"][1:]).all() and np.isnan(metrics["scale_ratio"][2:]).all()
    )
    assert np.isnan(
        _sandwich_metrics.measure(np.zeros((1, 4, 4, 96, 88), bool), NES)["drum_patterns"]
    ).all()


def test_what_the_published_code_measures():
    """Its classes are seven neighbours, and it adds up over the steps of a bar."""
    metrics = _sandwich_metrics.measure(hand_made(), LAKH, published=True)
    # Rows 36 and 37 are of the group 5 (F, in C major), row 48 of 6 (F sharp, which is not).
    assert metrics["scale_ratio"][1] == pytest.approx(26 / 32)
    assert metrics["used_pitch_classes"][:2].tolist() == [5 / 4, (26 + 6) / 4]


def test_published_metrics_of_the_nes_leave_out_its_highest_pitches():
    phrase = np.zeros((1, 4, 4, 96, 88), bool)
    phrase[0, 0, 0, :10, 83:85] = True
    metrics = _sandwich_metrics.measure(phrase, NES, published=True)
    assert metrics["used_pitch_classes"].tolist() == [10 / 4, 0, 0, 0]
    assert _sandwich_metrics.measure(phrase, NES)["used_pitch_classes"].tolist() == [2 / 4, 0, 0, 0]


def test_metrics_of_many_phrases_against_loops():
    random = np.random.default_rng(2)
    phrases = random.random((3, 4, 5, 96, 84)) < 0.05
    metrics = _sandwich_metrics.measure(phrases, LAKH)
    for track in range(5):
        used, cells, white, notes, long = [], 0, 0, 0, 0
        for phrase in phrases:
            for bar in phrase:
                rows = np.flatnonzero(bar[track].any(0))
                used.append(len({row % 12 for row in rows.tolist()}))
                for row in np.nonzero(bar[track])[1].tolist():
                    cells += 1
                    white += row % 12 in (0, 2, 4, 5, 7, 9, 11)
            line = phrase[:, track].reshape(-1, 84)
            for row in range(84):
                text = "".join("1" if cell else "0" for cell in line[:, row])
                runs = [len(run) for run in text.split("0") if run]
                notes += len(runs)
                long += sum(length >= 3 for length in runs)
        assert metrics["used_pitch_classes"][track] == pytest.approx(np.mean(used))
        assert metrics["scale_ratio"][track] == pytest.approx(white / cells)
        assert metrics["qualified_notes"][track] == pytest.approx(long / notes)
