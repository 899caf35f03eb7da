"""A composer's own MIDI: who plays which voice, what is cut, moved or left out, and that it is
said."""

import re
from pathlib import Path

import numpy as np
import pytest
import symusic

from lakhnes_lib.__main__ import main
from lakhnes_lib.data import build, corpus
from lakhnes_lib.errors import BadMidi, BadSetting
from lakhnes_lib.music import midi, nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import roles
from lakhnes_lib.sound import apu, chip

BEAT = 22_050
"""Ticks of a beat at 120 beats a minute."""
CASES = Path(__file__).resolve().parents[2] / "shared/cases/own_midi"

MELODY = [(beat / 2, 0.45, 60 + beat % 8, 90) for beat in range(32)]
BASS = [(beat, 0.9, 36 + beat % 4, 90) for beat in range(16)]
CHORDS = [(beat, 1, pitch + beat % 3, 90) for beat in range(0, 16, 2) for pitch in (60, 64, 67)]
DRUMS = [(beat / 2, 0.1, (36, 42, 38, 42)[beat % 4], 90) for beat in range(32)]


def write(path, *tracks):
    """A MIDI file at 120 beats a minute of tracks (name, rows (beat, beats, pitch, velocity), and
    what symusic calls ``program`` and ``is_drum``)."""
    song = symusic.Score(480)
    song.tempos.append(symusic.Tempo(0, 120))
    for name, rows, *options in tracks:
        track = symusic.Track(name, *options)
        for start, length, pitch, velocity in rows:
            track.notes.append(
                symusic.Note(round(start * 480), round(length * 480), pitch, velocity)
            )
        song.tracks.append(track)
    song.dump_midi(path)
    return path


def rows(score, voice):
    """Start and end in beats, and the pitch, of a voice's notes."""
    return [
        (note["start"] / BEAT, note["end"] / BEAT, int(note["pitch"]))
        for note in score.voice(voice)
    ]


def said(lines):
    """The lines without the file's name."""
    return [line.split(".mid: ", 1)[1] for line in lines]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)], ids=str)
def test_roles_do_not_depend_on_the_order(tmp_path, order):
    tracks = [("Lead", MELODY), ("Bass", BASS), ("Piano", CHORDS), ("Kit", DRUMS, 0, True)]
    path = write(tmp_path / "band.mid", *(tracks[index] for index in order))
    score, lines = roles.read(path)
    names = [re.search(r"(\w+) plays track \d \((\w+)\)", line).groups() for line in lines]
    assert names == [("P1", "Lead"), ("P2", "Piano"), ("TR", "Bass"), ("NO", "Kit")]
    assert [row[2] for row in rows(score, nes.P1)] == [row[2] for row in MELODY]
    assert [row[2] for row in rows(score, nes.P2)] == [67, 69, 68, 67, 69, 68, 67, 69]
    assert [row[2] for row in rows(score, nes.TR)] == [row[2] for row in BASS]
    assert score.voice(nes.TR)["velocity"].tolist() == [1] * 16
    assert set(score.voice(nes.P1)["velocity"]) == {round(1 + 14 * 90 / 127)}
    assert score.length == round(15.95 * BEAT)
    assert "8 notes, 16 left out, as only the highest note is heard" in lines[1]


def test_one_track_alone(tmp_path):
    for rows_of, voices in ((MELODY, [nes.P1]), (BASS, [nes.TR]), (CHORDS, [nes.P1, nes.TR])):
        score, _ = roles.read(write(tmp_path / "alone.mid", ("", rows_of)))
        assert [v for v in range(4) if len(score.voice(v))] == voices
    assert [row[2] for row in rows(score, nes.P1)][:3] == [67, 69, 68]
    assert [row[2] for row in rows(score, nes.TR)][:3] == [60, 62, 61]


def test_what_no_voice_is_left_for_is_said(tmp_path):
    higher = [(start, length, pitch + 12, 90) for start, length, pitch, _ in MELODY]
    between = [(start, length, pitch + 5, 90) for start, length, pitch, _ in MELODY[::4]]
    path = write(
        tmp_path / "five.mid",
        ("Bass", BASS),
        ("Flute", higher),
        ("Oboe", higher),
        ("Violin", MELODY),
        ("Bells", between),
    )
    _, lines = roles.read(path)
    assert said(lines) == [
        "P1 plays track 2 (Flute): 32 notes",
        "P2 plays track 4 (Violin): 32 notes",
        "TR plays track 1 (Bass): 16 notes",
        "left out track 3 (Oboe): 32 notes, no voice is free",
        "left out track 5 (Bells): 8 notes, no voice is free",
    ]
    twice = write(tmp_path / "twice.mid", ("Lead", MELODY), ("", MELODY), ("", BASS), ("Kit", BASS))
    assert said(roles.read(twice, "NO=3")[1])[-2:] == [
        "left out track 2: 32 notes, it doubles another track",
        "left out track 4 (Kit): 16 notes, no voice is free",
    ]


def test_slight_overlaps_are_cut(tmp_path):
    """At 120 beats a minute 50 ms are a tenth of a beat, and an eighth of 4 beats is half a one."""
    down = [(0, 1.1, 64, 90), (1, 1.1, 62, 90), (2, 4.5, 65, 90), (6, 1, 60, 90)]
    path = write(tmp_path / "legato.mid", ("", down))
    score, lines = roles.read(path)
    assert rows(score, nes.P1) == [(0, 1, 64), (1, 2, 62), (2, 6, 65), (6, 7, 60)]
    assert said(lines) == ["P1 plays track 1: 4 notes, 3 cut where the next begins"]
    score, lines = roles.read(path, overlap=0.0)
    # 1.1 beats overlap by less than an eighth; with no limit in seconds that is still slight.
    assert len(score.notes) == 4
    far = [(0, 1.3, 64, 90), (1, 1, 62, 90), (2, 2, 62, 90), (3, 2, 66, 90)]
    score, lines = roles.read(write(tmp_path / "far.mid", ("", far)))
    assert rows(score, nes.P1) == [(0, 1.3, 64), (2, 3, 62), (3, 5, 66)]
    assert said(lines) == [
        "P1 plays track 1: 3 notes, 1 left out, as only the highest note is heard, "
        "1 cut where the next begins"
    ]
    score, _ = roles.read(tmp_path / "far.mid", overlap=0.15)
    assert rows(score, nes.P1)[:2] == [(0, 1, 64), (1, 2, 62)]


def test_rolled_chords_leave_no_short_notes(tmp_path):
    rolled = [(beat + i / 20, 0.9, 60 + 4 * i, 90) for beat in range(4) for i in range(3)]
    score, lines = roles.read(write(tmp_path / "harp.mid", ("", rolled)), voices="P1=1,TR=1")
    assert rows(score, nes.P1) == [
        (pytest.approx(beat + 0.1), pytest.approx(beat + 1), 68) for beat in range(4)
    ]
    assert [row[2] for row in rows(score, nes.TR)] == [60] * 4
    assert "4 notes, 8 left out, as only the lowest note is heard" in lines[1]


def test_notes_out_of_range_are_moved_by_octaves(tmp_path):
    high = [(beat, 0.9, 108 + 2 * beat, 90) for beat in range(8)]
    low = [(beat, 0.9, 12 + beat, 90) for beat in range(8)]
    score, lines = roles.read(write(tmp_path / "extremes.mid", ("", high), ("", low)))
    assert [row[2] for row in rows(score, nes.P1)] == [96, 98, 100, 102, 104, 106, 108, 98]
    assert [row[2] for row in rows(score, nes.TR)] == list(range(24, 32))
    assert "8 moved by octaves into the voice's range" in lines[0]
    stray = [*MELODY, (16, 1, 120, 90), (17, 1, 20, 90)]
    score, lines = roles.read(write(tmp_path / "stray.mid", ("", stray)))
    assert [row[2] for row in rows(score, nes.P1)] == [row[2] for row in MELODY] + [108, 44]
    assert "34 notes, 2 moved by octaves" in lines[0]


def test_general_midi_drums(tmp_path):
    """Deep drums have long periods; what is bright is softer, and lasts as its kind does."""
    hits = [(i, 0.02, pitch, 127) for i, pitch in enumerate((36, 45, 38, 49, 46, 42, 76))]
    score, _ = roles.read(write(tmp_path / "kit.mid", ("", hits, 0, True)))
    noise = score.voice(nes.NO)
    assert noise["pitch"].tolist() == [4, 6, 10, 12, 15, 16, 16]
    assert (np.diff(chip.noise_period(noise["pitch"])) <= 0).all()
    milliseconds = np.rint((noise["end"] - noise["start"])[:-1] / 44.1)
    assert milliseconds.tolist() == [100, 117, 133, 400, 117, 33]
    levels = []
    for noise_type in (10, 12, 15, 16):
        sound = apu.render(Score.build([(nes.NO, 0, BEAT, noise_type, 15)]))
        levels.append(float(np.std(sound)))
    assert levels == sorted(levels, reverse=True) and levels[0] > 3 * levels[-1]


def test_drums_one_at_a_time(tmp_path):
    hits = [(0, 0.1, 42, 90), (0, 0.1, 36, 90), (1, 2, 49, 90), (1.5, 0.1, 38, 90)]
    hits += [(2, 0.1, 46, 90), (2.025, 0.1, 36, 90), (3, 0.1, 36, 90), (3.025, 0.1, 42, 90)]
    score, lines = roles.read(write(tmp_path / "kit.mid", ("", hits, 0, True), ("", MELODY)))
    noise = score.voice(nes.NO)
    assert noise["pitch"].tolist() == [4, 12, 10, 4, 4]
    beats = [0, 1, 1.5, 2.025, 3]
    assert noise["start"].tolist() == [round(beat * BEAT) for beat in beats]
    assert noise["end"][1] == round(1.5 * BEAT)
    assert "5 notes, 3 left out, as only the deepest drum is heard, 1 cut" in lines[-1]


@pytest.mark.parametrize(
    ("name", "pitches", "is_kit"),
    [
        ("FPC", (36, 38), True),
        ("Drum Kit", (36, 42), True),
        ("hi-hat", (42, 46), True),
        ("Steel Drums", (60, 67), False),
        ("Whatever", (36, 38), False),
        ("Chattering", (40, 41), False),
    ],
)
def test_drums_by_name(tmp_path, name, pitches, is_kit):
    hits = [(beat, 0.5, pitches[beat % 2], 90) for beat in range(16)]
    score, _ = roles.read(write(tmp_path / "kit.mid", ("Lead", MELODY), (name, hits)))
    assert len(score.voice(nes.NO)) == (16 if is_kit else 0)


def test_several_drum_tracks_are_one_kit(tmp_path):
    parts = [("Kick", DRUMS[::4]), ("Snare", DRUMS[2::4]), ("Hats", DRUMS[1::2])]
    score, lines = roles.read(write(tmp_path / "kit.mid", *parts))
    assert score.voice(nes.NO)["pitch"].tolist() == [4, 16, 10, 16] * 8
    assert "NO plays track 1 (Kick) and track 2 (Snare) and track 3 (Hats): 32 notes" in lines[0]


def test_voices_are_chosen(tmp_path):
    path = write(tmp_path / "band.mid", ("Lead", MELODY), ("Bass", BASS), ("Piano", CHORDS))
    score, lines = roles.read(path, "p2=lead, TR = 3")
    assert said(lines)[1:] == [
        "P2 plays track 1 (Lead): 32 notes",
        "TR plays track 3 (Piano): 8 notes, 16 left out, as only the lowest note is heard",
    ]
    assert len(score.voice(nes.P1)) == 16
    score, lines = roles.read(path, "P1=,P2=1,TR=2")
    assert not len(score.voice(nes.P1)) and "P1 plays nothing: 0 notes" in lines[0]
    assert "left out track 3 (Piano): 24 notes, no voice is free" in lines[-1]
    both, _ = roles.read(path, "P1=Lead,P1=Piano")
    assert len(both.voice(nes.P1)) > 8
    for wrong, rule in (
        ("P1=Led", "has no track 'Led' (name one, or its number: track 1 (Lead), track 2 (Bass)"),
        ("P1=4", "has no track '4'"),
        ("P3=Lead", "'P3=Lead' is not VOICE=TRACK with a voice of P1, P2, TR, NO"),
        ("Lead", "'Lead' is not VOICE=TRACK"),
    ):
        with pytest.raises(BadSetting, match=re.escape(rule)):
            roles.read(path, wrong)
    twins = write(tmp_path / "twins.mid", ("Song", MELODY), ("Song", BASS))
    with pytest.raises(BadSetting, match="has several tracks 'Song'"):
        roles.read(twins, "P1=Song")


def test_the_beginning_of_a_file_longer_than_a_song(tmp_path):
    path = write(tmp_path / "long.mid", ("", [*MELODY, (4 * 3600, 1, 60, 90)]), ("", BASS))
    with pytest.raises(BadMidi, match="lasts 7200 s, more than the 3600 s of a song"):
        roles.read(path)
    score, _ = build.read_with_remarks(path, seconds=3.2)
    assert score.length == round(3.2 * nes.TICKS_PER_SECOND) == score.notes["end"].max()
    assert len(score.voice(nes.P1)) == 13 and len(score.voice(nes.TR)) == 7
    with pytest.raises(BadMidi, match="has no notes"):
        roles.read(write(tmp_path / "empty.mid", ("", [])))


def test_more_notes_than_a_song_has(tmp_path, monkeypatch):
    path = write(tmp_path / "many.mid", ("", MELODY), ("", BASS))
    monkeypatch.setattr(midi, "MOST_NOTES", len(MELODY))
    with pytest.raises(BadMidi, match=f"many.mid: holds .* notes, more than the {len(MELODY)} of"):
        roles.read(path)
    assert len(roles.read(path, seconds=1.0)[0].notes)  # no more is counted than is taken


def test_nes_names_with_velocities_of_midi(tmp_path):
    hits = [(0, 0.1, 3, 90), (1, 0.1, 36, 127)]
    path = write(tmp_path / "nes.mid", ("no", hits), ("TR", BASS), (" p1", MELODY), ("Solo", BASS))
    score, lines = build.read_with_remarks(path)
    assert score.voice(nes.NO)["pitch"].tolist() == [3, 4]
    assert score.voice(nes.NO)["velocity"].tolist() == [11, 15]
    assert len(score.voice(nes.P2)) == 16 and "P2 plays track 4 (Solo)" in lines[1]
    assert said(lines)[-1] == "velocities of 1-127 scaled to the NES's 1-15"


def test_nes_music_stays_as_it_is(tmp_path):
    notes = [(nes.P1, 0, 90, 60, 3), (nes.TR, 10, 20, 40, 1)]
    song = Score.build(notes, 300, [(nes.P1, 5, 12, 2)], name="nes")
    midi.write(song, tmp_path / "nes.mid")
    assert build.read_with_remarks(tmp_path / "nes.mid") == (song, [])
    moved, lines = build.read_with_remarks(tmp_path / "nes.mid", "P2=p1")
    assert moved.voice(nes.P2)["velocity"].tolist() == [3] and len(lines) == 2


def test_every_note_is_counted(tmp_path):
    """Random tracks become a valid song; what is played and what is left out is all there is."""
    for seed in range(60):
        random = np.random.default_rng(seed)
        tracks = []
        for _ in range(random.integers(1, 6)):
            count = random.integers(1, 40)
            starts = random.integers(0, 64, count) / random.choice([1, 4, 30])
            notes = zip(
                starts.tolist(),
                (random.integers(1, 9, count) / 4).tolist(),
                random.permutation(128)[:count].tolist(),
                random.integers(1, 128, count).tolist(),
                strict=True,
            )
            tracks.append(("", list(notes), 0, bool(random.integers(4) == 0)))
        path = write(tmp_path / "random.mid", *tracks)
        score, lines = roles.read(path)
        text = "\n".join(lines).replace(",", "")
        numbers = re.findall(r"(\d+) (?:notes?|left out)", text)
        twice = len(score.voice(nes.TR)) and re.findall(r"track (\d)", text)
        counted = sum(map(int, numbers))
        total = sum(len(track[1]) for track in tracks)
        if twice and len(twice) > len(set(twice)):  # chords alone play two voices
            track = max(set(twice), key=twice.count)
            total += len(tracks[int(track) - 1][1])
        assert counted == total, (seed, lines)


# The command line


@pytest.fixture
def own(tmp_path):
    tracks = [("Bass", BASS), ("Lead", MELODY), ("Piano", CHORDS), ("Kit", DRUMS, 0, True)]
    return write(tmp_path / "own.mid", *tracks)


def test_render_writes_the_arrangement(own, tmp_path, capsys):
    assert main(["render", str(own), str(tmp_path / "song.nes.mid")]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("song.nes.mid: 8.0 s, 88 notes\n")
    assert said(err.splitlines())[0] == "P1 plays track 2 (Lead): 32 notes"
    assert midi.read(tmp_path / "song.nes.mid") == build.read_any(own)
    for ending in ("wav", "vgm", "tx1.txt"):
        target = tmp_path / f"song.{ending}"
        assert main(["render", str(own), str(target), "--voices", "P1=Piano,P2=2"]) == 0
        assert target.stat().st_size > 500
        assert "P1 plays track 3 (Piano)" in capsys.readouterr().err
    assert main(["tokens", str(own), "--voices", "NO="]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("P1_NOTEON_60\n") and "NO_" not in out and "NO plays nothing" in err
    assert main(["tokens", str(own), "--voices", "P1=Leed"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["tokens", str(tmp_path / "song.vgm"), "--voices", "P1=2"]) == 2
    assert "is no MIDI file" in capsys.readouterr().err


def test_folders_hold_own_music_too(own, tmp_path, capsys):
    (tmp_path / "damaged.mid").write_bytes(b"MThd")
    assert main(["tokens", str(tmp_path), str(tmp_path / "out"), "--workers", "1"]) == 0
    out, err = capsys.readouterr()
    assert "left out: 1 files" in out and "left out: " in err and "damaged.mid: " in err
    assert "own.mid: TR plays track 1 (Bass): 16 notes" in err
    packed = corpus.open_corpus(tmp_path / "out")
    songs = [
        split.score(number) for split in packed.splits.values() for number in range(len(split))
    ]
    assert songs == [build.read_any(own)]
    assert main(["tokens", str(tmp_path), str(tmp_path / "no"), "--voices", "P1=2"]) == 2


# The composer's files


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("band", "P1 2 64, P2 1 32 -64, TR 3 32, NO 4 32 -32"),
        ("bassfirst", "P1 2 64, TR 1 32, NO 3 32 -32"),
        ("leadfirst", "P1 1 64, TR 2 32, NO 3 32 -32"),
        ("type0", "P1 1 64, TR 2 32, NO 3 32 -32"),
        ("flstudio", "P1 1 64 cut 63, TR 2 32, NO 3 32"),
        ("overlap", "P1 1 64 cut 63"),
        ("extremes", "P1 1 64 moved 64, TR 2 32 moved 32"),
        ("long", "P1 1 2560, TR 2 32"),
        ("nesnames", "P1 1 64, TR 2 32"),
    ],
)
def test_cases(name, expected):
    _, lines = build.read_with_remarks(CASES / f"{name}.mid")
    texts = []
    for line in said(lines):
        line = line.replace(",", "")
        if match := re.match(r"(\w\w) plays track (\d)[^:]*: (\d+) notes", line):
            left, cut, moved = (
                re.search(rf"(\d+) {what}", line) for what in ("left out", "cut", "moved")
            )
            text = " ".join(match.groups())
            text += f" -{left[1]}" if left else ""
            text += f" cut {cut[1]}" if cut else ""
            texts.append(text + (f" moved {moved[1]}" if moved else ""))
    assert ", ".join(texts) == expected
    assert ("scaled" in lines[-1]) == (name == "nesnames")
