"""Any MIDI file as tracks: built byte by byte, compared with what a plain reader and pretty_midi
make of it.
"""

import struct
from fractions import Fraction

import numpy as np
import pytest

from lakhnes_lib import files
from lakhnes_lib.errors import BadMidi
from lakhnes_lib.music.tracks import parse_tracks, read_tracks


def number(value: int) -> bytes:
    """A number as MIDI writes it: seven bits a byte."""
    digits = [value & 127]
    while value := value >> 7:
        digits.insert(0, value & 127 | 128)
    return bytes(digits)


def midi_file(*tracks, division=480, kind=1) -> bytes:
    """A MIDI file; a track is a list of ``(ticks since the last event, bytes)``."""
    data = struct.pack(">4sIHHH", b"MThd", 6, kind, len(tracks), division)
    for events in tracks:
        body = b"".join(number(wait) + bytes(event) for wait, event in events) + b"\x00\xff\x2f\x00"
        data += struct.pack(">4sI", b"MTrk", len(body)) + body
    return data


def on(pitch, velocity=64, channel=0):
    return (0x90 | channel, pitch, velocity)


def off(pitch, channel=0):
    return (0x80 | channel, pitch, 0)


def tempo(microseconds):
    return (0xFF, 0x51, 3, *microseconds.to_bytes(3, "big"))


def rows(events, **header):
    """The notes of a file of one track of one instrument, in MIDI ticks of 1/960 s."""
    (track,), _ = parse_tracks(midi_file(events, **header))
    return [(round(s / 45.9375), round(e / 45.9375), p, v) for s, e, p, v in track.notes.tolist()]


def test_notes_in_samples_velocity_and_order():
    (track,), length = parse_tracks(
        midi_file([(0, (0xC3, 73)), (960, on(60, 99, 3)), (480, off(60, 3))])
    )
    assert track.notes.tolist() == [(44_100, 66_150, 60, 99)]
    assert (track.program, track.is_drum, length) == (73, False, 66_150)


def test_channel_ten_is_drums():
    tracks, _ = parse_tracks(
        midi_file([(0, on(36, 64, 9)), (0, on(60)), (9, off(36, 9)), (0, off(60))])
    )
    assert sorted((track.is_drum, track.notes["pitch"].tolist()) for track in tracks) == [
        (False, [60]),
        (True, [36]),
    ]


def test_channels_and_programs_of_one_track_are_instruments_of_their_own():
    events = [(0, (0xC0, 5)), (0, on(60)), (9, off(60)), (0, (0xC0, 6)), (0, on(62)), (9, off(62))]
    events += [(0, (0xC1, 5)), (0, on(64, 64, 1)), (9, off(64, 1))]
    tracks, _ = parse_tracks(midi_file(events))
    assert sorted((track.program, *track.notes["pitch"].tolist()) for track in tracks) == [
        (5, 60),
        (5, 64),
        (6, 62),
    ]


def test_one_release_ends_every_earlier_note_of_its_pitch():
    struck_twice = [
        (0, on(60, 50)),
        (10, on(60, 70)),
        (10, off(60)),
        (10, off(60)),
        (10, on(60, 80)),
        (5, off(60)),
    ]
    assert rows(struck_twice) == [(0, 20, 60, 50), (10, 20, 60, 70), (40, 45, 60, 80)]
    one_release_missing = [
        (0, on(60, 50)),
        (10, on(60, 70)),
        (10, off(60)),
        (20, on(60, 80)),
        (5, off(60)),
    ]
    later = rows([*one_release_missing, (5, on(60, 90)), (5, off(60))])
    assert later == [(0, 20, 60, 50), (10, 20, 60, 70), (40, 45, 60, 80), (50, 55, 60, 90)]


def test_release_and_strike_at_one_tick():
    assert rows([(0, on(60)), (10, off(60)), (0, on(60)), (5, off(60))]) == [
        (0, 10, 60, 64),
        (10, 15, 60, 64),
    ]
    assert rows([(0, on(60)), (10, on(60)), (0, off(60)), (5, off(60))]) == [
        (0, 10, 60, 64),
        (10, 15, 60, 64),
    ]


def test_notes_without_length_or_release_are_left_out():
    assert rows([(0, on(60)), (0, off(60)), (3, on(60)), (4, off(60)), (0, on(62))]) == [
        (3, 7, 60, 64)
    ]


def test_tempo_map_is_exact_over_thousands_of_changes():
    generator = np.random.default_rng(0)
    waits, tempos = (
        generator.integers(0, 50, 3000).tolist(),
        generator.integers(10_000, 900_000, 3000).tolist(),
    )
    notes = [(wait, on(60) if index % 2 else off(60)) for index, wait in enumerate(waits[1:], 1)]
    data = midi_file(
        [(w, tempo(t)) for w, t in zip(waits, tempos, strict=True)], notes, division=96
    )
    (track,), _ = parse_tracks(data)

    changes, tick = {}, 0
    for wait, microseconds in zip(waits, tempos, strict=True):
        tick += wait
        changes[tick] = microseconds

    def seconds(until):
        """Exact seconds at a tick, from change to change."""
        time, before, rate = Fraction(0), 0, 500_000
        for tick, microseconds in changes.items():
            if tick > until:
                break
            time, before, rate = (
                time + Fraction((tick - before) * rate, 96_000_000),
                tick,
                microseconds,
            )
        return time + Fraction((until - before) * rate, 96_000_000)

    starts = np.cumsum(waits)[1::2] - waits[0]
    lengths = np.array(waits[2::2])
    spans = [(int(s), int(s + w)) for s, w in zip(starts, lengths, strict=False) if w]
    assert len(track.notes) == len(spans) > 1000
    for (start, end), note in list(zip(spans, track.notes, strict=True))[::40]:
        assert abs(seconds(start) * 44_100 - int(note["start"])) <= Fraction(501, 1000)
        assert abs(seconds(end) * 44_100 - int(note["end"])) <= Fraction(501, 1000)


def test_length_counts_controls_and_changes_of_tempo():
    note = [(0, on(60)), (960, off(60))]
    assert parse_tracks(midi_file(note))[1] == 44_100
    assert parse_tracks(midi_file([*note, (960, (0xB0, 7, 100))]))[1] == 88_200
    assert parse_tracks(midi_file([(2880, tempo(400_000))], note))[1] == 132_300
    assert parse_tracks(midi_file([(2880, tempo(500_000))], note))[1] == 44_100, (
        "a tempo that changes nothing"
    )


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_each_kind_of_file_and_names_in_any_encoding(kind):
    named = [(0, (0xFF, 3, 4, 0xFF, 0xFE, 0x80, 0x81)), (0, on(60)), (5, off(60))]
    (track,), _ = parse_tracks(midi_file(named, kind=kind))
    assert len(track.notes) == 1 and isinstance(track.name, str)


WAIT = 0xFFFFFFF
HOSTILE = {
    "empty": b"",
    "text": b"hello",
    "header alone": midi_file()[:10],
    "cut off": midi_file([(0, on(60)), (9, off(60))])[:-6],
    "no resolution": midi_file([(0, on(60)), (9, off(60))], division=0),
    "SMPTE": midi_file([(0, on(60)), (9, off(60))], division=0xE728),
    "tempo of zero": midi_file([(0, tempo(0)), (0, on(60)), (9, off(60))]),
    "beyond 31 bits": midi_file([(WAIT, on(60)), (WAIT, off(60))] * 9),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_are_refused_in_one_sentence(data):
    with pytest.raises(BadMidi, match=r"^strange\.mid: .{5,200}$"):
        parse_tracks(data, "strange.mid")


def test_file_without_notes_has_no_tracks():
    assert parse_tracks(midi_file([(0, (0xC0, 1))])) == ([], 0)


def test_thousands_of_damaged_files_end_in_tracks_or_refusal():
    generator = np.random.default_rng(1)
    whole = midi_file(
        [
            (3, on(60 + i % 7, 64, i % 3)) if i % 2 == 0 else (3, off(60 + (i - 1) % 7))
            for i in range(60)
        ]
    )
    outcomes = {"read": 0, "refused": 0}
    for number in range(1000):
        data = bytearray(whole[: generator.integers(14, len(whole))] if number % 2 else whole)
        for position in generator.integers(0, len(data), generator.integers(0, 4)):
            data[position] = generator.integers(256)
        try:
            tracks, length = parse_tracks(bytes(data))
        except BadMidi:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        for track in tracks:
            assert len(track.notes) and (track.notes["end"] > track.notes["start"]).all()
            assert (np.diff(track.notes["start"]) >= 0).all() and track.notes["end"].max() <= length
    assert min(outcomes.values()) > 50


def test_file_is_read_by_path_and_refused_when_large_or_missing(tmp_path, monkeypatch):
    path = tmp_path / "song.mid"
    path.write_bytes(midi_file([(0, on(60)), (9, off(60))]))
    assert read_tracks(path)[0].notes["pitch"].tolist() == [60]
    with monkeypatch.context() as patch, pytest.raises(BadMidi, match="the most that is read"):
        patch.setattr(files, "MOST_BYTES", 20)
        read_tracks(path)
    with pytest.raises(BadMidi, match="cannot be read"):
        read_tracks(tmp_path / "none.mid")
    with pytest.raises(BadMidi, match="cannot be read"):
        read_tracks(tmp_path)


def test_pretty_midi_reads_the_same_notes(tmp_path):
    pretty_midi = pytest.importorskip("pretty_midi")
    generator = np.random.default_rng(2)
    path = tmp_path / "song.mid"
    for _ in range(20):
        events, sounding = [], set()
        for _ in range(200):
            key = (int(generator.integers(58, 63)), int(generator.integers(8, 11)))
            wait = int(generator.integers(0, 300))
            if key in sounding and generator.random() < 0.8:
                events.append((wait + 1, off(*key)))
                sounding.discard(key)
            else:
                events.append((wait + 1, on(key[0], int(generator.integers(1, 128)), key[1])))
                sounding.add(key)
        events += [
            (1, off(pitch, channel))
            for pitch in range(58, 63)
            for channel in range(8, 11)
            for _ in range(30)
        ]
        path.write_bytes(midi_file([(0, tempo(431_234)), (700, tempo(611_111))], events))
        theirs = sorted(
            (
                i.is_drum,
                sorted(
                    (round(n.start * 44_100), round(n.end * 44_100), n.pitch, n.velocity)
                    for n in i.notes
                ),
            )
            for i in pretty_midi.PrettyMIDI(str(path)).instruments
        )
        ours = sorted((track.is_drum, sorted(track.notes.tolist())) for track in read_tracks(path))
        assert (
            [is_drum for is_drum, _ in ours]
            == [is_drum for is_drum, _ in theirs]
            == [False, False, True]
        )
        for (_, mine), (_, notes) in zip(ours, theirs, strict=True):
            assert (np.abs(np.array(mine) - np.array(notes)) <= (1, 1, 0, 0)).all()
