"""Two readers of files for trackers, by the importers' own rules.

They hold to what FamiStudio (``FamistudioTextFile.cs``, ``Song.cs``, ``Pattern.cs``, ``Note.cs``)
and Dn-FamiTracker (``TextExporter.cpp``, ``FamiTrackerTypes.h``) accept, and know nothing of the
writers. Both give, for each voice, its notes as (first frame, frame after the last, MIDI pitch or
noise type, volume on each frame, timbre on each frame).
"""

import math
import re

from lakhnes_lib.music.nes import NO, P1, P2, TR

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# MIDI pitch of a tracker's C-0: its A-3 sounds 440 Hz on a pulse (69), 220 Hz on the triangle.
OFFSET = {P1: 24, P2: 24, TR: 12}


class Channel:
    """A voice of a tracker, frame by frame."""

    def __init__(self):
        self.notes, self.volume, self.timbre, self.sounding = [], 15, 0, None

    def start(self, frame, pitch):
        self.stop(frame)
        self.sounding = (frame, pitch, [], [])

    def hold(self):
        if self.sounding:
            self.sounding[2].append(self.volume)
            self.sounding[3].append(self.timbre)

    def stop(self, frame):
        if self.sounding:
            first, pitch, volumes, timbres = self.sounding
            self.notes.append((first, frame, pitch, tuple(volumes), tuple(timbres)))
        self.sounding = None


def whole(text, low, high):
    """A whole number in a range."""
    assert re.fullmatch(r"-?\d+", text), text
    assert low <= int(text) <= high, (text, low, high)
    return int(text)


def read_famistudio(text):
    """The song's frames, and the notes of its four voices."""
    objects = []
    for line in text.splitlines():
        kind, _, rest = line.strip().partition(" ")
        pattern = r'([^"=\s]+)="((?:""|[^"])+)"'
        assert not re.sub(pattern, "", rest).strip(), line
        pairs = re.findall(pattern, rest)
        assert len(dict(pairs)) == len(pairs), line
        objects.append((kind, {key: value.replace('""', '"') for key, value in pairs}))
    assert objects[0][0] == "Project" and "Version" not in objects[0][1]
    assert objects[0][1]["TempoMode"] == "FamiStudio"
    needs = {
        "Instrument": {"Name"},
        "Song": {"Name", "Length", "LoopPoint", "PatternLength", "BeatLength", "NoteLength"}
        | {"Groove", "GroovePaddingMode"},
        "PatternCustomSettings": {"Time", "Length", "NoteLength", "BeatLength", "Groove"}
        | {"GroovePaddingMode"},
        "Channel": {"Type"},
        "Pattern": {"Name"},
        "Note": {"Time"},
        "PatternInstance": {"Time", "Pattern"},
    }
    instruments, channels, song = set(), {}, None
    for kind, attributes in objects[1:]:
        assert needs[kind] <= set(attributes), (kind, attributes)
        if kind == "Instrument":
            assert song is None and attributes["Name"] not in instruments
            instruments.add(attributes["Name"])
        elif kind in ("Song", "PatternCustomSettings"):
            grid = whole(attributes["NoteLength"], 1, 18)
            assert attributes["Groove"] == attributes["NoteLength"]
            assert attributes["GroovePaddingMode"] in ("Beginning", "Middle", "End")
            whole(attributes["BeatLength"], 1, 256)
            if kind == "Song":
                assert song is None, "one song a file"
                length = whole(attributes["Length"], 1, 256)
                song = [grid * whole(attributes["PatternLength"], 1, 2048 // grid)] * length
                assert attributes["LoopPoint"] in ("-1", "0")
            else:
                time = whole(attributes["Time"], 0, len(song) - 1)
                song[time] = grid * whole(attributes["Length"], 1, 2047 // grid)
        elif kind == "Channel":
            assert attributes["Type"] in ("Square1", "Square2", "Triangle", "Noise")
            assert attributes["Type"] not in channels
            patterns, instances = channels[attributes["Type"]] = {}, {}
        elif kind == "Pattern":
            assert attributes["Name"] not in patterns
            notes = patterns[attributes["Name"]] = {}
        elif kind == "Note":
            time = whole(attributes.pop("Time"), 0, 2047)
            assert time not in notes and attributes, "a note that says nothing"
            notes[time] = attributes
        else:
            time = whole(attributes["Time"], 0, len(song) - 1)
            assert time not in instances
            instances[time] = patterns[attributes["Pattern"]]
    voices = []
    for voice, name in enumerate(("Square1", "Square2", "Triangle", "Noise")):
        patterns, instances = channels[name]
        assert {id(notes) for notes in patterns.values()} == set(map(id, instances.values()))
        channel, frame, end = Channel(), 0, math.inf
        for number, length in enumerate(song):
            notes = instances.get(number, {})
            assert not notes or max(notes) < length
            for time in range(length):
                if frame == end:
                    channel.stop(frame)
                if time in notes:
                    end = _famistudio_note(channel, voice, frame, notes[time], instruments) or end
                channel.hold()
                frame += 1
        channel.stop(min(frame, end))
        assert channel.notes == [] or channel.notes[-1][1] == end
        voices.append(channel.notes)
    return sum(song), voices


def _famistudio_note(channel, voice, frame, attributes, instruments):
    """Plays a note object; the frame on which its note ends, if it has one."""
    known = {"Value", "Duration", "Instrument", "Volume", "DutyCycle"}
    assert set(attributes) <= known
    if "Volume" in attributes:
        channel.volume = whole(attributes["Volume"], 0, 15)
    if "DutyCycle" in attributes:
        assert voice != TR, "the triangle has no duty"
        channel.timbre = whole(attributes["DutyCycle"], 0, 1 if voice == NO else 3)
    if "Value" not in attributes:
        assert not {"Duration", "Instrument"} & set(attributes) and channel.sounding
        return None
    assert attributes["Instrument"] in instruments
    letter, sharp, octave = re.fullmatch(r"([A-G])(#?)([0-7])", attributes["Value"]).groups()
    assert not (sharp and letter in "EB")
    key = 12 * int(octave) + SEMITONES[letter] + len(sharp)
    if voice == NO:
        period = ((key + 1) & 15) ^ 15  # the number of C0 is 1
        channel.start(frame, 16 - period)
    else:
        channel.start(frame, key + OFFSET[voice])
    return frame + whole(attributes["Duration"], 1, 65_535)


def read_famitracker(text):
    """The song's frames, and the notes of its four voices."""
    lines = text.split("\n")
    assert lines[0] == "# FamiTracker text export 0.4.2"
    rows, instruments, order, track, pattern = {}, set(), [], None, None
    for line in lines:
        command, _, rest = line.partition(" ")
        words = rest.split()
        if command in ("", "#"):
            continue
        if command in ("TITLE", "AUTHOR", "COPYRIGHT"):
            assert re.fullmatch(r'"[^"\t]{0,31}"', rest)
        elif command in ("MACHINE", "FRAMERATE", "EXPANSION"):
            assert words == ["0"]
        elif command == "INST2A03":
            numbers, name = re.fullmatch(r'((?:-?\d+ ){6})("[^"\t]*")', rest).groups()
            instruments.add(whole(numbers.split()[0], 0, 63))
            assert numbers.split()[1:] == ["-1"] * 5 and name
        elif command == "TRACK":
            assert track is None, "one track a file"
            sizes, name = re.fullmatch(r'(\d+ \d+ \d+) ("[^"\t]*")', rest).groups()
            track = [int(word) for word in sizes.split()]
            assert track[0] in range(1, 257) and track[1:] == [1, 150], "a row a frame"
        elif command == "COLUMNS":
            assert track and words == [":"] + ["1"] * 5
        elif command == "ORDER":
            assert track and words[1] == ":" and len(words) == 7
            assert len(order) == int(words[0], 16) < 256
            assert all(re.fullmatch("[0-9A-F]{2}", word) for word in words[2:])
            order.append([int(word, 16) for word in words[2:]])
        elif command == "PATTERN":
            assert re.fullmatch("[0-9A-F]{2}", rest)
            pattern = int(rest, 16)
        elif command == "ROW":
            assert track and re.fullmatch("[0-9A-F]{2}", words[0]) and (len(words) - 1) % 5 == 0
            cells = [words[n : n + 5] for n in range(1, len(words), 5)]
            assert len(cells) == 5 and all(cell[0] == ":" for cell in cells)
            assert int(words[0], 16) < track[0] and (pattern, int(words[0], 16)) not in rows
            rows[pattern, int(words[0], 16)] = [cell[1:] for cell in cells]
        else:
            raise AssertionError(f"unknown command {command}")
    channels, frame, halted = [Channel() for _ in range(5)], 0, None
    for numbers in order:
        for row in range(track[0]):
            for voice, channel in enumerate(channels):
                cell = rows[numbers[voice], row][voice]
                if effect := _famitracker_cell(channel, voice, frame, cell, instruments):
                    assert halted is None
                    halted = frame + (effect == "B00")  # which comes after its row
                    looped = effect == "B00"
                channel.hold()
            frame += 1
    assert halted is not None and (looped or not any(channel.sounding for channel in channels))
    for channel in channels:
        channel.stop(halted)
    assert channels[4].notes == []
    assert all(note[1] <= halted for channel in channels for note in channel.notes)
    return halted, [channel.notes for channel in channels[:4]]


def _famitracker_cell(channel, voice, frame, cell, instruments):
    """Plays a cell; the effect that ends the song or begins it anew, if it holds one."""
    note, instrument, volume, effect = cell
    if volume != ".":
        assert re.fullmatch("[0-9A-F]", volume)
        channel.volume = int(volume, 16)
    if re.fullmatch("V[0-9A-F]{2}", effect):
        assert voice in (P1, P2, NO)
        channel.timbre = whole(str(int(effect[1:], 16)), 0, 1 if voice == NO else 3)
    else:
        assert effect in ("...", "B00", "C00")
    if note == "---":
        assert channel.sounding or frame == 0, "a stop in silence"
        channel.stop(frame)
    elif note != "...":
        assert int(instrument, 16) in instruments
        if voice == NO:
            assert re.fullmatch("[0-9A-F]-#", note)
            period = int(note[0], 16) ^ 15
            channel.start(frame, 16 - period)
        else:
            letter, sharp, octave = re.fullmatch(r"([A-G])([-#])([0-7])", note).groups()
            assert not (sharp == "#" and letter in "EB")
            key = 12 * int(octave) + SEMITONES[letter] + (sharp == "#")
            channel.start(frame, key + OFFSET[voice])
    else:
        assert instrument == ".."
    return effect if effect in ("B00", "C00") else None


READERS = {".famistudio.txt": read_famistudio, ".famitracker.txt": read_famitracker}
