"""The exercises of notebooks 00 and 01: what their checks need, and answers that are wrong."""

from functools import partial

import numpy as np
from exercises import Lesson
from scipy.special import softmax

from lakhnes_lib.music import events, nes
from lakhnes_lib.music.nes import NO, P1, P2, TICKS_PER_SECOND, TR
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score
from lakhnes_lib.sound import chip

PUBLIC = {"np": np, "nes": nes, "events": events, "Score": Score}
GIVEN = {
    "00_start_here": PUBLIC,
    "01_nes_ensemble": PUBLIC
    | {"P1": P1, "P2": P2, "TR": TR, "NO": NO, "chip": chip, "CLOCK": chip.CLOCK}
    | {"VELOCITY_CHANGE": VELOCITY_CHANGE, "TIMBRE_CHANGE": TIMBRE_CHANGE}
    | {"TICKS_PER_SECOND": TICKS_PER_SECOND},
}
TONES = chip.CLOCK / (93 * chip.noise_period(np.arange(1, 17)))  # Hz
SLOW_CHORD = [(P1, 7_350 * i, 7_350 * (i + 1), (72, 76, 79)[i % 3], 12) for i in range(12)]
FAST_CHORD = [(P1, 735 * i, 735 * (i + 1), (72, 76, 79)[i % 3], 12) for i in range(120)]
ARPEGGIO = [
    (P1, 11_025 * i, 11_025 * (i + 1), pitch, 12) for i, pitch in enumerate((72, 76, 79, 84))
]
LOW_ARPEGGIO = [(P1, 11_025 * i, 11_025 * (i + 1), pitch, 12) for i, pitch in enumerate((60, 64))]


def multiplied(log_probs, temperature):
    """Cold and hot exchanged."""
    powers = np.exp(np.asarray(log_probs) * temperature)
    return powers / powers.sum()


def between_notes(score):
    """Silence between notes that follow each other; the edges and overlaps are forgotten."""
    starts, ends = score.notes["start"][1:], score.notes["end"][:-1]
    return float((starts - ends).max()) / TICKS_PER_SECOND


def silence_after_the_last(score):
    """Silence from the end of the note that began last, and not from the latest end so far."""
    last, longest = 0, 0
    for _, start, end, _, _ in score.notes.tolist():
        last, longest = end, max(longest, start - last)
    return max(longest, score.length - last) / TICKS_PER_SECOND


def silence_of_first_notes(score):
    """Each voice is looked at until its first note ends."""
    heard = np.zeros(score.length, bool)
    for voice in range(4):
        for _, start, end, _, _ in score.voice(voice)[:1].tolist():
            heard[start:end] = True
    silences = "".join(".x"[sounds] for sounds in heard.tolist()).split("x")
    return max(map(len, silences)) / TICKS_PER_SECOND


def silence_without(forgotten):
    """A function that does not hear one of the voices."""

    def function(score):
        heard = np.zeros(score.length, bool)
        for voice, start, end, _, _ in score.notes.tolist():
            heard[start:end] |= voice != forgotten
        silences = "".join(".x"[sounds] for sounds in heard.tolist()).split("x")
        return max(map(len, silences)) / TICKS_PER_SECOND

    return function


def silence_around_voices(score):
    """Each voice is taken to sound from the beginning of its first note to the end of its last."""
    heard = np.zeros(score.length, bool)
    for voice in range(4):
        notes = score.voice(voice)
        if len(notes):
            heard[notes["start"].min() : notes["end"].max()] = True
    silences = "".join(".x"[sounds] for sounds in heard.tolist()).split("x")
    return max(map(len, silences)) / TICKS_PER_SECOND


def without_the_first(ids):
    """The guesser, who takes an event that was never seen before for certain."""
    follower, surprises = {}, []
    for before, event in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
        if before in follower:
            surprises.append(-np.log(0.9 if follower[before] == event else 0.1 / 630))
        follower[before] = event
    return float(np.exp(np.mean(surprises or [0.0])))


def most_frequent(ids):
    """The commonest follower is expected, of equal counts the latest, and not the last one."""
    followers, surprises = {}, []
    for before, event in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
        seen = followers.setdefault(before, [])
        best = max(reversed(seen), key=seen.count, default=None)
        known = 1 / 631 if best is None else 0.9 if best == event else 0.1 / 630
        surprises.append(-np.log(known))
        seen.append(event)
    return float(np.exp(np.mean(surprises)))


def expects_itself(ids):
    """The event at the last earlier place is expected, and not the one that followed there."""
    surprises, seen = [], set()
    for before, event in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
        known = 0.9 if before == event else 0.1 / 630
        surprises.append(-np.log(known if before in seen else 1 / 631))
        seen.add(before)
    return float(np.exp(np.mean(surprises)))


def fades_everything(score):
    """All voices fade, and a control stands where the note has ended."""
    controls = [
        (voice, tick, VELOCITY_CHANGE, max(1, velocity - 1 - number))
        for voice, start, end, _, velocity in score.notes.tolist()
        for number, tick in enumerate(range(start + 735, end + 1, 735))
    ]
    return Score.build(score.notes, score.length, controls)


def fades_at_the_end(score):
    """A control stands at the tick at which the note ends, where the next one may begin."""
    controls = [
        (P1, tick, VELOCITY_CHANGE, velocity - fallen)
        for _, start, end, _, velocity in score.voice(P1).tolist()
        for fallen, tick in enumerate(range(start + 735, end + 1, 735), 1)
        if fallen < velocity
    ]
    return Score.build(score.notes, score.length, controls)


def fades_to_nothing(score):
    """The velocity goes on falling below 1."""
    controls = [
        (P1, tick, VELOCITY_CHANGE, max(0, velocity - 1 - number))
        for _, start, end, _, velocity in score.voice(P1).tolist()
        for number, tick in enumerate(range(start + 735, end, 735))
    ]
    return Score.build(score.notes, score.length, controls)


def silent_unison(timer):
    """A pulse that is too high to sound counts as one that sounds."""
    return 2 * timer + 1 if timer < 1024 else None


WRONG = {
    "00_start_here": {
        "arpeggio": (
            Score.build(LOW_ARPEGGIO),
            Score.build(LOW_ARPEGGIO, TICKS_PER_SECOND),
            ARPEGGIO,  # the right notes, but no Score
        ),
        "vocabulary": ((370, 257, 4), (371, 256, 4), 630),
        "heated": (multiplied, lambda log_probs, temperature: np.exp(log_probs)),
        "longest_silence": (
            lambda score: 0.0,
            lambda score: None,
            between_notes,
            *map(silence_without, (P1, P2, TR, NO)),
            silence_after_the_last,
            silence_of_first_notes,
            silence_around_voices,
        ),
        "guesser": (lambda ids: 631.0, without_the_first, expects_itself, most_frequent),
    },
    "01_nes_ensemble": {
        "middle_c": ((428, 1.0), (427, 1.0), (427, -2), (426, -1.8), 427),
        "unison_timer": (lambda timer: 2 * timer, lambda timer: 2 * timer + 1, silent_unison),
        "noise_type": (lambda hertz: 1 + int(np.abs(TONES - hertz).argmin()), lambda hertz: 1),
        "fast_chord": (Score.build(SLOW_CHORD), FAST_CHORD),
        "fade": (fades_everything, fades_to_nothing, fades_at_the_end, lambda score: score),
    },
}
RIGHT = {
    "00_start_here": {
        "vocabulary": ([370, 256, 4], np.array([370, 256, 4])),
        "heated": (lambda log_probs, temperature: softmax(log_probs / temperature),),
    },
    "01_nes_ensemble": {"middle_c": ((427, -1.8), [427, -1.78])},
}
CHECKS = {
    "00_start_here": {
        "arpeggio": "is_arpeggio",
        "vocabulary": "is_vocabulary",
        "heated": "heats",
        "longest_silence": "finds_silence",
        "guesser": "guesses",
    },
    "01_nes_ensemble": {
        "middle_c": "is_middle_c",
        "unison_timer": "is_unison",
        "noise_type": "tunes_noise",
        "fast_chord": "is_fast_chord",
        "fade": "fades",
    },
}
FUNCTIONS = {"00_start_here": (), "01_nes_ensemble": ("best_timer",)}


def names_of(name: str) -> dict:
    return dict(GIVEN[name])


LESSONS = [
    Lesson(
        name,
        CHECKS[name],
        WRONG[name],
        partial(names_of, name),
        partial(names_of, name),
        FUNCTIONS[name],
        right=RIGHT[name],
    )
    for name in WRONG
]
