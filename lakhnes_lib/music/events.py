"""The event language: a song as a sequence of 631 kinds of event, and back.

Paper: §3.2, Figure 1, Table 1. Notebook: 02_event_representation. Which event may follow which: ``grammar.py``.
Differences from the paper and its code: Table 1 prints "> 10000 ticks" for ids 191-370, which cover 1,100-100,000;
a wait exactly between two grid values takes the shorter one (the published code follows Python's set order);
notes still open at the end of a sequence end with the song (the published code drops them).
"""

import numpy as np

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import LONGEST_SECONDS, NOTE, Score

WAIT_TICKS = np.concatenate(
    [
        np.arange(1, 101),
        np.arange(110, 1001, 10),
        np.arange(1100, 10_001, 100),
        np.arange(11_000, 100_001, 1000),
    ]
)
"""int64 (370,): the waits that have an event of their own, in ticks."""
LONGEST_WAIT = int(WAIT_TICKS[-1])


def _voice_vocabulary() -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names of ids 371-630, and the voice (-1: none), pitch (0: none) and first id (note-off) belonging to them."""
    names, voices, pitches, first = [], [], [], []
    for voice, title in enumerate(nes.VOICES):
        first.append(1 + len(WAIT_TICKS) + len(names))
        span = range(int(nes.LOWEST_PITCH[voice]), int(nes.HIGHEST_PITCH[voice]) + 1)
        names += [f"{title}_NOTEOFF"] + [f"{title}_NOTEON_{pitch}" for pitch in span]
        voices += [voice] * (1 + len(span))
        pitches += [0, *span]
    head = 1 + len(WAIT_TICKS)
    voices, pitches = (
        np.array([-1] * head + voices, np.int8),
        np.array([0] * head + pitches, np.uint8),
    )
    return names, voices, pitches, np.array(first)


_names, VOICE_OF, PITCH_OF, NOTE_OFF = _voice_vocabulary()
VOCABULARY = ("<S>", *(f"WT_{ticks}" for ticks in WAIT_TICKS), *_names)
"""The 631 names in order of their ids."""
START = 0
"""Id of ``<S>``, which stands at both ends of a song."""
TICKS_OF = np.concatenate([[0], WAIT_TICKS, np.zeros(len(_names), int)])
"""int64 (631,): the ticks an event waits; 0 unless it is a wait."""
IS_WAIT = TICKS_OF > 0
IS_NOTE_ON = PITCH_OF > 0
IS_NOTE_OFF = (VOICE_OF >= 0) & ~IS_NOTE_ON
"""bool (631,) each. VOICE_OF: int8 (631,), -1 where no voice; PITCH_OF: uint8 (631,); NOTE_OFF: the note-off id a
voice."""
NOTE_ON = NOTE_OFF + 1 - nes.LOWEST_PITCH.astype(int)
"""int64 (4,): id of a voice's note-on is this plus its pitch."""

# The nearest grid value of every wait up to the longest; a tie goes to the shorter wait.
_middles = (WAIT_TICKS[1:] + WAIT_TICKS[:-1]) / 2
_WAIT_ID = (1 + np.searchsorted(_middles, np.arange(LONGEST_WAIT + 1), side="left")).astype(
    np.uint16
)
_END = 1023  # sorts after every event of the song's last instant


def wait_ids(ticks: np.ndarray) -> np.ndarray:
    """uint16 ids of the waits nearest to these numbers of ticks (positive int64, any shape)."""
    return _WAIT_ID[np.minimum(ticks, LONGEST_WAIT)]


def _timeline(notes, offsets, lengths):
    """All events but the waits, of many songs in one sort.

    Returns ids (int64; ``_END`` closes each song) and the ticks since the event before (or the song's beginning).
    """
    offsets, lengths = np.asarray(offsets, np.int64), np.asarray(lengths, np.int64)
    base = np.concatenate([[0], np.cumsum(lengths + 1)])  # songs laid end to end, one tick apart
    song = np.repeat(base[:-1], np.diff(offsets))
    voice = notes["voice"]
    # Ids rise by voice, and a note-off's stands before its voice's note-ons: one sort gives the order of an instant.
    keys = np.concatenate(
        [
            (song + notes["start"] << 10) | (NOTE_ON[voice] + notes["pitch"]),
            (song + notes["end"] << 10) | NOTE_OFF[voice],
            (base[:-1] + lengths << 10) | _END,
        ]
    )
    keys.sort(
        kind="stable"
    )  # the parts are nearly in order already: merging them is faster than sorting
    ids, times = keys & 1023, keys >> 10
    voices = np.where(ids == _END, -2, VOICE_OF[np.minimum(ids, len(VOCABULARY) - 1)])
    # A note-on takes over from a note that ends in the same instant.
    keep = np.append((times[1:] != times[:-1]) | (voices[1:] != voices[:-1]), True)
    ids, times = ids[keep], times[keep]
    before = np.concatenate([[0], times[:-1]])
    first = np.flatnonzero(ids == _END)[:-1] + 1
    before[0] = base[0]
    before[first] = base[1:-1]
    return ids, times - before


def encode_songs(notes: np.ndarray, offsets, lengths) -> tuple[np.ndarray, np.ndarray]:
    """Raw events of many songs at once, edge waits included, without ``<S>``.

    notes: ``NOTE`` records of all songs, one after the other; offsets: int64 (songs + 1,) into them;
    lengths: int64 (songs,) in ticks. Returns ids uint16 (events,), and int64 (songs + 1,) offsets into those.
    """
    if not len(lengths):
        return np.zeros(0, np.uint16), np.zeros(1, np.int64)
    ids, waits = _timeline(notes, offsets, lengths)
    waited, end = waits > 0, ids == _END
    stop = np.cumsum(waited.astype(np.int64) + ~end)
    out = np.empty(int(stop[-1]), np.uint16)
    out[stop[~end] - 1] = ids[~end]
    out[(stop - ~end - 1)[waited]] = wait_ids(waits[waited])
    return out, np.concatenate([[0], stop[end]])


def encode(score: Score) -> np.ndarray:
    """Raw events of a whole song: uint16 (events,), edge waits included, no ``<S>``. Velocity and timbre are
    dropped."""
    return encode_songs(score.notes, [0, len(score.notes)], [score.length])[0]


def frame(ids) -> np.ndarray:
    """What models see: edge waits off, ``<S>`` before and after. uint16 (events,)."""
    ids = strip(ids)
    sounding = np.flatnonzero(~IS_WAIT[ids])
    inner = ids[sounding[0] : sounding[-1] + 1] if len(sounding) else ids[:0]
    return np.concatenate([[START], inner, [START]]).astype(np.uint16)


def strip(ids, name: str = "events") -> np.ndarray:
    """The checked ids of one song without the ``<S>`` around them. int64 (events,).

    Raises BadEvents for ids that are no integers, not of the vocabulary, or ``<S>`` inside.
    """
    try:
        ids = np.asarray(ids)
    except ValueError:  # rows of different lengths
        raise BadEvents(f"{name}: event ids must be one row of integers") from None
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise BadEvents(
            f"{name}: event ids must be one row of integers, not {ids.dtype} of shape {ids.shape}"
        )
    ids = ids.astype(np.int64)
    wrong = np.flatnonzero((ids < 0) | (ids >= len(VOCABULARY)))
    if len(wrong):
        raise BadEvents(
            f"{name}: event {wrong[0]} has id {ids[wrong[0]]}, ids go from 0 to {len(VOCABULARY) - 1}"
        )
    inside = np.flatnonzero(ids[1:-1] == START) + 1
    if len(inside):
        raise BadEvents(
            f"{name}: <S> stands inside the song, at event {inside[0]}; it belongs to the ends"
        )
    if len(ids) and ids[0] == START:
        ids = ids[1:]
    if len(ids) and ids[-1] == START:
        ids = ids[:-1]
    return ids


def decode(ids, name: str = "") -> Score:
    """Score of raw or framed events.

    ids: integers (events,). Consecutive waits add up; of two note-ons of a voice in one instant the last counts;
    a note-off on a silent voice is ignored; open notes end with the song; velocity 15 (TR 1).
    Raises BadEvents as ``strip`` does.
    """
    ids = strip(ids, name or "events")
    times = np.cumsum(TICKS_OF[ids])
    length = int(times[-1]) if len(times) else 0
    note = ~IS_WAIT[ids]
    return _score(ids[note], times[note], length, name)


def _score(ids, times, length, name) -> Score:
    voices = VOICE_OF[ids]
    order = np.argsort(voices, kind="stable")
    ids, times, voices = ids[order], times[order], voices[order]
    same = np.append(voices[1:] == voices[:-1], False) if len(ids) else np.zeros(0, bool)
    ends = np.where(same, np.roll(times, -1), length)
    sounds = IS_NOTE_ON[ids] & (ends > times)
    notes = np.zeros(int(sounds.sum()), NOTE)
    notes["voice"], notes["start"], notes["end"] = voices[sounds], times[sounds], ends[sounds]
    notes["pitch"], notes["velocity"] = PITCH_OF[ids[sounds]], nes.HIGHEST_VELOCITY[voices[sounds]]
    return Score.build(notes, length, name=name)


def to_tx1(score: Score) -> str:
    """The song as TX1 text: one event a line, waits in exact ticks (``WT_3755``), edge waits included."""
    ids, waits = _timeline(score.notes, [0, len(score.notes)], [score.length])
    lines = []
    for event, wait in zip(ids.tolist(), waits.tolist(), strict=True):
        if wait:
            lines.append(f"WT_{wait}")
        if event != _END:
            lines.append(VOCABULARY[event])
    return "".join(line + "\n" for line in lines)


_ID_OF = {name: number for number, name in enumerate(VOCABULARY) if not IS_WAIT[number]}


def from_tx1(text: str, name: str = "") -> Score:
    """Score of TX1 text; any line ends, ``<S>`` at both ends or not. Raises BadEvents with the line's number."""
    ids, times, now = [], [], 0
    lines = [
        (number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()
    ]
    if lines and lines[0][1] == "<S>":
        lines = lines[1:]
    if lines and lines[-1][1] == "<S>":
        lines = lines[:-1]
    for number, event in lines:
        if event.startswith("WT_"):
            ticks = event[3:]
            if not (ticks.isascii() and ticks.isdigit()) or len(ticks) > 12:
                raise BadEvents(
                    f"{name or 'TX1'}: line {number} waits {ticks[:20]!r} ticks; a wait is a whole number"
                )
            now += int(ticks)
            if now > LONGEST_SECONDS * nes.TICKS_PER_SECOND:
                raise BadEvents(
                    f"{name or 'TX1'}: line {number} comes after {now // nes.TICKS_PER_SECOND} s, "
                    f"more than the {LONGEST_SECONDS} s of a song"
                )
        elif event == "<S>":
            raise BadEvents(f"{name or 'TX1'}: line {number} holds <S>, which belongs to the ends")
        elif event in _ID_OF:
            ids.append(_ID_OF[event])
            times.append(now)
        else:
            raise BadEvents(
                f"{name or 'TX1'}: line {number} holds {event[:40]!r}, which is no event of Table 1"
            )
    return _score(np.array(ids, np.int64), np.array(times, np.int64), now, name)
