"""The bytes of a MIDI file as events: where each one begins, when it happens and what it says.

Source: the specification "Standard MIDI Files 1.0" (MIDI Manufacturers Association, 1988). Paper:
§3.1, §4.2.1. Notebook: 03_lakh_to_nes. One loop in Python steps from event to event and notes
nothing but their places. NumPy decodes all of them at once, which is what makes it fast.
"""

import itertools
from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

NAME, LYRIC = 0x03, 0x05
TEMPO, TIME_SIGNATURE, KEY_SIGNATURE = 0x51, 0x58, 0x59
END_OF_TRACK = 0x2F
"""Kinds of meta events."""
EXCLUSIVE, EXCLUSIVE_PACKET, META = 0xF0, 0xF7, 0xFF
"""Status bytes whose data has a length of its own; those below are messages of a channel."""
MOST_TICKS = 2**31
_KEPT = {NAME, LYRIC, TEMPO, TIME_SIGNATURE, KEY_SIGNATURE}
_DATA_BYTES = bytes(8) + bytes([2, 2, 2, 2, 1, 1, 2])  # by the upper four bits of the status


class Events(NamedTuple):
    """All events of a file, in its own order.

    resolution: ticks a quarter note. track, tick, kind, channel, first, second: int64 (events,), of
    the channel messages; kind is the upper half of the status byte, first and second are its data
    (second is 0 where there is one only). metas: ``(track, tick, kind, body)`` of names, lyrics,
    tempos, time and key signatures.
    """

    resolution: int
    track: np.ndarray
    tick: np.ndarray
    kind: np.ndarray
    channel: np.ndarray
    first: np.ndarray
    second: np.ndarray
    metas: list[tuple[int, int, int, bytes]]


def read_events(data: bytes) -> Events:
    """The events of a MIDI file's bytes, from ``MThd`` on.

    Raises ValueError, with the reason, for a file that is damaged, is cut off, or counts its time
    in an impossible way.

    >>> note = bytes.fromhex("00903c40 60803c00 00ff2f00")
    >>> head = bytes.fromhex("4d546864 00000006 0000 0001 0060 4d54726b 0000000c")
    >>> read_events(head + note).tick
    array([ 0, 96])
    """
    if len(data) < 14:
        raise ValueError("it is cut off in its header")
    resolution = int.from_bytes(data[12:14], "big")
    if resolution >= 2**15:
        raise ValueError("it counts time in film frames, not in quarter notes")
    if resolution == 0:
        raise ValueError("its resolution is 0 ticks a quarter note")
    begins, counts, metas = array("q"), [], []
    promised = int.from_bytes(data[10:12], "big")  # what follows is another song
    for number, (begin, end) in enumerate(itertools.islice(_tracks(data), promised)):
        before = len(begins)
        try:
            metas += [(number, *meta) for meta in _walk(data, begin, end, begins)]
        except IndexError:
            raise ValueError(f"its track {number + 1} is cut off") from None
        counts.append(len(begins) - before)
    if len(counts) < promised:
        raise ValueError(f"it is cut off after {len(counts)} tracks")
    return _decoded(data, resolution, np.array(begins, np.int64), counts, metas)


def _tracks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the content of each track chunk begins and ends; other chunks are passed over."""
    end = 0
    while end + 8 <= len(data):
        tag, begin = data[end : end + 4], end + 8
        end = begin + int.from_bytes(data[end + 4 : begin], "big")
        if tag == b"MTrk":
            yield begin, end


def _walk(data: bytes, at: int, end: int, begins: array) -> Iterator[tuple[int, int, bytes]]:
    """Adds to begins where each event of a track begins, and gives its meta events.

    Those are ``(event, kind, body)``. A message without a status byte has the last one's of its
    track, also after a system exclusive or a meta event, as most players read it. Raises IndexError
    for a track that is cut off.
    """
    running = 0  # bytes of a message without a status byte, with the last byte of its time
    while at < end:
        begins.append(at)
        while data[at] > 127:  # the time since the last event; its last byte is below 128
            at += 1
        status = data[at + 1]
        if status < 128:
            if not running:
                raise ValueError("a track begins with data that belongs to no message")
            at += running
        elif status < EXCLUSIVE:
            running = 1 + _DATA_BYTES[status >> 4]
            at += 1 + running
        else:
            if status not in (EXCLUSIVE, EXCLUSIVE_PACKET, META):
                raise ValueError(f"an event begins with {status:02X}, which no file may hold")
            is_meta = status == META
            kind = data[at + 2] if is_meta else status
            size, begin = _number(data, at + 2 + is_meta)
            at = begin + size
            if kind == END_OF_TRACK:
                break
            if kind in _KEPT:
                yield len(begins) - 1, kind, data[begin:at]
    if at > min(end, len(data)):
        raise IndexError


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to four bytes with seven bits each, and where it ends."""
    value = 0
    for index in range(at, at + 4):
        value = value << 7 | data[index] & 127
        if data[index] < 128:
            return value, index + 1
    raise ValueError("a length has more than four bytes")


def _decoded(data, resolution, begins, counts, metas) -> Events:
    """begins: int64 (events,). counts: events of each track. metas: with numbers of events."""
    content = np.frombuffer(data + bytes(2), np.uint8)
    wait, at, unfinished = np.zeros(len(begins), np.int64), begins, np.ones(len(begins), bool)
    for _ in range(4):
        byte = content[at]
        wait = np.where(unfinished, wait << 7 | byte & 127, wait)
        at = at + unfinished
        unfinished = unfinished & (byte > 127)
    if unfinished.any():
        raise ValueError("a time has more than four bytes")
    tick = np.empty(len(begins), np.int64)
    last = np.cumsum(counts, dtype=np.int64)
    for begin, end in zip(last - counts, last, strict=True):
        np.cumsum(wait[begin:end], out=tick[begin:end])
    if tick.max(initial=0) >= MOST_TICKS:
        raise ValueError("it has times beyond what a MIDI file can count")

    status = content[at]
    spoken = status >= 128
    message = status < EXCLUSIVE
    index = np.arange(len(begins))
    status = status[np.maximum.accumulate(np.where(spoken & message, index, 0))][message]
    data_at = (at + spoken)[message]
    kind = (status >> 4).astype(np.int64)
    first, second = content[data_at].astype(np.int64), content[data_at + 1].astype(np.int64)
    second[(kind == 0xC) | (kind == 0xD)] = 0
    if (first | second).max(initial=0) > 127:
        raise ValueError("a data byte of a message is above 127")
    track = np.repeat(np.arange(len(counts)), counts)[message]
    metas = [(number, int(tick[event]), *what) for number, event, *what in metas]
    return Events(resolution, track, tick[message], kind, status & 15, first, second, metas)
