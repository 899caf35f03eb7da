"""Files for trackers: read back by the importers' own rules, and equal to the song in frames."""

import cmath
import math

import pytest
from hypothesis import given, settings
from songs import scores
from tracker_readers import READERS, read_famitracker

from lakhnes_lib.__main__ import main
from lakhnes_lib.errors import BadAudio
from lakhnes_lib.music import nes
from lakhnes_lib.music.nes import NO, P1, P2, TR
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import song_files, tracker_files

FORMS = (".famistudio.txt", ".famitracker.txt")


def clock(score):
    """The frame of a tick, worked out with Python's own numbers."""
    periods = (44_100 * 29_780.5 / 1_789_773, 735.0)
    starts = score.notes["start"].tolist()
    sums = [sum(cmath.rect(1, 2 * math.pi * start / p) for start in starts) for p in periods]
    chosen = 1 if abs(sums[1]) > abs(sums[0]) else 0
    period, first = periods[chosen], cmath.phase(sums[chosen]) / (2 * math.pi) * periods[chosen]
    return lambda tick: max(math.floor((tick - first) / period + 0.5), 0)


def in_frames(score):
    """What a tracker can play of a score: the notes of each voice, as the readers give them, and
    how many are above B-7 and how many are too short."""
    frame_of, voices, high, short = clock(score), [], 0, 0
    for voice in range(4):
        heard = []
        for _, start, end, pitch, _ in score.voice(voice).tolist():
            first, after = frame_of(start), frame_of(end)
            if first == after and end - start >= 184:
                after += 1
            if voice == TR and pitch > 107:
                high += 1
            elif first == after:
                short += 1
            else:
                if heard and heard[-1][0] == first:
                    heard.pop()
                    short += 1
                heard.append((first, after, pitch))
        values = [(tick, 0, VELOCITY_CHANGE, v) for _, tick, _, _, v in score.voice(voice).tolist()]
        for owner, tick, kind, value in score.controls.tolist():
            if owner == voice:
                values.append((tick, 1, kind, value))
        values.sort(key=lambda row: row[:2])
        state, notes, number = {VELOCITY_CHANGE: 0, TIMBRE_CHANGE: 0}, [], 0
        for first, after, pitch in heard:
            volumes, timbres = [], []
            for frame in range(first, after):
                while number < len(values) and frame_of(values[number][0]) <= frame:
                    state[values[number][2]] = values[number][3]
                    number += 1
                volumes.append(state[VELOCITY_CHANGE] * (15 if voice == TR else 1))
                timbres.append(state[TIMBRE_CHANGE])
            notes.append((first, after, pitch, tuple(volumes), tuple(timbres)))
        voices.append(notes)
    return voices, high, short


def check(score, folder):
    """Writes and reads both forms, and compares them with the score; what was left out."""
    expected, high, short = in_frames(score)
    told = {"notes above B-7": high, "notes shorter than a frame": short}
    told = {reason: count for reason, count in told.items() if count}
    ends = [note[1] for voice in expected for note in voice]
    length = max([1, clock(score)(score.length), *ends])
    for form in FORMS:
        path = folder / f"song{form}"
        assert song_files.write_song(score, path) == told
        frames, voices = READERS[form](path.read_text(encoding="utf-8"))
        assert voices == expected
        assert frames == (length if form == ".famitracker.txt" else -(-length // 8) * 8)
    return told


FRAME = 44_100 * 29_780.5 / 1_789_773


def at(frame):
    return round(frame * FRAME)


def test_known_song(tmp_path):
    """A song in which every cell and line is known beforehand."""
    notes = [
        (P1, at(0), at(2), 69, 12),  # A4, 440 Hz
        (P1, at(2), at(4), 70, 12),
        (TR, at(0), at(3), 69, 1),  # the same pitch on the triangle is an octave higher by name
        (NO, at(1), at(2), 16, 3),  # period index 0, the fastest
        (NO, at(3), at(4), 1, 3),
    ]
    controls = [(P1, 0, TIMBRE_CHANGE, 2), (P1, at(3), VELOCITY_CHANGE, 7)]
    score = Score.build(notes, at(5), controls, 'a "song"')
    assert check(score, tmp_path) == {}
    tracker = (tmp_path / "song.famitracker.txt").read_text().splitlines()
    cells = [line for line in tracker if line.startswith("ROW ")][:6]
    assert cells == [
        "ROW 00 : A-3 00 C V02 : ... .. . ... : A-4 02 F ... : ... .. . ... : ... .. . ...",
        "ROW 01 : ... .. . ... : ... .. . ... : ... .. . ... : F-# 03 3 V00 : ... .. . ...",
        "ROW 02 : A#3 00 . ... : ... .. . ... : ... .. . ... : --- .. . ... : ... .. . ...",
        "ROW 03 : ... .. 7 ... : ... .. . ... : --- .. . ... : 0-# 03 . ... : ... .. . ...",
        "ROW 04 : --- .. . ... : ... .. . ... : ... .. . ... : --- .. . ... : ... .. . ...",
        "ROW 05 : ... .. . ... : ... .. . ... : ... .. . ... : ... .. . ... : ... .. . C00",
    ]
    studio = (tmp_path / "song.famistudio.txt").read_text().splitlines()
    assert studio[0] == """Project TempoMode="FamiStudio" Name="a 'song'\""""
    assert [line.replace('"', "") for line in studio if line.startswith("Note ")] == [
        "Note Time=0 Volume=12 DutyCycle=2 Value=A3 Duration=2 Instrument=Pulse 1",
        "Note Time=2 Value=A#3 Duration=2 Instrument=Pulse 1",
        "Note Time=3 Volume=7",
        "Note Time=0 Volume=15 Value=A4 Duration=3 Instrument=Triangle",
        "Note Time=1 Volume=3 DutyCycle=0 Value=A#3 Duration=1 Instrument=Noise",
        "Note Time=3 Value=G2 Duration=1 Instrument=Noise",
    ]


def test_every_pitch_of_every_voice(tmp_path):
    """All pitches in their order; the triangle's highest is the one that trackers do not have."""
    notes = []
    for voice in range(4):
        pitches = range(int(nes.LOWEST_PITCH[voice]), int(nes.HIGHEST_PITCH[voice]) + 1)
        for number, pitch in enumerate(pitches):
            notes.append((voice, at(4 * number), at(4 * number + 3), pitch, 1))
    assert check(Score.build(notes), tmp_path) == {"notes above B-7": 1}


@pytest.mark.parametrize("phase", [0, 100, 367, 500, 733])
def test_frames_begin_where_the_notes_do(phase, tmp_path):
    """Notes of whole frames keep their number of frames, wherever in a frame the song begins."""
    for frame_ticks in (FRAME, 735):
        starts = [round(phase + 3 * n * frame_ticks) for n in range(400)]
        notes = [(P1, start, start + round(2 * frame_ticks), 60, 9) for start in starts]
        score = Score.build(notes)
        assert check(score, tmp_path) == {}
        song = tracker_files.on_frames(score)
        events = [event for event in song.voices[P1] if event[1] >= 0]
        gaps = {after[0] - before[0] for before, after in zip(events, events[1:], strict=False)}
        assert gaps == {3} and {event[2] for event in events} == {2}
        assert abs(events[0][0] * frame_ticks - phase) <= frame_ticks / 2


def test_notes_that_share_a_frame(tmp_path):
    """Of the notes of a frame the last sounds; a short one alone gets a frame, a click does not."""
    notes = [
        (P1, at(0), at(4), 60, 15),
        (P1, at(4), at(4) + 2, 61, 15),  # the first of two in a frame
        (P1, at(4) + 2, at(8), 62, 15),
        (P2, at(0), at(4), 60, 15),
        (P2, at(6), at(6) + 184, 61, 15),  # a quarter of a frame
        (P2, at(8), at(8) + 183, 62, 15),  # less
        (TR, at(0), at(4), 108, 1),
    ]
    score = Score.build(notes, at(9))
    assert check(score, tmp_path) == {"notes above B-7": 1, "notes shorter than a frame": 2}
    pitches = [[note[:3] for note in voice] for voice in in_frames(score)[0]]
    assert pitches == [[(0, 4, 60), (4, 8, 62)], [(0, 4, 60), (6, 7, 61)], [], []]


@settings(deadline=None, max_examples=60)
@given(score=scores(with_controls=True))
def test_any_song(score, tmp_path_factory):
    check(score, tmp_path_factory.mktemp("any"))


@pytest.mark.parametrize("frames", [1, 255, 256, 257, 512])
def test_ends_of_patterns(frames, tmp_path):
    """A note that lasts to the song's end, near the end of a pattern."""
    score = Score.build([(P2, 0, at(frames), 60, 15)], name="a name too long for a title " * 3)
    assert check(score, tmp_path) == {}


@pytest.mark.parametrize("frames", [40, 255, 256, 257, 515])
def test_a_loop_goes_round_without_a_frame_between(frames, tmp_path):
    """All four voices last to the end; only P1 begins with the song."""
    starts = {P1: 0, P2: 8, TR: 16, NO: 24}
    notes = [(voice, at(start), at(frames), 10, 1) for voice, start in starts.items()]
    notes = [(voice, start, end, 16 if voice == NO else 60, 1) for voice, start, end, *_ in notes]
    score = Score.build(notes, at(frames))
    for form in FORMS:
        song_files.write_song(score, tmp_path / f"loop{form}", loop=0)
        length, voices = READERS[form]((tmp_path / f"loop{form}").read_text(encoding="utf-8"))
        assert length == frames
        assert [voice[0][:2] for voice in voices] == [(start, frames) for start in starts.values()]
    assert ' LoopPoint="0"' in (tmp_path / "loop.famistudio.txt").read_text()
    tracker = (tmp_path / "loop.famitracker.txt").read_text()
    rows = [line for line in tracker.splitlines() if line.startswith("ROW ")]
    assert rows[0].count("--- ..") == 3, "what still sounds at the end stops in the first row"
    assert rows[frames - 1].endswith("B00") and "C00" not in tracker


def test_longest_song(tmp_path):
    last = 256 * 256 - 1
    score = Score.build([(P1, 0, at(2), 60, 15), (P1, at(last - 2), at(last), 60, 15)])
    assert check(score, tmp_path) == {}
    score = Score.build([(P1, 0, at(2), 60, 15)], at(last + 1), name="long")
    for form in FORMS:
        with pytest.raises(BadAudio, match=r"long: its 65,536 frames .* 65,535 "):
            song_files.write_song(score, tmp_path / f"long{form}")
        assert not (tmp_path / f"long{form}").exists()


def test_command_line(tmp_path, capsys):
    """What does not fit is said in one line."""
    score = Score.build([(TR, 0, at(9), 108, 1), (P1, 0, at(9), 60, 5)], at(9))
    song_files.write_song(score, tmp_path / "in.mid")
    for form in FORMS:
        assert main(["render", str(tmp_path / "in.mid"), str(tmp_path / f"in{form}")]) == 0
        out, err = capsys.readouterr()
        assert f"in{form}: 0.1 s, 1 note\n" in out, "of two notes one is written"
        assert err == f"{tmp_path / f'in{form}'}: left out: notes above B-7 (1)\n"
    assert main(["render", str(tmp_path), str(tmp_path / "out"), "--to", "famitracker.txt"]) == 0
    assert "left out: notes above B-7 (1)" in capsys.readouterr().err
    assert read_famitracker((tmp_path / "out/in.famitracker.txt").read_text())[0] == 9
    loop = ["--loop"]
    assert (
        main(["render", str(tmp_path / "in.mid"), str(tmp_path / "in.famistudio.txt"), *loop]) == 0
    )
    assert ' LoopPoint="0"' in (tmp_path / "in.famistudio.txt").read_text()
    assert main(["render", str(tmp_path / "in.mid"), str(tmp_path / "in.wav"), *loop]) == 2
    assert "goes with VGM and the texts of trackers" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["render", str(tmp_path / "out"), str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.count("\n") == 1, "said once, before anything is rendered"


def test_real_songs(nesmdb, tmp_path):
    """Songs of NES-MDB, and how few of their notes no frame can hold."""
    songs = [nesmdb.splits["test"].score(number) for number in range(0, 373, 20)]
    short = sum(check(song, tmp_path).get("notes shorter than a frame", 0) for song in songs)
    notes = sum(len(song.notes) for song in songs)
    assert 0 < short < 0.2 * notes
