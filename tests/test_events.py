"""The event language against a plain encoder and decoder of this test's own, written from the
paper's §3.2.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from songs import scores

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.music import events
from lakhnes_lib.music.nes import NO, P1, TR
from lakhnes_lib.music.score import Score

VOICES = ("P1", "P2", "TR", "NO")
GRID = [
    *range(1, 101),
    *range(110, 1001, 10),
    *range(1100, 10_001, 100),
    *range(11_000, 100_001, 1000),
]
ID = {name: number for number, name in enumerate(events.VOCABULARY)}
ANY_ID = st.integers(1, 630) | st.sampled_from(
    [1, 100, 370, 371, 372, 448, 450, 525, 530, 614, 616]
)


def lines_of(score):
    """Text events by walking over the ticks at which something happens."""
    lines, now = [], 0
    notes = score.notes.tolist()
    for tick in sorted({score.length, *(n[1] for n in notes), *(n[2] for n in notes)}):
        if tick > now:
            lines.append(f"WT_{tick - now}")
        now = tick
        for voice, name in enumerate(VOICES):
            begins = [n for n in notes if n[0] == voice and n[1] == tick]
            ends = [n for n in notes if n[0] == voice and n[2] == tick]
            if begins:
                lines.append(f"{name}_NOTEON_{begins[0][3]}")
            elif ends:
                lines.append(f"{name}_NOTEOFF")
    return lines


def id_of(line):
    """The id of a text event; a wait takes the nearest value of the grid, the shorter of two."""
    if not line.startswith("WT_"):
        return ID[line]
    ticks = int(line[3:])
    return ID[f"WT_{min(GRID, key=lambda value: (abs(value - ticks), value))}"]


def notes_of(lines):
    """(voice, start, end, pitch) and the length, by a machine that plays the events one after the
    other.
    """
    now, sounding, notes = 0, {}, []

    def stop(voice):
        start, pitch = sounding.pop(voice, (now, 0))
        if now > start:
            notes.append((voice, start, now, pitch))

    for line in lines:
        name, *rest = line.split("_")
        if name == "WT":
            now += int(rest[0])
            continue
        stop(VOICES.index(name))
        if rest[0] == "NOTEON":
            sounding[VOICES.index(name)] = (now, int(rest[1]))
    for voice in list(sounding):
        stop(voice)
    return sorted(notes, key=lambda note: (note[1], note[0])), now


def plain(score):
    return [note[:4] for note in score.notes.tolist()], score.length


def silent_velocities(score):
    """The score with the velocities that events come back with."""
    notes = score.notes.copy()
    notes["velocity"] = np.where(notes["voice"] == TR, 1, 15)
    return Score(notes, score.length)


def test_table_1():
    assert len(events.VOCABULARY) == 631 == len(set(events.VOCABULARY))
    assert events.VOCABULARY[0] == "<S>"
    assert list(events.VOCABULARY[1:371]) == [f"WT_{ticks}" for ticks in GRID]
    expected = []
    for voice, low, high in (("P1", 33, 108), ("P2", 33, 108), ("TR", 21, 108), ("NO", 1, 16)):
        expected += [
            f"{voice}_NOTEOFF",
            *(f"{voice}_NOTEON_{pitch}" for pitch in range(low, high + 1)),
        ]
    assert list(events.VOCABULARY[371:]) == expected
    firsts = [ID[f"{voice}_NOTEOFF"] for voice in VOICES]
    assert firsts == [371, 448, 525, 614]
    for number, name in enumerate(events.VOCABULARY):
        assert events.IS_WAIT[number] == name.startswith("WT_")
        assert events.IS_NOTE_ON[number] == ("NOTEON" in name) and events.IS_NOTE_OFF[number] == (
            "NOTEOFF" in name
        )
        assert events.TICKS_OF[number] == (int(name[3:]) if name.startswith("WT_") else 0)
        assert events.VOICE_OF[number] == (VOICES.index(name[:2]) if name[:2] in VOICES else -1)
        assert events.PITCH_OF[number] == (int(name.split("_")[2]) if "NOTEON" in name else 0)


def test_waits_go_to_the_nearest_value_and_ties_to_the_shorter():
    for ticks in [
        *range(1, 1300),
        *range(1300, 120_000, 37),
        10_500,
        10_501,
        99_500,
        99_501,
        10**9,
    ]:
        assert int(events.wait_ids(np.array(ticks))) == id_of(f"WT_{ticks}"), ticks


@settings(max_examples=50, deadline=None)
@given(scores(with_controls=True))
def test_encode_and_text_are_the_slow_ones(score):
    lines = lines_of(score)
    assert events.to_tx1(score).splitlines() == lines
    ids = events.encode(score)
    assert ids.dtype == np.uint16 and ids.tolist() == [id_of(line) for line in lines]
    assert events.from_tx1(events.to_tx1(score)) == silent_velocities(score)
    assert plain(events.decode(ids)) == notes_of([events.VOCABULARY[number] for number in ids])
    again = events.encode(events.decode(ids))
    assert again.tolist() == ids.tolist()


@settings(max_examples=40, deadline=None)
@given(st.lists(scores(), max_size=5))
def test_many_songs_at_once_are_each_by_itself(songs):
    notes = (
        np.concatenate([song.notes for song in songs])
        if songs
        else np.zeros(0, Score.build([]).notes.dtype)
    )
    offsets = np.cumsum([0, *(len(song.notes) for song in songs)])
    ids, ends = events.encode_songs(
        notes, offsets, np.array([song.length for song in songs], np.int64)
    )
    assert [ids[a:b].tolist() for a, b in zip(ends, ends[1:], strict=False)] == [
        [id_of(line) for line in lines_of(song)] for song in songs
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(ANY_ID, max_size=60))
def test_any_events_decode_as_the_slow_machine_plays_them(ids):
    names = [events.VOCABULARY[number] for number in ids]
    score = events.decode(ids, "made")
    assert plain(score) == notes_of(names)
    assert score == events.from_tx1("\n".join(names)) and score == events.decode([0, *ids, 0])
    assert score == silent_velocities(score) and score.name == "made"


@settings(max_examples=40, deadline=None)
@given(st.lists(ANY_ID, max_size=40))
def test_frame_takes_the_edge_waits_off(ids):
    framed = events.frame(ids).tolist()
    inner = list(ids)
    while inner and inner[0] <= 370:
        inner.pop(0)
    while inner and inner[-1] <= 370:
        inner.pop()
    assert framed == [0, *inner, 0] == events.frame(framed).tolist()


def test_what_decoding_makes_of_odd_events():
    on, off, wait = ID["P1_NOTEON_60"], ID["P1_NOTEOFF"], ID["WT_100"]
    assert len(events.decode([off, wait, off]).notes) == 0
    assert events.decode([wait, wait]).length == 200
    assert plain(events.decode([on, wait])) == ([(P1, 0, 100, 60)], 100)
    assert plain(events.decode([on, on + 1, wait, off])) == ([(P1, 0, 100, 61)], 100)
    assert len(events.decode([wait, on]).notes) == 0  # it would have no length
    assert (
        events.decode([]).length == events.decode([0]).length == events.decode([0, 0]).length == 0
    )


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([371, 631], "event 1 has id 631, ids go from 0 to 630"),
        ([0, 5, -1, 0], "event 2 has id -1, ids go from 0 to 630"),
        ([5, 0, 371], "<S> stands inside the song, at event 1;"),
        ([0, 5, 371, 0, 372, 0], "<S> stands inside the song, at event 3;"),
        ([0, 0, 0], "<S> stands inside the song, at event 1;"),
        ([1.0, 2.0], "must be one row of integers, not float64 of shape (2,)"),
        ([[1, 2]], "must be one row of integers, not int64 of shape (1, 2)"),
        ([True, False], "must be one row of integers, not bool of shape (2,)"),
        (["WT_5"], "must be one row of integers, not <U4"),
        (7, "must be one row of integers, not int64 of shape ()"),
        ([2**63 + 5], "ids go from 0 to 630"),
        ([2**70], "must be one row of integers"),
        ([[1], [1, 2]], "must be one row of integers"),
    ],
)
def test_bad_ids(ids, said):
    for work in (lambda: events.decode(ids, "piece"), lambda: events.strip(ids, "piece")):
        with pytest.raises(BadEvents) as raised:
            work()
        assert str(raised.value).startswith("piece: ") and said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "WT_5\nP3_NOTEON_60\n",
            "piece: line 2 holds 'P3_NOTEON_60', which is no event of Table 1",
        ),
        ("P1_NOTEON_109", "line 1 holds 'P1_NOTEON_109'"),
        ("NO_NOTEON_0", "line 1 holds 'NO_NOTEON_0'"),
        ("p1_noteoff", "line 1 holds 'p1_noteoff'"),
        ("WT_5\n\nWT_-7", "line 3 waits '-7' ticks; a wait is a whole number"),
        ("WT_", "line 1 waits '' ticks"),
        ("WT_1.5", "line 1 waits '1.5' ticks"),
        ("WT_1e3", "line 1 waits '1e3' ticks"),
        ("WT_٣", "line 1 waits '٣' ticks"),
        ("WT_" + "9" * 5000, "line 1 waits '99999999999999999999' ticks"),
        ("WT_999999999999", "line 1 comes after 22675736 s, more than the 3600 s of a song"),
        ("WT_100000000\n" * 2, "line 2 comes after 4535 s, more than the 3600 s of a song"),
        ("WT_5\n<S>\nWT_5\n", "line 2 holds <S>, which belongs to the ends"),
        ("x" * 100_000, "line 1 holds 'xxxx"),
        ("\x00\x01", "line 1 holds"),
    ],
)
def test_bad_text(text, said):
    with pytest.raises(BadEvents) as raised:
        events.from_tx1(text, "piece")
    assert str(raised.value).startswith("piece: line") and said in str(raised.value)
    assert len(str(raised.value)) < 200 and "\n" not in str(raised.value)


def test_text_of_other_systems():
    song = Score.build([(P1, 10, 20, 60, 15), (NO, 20, 30, 3, 15)], 40)
    text = events.to_tx1(song)
    for other in (
        text.replace("\n", "\r\n"),
        text.replace("\n", "\r"),
        text.rstrip(),
        f"<S>\n{text}<S>\n",
        f"\n{text}\n\n",
    ):
        assert events.from_tx1(other) == song
    assert events.from_tx1("") == Score.build([])
