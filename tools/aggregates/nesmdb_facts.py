"""The facts of ``nesmdb.json``: each one computed for train, valid, test and all songs together.
The same facts, but for loudness and timbre, are taken of mapped Lakh songs."""

import event_counts
import event_pairs
import note_counts
import numpy as np

from lakhnes_lib.data import corpus
from lakhnes_lib.music import events, nes

BINS = {"unit": "ticks of 1/44,100 s", "edges": note_counts.EDGES}
QUANTILES = {"quantiles_percent": note_counts.QUANTILES}
LOWEST = {
    "lowest": {name: int(nes.LOWEST_PITCH[voice]) for voice, name in enumerate(nes.VOICES)},
    "unit": "MIDI pitch (69 is A4, 440 Hz) for P1, P2 and TR, noise type 1-16 for NO",
}
INTERVALS = {
    "lowest": {name: -note_counts.widest_interval(voice) for voice, name in enumerate(nes.VOICES)},
    "unit": "semitones (for NO: types)",
}
RATES = QUANTILES | {
    "events_a_second_edges": event_counts.RATE_EDGES,
    "seconds_edges": event_counts.LENGTH_EDGES,
    "events_edges": event_counts.EVENTS_EDGES,
}
FIVE_PERCENT = {"edges": np.round(np.arange(21) / 20, 2)}

MUSIC = {
    # name: (function of a split, description, how to read it)
    "sizes": (
        note_counts.sizes,
        "Songs, hours and notes, and how many songs use each voice and all four.",
        {"voices": list(nes.VOICES)},
    ),
    "kinds": (
        event_counts.kinds,
        "Events by kind: how many there are as written (raw) and as models see them (framed), and "
        "how many framed songs are too short to be scored.",
        {},
    ),
    "table_1": (
        event_counts.table_1,
        "Events by row of the paper's Table 1, with two <S> a song and the waits at its edges.",
        {},
    ),
    "ids": (
        event_counts.ids,
        "How often each of the 631 events occurs, in the order of their ids.",
        {"names": list(events.VOCABULARY)},
    ),
    "pitches": (note_counts.pitches, "Notes of each voice by pitch, from the lowest on.", LOWEST),
    "pitch_seconds": (
        note_counts.pitch_seconds,
        "Seconds that each pitch of a voice sounds, from the lowest on.",
        LOWEST,
    ),
    "intervals": (
        note_counts.intervals,
        "Steps from each note of a voice to the next note of that voice; 0 is a repeated pitch.",
        INTERVALS,
    ),
    "pitch_classes": (
        note_counts.pitch_classes,
        "Notes of P1, P2 and TR by pitch class, from C to B.",
        {},
    ),
    "keys": (
        note_counts.keys,
        "Songs by key, C to B, as the profiles of Krumhansl and Kessler fit the sounding time.",
        {},
    ),
    "scale_shares": (
        note_counts.scale_shares,
        "Songs by the share of their melodic notes that lie in the one scale that holds most.",
        FIVE_PERCENT,
    ),
    "note_lengths": (note_counts.note_lengths, "Notes of each voice by length.", BINS),
    "together": (
        note_counts.together,
        "Seconds by set of voices that sound at once and by their number; how often the triangle "
        "is lower than every pulse that sounds with it, P1 higher than P2 where they differ, and "
        "both the same where both sound.",
        {"sets": note_counts.SETS},
    ),
    "activity": (
        note_counts.activity,
        "How much each voice plays: quantiles over songs.",
        QUANTILES,
    ),
    "waits": (
        event_counts.waits,
        "Waits between the moments at which something begins or ends; how many are exactly one of "
        "the 370 values, exactly halfway between two, or longer than the longest; one frame of "
        "the console's picture is 733 to 737 ticks.",
        BINS,
    ),
    "onsets": (
        event_counts.onsets,
        "Times between onsets of a song, of whatever voice, where they differ.",
        BINS,
    ),
    "rates": (
        event_counts.rates,
        "Songs by events a second, by events, and by seconds; the last bins are open.",
        RATES,
    ),
    "seconds_of_512_events": (
        event_counts.seconds_of_window,
        "How long 512 events last: overall, and in whole runs of 512 from a song's beginning.",
        QUANTILES,
    ),
    "quantisation": (
        event_counts.quantisation,
        "How far rounding the waits moves waits and onsets; what is cut from waits too long.",
        {},
    ),
    "round_trips": (
        event_counts.round_trips,
        "Songs that come back the same: events through a Score and back, and a Score's notes, to "
        "the tick, through events and back.",
        {},
    ),
    "repeated_steps": (
        event_counts.repeated_steps,
        "Songs by the share of steps of a piano roll (24 a second) that repeat the step before; a "
        "step holds the pitch at its beginning (by_moment) or the longest in it (by_frequency). "
        "Names with pitches: the same of each voice's steps, counted alone.",
        FIVE_PERCENT,
    ),
    "jingles": (event_counts.jingles, "Songs that last less than so many seconds.", {}),
}

LOUDNESS = {
    "velocities": (
        note_counts.velocities,
        "Notes of each voice by the velocity with which they begin, from 1 on.",
        {},
    ),
    "velocity_changes": (
        note_counts.velocity_changes,
        "Changes of a voice's velocity within notes, by the new value, from 0 to 15.",
        {},
    ),
    "timbres": (
        note_counts.timbres,
        "Notes by timbre: duty 0-3 of the pulses, loop flag 0-1 of the noise.",
        {},
    ),
}

PAIRS = {
    "following": (
        event_pairs.following,
        "How often an event of one group (row) is followed by one of another group (column).",
        {"groups": event_pairs.GROUPS},
    ),
}


def of_splits(splits: dict, wanted: dict) -> dict:
    """The wanted facts (of ``MUSIC``, ``LOUDNESS`` or ``PAIRS``) of every split, by name."""
    return {
        name: {"description": description}
        | reading
        | {"splits": {title: function(split) for title, split in splits.items()}}
        for name, (function, description, reading) in wanted.items()
    }


def joined(splits: dict) -> corpus.Split:
    """All songs of several splits as one."""
    return corpus.pack("all", [s.score(index) for s in splits.values() for index in range(len(s))])


def alone(nesmdb: corpus.Corpus, names) -> dict:
    """Some facts of ``MUSIC``, ``LOUDNESS`` and ``PAIRS`` by name, measured without the others."""
    wanted = {name: (MUSIC | LOUDNESS | PAIRS)[name] for name in names}
    return of_splits(dict(nesmdb.splits) | {"all": joined(nesmdb.splits)}, wanted)


def all_facts(nesmdb: corpus.Corpus) -> tuple[dict, dict]:
    """Every fact on NES-MDB by name, and what else the file's head says."""
    splits = dict(nesmdb.splits)
    facts = of_splits(splits | {"all": joined(splits)}, MUSIC | LOUDNESS | PAIRS)
    facts["games"] = {
        "description": "Games by split: the songs of one game are all in the same split.",
        "splits": {name: len(games(split)) for name, split in splits.items()},
        "in_two_splits": sum(map(len, map(games, splits.values())))
        - len(set.union(*map(games, splits.values()))),
    }
    facts["duplicates"] = {
        "description": "Songs that equal an earlier song of their split, or a song of another "
        "split: event by event, or in all pitches of all voices whatever their times."
    } | event_counts.duplicates(splits)
    return facts, {}


def games(split) -> set[str]:
    """The games of a split, by the number at the beginning of a song's name."""
    return {name.split("_")[0] for name in split.names}
