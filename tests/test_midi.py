"""MIDI in NES-MDB's form: what is written is read back; a byte-level writer of this test's own
makes the odd files.
"""

import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from songs import scores, tune

from lakhnes_lib.errors import BadMidi, BadScore, LakhnesError
from lakhnes_lib.music import events, midi
from lakhnes_lib.music.nes import NO, P1, P2, TR
from lakhnes_lib.music.score import Score

PROGRAMS = {"p1": 80, "p2": 81, "tr": 38, "no": 121}


def variable(value):
    """A number as MIDI's variable-length quantity."""
    out = [value & 127]
    while value := value >> 7:
        out.insert(0, 128 | value & 127)
    return bytes(out)


def chunk(tag, data):
    return tag + struct.pack(">I", len(data)) + data


def track(messages):
    """A track chunk of (tick, bytes) messages."""
    data, now = bytearray(), 0
    for tick, message in sorted(messages, key=lambda pair: pair[0]):
        data += variable(tick - now) + message
        now = tick
    return chunk(b"MTrk", bytes(data) + b"\x00\xff\x2f\x00")


def voice_track(name, notes, controls=(), channel=None):
    """notes: (start, end, pitch, velocity); controls: (tick, kind, value)."""
    if channel is None:
        channel = 9 if name == "no" else list(PROGRAMS).index(name) if name in PROGRAMS else 4
    messages = [(0, b"\xff\x03" + variable(len(name)) + name.encode())]
    messages.append((0, bytes([0xC0 | channel, PROGRAMS.get(name, 0)])))
    messages += [(tick, bytes([0xB0 | channel, kind, value])) for tick, kind, value in controls]
    messages += [(end, bytes([0x80 | channel, pitch, 0])) for _, end, pitch, _ in notes]
    messages += [
        (start, bytes([0x90 | channel, pitch, velocity])) for start, _, pitch, velocity in notes
    ]
    return track(messages)


def file_of(*tracks, tempos=((0, 500_000),), length=None, resolution=22_050):
    """A whole MIDI file; length: tick of the 1/1 time signature."""
    first = [(tick, b"\xff\x51\x03" + mspq.to_bytes(3, "big")) for tick, mspq in tempos]
    if length is not None:
        first.append((length, b"\xff\x58\x04\x01\x00\x18\x08"))
    chunks = [track(first), *tracks]
    return chunk(b"MThd", struct.pack(">HHH", 1, len(chunks), resolution)) + b"".join(chunks)


@pytest.fixture
def read(tmp_path):
    """Reads these bytes as ``song.mid``."""

    def work(data):
        (tmp_path / "song.mid").write_bytes(data)
        return midi.read(tmp_path / "song.mid")

    return work


# --- good files


@settings(max_examples=50, deadline=None)
@given(scores(with_controls=True))
def test_what_is_written_is_read_back(tmp_path_factory, score):
    path = tmp_path_factory.getbasetemp() / "written.mid"
    midi.write(score, path)
    again = midi.read(path)
    assert again == audible(score) and again.name == "written"
    assert np.array_equal(events.encode(again), events.encode(score))


@settings(max_examples=40, deadline=None)
@given(scores(with_controls=True))
def test_a_file_written_byte_by_byte(tmp_path_factory, score):
    tracks = []
    for voice, name in enumerate(PROGRAMS):
        notes = [note[1:] for note in score.voice(voice).tolist()]
        controls = [control[1:] for control in score.controls.tolist() if control[0] == voice]
        tracks.append(voice_track(name, notes, controls))
    path = tmp_path_factory.getbasetemp() / "bytes.mid"
    path.write_bytes(file_of(*tracks, length=score.length))
    assert midi.read(path) == audible(score)


def audible(score):
    """The score without what is set in voices that have no notes: such tracks are not kept."""
    mask = np.isin(score.controls["voice"], score.notes["voice"])
    return Score(score.notes, score.length, score.controls[mask])


def test_form_of_what_is_written(tmp_path):
    """Programs, names, resolution, tempo and the end of the song as NES-MDB has them, seen through
    pretty_midi.
    """
    pretty_midi = pytest.importorskip("pretty_midi")
    notes = [(P1, 0, 10, 60, 9), (P2, 5, 10, 70, 8), (TR, 0, 10, 50, 1), (NO, 0, 10, 16, 7)]
    midi.write(Score.build(notes, 30, [(P1, 5, 11, 3), (NO, 6, 12, 1)]), tmp_path / "song.mid")
    song = pretty_midi.PrettyMIDI(str(tmp_path / "song.mid"))
    assert song.resolution == 22_050 and song.get_tempo_changes()[1].tolist() == [120.0]
    assert [(i.name, i.program, i.is_drum) for i in song.instruments] == [
        ("p1", 80, False),
        ("p2", 81, False),
        ("tr", 38, False),
        ("no", 121, True),
    ]
    end = song.time_signature_changes[-1]
    assert (end.numerator, end.denominator, round(end.time * 44_100)) == (1, 1, 30)


def test_other_tempos_and_resolution(read):
    """A quarter of 480 ticks at 60 beats a minute is one second; the tempo doubles twice."""
    notes = voice_track("p1", [(0, 480, 60, 9), (960, 1440, 62, 9), (1440, 1920, 64, 9)])
    tempos = ((0, 1_000_000), (960, 500_000), (1440, 250_000))
    score = read(file_of(notes, tempos=tempos, resolution=480, length=2400))
    times = score.notes[["start", "end"]].tolist()
    assert times == [(0, 44_100), (88_200, 110_250), (110_250, 121_275)]
    assert score.length == 132_300


def test_drums_without_a_name_are_the_noise(read):
    assert read(file_of(voice_track("", [(0, 5, 3, 9)], channel=9))).voice(NO).size == 1


# --- bad files

LINE = voice_track("p1", [(start, start + 10, 60, 9) for start in range(0, 1000, 20)])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"RIFF0000", "is not a MIDI file (it does not start with MThd)"),
        (b"MThd", "is a damaged MIDI file"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x01", "is a damaged MIDI file"),
        (b"\x00" * 16_000_001, "has over 16 MB, the most that is read"),
        (
            file_of(voice_track("piano", [(0, 5, 60, 9)])),
            "instrument 'piano' (program 0) is none of p1, p2, tr, no",
        ),
        (
            file_of(voice_track("p1", [(0, 9, 60, 9), (5, 12, 62, 9)])),
            "(P1, pitch 62, velocity 9, ticks 5-12) starts before",
        ),
        (
            file_of(voice_track("p1", [(0, 9, 20, 9)])),
            "(P1, pitch 20, velocity 9, ticks 0-9) is out of range (P1 P2 33-108, TR",
        ),
        (
            file_of(voice_track("no", [(0, 9, 40, 9)])),
            "(NO, pitch 40, velocity 9, ticks 0-9) is out of range (P1 P2 33-108, TR",
        ),
        (
            file_of(voice_track("p2", [(0, 9, 60, 99)])),
            "velocity 99, ticks 0-9) has a velocity that is not 1-15",
        ),
        (file_of(voice_track("p1", [(0, 9, 60, 9)], [(3, 12, 9)])), "control 0 "),
        (
            file_of(voice_track("p1", [(n, n + 1, 60, 9) for n in range(100_001)])),
            "100001 notes, more than the 100000 of",
        ),
        (
            file_of(voice_track("p1", [(0, 9, 60, 9)]), length=172_800_000, resolution=1000),
            "lasts 86400 s, more than",
        ),
        (file_of(LINE, length=2**31), "is a damaged MIDI file"),
        (
            file_of(voice_track("p1", [(0, 9, 60, 9)]), tempos=((0, 0),)),
            "it counts no time: a tempo is 0",
        ),
        (file_of(LINE, resolution=0), "is a damaged MIDI file"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_bad_files(read, tmp_path, data, said):
    with pytest.raises(BadMidi) as raised:
        read(data)
    message = str(raised.value)
    assert (
        message.startswith(f"{tmp_path / 'song.mid'}: ") and said in message and "\n" not in message
    )


def test_no_file(tmp_path):
    with pytest.raises(BadMidi, match=r"none.mid: cannot be read \(No such file or directory\)"):
        midi.read(tmp_path / "none.mid")
    with pytest.raises(BadMidi, match="cannot be read"):
        midi.read(tmp_path)


def test_truncated_anywhere(read):
    """A file cut off at any byte is refused, or gives a valid part of the song: never another
    error.
    """
    data, refused = file_of(LINE, length=2000), 0
    sizes = range(0, len(data), 3)
    for size in sizes:
        try:
            assert len(read(data[:size]).notes) <= 50
        except BadMidi as error:
            refused += 1
            assert "song.mid: " in str(error)
    assert refused > len(sizes) / 2


def test_any_bytes_after_the_head(read):
    """Random bytes, and files of which some bytes were changed: a Score or BadMidi."""
    whole, refused = file_of(LINE, voice_track("tr", [(0, 50, 40, 1)]), length=2000), 0
    for seed in range(200):
        dice = random.Random(seed)
        data = bytearray(whole)
        if seed % 2:
            data[14:] = dice.randbytes(dice.randrange(400))
        else:
            for _ in range(dice.randrange(1, 6)):
                data[dice.randrange(4, len(data))] = dice.randrange(256)
        try:
            assert isinstance(read(bytes(data)), Score)
        except BadMidi:
            refused += 1
    assert refused > 50


def test_text_that_claims_to_be_midi(read):
    """Names that are no UTF-8, and a name of markup, do no harm."""
    with pytest.raises(BadMidi, match="instrument .* is none of p1, p2, tr, no"):
        read(file_of(voice_track("piano", [(0, 5, 60, 9)]).replace(b"piano", b"\xff\xfe\xfd<b")))


def test_what_cannot_be_written(tmp_path):
    """A song longer than what is read back is refused, and nothing stays of it."""
    with pytest.raises(
        LakhnesError, match=r"song.mid: .*lasts 86400 s, more than the 3600 s of a song"
    ):
        midi.write(Score.build([], 86_400 * 44_100), tmp_path / "song.mid")
    with pytest.raises(BadScore):
        midi.write(Score.build([(P1, 0, 1, 1, 1)]), tmp_path / "song.mid")
    crowd = Score.build([(P1, tick, tick + 1, 60, 9) for tick in range(100_001)])
    with pytest.raises(
        BadMidi, match="song.mid: holds 100001 notes, more than the 100000 of a song"
    ):
        midi.write(crowd, tmp_path / "song.mid")
    (tmp_path / "file").write_text("")
    with pytest.raises(LakhnesError, match="file: is a file, and a folder"):
        midi.write(tune(0), tmp_path / "file" / "song.mid")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_at_all(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.mid"
    path.write_bytes(data)
    with pytest.raises(BadMidi, match="any.mid: is "):
        midi.read(path)
