"""The grammar of events: which may follow, voice by voice, so that what is composed is always a valid Score.

Paper: §3.2 (what the event language implies). Notebook: 02_event_representation.
The rules: a wait is never followed by a wait; the events of one instant go P1, P2, TR, NO, at most one a voice;
a note-off needs a sounding note; a song ends when every voice is silent.
Differences from the paper: it samples without a grammar.
"""

from dataclasses import dataclass

import numpy as np

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.music import nes
from lakhnes_lib.music.events import (
    IS_NOTE_OFF,
    IS_NOTE_ON,
    IS_WAIT,
    START,
    VOCABULARY,
    VOICE_OF,
    strip,
)

_VOICES = np.arange(len(nes.VOICES))
# Kind of each event, by which its rules go: 0-3 note-on of a voice, 4-7 note-off of a voice, 8 wait, 9 <S>.
_KINDS = 10
_WAIT, _END = 8, 9
_KIND_OF = np.where(IS_WAIT, _WAIT, np.where(IS_NOTE_ON, VOICE_OF, VOICE_OF + 4))
_KIND_OF[START] = _END


@dataclass
class State:
    """Where each of many songs stands: sounding bool (batch, 4); last int64 (batch,), the last voice that had an event
    in this instant, -1 if none has; waiting bool (batch,), True if the last event was a wait or ``<S>``."""

    sounding: np.ndarray
    last: np.ndarray
    waiting: np.ndarray


def start(batch: int) -> State:
    """Songs of which nothing but the first ``<S>`` is there."""
    return State(np.zeros((batch, 4), bool), np.full(batch, -1), np.ones(batch, bool))


def advance(state: State, ids: np.ndarray) -> State:
    """The state after one more event each: int64 (batch,). Events that break a rule count as ``decode`` takes them."""
    voice = VOICE_OF[ids].astype(np.int64)
    sounding = state.sounding.copy()
    rows = np.flatnonzero(voice >= 0)
    sounding[rows, voice[rows]] = IS_NOTE_ON[ids[rows]]
    return State(sounding, voice, voice < 0)


def allowed(state: State, left: np.ndarray | None = None, end: bool = False) -> np.ndarray:
    """Which events may follow: bool (batch, 631).

    left: events each song may still have, this one counted; then only those are allowed after which every sounding note
    can still be ended, and a row may have none. end: whether ``<S>`` may come, where the song can end.
    """
    batch = len(state.last)
    later = (
        _VOICES > state.last[:, None]
    )  # (batch, 4): voices that may still have an event in this instant
    count = state.sounding.sum(1)
    kinds = np.empty((batch, _KINDS), bool)
    kinds[:, 0:4], kinds[:, 4:8] = later, later & state.sounding
    kinds[:, _WAIT] = ~state.waiting
    kinds[:, _END] = end & ~state.waiting & (count == 0)
    if left is not None:
        kinds[:, :_END] &= _events_to_end(state, count) < np.asarray(left)[:, None]
    return kinds[:, _KIND_OF]


def _events_to_end(state: State, count: np.ndarray) -> np.ndarray:
    """The fewest events that still have to follow an event of each kind but ``<S>``: int64 (batch, 9)."""
    need = np.empty((len(count), _END), np.int64)
    need[:, 0:4] = (
        count[:, None] + ~state.sounding + 1
    )  # the note itself ends after a wait, and with it all others
    earlier = (
        np.cumsum(state.sounding, 1) - state.sounding
    )  # sounding voices before this one: they need another instant
    need[:, 4:8] = count[:, None] - 1 + (earlier > 0)
    need[:, _WAIT] = np.where(count > 0, count, 3)  # in silence: a note, a wait, its end
    return need


def check(ids, name: str = "events") -> None:
    """Raises BadEvents, with the place and the rule, unless raw or framed ids keep the grammar.

    Raw ids may begin and end with a wait.
    """
    framed = np.size(ids) and np.ravel(ids)[0] == START
    ids = strip(ids, name)
    voice = VOICE_OF[ids]

    def refuse(bad, rule):
        if len(bad):
            raise BadEvents(f"{name}: event {bad[0] + framed} ({VOCABULARY[ids[bad[0]]]}) {rule}")

    waits = IS_WAIT[ids]
    refuse(np.flatnonzero(waits[1:] & waits[:-1]) + 1, "is a wait after a wait")
    together = ~waits[1:] & ~waits[:-1]
    refuse(
        np.flatnonzero(together & (voice[1:] <= voice[:-1])) + 1,
        "is out of order: an instant goes P1, P2, TR, NO, one each",
    )
    for number in _VOICES:
        places = np.flatnonzero(voice == number)
        off = IS_NOTE_OFF[ids[places]]
        refuse(
            places[off & np.append(True, off[:-1])[: len(off)]], "ends a note that does not sound"
        )
        if len(places) and not off[-1]:
            refuse(places[-1:], "begins a note that never ends")
