"""What a MIDI file says: known answers, and every note against the slow reader in midi_oracle.py,
on built and damaged files and on 400 files of the Lakh MIDI Dataset.
"""

import random
import tarfile
from pathlib import Path

import midi_oracle
import numpy as np
import pytest
from test_tracks import midi_file, number, off, on, tempo

from lakhnes_lib.data import build
from lakhnes_lib.errors import BadMidi, LakhnesError
from lakhnes_lib.music import midi, midi_song
from lakhnes_lib.music.nes import P1
from lakhnes_lib.music.tracks import parse_tracks
from lakhnes_lib.sound import song_files

SHARED = Path(__file__).resolve().parents[2] / "shared"
LAKH_SAMPLE = SHARED / "data" / "lmd_full_5_sample.tar.xz"
SCALE = [message for pitch in range(60, 65) for message in ((0, on(pitch)), (480, off(pitch)))]


def disagreement(data):
    """What the library and the oracle read differently, or an empty text."""
    try:
        expected = midi_oracle.read(data)
    except midi_oracle.NotMidi as reason:
        try:
            midi.parse_bytes(data, "it")
        except BadMidi:
            return ""
        return f"only the library reads it; the oracle says: {reason}"
    try:
        song = midi.parse_bytes(data, "it")
    except BadMidi as reason:
        return f"only the oracle reads it; the library says: {reason}"
    resolution, tempos, notes = expected
    theirs = sorted((channel == 9, program, *rest) for _, channel, program, *rest in notes)
    parts = [(part.is_drum, part.program) for part in song.instruments]
    ours = sorted((*parts[index], *note) for index, *note in song.notes.tolist())
    if ours != theirs:
        return f"{len(ours)} notes, the oracle has {len(theirs)}; or other times"
    if (song.resolution, song.tempos) != (resolution, dict(tempos)):
        return "other tempos"
    ticks = sorted({tick for note in ours for tick in note[2:4]})
    exact, unit = midi_oracle.moments(ticks, resolution, tempos)
    samples = midi.to_samples(np.array(ticks, np.int64), song).tolist()
    pairs = zip(ticks, samples, strict=True)
    if any(100 * abs(exact[tick] - sample * unit) > 51 * unit for tick, sample in pairs):
        return "a time is not the nearest 1/44,100 s"
    return ""


def seconds(data):
    """``(start, end)`` of every note of a file in seconds, sorted."""
    rows = [row for track in parse_tracks(data)[0] for row in track.notes.tolist()]
    return sorted((start / 44_100, end / 44_100) for start, end, *_ in rows)


SCALE_SECONDS = [(at / 2, at / 2 + 0.5) for at in range(5)]


def rmid(data):
    """A MIDI file inside a RIFF file, after a list of its own."""
    name = b"LIST" + (4).to_bytes(4, "little") + b"INFO"
    body = b"RMID" + name + b"data" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def long_header(data):
    return data[:7] + b"\x0a" + data[8:14] + bytes(4) + data[14:]


ONE_SCALE = {
    "packet first": midi_file([(0, (0xF7, 2, 0xF3, 1)), *SCALE]),
    "exclusive in packets": midi_file(
        [(0, (0xF0, 3, 0x43, 0x12, 0)), (0, (0xF7, 4, 0x43, 0x12, 0, 0xF7)), *SCALE]
    ),
    "long packet": midi_file([(0, (0xF7, *number(300), *bytes(300))), *SCALE]),
    "longer header": long_header(midi_file(SCALE)),
    "RIFF": rmid(midi_file(SCALE)),
    "unknown chunk": midi_file(SCALE)[:14] + b"XFIH\x00\x00\x00\x04abcd" + midi_file(SCALE)[14:],
    "running status after exclusive": midi_file(
        [(0, on(60)), (480, (0xF0, 3, 0x41, 0x10, 0xF7)), (0, (60, 0))]
        + [(0, (61, 64)), (480, (0xFF, 1, 2, 65, 66)), (0, (61, 0)), *SCALE[4:]]
    ),
    "two tempos in one tick": midi_file([(0, tempo(123_456)), (0, tempo(500_000))], SCALE),
    "two tempos in one tick of two tracks": midi_file(
        [(0, tempo(123_456)), *SCALE], [(0, tempo(500_000))]
    ),
    "another song after it": midi_file(SCALE) + midi_file([(0, on(72)), (9999, off(72))]),
    "bytes after the end of track": midi_file([*SCALE, (0, (0xFF, 0x2F, 0)), (0, on(70))]),
}


@pytest.mark.parametrize("data", ONE_SCALE.values(), ids=ONE_SCALE.keys())
def test_one_scale_written_in_many_ways(data):
    assert seconds(data) == SCALE_SECONDS
    assert disagreement(data) == ""


def test_midi_in_riff_has_an_ending_of_its_own(tmp_path):
    path = tmp_path / "scale.rmi"
    path.write_bytes(rmid(midi_file(SCALE)))
    score, (line,) = build.read_with_remarks(path)
    assert line == f"{path}: P1 plays track 1: 5 notes" and score.seconds == SCALE_SECONDS[-1][1]
    with pytest.raises(LakhnesError, match="none of those that can be written"):
        song_files.write_song(score, path)  # as it would be without RIFF


def test_of_several_tempos_in_one_tick_the_last_counts():
    """Twelve beats at 120, of which the first tempo said at the seventh lasts no time."""
    changes = [(480 * (beat > 0), tempo(500_000)) for beat in range(7)]
    changes += [(0, tempo(1_000_000)), (0, tempo(250_000)), (0, tempo(500_000))]
    notes = [message for _ in range(12) for message in ((0, on(60)), (480, off(60)))]
    assert seconds(midi_file(changes, notes))[-1] == (5.5, 6.0)


def test_program_change_between_overlapping_strikes():
    """The first note-off ends both, each with the program that it began with."""
    events = [(0, (0xC0, 10)), (0, on(60)), (240, (0xC0, 40)), (0, on(60)), (240, off(60))]
    tracks, _ = parse_tracks(midi_file([*events, (480, off(60))]))
    assert [(track.program, *track.notes.tolist()) for track in tracks] == [
        (10, (0, 22_050, 60, 64)),
        (40, (11_025, 22_050, 60, 64)),
    ]


REFUSED = {
    "a track begins with data that belongs to no message": midi_file([(0, (60, 64)), *SCALE]),
    "an event begins with F8, which no file may hold": midi_file([(0, (0xF8,)), *SCALE]),
    "a data byte of a message is above 127": midi_file([(0, on(60, 200)), *SCALE]),
    "it counts time in film frames": midi_file(SCALE, division=0xE728),
    "its resolution is 0": midi_file(SCALE, division=0),
    "it counts no time: a tempo is 0": midi_file([(0, tempo(0)), *SCALE]),
    "its track 1 is cut off": midi_file(SCALE)[:-9],
    "it is cut off after 1 tracks": midi_file(SCALE, SCALE)[: len(midi_file(SCALE))],
    "a time has more than four bytes": midi_file([(0, on(60))])
    .replace(b"\x00\x90", b"\x80\x80\x80\x80\x00\x90")
    .replace(b"\x08\x00\x90", b"\x0c\x00\x90")
    .replace(b"\x00\x00\x00\x08", b"\x00\x00\x00\x0c"),
    "a length has more than four bytes": midi_file(
        [(0, (0xF0, 0x80, 0x80, 0x80, 0x80, 0)), *SCALE]
    ),
    "it has times beyond what a MIDI file can count": midi_file([(0xFFFFFFF, on(60))] * 9),
}


@pytest.mark.parametrize(("said", "data"), REFUSED.items(), ids=REFUSED.keys())
def test_damaged_files_are_refused_by_the_right_name(said, data, tmp_path):
    (tmp_path / "song.mid").write_bytes(data)
    for read in (lambda: parse_tracks(data, "song.mid"), lambda: midi.read(tmp_path / "song.mid")):
        with pytest.raises(BadMidi) as raised:
            read()
        assert f"song.mid: is a damaged MIDI file ({said}" in str(raised.value)
    assert disagreement(data) == ""


# --- music for the NES


@pytest.mark.parametrize("later", [0, 50])
def test_strike_without_note_off_in_nes_form(tmp_path, later):
    """The pitch sounds anew where it is struck again; no later note is lost or ends late."""
    events = [(0, (0xFF, 3, 2, *b"p1")), (0, (0xC0, 80)), (0, on(60, 5)), (later, on(60, 9))]
    events += [(100, off(60))]
    for _ in range(11):
        events += [(100, on(60, 9)), (100, off(60))]
    (tmp_path / "song.mid").write_bytes(midi_file(events, division=22_050))
    first = [(P1, 0, later, 60, 5)] if later else []
    rest = [(P1, later + at, later + at + 100, 60, 9) for at in range(0, 2400, 200)]
    assert midi.read(tmp_path / "song.mid").notes.tolist() == first + rest


# --- against the oracle


def dice_file(dice):
    """A file of random events of every kind, with few pitches, so that strikes overlap."""
    tracks = []
    for _ in range(dice.randrange(1, 4)):
        events = []
        for _ in range(dice.randrange(1, 80)):
            channel, pitch = dice.choice((0, 1, 9)), dice.randrange(60, 63)
            event = dice.choice(
                [on(pitch, dice.randrange(128), channel), on(pitch, 64, channel)]
                + [off(pitch, channel)] * 2
                + [(pitch, dice.choice((0, 64)))] * 2
                + [(0xC0 | channel, dice.randrange(3)), (0xB0 | channel, 7, 99)]
                + [(0xE0 | channel, 0, 64), tempo(dice.randrange(1, 2**24)), (0xF0, 2, 1, 0xF7)]
                + [(0xF7, 1, 5), (0xFF, 3, 1, 65), (0xFF, 5, *number(200), *bytes(200))]
            )
            events.append((dice.choice((0, 0, 1, 5, 200)), event))
        tracks.append(events)
    return midi_file(*tracks, division=dice.choice((1, 96, 480)), kind=1)


def test_random_files_are_read_as_the_oracle_reads_them():
    outcomes = {"read": 0, "refused": 0}
    for seed in range(1000):
        data = dice_file(random.Random(seed))
        assert disagreement(data) == "", seed
        try:
            outcomes["read"] += bool(midi_song.read_song(data).instruments)
        except ValueError:
            outcomes["refused"] += 1
    assert outcomes["read"] > 300 and outcomes["refused"] > 50


def test_damaged_files_are_read_or_refused_as_the_oracle_does():
    refused = 0
    for seed in range(1000):
        dice = random.Random(seed)
        data = bytearray(midi_file(SCALE * 2, SCALE) if seed % 2 else dice_file(dice))
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(14, len(data))] = dice.randrange(256)
        if dice.random() < 0.3:
            del data[dice.randrange(14, len(data)) :]
        assert disagreement(bytes(data)) == "", seed
        try:
            midi_song.read_song(bytes(data))
        except ValueError:
            refused += 1
    assert 100 < refused < 900


CASES = {
    "midi_double_strike_first_loses_last_note.mid": (13, 5.75),
    "midi_f7_first_event.mid": (12, 6.0),
    "midi_sysex_split_only.mid": (12, 6.0),
    "midi_running_status_after_sysex.mid": (12, 6.0),
    "midi_two_tempos_same_tick_of_24.mid": (23, 12.0),
    "midi_program_change_between_overlapping_strikes.mid": (12, 6.0),
    "midi_header_length_10.mid": (12, 6.0),
    "midi_riff_rmid.rmi": (12, 6.0),
}


def case(name):
    path = SHARED / "cases" / name
    if not path.exists():
        pytest.skip(f"needs {name} in shared/cases beside the repository")
    return path.read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_files_that_were_read_wrong(name):
    data = case(name)
    assert (len(seconds(data)), max(end for _, end in seconds(data))) == CASES[name]
    assert disagreement(data) == ""


@pytest.mark.parametrize(
    "name", sorted(path.name for path in (SHARED / "cases/own_midi").glob("*"))
)
def test_music_of_a_composer(name):
    assert disagreement(case(f"own_midi/{name}")) == ""


def test_lakh_files_are_read_as_the_oracle_reads_them():
    if not LAKH_SAMPLE.exists():
        pytest.skip("needs data/lmd_full_5_sample.tar.xz in shared/ beside the repository")
    with tarfile.open(LAKH_SAMPLE) as archive:
        members = [member for member in archive if member.isfile()]
        songs = {member.name: archive.extractfile(member).read() for member in members}
    assert len(songs) == 400
    assert {name: said for name, data in songs.items() if (said := disagreement(data))} == {}
