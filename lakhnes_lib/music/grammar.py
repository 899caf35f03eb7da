"""The grammar of events: which may follow, voice by voice, so that a composed song is always valid.

Paper: §3.2 (what the event language implies). Notebook: 02_event_representation.
The rules: a wait is never followed by a wait; the events of one instant go P1, P2, TR, NO, at most
one a voice; a note-off needs a sounding note; a song ends when every voice is silent.
Differences from the paper: it samples without a grammar.
"""

from typing import NamedTuple

import numpy as np

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.music import events, nes

_VOICES = np.arange(len(nes.VOICES))
# The rules are the same for all events of a kind: 0-3 note-on of a voice, 4-7 note-off of a voice,
# 8 wait, 9 <S>.
_KINDS = 10
_WAIT, _END = 8, 9
_KIND_OF = np.where(events.IS_NOTE_ON, events.VOICE_OF, events.VOICE_OF + 4)
_KIND_OF[events.IS_WAIT] = _WAIT
_KIND_OF[events.START] = _END


class State(NamedTuple):
    """How far each of many songs has come.

    sounding: bool (batch, 4), the voices whose note is on. last: int64 (batch,), the last voice
    that had an event in this instant, -1 if none has. waiting: bool (batch,), True if the last
    event was a wait or ``<S>``.
    """

    sounding: np.ndarray
    last: np.ndarray
    waiting: np.ndarray

    def select(self, rows: np.ndarray) -> "State":
        """The same for some of the songs: int64 (any,), repeats allowed, or bool (batch,)."""
        return State(self.sounding[rows], self.last[rows], self.waiting[rows])


def start(batch: int) -> State:
    """Songs that have nothing but their first ``<S>``."""
    return State(np.zeros((batch, 4), bool), np.full(batch, -1), np.ones(batch, bool))


def after(ids: np.ndarray, batch: int) -> State:
    """Songs that all have the same beginning; ids: int64 (events,), ``<S>`` first."""
    state = start(1)
    for event in ids[1:, None]:
        state = advance(state, event)
    return state.select(np.zeros(batch, np.int64))


def advance(state: State, ids: np.ndarray) -> State:
    """The state after one more event each; ids: int64 (batch,).

    Events that break a rule are taken as ``events.decode`` takes them.
    """
    voice = events.VOICE_OF[ids].astype(np.int64)
    sounding = state.sounding.copy()
    rows = np.flatnonzero(voice >= 0)
    sounding[rows, voice[rows]] = events.IS_NOTE_ON[ids[rows]]
    return State(sounding, voice, voice < 0)


def allowed(state: State, left: np.ndarray | None = None, end: bool = False) -> np.ndarray:
    """Which events may follow: bool (batch, 631).

    left: events each song may still have, this one counted. Then only those are allowed after which
    every sounding note can still be ended, and a row may have none. end: whether ``<S>`` may come,
    where the song can end.
    """
    voices = state.sounding @ _PLACE_VALUES
    kinds = _MAY_FOLLOW[voices, state.last, state.waiting.astype(np.int64)]  # (batch, 10)
    kinds[:, _END] &= end
    if left is not None:
        kinds[:, :_END] &= _TO_END[voices] < np.asarray(left)[:, None]
    return kinds[:, _KIND_OF]


def _rules() -> tuple[np.ndarray, np.ndarray]:
    """Tables of all states, by the voices that sound, read as a binary number.

    The kinds that may follow, bool (16, last voice, waiting, 10): the last voice -1 is the last
    column. The fewest events that must follow an event of each kind but ``<S>``: int64 (16, 9).
    """
    sounding = (np.arange(16)[:, None] & _PLACE_VALUES) > 0  # (16, 4)
    count = sounding.sum(1)
    later = _VOICES > np.append(_VOICES, -1)[:, None]  # (5, 4): may still have an event now
    may_follow = np.zeros((16, 5, 2, _KINDS), bool)
    may_follow[..., 0:4] = later[:, None]
    may_follow[..., 4:8] = later[:, None] & sounding[:, None, None]
    may_follow[:, :, 0, _WAIT] = True
    may_follow[count == 0, :, 0, _END] = True
    least = np.empty((16, _END), np.int64)
    # After a note-on: a wait, then a note-off for this note and every other one.
    least[:, 0:4] = 1 + count[:, None] + ~sounding
    # After a note-off: the other note-offs. Those of earlier voices need a wait before them.
    earlier = np.cumsum(sounding, 1) - sounding
    least[:, 4:8] = count[:, None] - 1 + (earlier > 0)
    # After a wait: all note-offs; in silence a note-on, a wait and its note-off.
    least[:, _WAIT] = np.where(count > 0, count, 3)
    return may_follow, least


_PLACE_VALUES = 1 << _VOICES
_MAY_FOLLOW, _TO_END = _rules()


def check(ids, name: str = "events") -> None:
    """Raises BadEvents, with the position and the rule, unless raw or framed ids keep the grammar.

    Rows, raw or framed, may begin and end with one wait, which ``events.frame`` takes away.
    """
    framed = np.size(ids) and np.ravel(ids)[0] == events.START
    ids = events.strip(ids, name)
    voice, waits = events.VOICE_OF[ids], events.IS_WAIT[ids]

    def refuse(bad, rule):
        for index in bad:
            event = events.VOCABULARY[ids[index]]
            raise BadEvents(f"{name}: event {index + framed} ({event}) {rule}")

    refuse(np.flatnonzero(waits[1:] & waits[:-1]) + 1, "is a wait after a wait")
    unsorted = ~waits[1:] & ~waits[:-1] & (voice[1:] <= voice[:-1])
    rule = "is out of order: an instant goes P1, P2, TR, NO, one each"
    refuse(np.flatnonzero(unsorted) + 1, rule)
    for number in _VOICES:
        indices = np.flatnonzero(voice == number)
        off = events.IS_NOTE_OFF[ids[indices]]
        silent = np.append(True, off)[:-1]  # before each of the voice's events
        refuse(indices[off & silent], "ends a note that does not sound")
        if len(indices) and not off[-1]:
            refuse(indices[-1:], "begins a note that never ends")
