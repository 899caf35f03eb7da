"""The instruments of a MIDI file with their notes, in MIDI ticks: which note-off ends which note.

Paper: §3.1, §4.2.1. Notebook: 03_lakh_to_nes. An instrument is what one channel of one track of the
file plays with one program, as in pretty_midi, which the authors used. Differences from it stand in
``docs/mapping.md``.
"""

from dataclasses import dataclass

import numpy as np

from lakhnes_lib.music import midi_bytes
from lakhnes_lib.music.midi_bytes import Events

NOTE_OFF, NOTE_ON, CONTROL, PROGRAM, PITCH_BEND = 0x8, 0x9, 0xB, 0xC, 0xE
DRUMS = 9
"""The drums' channel, counted from 0."""
TEMPO = 500_000
"""Microseconds a quarter note, if a file says nothing: 120 beats a minute."""


@dataclass(frozen=True)
class Instrument:
    """What one channel plays with one program in one track of the file.

    program: 0-127. name: the track's.
    """

    program: int
    is_drum: bool
    name: str


@dataclass(frozen=True)
class Song:
    """A MIDI file in its own ticks.

    resolution: ticks a quarter note. tempos: microseconds a quarter note by tick, from tick 0 on,
    in order; of several in one tick the last of the file counts. end: the tick of the time
    signature 1/1 by which NES-MDB ends a song, or 0. last: the last end of a note, or the last
    control, pitch bend, lyric, or change of tempo, time or key signature. instruments: those that
    play notes. notes: records of int64 ``(instrument, time, end, pitch, velocity)`` by instrument
    (an index) and time, with ``end > time``. controls: records of int64 ``(instrument, time,
    number, value)``, in the order of the file for each instrument.
    """

    resolution: int
    tempos: dict[int, int]
    end: int
    last: int
    instruments: list[Instrument]
    notes: np.recarray
    controls: np.recarray


def read_song(data: bytes) -> Song:
    """The instruments and times of a MIDI file. Raises ValueError as ``read_events``."""
    events = midi_bytes.read_events(data)
    line = events.track * 16 + events.channel  # one channel of one track
    part = line * 128 + _programs(events, line)
    parts, notes = _notes(events, line, part)
    moves = np.flatnonzero((events.kind == CONTROL) | (events.kind == PITCH_BEND))
    moves = moves[np.isin(part[moves], parts)]  # controls of what never plays do not count
    ends = [int(notes.end.max(initial=0)), int(events.tick[moves].max(initial=0))]
    moves = moves[events.kind[moves] == CONTROL]
    moves = moves[np.argsort(part[moves], kind="stable")]
    instrument = np.searchsorted(parts, part[moves])
    columns = [instrument, events.tick[moves], events.first[moves], events.second[moves]]
    controls = np.rec.fromarrays(columns, names="instrument,time,number,value")

    names, tempos, tempo, end = {}, {0: TEMPO}, TEMPO, 0
    for track, tick, kind, body in sorted(events.metas, key=lambda meta: meta[1]):
        if kind == midi_bytes.NAME:
            names[track] = body.decode("utf-8", "replace")
            continue
        if kind == midi_bytes.TEMPO:
            before, tempo = tempo, int.from_bytes(body[:3], "big")
            tempos[tick] = tempo
            if tempo == before:
                continue  # it changes nothing
        if kind == midi_bytes.TIME_SIGNATURE and body[:2] == b"\x01\x00":
            end = tick
        ends.append(tick)
    if 0 in tempos.values():
        raise ValueError("it counts no time: a tempo is 0")

    instruments = [
        Instrument(code % 128, code // 128 % 16 == DRUMS, names.get(code // 2048, ""))
        for code in parts.tolist()
    ]
    return Song(events.resolution, tempos, end, max(ends), instruments, notes, controls)


def _programs(events: Events, line: np.ndarray) -> np.ndarray:
    """The program with which each event is played: the last one set before it on its line, or 0."""
    order = np.argsort(line, kind="stable")
    is_change = events.kind[order] == PROGRAM
    change = np.maximum.accumulate(np.where(is_change, np.arange(len(order)), -1))
    chosen = (change >= 0) & (line[order[change]] == line[order])
    program = np.empty(len(order), np.int64)
    program[order] = np.where(chosen, events.first[order[change]], 0)
    return program


def _notes(events: Events, line: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.recarray]:
    """The parts that play, sorted, and the notes with a length by part and time."""
    key = line * 128 + events.first
    order = np.flatnonzero((events.kind == NOTE_ON) | (events.kind == NOTE_OFF))
    order = order[np.argsort(key[order], kind="stable")]
    is_strike = (events.kind[order] == NOTE_ON) & (events.second[order] > 0)
    strikes, end = _releases(key[order], events.tick[order], is_strike)
    strikes = order[strikes]
    start = events.tick[strikes]
    sounding = np.flatnonzero(end > start)
    sounding = sounding[np.lexsort((start[sounding], part[strikes[sounding]]))]
    strikes, end = strikes[sounding], end[sounding]
    parts, instrument = np.unique(part[strikes], return_inverse=True)
    pitch, velocity = events.first[strikes], events.second[strikes]
    columns = [instrument, events.tick[strikes], end, pitch, velocity]
    return parts, np.rec.fromarrays(columns, names="instrument,time,end,pitch,velocity")


def _releases(key, tick, is_strike) -> tuple[np.ndarray, np.ndarray]:
    """Where the note-ons are, and the tick in which each one's note ends, or -1.

    key, tick, is_strike: of all note-ons and note-offs, by key, then in the order of the file. A
    note-off ends every note of its key that began in an earlier tick. If there is none, it ends
    those of its own tick, which then have no length.
    """
    strikes, offs = np.flatnonzero(is_strike), np.flatnonzero(~is_strike)
    key_of_off, tick_of_off = np.append(key[offs], -1), np.append(tick[offs], -1)
    release = np.searchsorted(offs, strikes)  # the first note-off after each note-on
    start, own_key = tick[strikes], key[strikes]
    end = np.where(key_of_off[release] == own_key, tick_of_off[release], -1)
    ends_one = np.zeros(len(offs) + 2, bool)  # whether a note-off ends a note with a length
    ends_one[release[end > start]] = True
    for note in np.flatnonzero(end == start).tolist():
        following = release[note] + 1
        if ends_one[release[note]] and key_of_off[following] == own_key[note]:
            end[note] = tick_of_off[following]
            ends_one[following] |= end[note] > start[note]
    return strikes, end
