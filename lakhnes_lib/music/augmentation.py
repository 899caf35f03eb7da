"""Augmentation: songs transposed, at another speed, with fewer or other voices, new every epoch.

Paper: §5.1. Notebook: 05_training. There are three settings.

``paper`` does what the text says: transposition by -6 to +5 semitones; speed within 5 %; half the
time fewer instruments, at least one; half the time another permutation of P1, P2 and TR.

``published`` does what the paper's code does: transposition by -6 to +6 semitones; half the time 1
to 3 of the four voices, which may be silent ones; half the time P1 and P2 exchanged. That code
works on events. Of a note that is transposed out of its voice's range it drops the note-on only:
the note-off stays, and a note that it took over from rings on.

``transposed`` is ours: it transposes as ``paper`` does, and no more. At another speed a song leaves
the time grid that all songs of the NES share.

Differences from the paper: under ``paper`` a note that leaves the range of its new voice goes with
its note-off, and so does one that a higher speed leaves no tick. Pitch and voice change together,
so the range is checked once. The drawn permutation may be the one there was.
"""

import numpy as np

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import NOTE, Score, records

SETTINGS = ("paper", "published", "transposed")
CHANGE = np.dtype([("semitones", "i1"), ("speed", "f8"), ("voices", "i1", 4)])
"""How a song is changed. semitones: added to melodic pitches; speed: times are divided by it;
voices: the voice that plays the notes of P1, P2, TR and NO, ``DROPPED`` where none does."""
DROPPED = -1
SEMITONES = range(-6, 6)
SPEEDS = (0.95, 1.05)
_SONGS_AT_ONCE = 64  # so few that their arrays fit into a processor's cache


def unchanged(songs: int = 1) -> np.ndarray:
    """``CHANGE`` records (songs,) that leave everything as it is."""
    return np.array([(0, 1.0, range(4))] * songs, CHANGE)


def draw(setting: str, sounding: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random ``CHANGE`` records (songs,), one a song, independent of each other.

    sounding: bool (songs, 4), the voices with notes; of these ``paper`` leaves at least one.
    Raises LakhnesError for a setting that is not one of ``SETTINGS``.
    """
    if setting not in SETTINGS:
        known = ", ".join(SETTINGS)
        raise LakhnesError(f"augmentation {setting!r} is not known; known are {known}")
    songs = len(sounding)
    changes = unchanged(songs)
    # The authors' code goes to +6, their text to +5.
    end = SEMITONES.stop + (setting == "published")
    changes["semitones"] = rng.integers(SEMITONES.start, end, songs)
    if setting == "transposed":
        return changes
    changes["speed"] = rng.uniform(*SPEEDS, songs)
    fewer, permuted = rng.random((2, songs)) < 0.5
    voices = changes["voices"]
    if setting == "paper":
        voices[permuted, :3] = rng.permuted(voices[permuted, :3], axis=1)
    else:
        voices[permuted, :2] = nes.P2, nes.P1
        sounding = np.ones_like(sounding)  # it counts silent voices like any other
    # Of n sounding voices 1 to n - 1 are left: the first in a random order, silent voices last.
    count = sounding.sum(1)
    left = rng.integers(1, np.maximum(count, 2))
    rank = (rng.random((songs, 4)) + ~sounding).argsort(1).argsort(1)
    voices[(fewer & (count > 1))[:, None] & (rank >= left[:, None])] = DROPPED
    return changes


def change_songs(notes: np.ndarray, offsets, lengths, changes: np.ndarray):
    """Many songs changed at once, as ``paper`` does it.

    notes: ``NOTE`` records of all songs, one after the other; offsets: int64 (songs + 1,) into
    them; lengths: int64 (songs,) in ticks; changes: ``CHANGE`` (songs,). Returns the first three,
    changed. Notes stay in order of their start, but those of one tick may be in any order. A note
    that changes between a pulse and the triangle gets its new voice's highest velocity.
    """
    offsets, lengths = np.asarray(offsets, np.int64), np.asarray(lengths, np.int64)
    song = np.repeat(np.arange(len(lengths)), np.diff(offsets))
    old_voice = notes["voice"]
    voice = changes["voices"][song, old_voice]
    pitch = notes["pitch"] + _semitones(changes, song, old_voice)
    factor = 1 / changes["speed"]
    start = _in_ticks(notes["start"] * factor[song])
    end = _in_ticks(notes["end"] * factor[song])
    is_kind_kept = (old_voice == nes.TR) == (voice == nes.TR)
    velocity = np.where(is_kind_kept, notes["velocity"], nes.HIGHEST_VELOCITY[voice])
    keep = (voice != DROPPED) & nes.has_pitch(voice, pitch) & (end > start)
    columns = (voice, start, end, pitch, velocity)
    changed = records(NOTE, *(column[keep] for column in columns))
    return changed, _offsets_of_kept(keep, offsets), _in_ticks(lengths * factor)


def change_events(notes: np.ndarray, offsets, lengths, changes: np.ndarray):
    """Many songs changed at once, as ``published`` does it; arguments as in ``change_songs``.

    Edge waits are left out before the change, so a song whose first voice is dropped begins with a
    wait. The events of one tick keep their order even where P1 and P2 are exchanged. Returns ids
    uint16 (events,) without ``<S>``, and int64 (songs + 1,) offsets.
    """
    ids, ticks, offsets = events.timeline(notes, offsets, lengths)
    song = np.repeat(np.arange(len(lengths)), np.diff(offsets))
    first_tick = ticks[offsets[:-1]]
    ticks = _in_ticks((ticks - first_tick[song]) * (1 / changes["speed"])[song])
    old_voice, pitch = events.VOICE_OF[ids], events.PITCH_OF[ids]
    voice = changes["voices"][song, old_voice]
    pitch = pitch + _semitones(changes, song, old_voice)
    is_note_on = events.IS_NOTE_ON[ids]
    changed = np.where(is_note_on, events.NOTE_ON[voice] + pitch, events.NOTE_OFF[voice])
    keep = (ids != events.START) & (voice != DROPPED) & (~is_note_on | nes.has_pitch(voice, pitch))
    return events.insert_waits(changed[keep], ticks[keep], _offsets_of_kept(keep, offsets))


def _semitones(changes, song, voice) -> np.ndarray:
    """By how much each note's pitch changes, int16: noise types are not transposed."""
    return np.where(voice == nes.NO, 0, changes["semitones"][song]).astype(np.int16)


def _in_ticks(times: np.ndarray) -> np.ndarray:
    return np.rint(times).astype(np.int64)


def _offsets_of_kept(keep: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Where the songs begin and end among the rows that are kept."""
    return np.append(0, np.cumsum(keep))[offsets]


def change_score(score: Score, semitones=0, speed=1.0, voices=range(4)) -> Score:
    """One song changed as ``paper`` does it, controls included; arguments: fields of ``CHANGE``.

    Controls of a voice that changes between a pulse and the triangle are dropped.
    """
    one = np.array([(semitones, speed, tuple(voices))], CHANGE)
    notes, _, lengths = change_songs(score.notes, [0, len(score.notes)], [score.length], one)
    controls = score.controls.copy()
    controls["tick"] = _in_ticks(controls["tick"] * (1 / speed))
    old_voice = score.controls["voice"]
    voice = one["voices"][0][old_voice]
    controls["voice"] = voice
    keep = (voice != DROPPED) & ((voice == nes.TR) == (old_voice == nes.TR))
    return Score.build(notes, lengths[0], controls[keep], score.name)


def transpose(score: Score, semitones: int) -> Score:
    """The melodic voices this much higher; notes that leave their voice's range are left out.

    >>> import lakhnes_lib as nes
    >>> song = nes.read("assets/songbook/greensleeves.abc")
    >>> song.notes["pitch"].max(), nes.transpose(song, 2).notes["pitch"].max()
    (np.uint8(79), np.uint8(81))
    """
    return change_score(score, semitones=semitones)


def change_speed(score: Score, speed: float) -> Score:
    """The song so many times as fast; notes that are left no tick are left out.

    Raises LakhnesError unless speed is between 0.01 and 100.

    >>> import lakhnes_lib as nes
    >>> song = nes.read("assets/songbook/greensleeves.abc")
    >>> song.seconds, nes.change_speed(song, 2).seconds
    (60.3, 30.15)
    """
    if not 0.01 <= speed <= 100:
        raise LakhnesError(f"speed must be between 0.01 and 100, not {speed}")
    return change_score(score, speed=speed)


def change_voices(score: Score, voices) -> Score:
    """P1, P2, TR and NO played by these voices, ``DROPPED`` for none.

    Example: (1, 0, 2, 3) exchanges the pulses.
    Raises LakhnesError if two melodic voices go to one, or noise and melody are exchanged.
    """
    *melodic, noise = voices
    used = [voice for voice in melodic if voice != DROPPED]
    different = len(set(used)) == len(used) and set(used) <= set(nes.MELODIC)
    if not different or noise not in (nes.NO, DROPPED):
        rule = "P1, P2, TR go to different ones of these, NO to itself"
        raise LakhnesError(f"voices {voices}: {rule}")
    return change_score(score, voices=voices)


def framed_songs(
    setting: str, notes: np.ndarray, offsets, lengths, rng: np.random.Generator
) -> list[np.ndarray]:
    """What a model sees of many songs, each changed at random: uint16 (events,), ``<S>`` around it.

    Arguments as ``draw`` and ``change_songs``; setting ``none`` leaves every song as it is. A song
    may come out empty. Raises LakhnesError for an unknown setting.
    """
    offsets, lengths = np.asarray(offsets, np.int64), np.asarray(lengths, np.int64)
    if setting == "none":
        changes = unchanged(len(lengths))
    else:
        sounding = np.zeros((len(lengths), 4), bool)
        sounding[np.repeat(np.arange(len(lengths)), np.diff(offsets)), notes["voice"]] = True
        changes = draw(setting, sounding, rng)
    framed = []
    for first in range(0, len(lengths), _SONGS_AT_ONCE):
        songs = slice(first, first + _SONGS_AT_ONCE)
        borders = offsets[first : first + _SONGS_AT_ONCE + 1]
        part = (notes[borders[0] : borders[-1]], borders - borders[0], lengths[songs])
        if setting == "published":
            ids, starts = change_events(*part, changes[songs])
        else:
            ids, starts = events.encode_songs(*change_songs(*part, changes[songs]))
        # The published steps leave edge waits out first; one that begins a song since then stays.
        for song in np.split(ids, starts[1:-1]):
            framed.append(events.with_starts(song, edge_waits=setting == "published"))
    return framed


def songs_by_epoch(split, setting: str, seed: int, draws: str = "fresh", count: int = 0):
    """What training reads of a corpus' split: a function that gives the framed songs of an epoch.

    setting: ``none`` or one of ``SETTINGS``; draws: which examples a split of Lakh's candidates
    gives (``data/lakh.py``); count: train on only so many songs, drawn by the seed and the same in
    every epoch, or 0 for all. The same seed and epoch give the same songs.
    """

    def songs_of(epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([seed, epoch, 1])  # 1: not the numbers that shuffle the songs
        notes, offsets, lengths = split.packed(epoch, seed, draws)
        if count:
            chosen = np.sort(np.random.default_rng([seed, 2]).permutation(len(lengths))[:count])
            notes = np.concatenate([notes[offsets[song] : offsets[song + 1]] for song in chosen])
            offsets = np.append(0, np.cumsum(np.diff(offsets)[chosen]))
            lengths = lengths[chosen]
        return framed_songs(setting, notes, offsets, lengths, rng)

    return songs_of
