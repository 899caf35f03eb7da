"""A Score: the notes of four monophonic voices, in ticks of 1/44,100 s.

Paper: §3.1. Notebook: 01_nes_ensemble. Everything musical in this library is Score -> Score, or Score <-> something.
Differences from the paper: velocity and timbre are kept (the paper drops them before training);
they travel along to MIDI, VGM and the renderer, and the events ignore them.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from lakhnes_lib.errors import BadScore
from lakhnes_lib.music import nes

NOTE = np.dtype(
    [("voice", "u1"), ("start", "i8"), ("end", "i8"), ("pitch", "u1"), ("velocity", "u1")]
)
CONTROL = np.dtype([("voice", "u1"), ("tick", "i8"), ("kind", "u1"), ("value", "u1")])
VELOCITY_CHANGE, TIMBRE_CHANGE = 11, 12
"""Kinds of control, by the MIDI control numbers that NES-MDB uses."""
LONGEST_SECONDS = 3600
"""What is taken for a song when a file is read: the longest of NES-MDB lasts five minutes."""


def _records(rows, dtype: np.dtype, name: str) -> np.ndarray:
    """Records of tuples; raises BadScore where a tuple has too few or too many fields, or one that is out of range."""
    if isinstance(rows, np.ndarray):
        return rows
    try:
        return np.array([tuple(row) for row in rows], dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise BadScore(
            f"{name or 'score'}: a row is not ({', '.join(dtype.names)}) in whole numbers ({error})"
        ) from error


@dataclass(frozen=True, eq=False)
class Score:
    """Notes of four voices.

    notes: ``NOTE`` records (half-open ``[start, end)`` in ticks), sorted by start, then voice.
    length: ticks from the beginning to the song's end; no note ends after it.
    controls: ``CONTROL`` records, sorted by tick; those of one tick and voice in the order they apply.
    name: for people.

    Raises BadScore when a note or control breaks a rule, and says which.
    """

    notes: np.ndarray
    length: int
    controls: np.ndarray = field(default_factory=lambda: np.zeros(0, CONTROL))
    name: str = ""

    def __post_init__(self):
        object.__setattr__(self, "notes", np.ascontiguousarray(self.notes, NOTE))
        object.__setattr__(self, "controls", np.ascontiguousarray(self.controls, CONTROL))
        object.__setattr__(self, "length", int(self.length))
        self._check()

    def _check(self):
        notes, length = self.notes, self.length
        if length < 0:
            raise BadScore(f"{self._called}: length {length} is negative")
        self._refuse(notes["voice"] > nes.NO, "has a voice that is not one of P1, P2, TR, NO")
        voice = notes["voice"]
        self._refuse(
            (notes["pitch"] < nes.LOWEST_PITCH[voice])
            | (notes["pitch"] > nes.HIGHEST_PITCH[voice]),
            "is out of its voice's range",
        )
        self._refuse(
            (notes["velocity"] < 1) | (notes["velocity"] > nes.HIGHEST_VELOCITY[voice]),
            "has a velocity its voice does not have",
        )
        self._refuse(notes["start"] < 0, "starts before the beginning")
        self._refuse(notes["end"] <= notes["start"], "ends no later than it starts")
        self._refuse(notes["end"] > length, f"ends after the song's length of {length} ticks")
        unsorted = (np.diff(notes["start"]) < 0) | (
            (np.diff(notes["start"]) == 0) & (np.diff(voice.astype(np.int8)) < 0)
        )
        self._refuse(np.append(False, unsorted), "is out of order (notes go by start, then voice)")
        for number in range(len(nes.VOICES)):
            places = np.flatnonzero(voice == number)
            late = notes["start"][places[1:]] < notes["end"][places[:-1]]
            if late.any():
                self._refuse(
                    np.arange(len(notes)) == places[1:][late][0],
                    "starts before its voice's last note ends",
                )
        self._check_controls()

    def _check_controls(self):
        controls = self.controls
        if not len(controls):
            return
        voice = np.minimum(controls["voice"], nes.NO)
        timbre = controls["kind"] == TIMBRE_CHANGE
        limit = np.where(timbre, nes.TIMBRE_VALUES[voice] - 1, nes.HIGHEST_VELOCITY[voice])
        bad = (
            (controls["voice"] > nes.NO)
            | ~(timbre | (controls["kind"] == VELOCITY_CHANGE))
            | (controls["value"] > limit)
            | (controls["tick"] < 0)
            | (controls["tick"] > self.length)
            | np.append(False, np.diff(controls["tick"]) < 0)
        )
        if bad.any():
            place = int(np.flatnonzero(bad)[0])
            raise BadScore(
                f"{self._called}: control {place} {controls[place]} is out of range, out of order or of no known kind"
            )

    def _refuse(self, bad: np.ndarray, rule: str):
        if bad.any():
            place = int(np.flatnonzero(bad)[0])
            voice, start, end, pitch, velocity = self.notes[place].tolist()
            title = nes.VOICES[voice] if voice < len(nes.VOICES) else f"voice {voice}"
            raise BadScore(
                f"{self._called}: note {place} "
                f"({title}, pitch {pitch}, velocity {velocity}, ticks {start}-{end}) {rule}"
            )

    @property
    def _called(self) -> str:
        return self.name or "score"

    @classmethod
    def build(cls, notes, length=None, controls=(), name="") -> "Score":
        """Score from unsorted notes: ``NOTE`` records or ``(voice, start, end, pitch, velocity)`` tuples.

        length: ticks; the last note's end if None.
        """
        notes, controls = _records(notes, NOTE, name), _records(controls, CONTROL, name)
        notes = notes[np.lexsort((notes["voice"], notes["start"]))]
        controls = controls[np.argsort(controls["tick"], kind="stable")]
        if length is None:
            length = notes["end"].max(initial=0)
        return cls(notes, length, controls, name)

    def __eq__(self, other) -> bool:
        """Same notes, length and controls; the name does not count."""
        if not isinstance(other, Score):
            return NotImplemented
        return (
            self.length == other.length
            and np.array_equal(self.notes, other.notes)
            and np.array_equal(self.controls, other.controls)
        )

    __hash__ = None

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{n} {np.count_nonzero(self.notes['voice'] == v)}" for v, n in enumerate(nes.VOICES)
        )
        return f"Score({self.name!r}, {self.seconds:.2f} s, notes: {counts})"

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.length / nes.TICKS_PER_SECOND

    def voice(self, number: int) -> np.ndarray:
        """The notes of one voice, ``NOTE`` records in order of time."""
        return self.notes[self.notes["voice"] == number]

    def only(self, voices) -> "Score":
        """The same song with none but these voices (numbers 0-3)."""
        voices = list(voices)
        return replace(
            self,
            notes=self.notes[np.isin(self.notes["voice"], voices)],
            controls=self.controls[np.isin(self.controls["voice"], voices)],
        )

    def renamed(self, name: str) -> "Score":
        """The same song under another name."""
        return replace(self, name=name)

    def excerpt(self, start: float, end: float) -> "Score":
        """Seconds ``start`` to ``end`` as a Score of its own; notes that cross a border are cut there.

        The last velocity and timbre set before ``start`` are set again at the beginning.
        """
        first = int(round(start * nes.TICKS_PER_SECOND))
        last = min(int(round(end * nes.TICKS_PER_SECOND)), self.length)
        if not 0 <= first < last:
            raise BadScore(
                f"{self._called}: no music between {start} s and {end} s of {self.seconds:.2f} s"
            )
        notes = self.notes[(self.notes["end"] > first) & (self.notes["start"] < last)].copy()
        notes["start"] = np.maximum(notes["start"], first) - first
        notes["end"] = np.minimum(notes["end"], last) - first
        controls = self.controls[self.controls["tick"] < last].copy()
        early = controls["tick"] <= first
        # Of the early ones the last of each voice and kind still holds.
        key = controls["voice"].astype(int) * 256 + controls["kind"]
        places = np.flatnonzero(early)[::-1]
        _, back = np.unique(key[places], return_index=True)
        kept = ~early
        kept[places[back]] = True
        controls = controls[kept]
        controls["tick"] = np.maximum(controls["tick"] - first, 0)
        return Score.build(notes, last - first, controls, self.name)
