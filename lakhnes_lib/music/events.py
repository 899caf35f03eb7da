"""The event language: a song as a sequence of 631 kinds of event, and back.

Paper: §3.2, Figure 1, Table 1. Notebook: 02_event_representation. Which event may follow which:
``grammar.py``. Differences from the paper and its code: Table 1 prints "> 10000 ticks" for ids
191-370, which cover 1,100-100,000; a wait exactly between two grid values takes the shorter one
(the published code follows Python's set order); notes still open at the end of a sequence end with
the song (the published code drops them).
"""

import numpy as np

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import LONGEST_SECONDS, NOTE, Score, records

WAIT_TICKS = np.r_[1:101, 110:1001:10, 1100:10_001:100, 11_000:100_001:1000]
"""int64 (370,): the waits that have an event of their own, in ticks; the longer, the coarser."""
LONGEST_WAIT = int(WAIT_TICKS[-1])


# Of each event its name, voice (-1: none), pitch and ticks (0: none).
_rows = [("<S>", -1, 0, 0), *((f"WT_{ticks}", -1, 0, ticks) for ticks in WAIT_TICKS)]
for _voice, _title in enumerate(nes.VOICES):
    _range = range(int(nes.LOWEST_PITCH[_voice]), int(nes.HIGHEST_PITCH[_voice]) + 1)
    _rows.append((f"{_title}_NOTEOFF", _voice, 0, 0))
    _rows += [(f"{_title}_NOTEON_{pitch}", _voice, pitch, 0) for pitch in _range]
VOCABULARY, _voices, _pitches, _ticks = zip(*_rows, strict=True)
"""The 631 names in order of their ids."""
START = 0
"""Id of ``<S>``, which stands at both ends of a song."""
VOICE_OF = np.array(_voices, np.int8)
"""int8 (631,): the voice of a note-on or note-off, -1 for the other events."""
PITCH_OF = np.array(_pitches, np.uint8)
"""uint8 (631,): the pitch of a note-on, 0 for the other events."""
NOTE_OFF = np.flatnonzero((VOICE_OF >= 0) & (PITCH_OF == 0))
"""int64 (4,): id of each voice's note-off."""
NOTE_ON = NOTE_OFF + 1 - nes.LOWEST_PITCH.astype(int)
"""int64 (4,): id of a voice's note-on is this plus its pitch."""
TICKS_OF = np.array(_ticks, np.int64)
"""int64 (631,): the ticks that a wait lasts, 0 for the other events."""
IS_WAIT = TICKS_OF > 0
IS_NOTE_ON = PITCH_OF > 0
IS_NOTE_OFF = (VOICE_OF >= 0) & ~IS_NOTE_ON
"""bool (631,) each."""

# The id of the nearest grid value for every wait up to the longest; a tie goes to the shorter wait.
_middles = (WAIT_TICKS[1:] + WAIT_TICKS[:-1]) / 2
_WAIT_ID = 1 + np.searchsorted(_middles, np.arange(LONGEST_WAIT + 1), side="left").astype(np.uint16)


def wait_ids(ticks: np.ndarray) -> np.ndarray:
    """uint16 ids of the waits nearest to these numbers of ticks (positive int64, any shape)."""
    return _WAIT_ID[np.minimum(ticks, LONGEST_WAIT)]


def silence(ticks: int) -> np.ndarray:
    """The waits that last about so many ticks together, however many: uint16 (waits,)."""
    return wait_ids(np.diff(np.append(np.arange(0, ticks, LONGEST_WAIT), ticks)))


def timeline(notes, offsets, lengths) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The events of many songs without their waits, each with its tick in the song.

    Arguments as in ``encode_songs``. Returns ids int64 (events,), where ``<S>`` closes each song at
    its last tick; ticks int64 (events,); and int64 (songs + 1,) offsets of the songs into both.
    """
    offsets, lengths = np.asarray(offsets, np.int64), np.asarray(lengths, np.int64)
    # One sort puts all songs in order. They are laid end to end, one tick apart; a key holds an
    # event's tick in its upper bits and its id in the lower ten. Ids rise from voice to voice, and
    # a voice's note-off comes before its note-ons, as the language wants it in each tick.
    begins = np.append(0, np.cumsum(lengths + 1))
    shift = np.repeat(begins[:-1], np.diff(offsets))
    voice, last = notes["voice"], 1023
    note_ons = (shift + notes["start"] << 10) | (NOTE_ON[voice] + notes["pitch"])
    note_offs = (shift + notes["end"] << 10) | NOTE_OFF[voice]
    song_ends = (begins[1:] - 1 << 10) | last
    keys = np.concatenate([note_ons, note_offs, song_ends])
    keys.sort(kind="stable")  # fast, since the three parts are nearly in order
    ids, ticks = keys & 1023, keys >> 10
    ids[ids == last] = START
    # Where a voice has a note-off and a note-on in one tick, the note-on stays and ends both.
    voices = VOICE_OF[ids]
    keep = np.ones(len(ids), bool)
    keep[:-1] = (ticks[1:] != ticks[:-1]) | (voices[1:] != voices[:-1])
    ids, ticks = ids[keep], ticks[keep]
    offsets = np.append(0, np.flatnonzero(ids == START) + 1)
    return ids, ticks - np.repeat(begins[:-1], np.diff(offsets)), offsets


def waits_before(ticks, offsets) -> np.ndarray:
    """The ticks between each event of a ``timeline`` and the one before it in its song."""
    waits = np.diff(ticks, prepend=0)
    firsts = offsets[:-1][np.diff(offsets) > 0]
    waits[firsts] = ticks[firsts]
    return waits


def insert_waits(ids, ticks, offsets) -> tuple[np.ndarray, np.ndarray]:
    """The events of a ``timeline``, and a wait before each that does not follow at once.

    Returns ids uint16 (events,), and int64 (songs + 1,) offsets of the songs into them.
    """
    waits = waits_before(ticks, offsets)
    waited = waits > 0
    ends = np.append(0, np.cumsum(1 + waited))  # an event, and the wait before it if there is one
    out = np.empty(ends[-1], np.uint16)
    out[ends[1:] - 1] = ids
    out[ends[:-1][waited]] = wait_ids(waits[waited])
    return out, ends[offsets]


def encode_songs(notes, offsets, lengths) -> tuple[np.ndarray, np.ndarray]:
    """Raw events of many songs at once, edge waits included, without ``<S>``.

    notes: ``NOTE`` records of all songs, one after the other; offsets: int64 (songs + 1,) into
    them; lengths: int64 (songs,) in ticks. Returns ids uint16 (events,), and int64 (songs + 1,)
    offsets into those.
    """
    ids, offsets = insert_waits(*timeline(notes, offsets, lengths))
    return ids[ids != START], offsets - np.arange(len(offsets))


def encode(score: Score) -> np.ndarray:
    """Raw events of a whole song: uint16 (events,), edge waits included, no ``<S>``.

    Velocity and timbre are dropped. Example: a note of 100 ticks on P1 gives three events.

    >>> [VOCABULARY[event] for event in encode(Score.build([(nes.P1, 0, 100, 69, 15)]))]
    ['P1_NOTEON_69', 'WT_100', 'P1_NOTEOFF']
    """
    return encode_songs(score.notes, [0, len(score.notes)], [score.length])[0]


def frame(ids) -> np.ndarray:
    """What models see: edge waits off, ``<S>`` before and after. uint16 (events,).

    >>> import lakhnes_lib as nes
    >>> song = nes.read("assets/songbook/greensleeves.abc")
    >>> nes.frame(nes.encode(song))[[0, -1]]
    array([0, 0], dtype=uint16)
    """
    return with_starts(strip(ids), edge_waits=False)


def with_starts(ids: np.ndarray, edge_waits: bool = True) -> np.ndarray:
    """A song's raw ids with ``<S>`` before and after: uint16; edge_waits: whether those stay."""
    if not edge_waits:
        notes = np.flatnonzero(~IS_WAIT[ids])
        ids = ids[notes[0] : notes[-1] + 1] if len(notes) else ids[:0]
    out = np.full(len(ids) + 2, START, np.uint16)
    out[1:-1] = ids
    return out


def strip(ids, name: str = "events") -> np.ndarray:
    """The checked ids of one song without the ``<S>`` around them. int64 (events,).

    Raises BadEvents for ids that are no integers, not of the vocabulary, or ``<S>`` inside.
    """
    row = f"{name}: event ids must be one row of integers"
    try:
        ids = np.asarray(ids)
    except ValueError:  # rows of different lengths
        raise BadEvents(row) from None
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise BadEvents(f"{row}, not {ids.dtype} of shape {ids.shape}")
    ids = ids.astype(np.int64)
    for index in np.flatnonzero((ids < 0) | (ids >= len(VOCABULARY))):
        highest = len(VOCABULARY) - 1
        raise BadEvents(f"{name}: event {index} has id {ids[index]}, ids go from 0 to {highest}")
    for index in np.flatnonzero(ids[1:-1] == START) + 1:
        rule = f"<S> stands inside the song, at event {index}; it belongs to the ends"
        raise BadEvents(f"{name}: {rule}")
    ids = ids[np.count_nonzero(ids[:1] == START) :]
    return ids[: len(ids) - np.count_nonzero(ids[-1:] == START)]


def decode(ids, name: str = "") -> Score:
    """Score of raw or framed events.

    ids: integers (events,). Consecutive waits add up; of two note-ons of a voice in one instant the
    last counts; a note-off on a silent voice is ignored; open notes end with the song; velocity 15
    (TR 1). Raises BadEvents as ``strip`` does.

    >>> import lakhnes_lib as nes
    >>> song = nes.read("assets/songbook/greensleeves.abc")
    >>> nes.decode(nes.encode(song))
    Score('', 60.36 s, notes: P1 144, P2 162, TR 64, NO 135)
    """
    ids = strip(ids, name or "events")
    ticks = np.cumsum(TICKS_OF[ids])
    note = ~IS_WAIT[ids]
    return _score(ids[note], ticks[note], int(ticks.max(initial=0)), name)


def _score(ids, ticks, length, name) -> Score:
    """The score of notes' events in order of time, and the ticks they stand at."""
    order = np.argsort(VOICE_OF[ids], kind="stable")  # voice by voice
    ids, ticks = ids[order], ticks[order]
    voices = VOICE_OF[ids]
    # A note lasts until the next event of its voice, and the last one until the song's end.
    ends = np.full(len(ids), length)
    ends[:-1] = np.where(voices[1:] == voices[:-1], ticks[1:], length)
    notes = records(NOTE, voices, ticks, ends, PITCH_OF[ids], nes.HIGHEST_VELOCITY[voices])
    return Score.build(notes[IS_NOTE_ON[ids] & (ends > ticks)], length, name=name)


def to_tx1(score: Score) -> str:
    """The song as TX1 text: an event a line, exact waits (``WT_3755``), edge waits included."""
    ids, ticks, _ = timeline(score.notes, [0, len(score.notes)], [score.length])
    waits = np.diff(ticks, prepend=0).tolist()
    lines = []
    for event, wait in zip(ids.tolist(), waits, strict=True):
        if wait:
            lines.append(f"WT_{wait}\n")
        lines.append(f"{VOCABULARY[event]}\n")
    return "".join(lines[:-1])  # the last one is <S>


_ID_OF = {name: number for number, name in enumerate(VOCABULARY) if not IS_WAIT[number]}


def from_tx1(text: str, name: str = "") -> Score:
    """Score of TX1 text, with ``<S>`` at both ends or without.

    Raises BadEvents, which names the line.
    """

    def refuse(number, rule):
        raise BadEvents(f"{name or 'TX1'}: line {number} {rule}")

    lines = enumerate(text.splitlines(), 1)
    lines = [(number, event) for number, line in lines if (event := line.strip())]
    for edge in (0, -1):
        if lines and lines[edge][1] == "<S>":
            del lines[edge]
    ids, ticks, now = [], [], 0
    for number, event in lines:
        if event.startswith("WT_"):
            wait = event[3:]
            if not (wait.isascii() and wait.isdigit()) or len(wait) > 12:
                refuse(number, f"waits {wait[:20]!r} ticks; a wait is a whole number")
            now += int(wait)
            if now > LONGEST_SECONDS * nes.TICKS_PER_SECOND:
                late = f"after {now // nes.TICKS_PER_SECOND} s"
                refuse(number, f"comes {late}, more than the {LONGEST_SECONDS} s of a song")
        elif event == "<S>":
            refuse(number, "holds <S>, which belongs to the ends")
        elif event not in _ID_OF:
            refuse(number, f"holds {event[:40]!r}, which is no event of Table 1")
        else:
            ids.append(_ID_OF[event])
            ticks.append(now)
    return _score(np.array(ids, np.int64), np.array(ticks, np.int64), now, name)
