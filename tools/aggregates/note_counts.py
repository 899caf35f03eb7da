"""Facts on the notes of many songs: pitches, intervals, lengths, loudness, timbre, who sounds with
whom. Each function takes a ``corpus.Split`` and returns plain counts or NumPy arrays."""

import numpy as np

from lakhnes_lib.companions import agreement
from lakhnes_lib.music import nes
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE

EDGES = np.unique(np.rint(10 ** (np.arange(73) / 10)).astype(np.int64))
"""int64: edges of the bins for times in ticks, ten a decade, from 1 tick to 6 minutes."""
QUANTILES = np.arange(0, 101, 5)
"""Percent."""
MAJOR = (1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1)
"""The twelve pitch classes of C major; a minor scale has the notes of some major one."""
SETS = tuple(
    "+".join(name for voice, name in enumerate(nes.VOICES) if number >> voice & 1) or "none"
    for number in range(16)
)
"""The sets of voices that may sound at once; P1 is the lowest bit of a set's index."""


def times_in_bins(ticks: np.ndarray) -> np.ndarray:
    """How many of these times lie in each bin of ``EDGES``. Raises AssertionError if one is out."""
    counts = np.histogram(ticks, EDGES)[0]
    assert counts.sum() == len(ticks)
    return counts


def quantiles(values: np.ndarray) -> np.ndarray:
    """float64 (21,): the ``QUANTILES`` of the values, NaN left out."""
    return np.nanpercentile(values, QUANTILES)


def song_of_note(split) -> np.ndarray:
    """int64 (notes,): the index of each note's song."""
    return np.repeat(np.arange(len(split)), np.diff(split.offsets))


def each_voice(split, function) -> dict:
    """What the function gives of the notes, and the songs' indices, of each voice."""
    songs, voices = song_of_note(split), split.notes["voice"]
    return {
        name: function(split.notes[voices == voice], songs[voices == voice], voice)
        for voice, name in enumerate(nes.VOICES)
    }


def sizes(split) -> dict:
    """Songs, games, hours, notes, and how many songs use each voice and all four."""
    used = np.zeros((len(split), 4), bool)
    used[song_of_note(split), split.notes["voice"]] = True
    return {
        "songs": len(split),
        "hours": split.seconds / 3600,
        "notes": len(split.notes),
        "notes_of_voice": np.bincount(split.notes["voice"], minlength=4),
        "songs_with_voice": used.sum(0),
        "songs_with_all_four": used.all(1).sum(),
        "shortest_seconds": split.songs["length"].min() / nes.TICKS_PER_SECOND,
        "longest_seconds": split.songs["length"].max() / nes.TICKS_PER_SECOND,
    }


def pitches(split) -> dict:
    """Notes of each pitch, from the voice's lowest on."""

    def count(notes, songs, voice):
        low, high = int(nes.LOWEST_PITCH[voice]), int(nes.HIGHEST_PITCH[voice])
        return np.bincount(notes["pitch"], minlength=high + 1)[low:]

    return each_voice(split, count)


def pitch_seconds(split) -> dict:
    """Seconds that each pitch sounds, from the voice's lowest on."""

    def count(notes, songs, voice):
        low, high = int(nes.LOWEST_PITCH[voice]), int(nes.HIGHEST_PITCH[voice])
        seconds = (notes["end"] - notes["start"]) / nes.TICKS_PER_SECOND
        return np.bincount(notes["pitch"], seconds, high + 1)[low:]

    return each_voice(split, count)


def widest_interval(voice: int) -> int:
    """From the lowest pitch of a voice to its highest."""
    return int(nes.HIGHEST_PITCH[voice]) - int(nes.LOWEST_PITCH[voice])


def intervals(split) -> dict:
    """Steps from each note of a voice to its next one, from the widest downward on."""

    def count(notes, songs, voice):
        steps = np.diff(notes["pitch"].astype(int))[songs[1:] == songs[:-1]]
        widest = widest_interval(voice)
        return np.bincount(steps + widest, minlength=2 * widest + 1)

    return each_voice(split, count)


def note_lengths(split) -> dict:
    """Notes by their length in ticks, in the bins of ``EDGES``."""
    return each_voice(split, lambda notes, *_: times_in_bins(notes["end"] - notes["start"]))


def pitch_classes(split) -> np.ndarray:
    """int64 (12,): notes of P1, P2 and TR by pitch class, C first."""
    melodic = split.notes["pitch"][split.notes["voice"] != nes.NO]
    return np.bincount(melodic % 12, minlength=12)


def keys(split) -> dict:
    """Songs by the key whose profile fits best: C major to B major, C minor to B minor.

    As ``agreement.keys`` does it: by the correlation with the time that each pitch class sounds.
    """
    lasting = by_pitch_class(split, split.notes["end"] - split.notes["start"])
    clear = np.ptp(lasting, axis=1) > 0
    songs = lasting[clear] - lasting[clear].mean(1, keepdims=True)
    # A profile and its turned versions have the same spread, but major and minor have not.
    profiles = agreement.PROFILES - agreement.PROFILES.mean(1, keepdims=True)
    fitting = songs @ (profiles / np.linalg.norm(profiles, axis=1, keepdims=True)).T
    counts = np.bincount(fitting.argmax(1), minlength=24)
    return {"major": counts[:12], "minor": counts[12:], "without_key": (~clear).sum()}


def by_pitch_class(split, weights: np.ndarray) -> np.ndarray:
    """float64 (songs, 12): the weights of the notes of P1, P2 and TR by pitch class."""
    melodic = split.notes["voice"] != nes.NO
    cell = song_of_note(split)[melodic] * 12 + split.notes["pitch"][melodic] % 12
    return np.bincount(cell, weights[melodic], 12 * len(split)).reshape(-1, 12)


def velocities(split) -> dict:
    """Notes by the velocity with which they begin, from 1 on."""

    def count(notes, songs, voice):
        return np.bincount(notes["velocity"], minlength=1 + nes.HIGHEST_VELOCITY[voice])[1:]

    return each_voice(split, count)


def velocity_changes(split) -> dict:
    """Changes of velocity while a note sounds, by the new value, from 0 on."""
    mine = split.controls[split.controls["kind"] == VELOCITY_CHANGE]
    return {
        name: np.bincount(mine["value"][mine["voice"] == voice], minlength=16)
        for voice, name in enumerate(nes.VOICES)
    }


def timbres(split) -> dict:
    """Notes by the timbre that their voice has when they begin, from 0 on."""
    songs = np.repeat(np.arange(len(split)), np.diff(split.songs["controls"], prepend=0))
    chosen = split.controls["kind"] == TIMBRE_CHANGE
    controls, control_songs = split.controls[chosen], songs[chosen]

    def count(notes, songs, voice):
        own = controls["voice"] == voice
        times = (control_songs[own] << 40) + controls["tick"][own]
        values = controls["value"][own]
        # The last change of the same song at or before the note; without one the timbre is 0.
        last = np.searchsorted(times, (songs << 40) + notes["start"], side="right") - 1
        given = (last >= 0) & (np.append(times, 0)[last] >> 40 == songs)
        timbre = np.where(given, np.append(values, 0)[last], 0)
        return np.bincount(timbre, minlength=nes.TIMBRE_VALUES[voice])

    return each_voice(split, count)


def moments(split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The stretches of time in which no note begins or ends: pitches int64 (4, stretches), 0 for a
    silent voice; ticks int64 (stretches,); and each one's song."""
    begins = np.append(0, np.cumsum(split.songs["length"]))
    shift = begins[song_of_note(split)]
    starts, ends = shift + split.notes["start"], shift + split.notes["end"]
    times = np.unique(np.concatenate([begins, starts, ends]))
    sounding = []
    for voice in range(4):
        mine = split.notes["voice"] == voice
        own_ends, own_pitches = np.append(ends[mine], 0), np.append(split.notes["pitch"][mine], 0)
        last = np.searchsorted(starts[mine], times[:-1], side="right") - 1
        sounds = (last >= 0) & (own_ends[last] > times[:-1])
        sounding.append(np.where(sounds, own_pitches[last], 0).astype(np.int64))
    songs = np.searchsorted(begins, times[:-1], side="right") - 1
    return np.array(sounding), np.diff(times), songs


def together(split) -> dict:
    """Seconds by set of sounding voices and by their number; who is the lowest and highest, and how
    often the pulses, where both sound, have the same pitch."""
    pitch, ticks, songs = moments(split)
    seconds = ticks / nes.TICKS_PER_SECOND
    number = (pitch > 0).T @ (1 << np.arange(4))
    p1, p2, triangle, _ = pitch
    lower_pulse = np.minimum(np.where(p1, p1, 999), np.where(p2, p2, 999))
    bass = (triangle > 0) & (lower_pulse < 999)
    pulses = (p1 > 0) & (p2 > 0)
    apart = pulses & (p1 != p2)
    above = np.bincount(songs[apart], seconds[apart] * (p1 > p2)[apart], len(split))
    both = np.bincount(songs[apart], seconds[apart], len(split))
    return {
        "seconds_of_set": np.bincount(number, seconds, 16),
        "seconds_of_number": np.bincount((pitch > 0).sum(0), seconds, 5),
        "triangle_below_pulses_share": share(seconds, (triangle < lower_pulse), bass),
        "p1_above_p2_share": share(seconds, p1 > p2, apart),
        "pulses_in_unison_share": share(seconds, p1 == p2, pulses),
        "songs_led_by_p1_share": np.mean((above / np.maximum(both, 1e-9) > 0.5)[both > 0]),
    }


def share(weights: np.ndarray, which: np.ndarray, of: np.ndarray) -> float:
    """The share of some weights among others."""
    return float(weights[which & of].sum() / weights[of].sum())


def activity(split) -> dict:
    """Quantiles over songs, voice by voice: share of the time sounding, notes a second, and median
    pitch, where the voice plays."""
    seconds = split.songs["length"] / nes.TICKS_PER_SECOND

    def count(notes, songs, voice):
        lasting = (notes["end"] - notes["start"]) / nes.TICKS_PER_SECOND
        with np.errstate(invalid="ignore", divide="ignore"):
            sounding = np.bincount(songs, lasting, len(split)) / seconds
            often = np.bincount(songs, minlength=len(split)) / seconds
        firsts = np.flatnonzero(np.diff(songs, prepend=-1))
        middle = [np.median(part) for part in np.split(notes["pitch"], firsts[1:]) if len(part)]
        return {
            "share_of_time": quantiles(sounding),
            "notes_a_second": quantiles(often),
            "median_pitch": quantiles(np.array(middle)),
            "median_note_ms": np.median(lasting) * 1000,
        }

    return each_voice(split, count)


def scale_shares(split) -> np.ndarray:
    """int64 (20,): songs by the share of their notes in their best scale, in steps of 5 %."""
    classes = by_pitch_class(split, np.ones(len(split.notes)))
    scales = np.array([np.roll(MAJOR, tonic) for tonic in range(12)])
    melodic = classes.sum(1) > 0
    shares = (classes @ scales.T).max(1)[melodic] / classes.sum(1)[melodic]
    return np.histogram(shares, np.arange(21) / 20)[0]
