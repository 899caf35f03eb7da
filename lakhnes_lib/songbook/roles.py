"""A composer's own MIDI file for the NES: each track plays the voice that fits its role.

Paper: §8 (what musicians bring). Notebook: 09_composing. The lowest line plays TR, the highest or
busiest P1, the next P2, drums NO. Whatever is changed or left out is said.
Differences from the paper: its mapping of Lakh MIDI (§4.2.1, ``music/mapping.py``) draws the voices
at random, which gives a model many examples, but a composer another arrangement than the one he
wrote.
"""

import re
from pathlib import Path

import numpy as np

from lakhnes_lib.errors import BadMidi, BadSetting
from lakhnes_lib.music import midi, nes
from lakhnes_lib.music.filters import without_duplicates
from lakhnes_lib.music.score import NOTE, Score, counted
from lakhnes_lib.music.tracks import TRACK_NOTE, Track, read_tracks
from lakhnes_lib.songbook.sheets import TABLES

KIT = TABLES["kit"]
"""Noise type -> milliseconds that it sounds, and the General MIDI drums that it stands for."""
NOISE_TYPE, _HIT_TICKS = np.full(128, 16), np.zeros(17, np.int64)
"""Noise type of each drum pitch: that of the kit, 16 for drums that it lacks. General MIDI has no
drum below 27; there the pitches 1-16 are the noise types themselves, as in NES-MDB's files."""
NOISE_TYPE[1:17] = np.arange(1, 17)
for _type, (_milliseconds, _drums) in KIT.items():
    NOISE_TYPE[list(_drums)] = _type
    _HIT_TICKS[_type] = _milliseconds * nes.TICKS_PER_SECOND // 1000
_DRUM_NAMES = re.compile(r"drum|percussion|\b(perc|kit|fpc|kick|snare|(hi-?)?hats?)\b", re.I)
_HIGHEST_DRUMS = 52
"""A track that is called drums, but is not on the drum channel, has its median below this pitch:
steel drums and the like play melodies."""
_HEARD = (("highest note", 1), ("highest note", 1), ("lowest note", -1), ("deepest drum", -1))
"""Of what begins together a voice plays this; 1 is upward."""
_LOW = 48
"""A line alone is a bass if a quarter of its notes is below this pitch."""


def read(
    path, voices: str = "", seconds: float | None = None, overlap: float = 0.05
) -> tuple[Score, list[str]]:
    """The NES song of a MIDI file of any kind; and a line on each voice and each track left out.

    voices: such as ``P1=Lead,TR=2``, a voice and a track's name or number, counted from 1; ``P2=``
    for silence; a voice named twice plays two tracks. The other voices are given by role.
    seconds: where the song is cut. overlap: a note ends where the next begins, if it would last so
    many seconds longer at most, or an eighth of its own length; of notes that sound together for
    longer P1 and P2 play the highest, TR the lowest, NO the deepest drum. Times are those of the
    file, but General MIDI gives drums no length, so they have the kit's. Pitches out of a voice's
    range are moved by octaves.
    Raises BadMidi as ``midi.read``, and BadSetting for voices or tracks that do not exist.

    Example: ``score, lines = roles.read("song.mid", voices="P1=Lead")``
    """
    tracks = read_tracks(path)
    if not tracks:
        raise BadMidi(f"{path}: has no notes")
    parts = assign(tracks, _chosen(voices, tracks, path))
    last = max(int(track.notes["end"].max()) for track in tracks)
    length = last if seconds is None else min(last, round(seconds * nes.TICKS_PER_SECOND))
    begun = sum(np.count_nonzero(track.notes["start"] < length) for track in tracks)
    midi.check_size(length, begun, path)
    song, lines = [], []
    is_scaled = max(track.notes["velocity"].max() for track in tracks) > 15
    for voice, numbers in sorted(parts.items()):
        notes = np.concatenate([np.zeros(0, TRACK_NOTE), *(tracks[n].notes for n in numbers)])
        part, changes = _play(notes[notes["start"] < length], voice, overlap)
        part["end"] = np.minimum(part["end"], length)
        if is_scaled:
            part["velocity"] = np.rint(1 + part["velocity"] * (14 / 127))
        part["velocity"] = np.minimum(part["velocity"], nes.HIGHEST_VELOCITY[voice])
        song.append(part)
        names = " and ".join(_label(tracks, number) for number in numbers) or "nothing"
        summary = ", ".join([counted(len(part)), *changes])
        lines.append(f"{path}: {nes.VOICES[voice]} plays {names}: {summary}")
    for number in sorted(set(range(len(tracks))) - set(sum(parts.values(), []))):
        is_double = _voice_of(tracks[number]) is None and {*nes.MELODIC} - parts.keys()
        why = "it doubles another track" if is_double else "no voice is free"
        count = counted(len(tracks[number].notes))
        lines.append(f"{path}: left out {_label(tracks, number)}: {count}, {why}")
    if is_scaled and any(_name(track) in nes.MIDI_NAMES for track in tracks):
        lines.append(f"{path}: velocities of 1-127 scaled to the NES's 1-15")
    return Score.build(np.concatenate(song), length, name=Path(path).stem), lines


def assign(tracks: list[Track], chosen: dict | None = None) -> dict[int, list[int]]:
    """Which tracks play which voice: voice -> indices of tracks.

    chosen: the same, where it is settled. Tracks named as NES-MDB's instruments play those voices;
    drum tracks, by channel or name, play NO together. Of the others, those that double another left
    out, the lowest plays TR; P1 and P2 the highest, where twice as many beginnings count as eight
    semitones, and chords count less. One line alone plays TR if it is a bass, otherwise P1; one
    track alone that plays chords gives both.
    """
    parts, chosen = {}, chosen or {}
    for number in sorted(set(range(len(tracks))) - set(sum(chosen.values(), []))):
        parts.setdefault(_voice_of(tracks[number]), []).append(number)
    free = parts.pop(None, [])
    parts |= chosen
    different = {id(notes) for notes in without_duplicates([tracks[n].notes for n in free])}
    free = [number for number in free if id(tracks[number].notes) in different]
    free.sort(key=lambda number: _lead(tracks[number].notes), reverse=True)
    if len(free) == 1 and _thickness(tracks[free[0]].notes) > 1.25:
        return {nes.P1: free, nes.TR: free} | parts
    pitches = [np.percentile(tracks[number].notes["pitch"], 25) for number in free]
    if free and nes.TR not in parts and (len(free) > 1 or nes.P1 in parts or pitches[0] < _LOW):
        parts[nes.TR] = [free.pop(int(np.argmin(pitches)))]
    for voice in (nes.P1, nes.P2):
        if free and voice not in parts:
            parts[voice] = [free.pop(0)]
    return parts


def _thickness(notes: np.ndarray) -> float:
    """How many notes begin together, on average."""
    return len(notes) / len(np.unique(notes["start"]))


def _lead(notes: np.ndarray) -> float:
    """How well a track leads, in semitones."""
    thickness = _thickness(notes)
    high = np.percentile(notes["pitch"], 75)
    return float(high + 8 * np.log2(len(notes) / thickness) - 12 * np.log2(thickness))


def _play(notes: np.ndarray, voice: int, overlap: float) -> tuple[np.ndarray, list[str]]:
    """``NOTE`` records of one voice, with the velocities of the file; and what was changed."""
    if voice == nes.NO:
        types = NOISE_TYPE[notes["pitch"]]
        ends = notes["start"] + _HIT_TICKS[types]
        notes["end"] = np.where(notes["pitch"] > 16, ends, notes["end"])
        notes["pitch"] = types
    heard, sign = _HEARD[voice]
    line, lost, cut = _one_at_a_time(notes, sign, round(overlap * nes.TICKS_PER_SECOND))
    part = np.array([(voice, *note) for note in line], NOTE)
    written = part["pitch"].astype(int)
    if len(part) and voice != nes.NO:  # the whole line by its median, then what is still outside
        shift = _by_octaves(np.median(written), voice) - np.median(written)
        part["pitch"] = _by_octaves(written + shift, voice)
    changes = {
        f"left out, as only the {heard} is heard": lost,
        "cut where the next begins": cut,
        "moved by octaves into the voice's range": np.count_nonzero(part["pitch"] != written),
    }
    return part, [f"{count:,} {change}" for change, count in changes.items() if count]


def _one_at_a_time(notes: np.ndarray, sign: int, overlap: int) -> tuple[list, int, int]:
    """The highest line (sign 1) or the lowest (-1); how many notes were left out, how many cut.

    A line is lists of start, end, pitch and velocity. overlap: ticks.
    """
    line, lost, cut = [], 0, 0
    order = np.lexsort((-sign * notes["pitch"].astype(int), notes["start"]))
    for note in notes[order].tolist():
        start, _, pitch, _ = note
        if line and start < line[-1][1]:
            last_start, last_end, last_pitch, _ = line[-1]
            is_slight = last_end - start <= max(overlap, (last_end - last_start) / 8)
            is_outer = sign * pitch >= sign * last_pitch
            if start == last_start or not (is_slight or is_outer):
                lost += 1
                continue
            if is_slight or start - last_start > overlap:
                line[-1][1] = start
                cut += 1
            else:  # a chord that is rolled towards this note
                line.pop()
                lost += 1
        line.append(list(note))
    return line, lost, cut


def _by_octaves(pitch, voice: int):
    """Pitches moved into a voice's range by as few octaves as that takes."""
    up = np.ceil(np.maximum(nes.LOWEST_PITCH[voice] - pitch, 0) / 12)
    down = np.ceil(np.maximum(pitch - nes.HIGHEST_PITCH[voice], 0) / 12)
    return pitch + 12 * (up - down)


def _name(track: Track) -> str:
    return track.name.strip().lower()


def _voice_of(track: Track) -> int | None:
    """The voice that a track has by its name or channel, if it has one."""
    if _name(track) in nes.MIDI_NAMES:
        return nes.MIDI_NAMES.index(_name(track))
    named = _DRUM_NAMES.search(track.name)
    is_low = np.median(track.notes["pitch"]) < _HIGHEST_DRUMS
    return nes.NO if track.is_drum or (named and is_low) else None


def _label(tracks: list[Track], number: int) -> str:
    name = tracks[number].name.strip()
    return f"track {number + 1}" + (f" ({name})" if name else "")


def _chosen(voices: str, tracks: list[Track], path) -> dict[int, list[int]]:
    """The voices that the user gives to tracks. Raises BadSetting."""
    parts = {}
    for item in voices.split(",") if voices else ():
        voice, equals, name = (text.strip() for text in item.partition("="))
        if not equals or voice.upper() not in nes.VOICES:
            rule = f"is not VOICE=TRACK with a voice of {', '.join(nes.VOICES)}"
            raise BadSetting(f"{path}: {item!r} {rule}")
        known = [(_name(track), str(n + 1)) for n, track in enumerate(tracks)]
        numbers = [n for n, names in enumerate(known) if name and name.lower() in names]
        if name and len(numbers) != 1:
            count = "several tracks" if numbers else "no track"
            labels = ", ".join(_label(tracks, number) for number in range(len(tracks)))
            raise BadSetting(f"{path}: has {count} {name!r} (name one, or its number: {labels})")
        parts.setdefault(nes.VOICES.index(voice.upper()), []).extend(numbers)
    return parts
