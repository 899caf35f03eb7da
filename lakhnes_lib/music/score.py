"""A Score: the notes of four monophonic voices, in ticks of 1/44,100 s.

Paper: §3.1. Notebook: 01_nes_ensemble. Everything musical in this library makes one Score of
another, or converts a Score to another form or back.
Differences from the paper: velocity and timbre are kept (the paper drops them before training).
MIDI, VGM and the renderer use them, and the events leave them out.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from lakhnes_lib.errors import BadScore
from lakhnes_lib.music import nes

NOTE = np.dtype(
    [("voice", "u1"), ("start", "i8"), ("end", "i8"), ("pitch", "u1"), ("velocity", "u1")]
)
CONTROL = np.dtype([("voice", "u1"), ("tick", "i8"), ("kind", "u1"), ("value", "u1")])
VELOCITY_CHANGE, TIMBRE_CHANGE = CONTROL_KINDS = 11, 12
"""Kinds of control, by the MIDI control numbers that NES-MDB uses."""
LONGEST_SECONDS = 3600
"""What is taken for a song when a file is read: the longest of NES-MDB lasts five minutes."""


def counted(notes: int) -> str:
    """A number of notes in words, such as ``1 note`` and ``2,000 notes``."""
    return f"{notes:,} note{'s' * (notes != 1)}"


def records(dtype: np.dtype, *columns) -> np.ndarray:
    """Records of columns in the order of the dtype's fields; a number stands for a whole column."""
    rows = np.empty(np.broadcast(*columns).shape, dtype)
    for name, column in zip(dtype.names, columns, strict=True):
        rows[name] = column
    return rows


def _from_rows(rows, dtype: np.dtype, name: str) -> np.ndarray:
    """Records of tuples. Raises BadScore for one of another size, or with a number out of range."""
    if isinstance(rows, np.ndarray):
        return rows
    try:
        return np.array([tuple(row) for row in rows], dtype)
    except (OverflowError, TypeError, ValueError) as error:
        rule = f"a row is not ({', '.join(dtype.names)}) in whole numbers ({error})"
        raise BadScore(f"{name or 'score'}: {rule}") from None


@dataclass(frozen=True, eq=False)
class Score:
    """Notes of four voices.

    notes: ``NOTE`` records (half-open ``[start, end)`` in ticks), sorted by start, then voice.
    length: ticks from the beginning to the song's end; no note ends after it.
    controls: ``CONTROL`` records, sorted by tick; those of one tick and voice in the order they
    apply. name: for people.

    Raises BadScore when a note or control breaks a rule, and says which. Example:

    >>> Score.build([(nes.P1, 0, 22_050, 69, 15)], length=44_100, name="one note")
    Score('one note', 1.00 s, notes: P1 1, P2 0, TR 0, NO 0)
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
        if self.length < 0:
            raise BadScore(f"{self.name or 'score'}: length {self.length} is negative")
        voice, start, end, pitch, velocity = (self.notes[name] for name in NOTE.names)
        known = np.minimum(voice, nes.NO)  # an unknown voice is refused first
        loudest = nes.HIGHEST_VELOCITY[known]
        unsorted, overlapping = np.zeros((2, len(voice)), bool)
        unsorted[1:] = start[1:] < start[:-1]
        unsorted[1:] |= (start[1:] == start[:-1]) & (voice[1:] < voice[:-1])
        for number in range(len(nes.VOICES)):
            own = np.flatnonzero(voice == number)
            overlapping[own[1:]] = start[own[1:]] < end[own[:-1]]
        rules = {
            "has a voice that is not one of P1, P2, TR, NO": voice > nes.NO,
            "is out of range (P1 P2 33-108, TR 21-108, NO 1-16)": ~nes.has_pitch(known, pitch),
            "has a velocity that is not 1-15 (TR 1)": (velocity < 1) | (velocity > loudest),
            "starts before the beginning": start < 0,
            "ends no later than it starts": end <= start,
            f"ends after the song's length of {self.length} ticks": end > self.length,
            "is out of order (notes go by start, then voice)": unsorted,
            "starts before its voice's last note ends": overlapping,
        }
        for rule, broken in rules.items():
            for index in np.flatnonzero(broken):
                number = voice[index]
                title = nes.VOICES[number] if number <= nes.NO else f"voice {number}"
                note = f"{title}, pitch {pitch[index]}, velocity {velocity[index]}"
                ticks = f"ticks {start[index]}-{end[index]}"
                raise BadScore(f"{self.name or 'score'}: note {index} ({note}, {ticks}) {rule}")
        self._check_controls()

    def _check_controls(self):
        controls = self.controls
        voice, tick = np.minimum(controls["voice"], nes.NO), controls["tick"]
        is_timbre = controls["kind"] == TIMBRE_CHANGE
        highest = np.where(is_timbre, nes.TIMBRE_VALUES[voice] - 1, nes.HIGHEST_VELOCITY[voice])
        bad = (controls["voice"] > nes.NO) | (controls["value"] > highest)
        bad |= ~is_timbre & (controls["kind"] != VELOCITY_CHANGE)
        bad |= (tick < 0) | (tick > self.length)
        bad[1:] |= tick[1:] < tick[:-1]
        for index in np.flatnonzero(bad):
            rule = "is out of range, out of order or of no known kind"
            raise BadScore(f"{self.name or 'score'}: control {index} {controls[index]} {rule}")

    @classmethod
    def build(cls, notes, length=None, controls=(), name="") -> "Score":
        """Score from unsorted notes.

        notes: ``NOTE`` records or ``(voice, start, end, pitch, velocity)`` tuples; controls
        likewise. length: ticks; the last note's end if None.
        """
        notes, controls = _from_rows(notes, NOTE, name), _from_rows(controls, CONTROL, name)
        notes = notes[np.lexsort((notes["voice"], notes["start"]))]
        controls = controls[np.argsort(controls["tick"], kind="stable")]
        if length is None:
            length = notes["end"].max(initial=0)
        return cls(notes, length, controls, name)

    def __eq__(self, other) -> bool:
        """Same notes, length and controls; the name does not count."""
        if not isinstance(other, Score):
            return NotImplemented
        same_notes = self.length == other.length and np.array_equal(self.notes, other.notes)
        return same_notes and np.array_equal(self.controls, other.controls)

    def __repr__(self) -> str:
        counts = [f"{title} {len(self.voice(v))}" for v, title in enumerate(nes.VOICES)]
        return f"Score({self.name!r}, {self.seconds:.2f} s, notes: {', '.join(counts)})"

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.length / nes.TICKS_PER_SECOND

    def voice(self, number: int) -> np.ndarray:
        """The notes of one voice, ``NOTE`` records in order of time."""
        return self.notes[self.notes["voice"] == number]

    def only(self, voices) -> "Score":
        """The same song with none but these voices (numbers 0-3)."""
        voices, both = list(voices), (self.notes, self.controls)
        notes, controls = (rows[np.isin(rows["voice"], voices)] for rows in both)
        return replace(self, notes=notes, controls=controls)

    def renamed(self, name: str) -> "Score":
        """The same song under another name."""
        return replace(self, name=name)

    def excerpt(self, start: float, end: float) -> "Score":
        """Seconds ``start`` to ``end`` as a Score of its own; notes that cross a border are cut.

        The last velocity and timbre set before ``start`` are set again at the beginning.
        Raises BadScore if there is nothing between the two.
        """
        first = int(round(start * nes.TICKS_PER_SECOND))
        last = int(round(min(end, self.seconds) * nes.TICKS_PER_SECOND))
        if not 0 <= first < last:
            seconds = f"{start} s and {end} s of {self.seconds:.2f} s"
            raise BadScore(f"{self.name or 'score'}: no music between {seconds}")
        notes = self.notes[(self.notes["end"] > first) & (self.notes["start"] < last)].copy()
        notes["start"] = np.maximum(notes["start"], first) - first
        notes["end"] = np.minimum(notes["end"], last) - first
        controls = self.controls[self.controls["tick"] < last].copy()
        # Of the controls before the excerpt, the last of each voice and kind still counts.
        early = np.count_nonzero(controls["tick"] <= first)
        rows = enumerate(controls[:early].tolist())
        latest = {(voice, kind): index for index, (voice, _, kind, _) in rows}
        keep = np.arange(len(controls)) >= early
        keep[list(latest.values())] = True
        controls = controls[keep]
        controls["tick"] = np.maximum(controls["tick"] - first, 0)
        return Score.build(notes, last - first, controls, self.name)
