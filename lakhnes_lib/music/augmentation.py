"""Augmentation: every epoch hears every song transposed, faster or slower, with fewer voices, or in other voices.

Paper: §5.1. Notebook: 05_training. Three settings. ``paper`` does what the text says: transposition by -6 to +5
semitones, speed within 5 %, half the time fewer instruments (one at least), half the time another permutation of P1,
P2 and TR. ``published`` does what the paper's code does: -6 to +6 semitones, half the time 1 to 3 of the four voices
(which may be silent ones), half the time P1 and P2 exchanged. It works on events, and a note that is transposed out of
its voice's range loses its note-on only: its note-off stays behind, and a note that it took over from rings on.
``transposed`` is ours: it does what ``paper`` does to pitches, and no more, for at another speed a song leaves the time
grid that all songs of the NES share.
Differences from the paper: under ``paper`` a note that leaves the range of its new voice goes with its note-off, and so
does one that a higher speed leaves no tick. Pitch and voice change together, so the range is checked once. The drawn
permutation may be the one there was.
"""

import numpy as np

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import NOTE, Score

SETTINGS = ("paper", "published", "transposed")
CHANGE = np.dtype([("semitones", "i1"), ("speed", "f8"), ("voices", "i1", 4)])
"""What becomes of a song. semitones: added to melodic pitches; speed: times are divided by it; voices: the voice that
P1, P2, TR and NO are played by, -1 for one that is dropped."""
DROPPED = -1
SPEEDS = (0.95, 1.05)
_SONGS_AT_ONCE = 64  # what fits a core's cache


def unchanged(songs: int = 1) -> np.ndarray:
    """``CHANGE`` records (songs,) that leave everything as it is."""
    return np.array([(0, 1.0, range(4))] * songs, CHANGE)


def draw(setting: str, sounding: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random ``CHANGE`` records (songs,), one a song, independent of each other.

    sounding: bool (songs, 4), the voices with notes: ``paper`` counts only those when it drops some, and leaves at
    least one of them. Raises LakhnesError for a setting that is not one of ``SETTINGS``.
    """
    if setting not in SETTINGS:
        raise LakhnesError(
            f"augmentation {setting!r} is not known; known are {', '.join(SETTINGS)}"
        )
    paper, songs = setting == "paper", len(sounding)
    changes = unchanged(songs)
    changes["semitones"] = rng.integers(-6, 7 if setting == "published" else 6, songs)
    if setting == "transposed":
        return changes
    changes["speed"] = rng.uniform(*SPEEDS, songs)
    fewer, shuffled = rng.random((2, songs)) < 0.5
    to = np.tile(np.arange(4), (songs, 1))
    if paper:
        to[shuffled, :3] = rng.permuted(to[shuffled, :3], axis=1)
    else:
        to[shuffled, :2] = nes.P2, nes.P1
    there = sounding.sum(1) if paper else np.full(songs, 4)
    fewer &= there > 1
    kept = rng.integers(1, np.maximum(there, 2))  # of n voices, 1 to n - 1
    order = rng.random((songs, 4)) + (paper & ~sounding)  # silent voices come last
    rank = order.argsort(1).argsort(1)
    to[fewer[:, None] & (rank >= kept[:, None])] = DROPPED
    changes["voices"] = to
    return changes


def _tables(changes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By song: 1 / speed float64 (songs,). By song and voice, flat: new voice and semitones, int8 (songs * 4,)."""
    semitones = np.repeat(changes["semitones"][:, None], 4, 1)
    semitones[:, nes.NO] = 0
    return 1 / changes["speed"], changes["voices"].ravel(), semitones.ravel()


def change_songs(notes: np.ndarray, offsets, lengths, changes: np.ndarray):
    """Many songs changed at once, as ``paper`` does it.

    notes: ``NOTE`` records of all songs, one after the other; offsets: int64 (songs + 1,) into them; lengths: int64
    (songs,) in ticks; changes: ``CHANGE`` (songs,). Returns the same three things. Notes keep their order: by start,
    but those of one instant no longer by voice (``events.encode_songs`` takes them so). A note that changes between a
    pulse and the triangle gets its new voice's highest velocity.
    """
    offsets, lengths = np.asarray(offsets, np.int64), np.asarray(lengths, np.int64)
    factor, to, semitones = _tables(changes)
    song = np.repeat(np.arange(len(lengths)), np.diff(offsets))
    voice = notes["voice"]
    part = song * 4 + voice
    voices, pitch = to[part], notes["pitch"] + semitones[part].astype(np.int16)
    factors = factor[song]
    start, end = _ticks(notes["start"] * factors), _ticks(notes["end"] * factors)
    keep = (
        (voices != DROPPED)
        & (pitch >= nes.LOWEST_PITCH[voices])
        & (pitch <= nes.HIGHEST_PITCH[voices])
    )
    keep &= end > start
    velocity = np.where(
        (voice == nes.TR) == (voices == nes.TR), notes["velocity"], nes.HIGHEST_VELOCITY[voices]
    )
    changed = np.empty(np.count_nonzero(keep), NOTE)
    for name, values in zip(NOTE.names, (voices, start, end, pitch, velocity), strict=True):
        changed[name] = values[keep]
    return changed, np.append(0, np.cumsum(keep))[offsets], _ticks(lengths * factor)


def _ticks(times: np.ndarray) -> np.ndarray:
    return np.rint(times).astype(np.int64)


def change_events(
    notes: np.ndarray, offsets, lengths, changes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Events of many songs changed at once, as ``published`` does it; arguments as ``change_songs``.

    Edge waits go before the change, so a song whose first voice is dropped begins with a wait; the events of an instant
    keep their order even where P1 and P2 are exchanged. No ``<S>``. Returns ids uint16 (events,) and int64 (songs + 1,)
    offsets into those.
    """
    if not len(lengths):
        return np.zeros(0, np.uint16), np.zeros(1, np.int64)
    factor, to, semitones = _tables(changes)
    ids, waits = events._timeline(notes, offsets, lengths)
    inner = ids < len(events.VOCABULARY)  # the rest are the marks that close each song
    first = np.append(0, np.cumsum(inner)[~inner])
    times, ids = np.cumsum(waits)[inner], ids[inner]
    song = np.repeat(np.arange(len(lengths)), np.diff(first))
    since = np.append(times, 0)[
        first[:-1]
    ]  # a song's first event; any number will do where there is none
    times = _ticks((times - since[song]) * factor[song])
    part = song * 4 + events.VOICE_OF[ids]
    voices, pitch = to[part], events.PITCH_OF[ids].astype(np.int16)
    sounds = pitch > 0
    pitch += semitones[part]
    keep = voices != DROPPED
    keep &= ~sounds | ((pitch >= nes.LOWEST_PITCH[voices]) & (pitch <= nes.HIGHEST_PITCH[voices]))
    ids = np.where(sounds, events.NOTE_ON[voices] + pitch, events.NOTE_OFF[voices])[keep]
    first = np.append(0, np.cumsum(keep))[first]
    times = times[keep]
    waits = np.diff(times, prepend=0)
    begins = first[:-1][np.diff(first) > 0]
    waits[begins] = times[begins]
    stop = np.append(0, np.cumsum(1 + (waits > 0)))
    out = np.empty(stop[-1], np.uint16)
    out[stop[1:] - 1] = ids
    waited = np.flatnonzero(waits > 0)
    out[stop[waited]] = events.wait_ids(waits[waited])
    return out, stop[first]


def change_score(score: Score, change: np.void) -> Score:
    """One song changed as ``paper`` does it, controls included; change: one ``CHANGE`` record.

    Controls of a voice that changes between a pulse and the triangle are dropped: the other has nothing like it.
    """
    one = np.array([change], CHANGE)
    notes, _, lengths = change_songs(score.notes, [0, len(score.notes)], [score.length], one)
    controls = score.controls.copy()
    voices = one["voices"][0][score.controls["voice"]]
    kept = (voices != DROPPED) & ((voices == nes.TR) == (score.controls["voice"] == nes.TR))
    controls["voice"], controls["tick"] = voices, _ticks(controls["tick"] * (1 / one["speed"][0]))
    return Score.build(notes, lengths[0], controls[kept], score.name)


def transpose(score: Score, semitones: int) -> Score:
    """The melodic voices this much higher; notes that leave their voice's range are left out."""
    return change_score(score, _change(semitones=semitones))


def change_speed(score: Score, speed: float) -> Score:
    """The song so many times as fast; notes that are left no tick are left out."""
    return change_score(score, _change(speed=speed))


def change_voices(score: Score, voices) -> Score:
    """P1, P2, TR and NO played by these voices, ``DROPPED`` for none: (1, 0, 2, 3) exchanges the pulses."""
    return change_score(score, _change(voices=voices))


def _change(**values) -> np.void:
    """A record that changes this alone. Raises LakhnesError for what no NES can do."""
    change = unchanged()
    for name, value in values.items():
        change[name] = value
    used = [voice for voice in change["voices"][0, :3].tolist() if voice != DROPPED]
    if (
        not set(used) <= set(nes.MELODIC)
        or len(set(used)) < len(used)
        or change["voices"][0, 3] not in (nes.NO, -1)
    ):
        raise LakhnesError(
            f"voices {values['voices']}: P1, P2, TR go to different ones of these, NO to itself"
        )
    if not 0.01 <= change["speed"][0] <= 100:
        raise LakhnesError(f"speed must be between 0.01 and 100, not {values['speed']}")
    return change[0]


def framed_songs(
    setting: str, notes: np.ndarray, offsets, lengths, rng: np.random.Generator
) -> list[np.ndarray]:
    """What a model sees of many songs, each changed at random: ids uint16 (events,), ``<S>`` before and after.

    Arguments as ``draw`` and ``change_songs``; setting ``none`` leaves every song as it is. A song may come out empty.
    Raises LakhnesError for an unknown setting.
    """
    offsets, lengths = np.asarray(offsets, np.int64), np.asarray(lengths, np.int64)
    sounding, songs = np.zeros((len(lengths), 4), bool), []
    sounding[np.repeat(np.arange(len(lengths)), np.diff(offsets)), notes["voice"]] = True
    changes = draw(setting, sounding, rng) if setting != "none" else unchanged(len(lengths))
    for start in range(0, len(lengths), _SONGS_AT_ONCE):
        part = slice(start, start + _SONGS_AT_ONCE)
        borders = offsets[start : start + _SONGS_AT_ONCE + 1]
        packed = notes[borders[0] : borders[-1]], borders - borders[0], lengths[part]
        if setting == "none":
            songs += _frame(*events.encode_songs(*packed), trim=True)
        elif setting == "published":
            songs += _frame(*change_events(*packed, changes[part]), trim=False)
        else:
            songs += _frame(*events.encode_songs(*change_songs(*packed, changes[part])), trim=True)
    return songs


def songs_by_epoch(split, setting: str, seed: int, draws: str = "fresh", count: int = 0):
    """What ``streams.Streams`` reads of a corpus' split: a function that gives the framed songs of an epoch.

    setting: ``none`` or one of ``SETTINGS``; draws: which examples a split of candidates gives (``data/lakh.py``);
    count: only so many songs, drawn by the seed and the same every epoch, 0 for all. The same seed and epoch give the
    same songs.
    """

    def drawn(epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([seed, epoch, 1])  # not the numbers that shuffle the songs
        notes, offsets, lengths = split.packed(epoch, seed, draws)
        if count:
            songs = np.sort(np.random.default_rng([seed, 2]).permutation(len(lengths))[:count])
            notes = np.concatenate([notes[offsets[song] : offsets[song + 1]] for song in songs])
            offsets, lengths = np.append(0, np.cumsum(np.diff(offsets)[songs])), lengths[songs]
        return framed_songs(setting, notes, offsets, lengths, rng)

    return drawn


def _frame(ids: np.ndarray, offsets: np.ndarray, trim: bool):
    """The songs one by one, ``<S>`` around each; trim: edge waits off."""
    for first, last in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        if trim and first < last:
            first += int(events.IS_WAIT[ids[first]])
        if trim and first < last:
            last -= int(events.IS_WAIT[ids[last - 1]])
        song = np.full(last - first + 2, events.START, np.uint16)
        song[1:-1] = ids[first:last]
        yield song
