"""A MIDI file said literally: one event after the other, in plain Python, by "Standard MIDI Files
1.0". It is slow, and shares nothing with the library.

What the specification leaves open follows ``docs/mapping.md``: a note-off ends every note of its
track, channel and pitch that began in an earlier tick, or, if there is none, those of its own tick;
notes without a length or an end are left out; running status goes on after other events.
"""


class NotMidi(Exception):
    """The bytes break a rule of the specification, which the text names."""


class Bytes:
    """Bytes that are taken one after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def take(self, size):
        if size > self.left():
            raise NotMidi("cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def byte(self):
        return self.take(1)[0]

    def integer(self, size):
        return int.from_bytes(self.take(size), "big")

    def variable(self):
        value = 0
        for _ in range(4):
            byte = self.byte()
            value = value * 128 + byte % 128
            if byte < 128:
                return value
        raise NotMidi("a variable-length number of more than four bytes")

    def data_byte(self):
        byte = self.byte()
        if byte > 127:
            raise NotMidi("a data byte above 127")
        return byte


def unwrapped(data):
    """The MIDI file inside a RIFF file, or the data itself."""
    if data[:4] != b"RIFF":
        return data
    riff = Bytes(data[12:])
    while riff.left() >= 8:
        name, size = riff.take(4), int.from_bytes(riff.take(4), "little")
        if name == b"data":
            return riff.take(min(size, riff.left()))
        riff.take(min(size + size % 2, riff.left()))
    raise NotMidi("a RIFF file without data")


def track_events(track):
    """``(tick, status, data)`` of each event; data of a meta event: its kind, then its body."""
    tick, running = 0, None
    events = []
    while track.left():
        tick += track.variable()
        status = track.byte()
        if status == 0xFF:
            kind = track.byte()
            events.append((tick, status, bytes([kind]) + track.take(track.variable())))
            if kind == 0x2F:
                return events
        elif status in (0xF0, 0xF7):
            track.take(track.variable())
        elif status >= 0xF0:
            raise NotMidi(f"status {status:X}, which no file may hold")
        else:
            first = None
            if status < 0x80:
                if running is None:
                    raise NotMidi("data before any status")
                status, first = running, status
            running = status
            if first is None:
                first = track.data_byte()
            second = 0 if status // 16 in (0xC, 0xD) else track.data_byte()
            events.append((tick, status, (first, second)))
    return events


def read(data):
    """``(resolution, tempos, notes)``.

    tempos: ``[(tick, microseconds a quarter note)]`` in the order in which they count. notes:
    ``[(track, channel, program, start tick, end tick, pitch, velocity)]``, sorted.
    """
    file = Bytes(unwrapped(data))
    if file.take(4) != b"MThd":
        raise NotMidi("no MThd")
    header = Bytes(file.take(file.integer(4)))
    header.integer(2)
    count, resolution = header.integer(2), header.integer(2)
    if resolution == 0 or resolution >= 0x8000:
        raise NotMidi("no ticks a quarter note")
    tracks = []
    while len(tracks) < count and file.left() >= 8:
        name, size = file.take(4), file.integer(4)
        content = file.take(min(size, file.left()))
        if name == b"MTrk":
            events = track_events(Bytes(content))
            if len(content) < size and not (events and events[-1][2][:1] == b"\x2f"):
                raise NotMidi("cut off")
            tracks.append(events)
    if len(tracks) < count:
        raise NotMidi("fewer tracks than the header says")

    tempos = [(0, 500_000)]
    notes = []
    for number, events in enumerate(tracks):
        program, sounding = {}, {}
        for tick, status, what in events:
            kind, channel = status // 16, status % 16
            if status == 0xFF and what[0] == 0x51:
                tempos.append((tick, int.from_bytes(what[1:4], "big")))
            elif kind == 0xC:
                program[channel] = what[0]
            elif kind == 0x9 and what[1] > 0:
                note = (tick, program.get(channel, 0), what[1])
                sounding.setdefault((channel, what[0]), []).append(note)
            elif kind in (0x8, 0x9):
                struck = sounding.get((channel, what[0]), [])
                earlier = [note for note in struck if note[0] < tick]
                for start, played, velocity in earlier:
                    notes.append((number, channel, played, start, tick, what[0], velocity))
                here = [note for note in struck if note[0] == tick]
                sounding[channel, what[0]] = here if earlier else []
    tempos.sort(key=lambda change: change[0])  # stable: in one tick the file's order stays
    if 0 in dict(tempos).values():
        raise NotMidi("a tempo of zero")
    if any(event[0] >= 2**31 for events in tracks for event in events):
        raise NotMidi("a time beyond 31 bits")
    return resolution, tempos, sorted(notes)


def moments(ticks, resolution, tempos):
    """Each tick in samples of 1/44,100 s, exactly: integers by tick, and what to divide them by."""
    exact, changes = {}, list(tempos)
    time, before, tempo = 0, 0, 500_000
    for tick in sorted(set(ticks)):
        while changes and changes[0][0] <= tick:
            at, following = changes.pop(0)
            time += (at - before) * tempo * 44_100
            before, tempo = at, following
        exact[tick] = time + (tick - before) * tempo * 44_100
    return exact, resolution * 1_000_000
