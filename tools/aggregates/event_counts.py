"""Facts on songs as events: kinds, waits, rates, what the grid of time costs, what comes twice.
Each function takes a ``corpus.Split`` and returns plain counts or NumPy arrays."""

from itertools import pairwise

import numpy as np
from note_counts import quantiles, song_of_note, times_in_bins

from lakhnes_lib.music import events, nes, timing

TABLE_1 = {
    "<S>": (0, 0),
    "waits of 1-100 ticks": (1, 100),
    "waits of 110-1000 ticks": (101, 190),
    "waits of 1100-100000 ticks": (191, 370),
    "P1": (371, 447),
    "P2": (448, 524),
    "TR": (525, 613),
    "NO": (614, 630),
}
"""Rows of the paper's Table 1: first and last id."""
WINDOW = 512
STEPS = 24
"""Steps a second of the earlier work's piano roll."""
JINGLES = (1, 2, 5, 10, 20, 30, 60)
"""Seconds."""
SHORTEST = 10
RATE_EDGES = np.arange(0, 201, 5)
LENGTH_EDGES = np.append(np.arange(0, 181, 5), 3600)
EVENTS_EDGES = np.append(np.arange(0, 12_001, 250), 10**6)


def ids(split) -> np.ndarray:
    """int64 (631,): how often each event occurs in the raw songs, with two <S> a song."""
    counts = np.bincount(split.ids()[0], minlength=len(events.VOCABULARY))
    counts[events.START] += 2 * len(split)
    return counts


def table_1(split) -> dict:
    """Events by row of Table 1."""
    counts = ids(split)
    return {row: counts[first : last + 1].sum() for row, (first, last) in TABLE_1.items()}


def kinds(split) -> dict:
    """Events by kind, and how many there are raw and as models see them."""
    counts = ids(split)
    framed = sum(map(len, split.framed()))
    return {
        "wait": counts[events.IS_WAIT].sum(),
        "note_on": counts[events.IS_NOTE_ON].sum(),
        "note_off": counts[events.IS_NOTE_OFF].sum(),
        "raw": counts.sum() - 2 * len(split),
        "framed": framed,
        "shorter_than_ten": sum(len(song) < SHORTEST for song in split.framed()),
    }


def rates(split) -> dict:
    """Events a second, events and seconds, song by song."""
    raw, offsets = split.ids()
    counts, seconds = np.diff(offsets), split.songs["length"] / nes.TICKS_PER_SECOND
    lasting = np.maximum(seconds, 1e-9)
    return {
        "events_a_second": np.histogram(np.clip(counts / lasting, 0, 199), RATE_EDGES)[0],
        "events_a_second_quantiles": quantiles(counts / lasting),
        "events_a_second_overall": len(raw) / seconds.sum(),
        "notes_a_second_quantiles": quantiles(np.diff(split.offsets) / lasting),
        "events_a_song": np.histogram(counts, EVENTS_EDGES)[0],
        "events_a_song_quantiles": quantiles(counts),
        "seconds_a_song": np.histogram(seconds, LENGTH_EDGES)[0],
        "seconds_a_song_quantiles": quantiles(seconds),
    }


def seconds_of_window(split) -> dict:
    """How long 512 events last: over all events, and the quantiles of whole runs of 512."""
    lasting = []
    for song in split.framed():
        whole = len(song) // WINDOW
        ticks = events.TICKS_OF[song[: whole * WINDOW]].reshape(whole, WINDOW)
        lasting.append(ticks.sum(1) / nes.TICKS_PER_SECOND)
    raw, _ = split.ids()
    overall = WINDOW * events.TICKS_OF[raw].sum() / nes.TICKS_PER_SECOND / len(raw)
    windows = np.concatenate(lasting)
    return {"overall": overall, "mean": windows.mean(), "quantiles": quantiles(windows)}


def loss_of(split) -> timing.GridLoss:
    return timing.grid_loss(split.notes, split.offsets, split.songs["length"])


def waits(split) -> dict:
    """Waits, edge ones included: in bins, on the grid and halfway, too long, and the commonest."""
    exact = loss_of(split).waits
    values, counts = np.unique(exact, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:24]
    middles = events.WAIT_TICKS[1:] + events.WAIT_TICKS[:-1]
    return {
        "counts": times_in_bins(exact),
        "waits": len(exact),
        "on_the_grid_share": np.isin(exact, events.WAIT_TICKS).mean(),
        "halfway_between_two_values_share": np.isin(2 * exact, middles).mean(),
        "too_long": (exact > events.LONGEST_WAIT).sum(),
        "one_frame_share": ((exact >= 733) & (exact <= 737)).mean(),
        "commonest_ticks": values[common],
        "commonest_counts": counts[common],
    }


def quantisation(split) -> dict:
    """What rounding the waits costs, in milliseconds, and what is cut, in seconds."""
    loss, song = loss_of(split), song_of_note(split)
    inside, whole = loss.waits <= events.LONGEST_WAIT, loss.cut == 0
    worst = np.zeros(len(split))  # ticks by which each song's worst note is off
    np.maximum.at(worst, song, np.abs(loss.onset_errors))
    off = {f"{limit} s": (worst[whole] > limit * nes.TICKS_PER_SECOND).sum() for limit in (1, 2, 3)}
    return {
        "wait_error_ms": timing.spread((loss.written - loss.waits)[inside]),
        "onset_error_ms": timing.spread(loss.onset_errors),
        "onset_error_ms_in_songs_without_cut": timing.spread(loss.onset_errors[whole[song]]),
        "worst_onset_error_ms_of_songs_without_cut": timing.spread(worst[whole]),
        "songs_without_cut_off_by_more_than": off,
        "songs_cut": np.count_nonzero(loss.cut),
        "seconds_cut": loss.cut.sum() / nes.TICKS_PER_SECOND,
    }


def round_trips(split) -> dict:
    """Songs that come back the same: events through a Score, and a Score through events."""
    fields = ["voice", "start", "end", "pitch"]
    back = {"events_to_score_to_events": 0, "score_to_events_to_score": 0}
    ids, offsets = split.ids()
    for index in range(len(split)):
        row = ids[offsets[index] : offsets[index + 1]]
        decoded = events.decode(row)
        notes = split.notes[split.offsets[index] : split.offsets[index + 1]]
        back["events_to_score_to_events"] += np.array_equal(events.encode(decoded), row)
        back["score_to_events_to_score"] += np.array_equal(decoded.notes[fields], notes[fields])
    return {"songs": len(split)} | back


def onsets(split) -> dict:
    """Times between the onsets of a song, of whatever voice, and notes that begin together."""
    start, song = split.notes["start"], song_of_note(split)
    between = np.diff(start)[song[1:] == song[:-1]]
    distinct = between[between > 0]
    return {
        "counts": times_in_bins(distinct),
        "median_seconds": np.median(distinct) / nes.TICKS_PER_SECOND,
        "notes_that_begin_with_the_one_before_share": (between == 0).sum() / len(start),
    }


def jingles(split) -> dict:
    """Songs shorter than so many seconds."""
    seconds = split.songs["length"] / nes.TICKS_PER_SECOND
    return {f"under {limit} s": (seconds < limit).sum() for limit in JINGLES}


def repeated_steps(split) -> dict:
    """Songs by the share of steps of a piano roll that repeat the step before, in steps of 5 %.

    Of the roll's single pitches, each voice by itself, the same share in the song that repeats
    least (pitches_least) and in the middle one (pitches_median), and the songs in which it is more
    than half (pitches_majority_share).
    """
    first = np.append(0, np.cumsum(steps_of(split)))  # of each song, laid end to end
    long_enough = split.songs["length"] * STEPS > nes.TICKS_PER_SECOND
    by_rule = {}
    for rule, roll in (("by_moment", sampled(split)), ("by_frequency", frequent(split))):
        equal = np.vstack([np.zeros_like(roll[:1], bool), roll[1:] == roll[:-1]])
        equal[first[:-1][steps_of(split) > 0]] = False  # a song's first step repeats nothing
        repeats = (
            np.diff(np.append(0, np.cumsum(kind))[first]) for kind in (equal.all(1), equal.mean(1))
        )
        shares, by_voice = (each[long_enough] / steps_of(split)[long_enough] for each in repeats)
        by_rule[rule] = {
            "counts": np.histogram(shares, np.arange(21) / 20)[0],
            "median": np.median(shares),
            "majority_share": np.mean(shares > 0.5),
            "pitches_least": by_voice.min(),
            "pitches_median": np.median(by_voice),
            "pitches_majority_share": np.mean(by_voice > 0.5),
        }
    return by_rule


def steps_of(split) -> np.ndarray:
    """int64 (songs,): how many steps each song has, the last one perhaps unfinished."""
    return -(-split.songs["length"] * STEPS // nes.TICKS_PER_SECOND)


def first_steps(split) -> np.ndarray:
    """int64 (notes,): the first step of each note's song, where all songs are laid end to end."""
    steps = steps_of(split)
    return (np.cumsum(steps) - steps)[song_of_note(split)]


def runs(first: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of rows that each cover so many steps from their first: the row and the step of each one."""
    row = np.repeat(np.arange(len(first)), counts)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts - first, counts)


def sampled(split) -> np.ndarray:
    """uint8 (steps, 4): the pitch that sounds at the beginning of each step, 0 for none."""
    notes, roll = split.notes, np.zeros((steps_of(split).sum(), 4), np.uint8)
    first = -(-notes["start"] * STEPS // nes.TICKS_PER_SECOND)
    last = -(-notes["end"] * STEPS // nes.TICKS_PER_SECOND)
    which, step = runs(first + first_steps(split), last - first)
    roll[step, notes["voice"][which]] = notes["pitch"][which]
    return roll


def frequent(split) -> np.ndarray:
    """uint8 (steps, 4): the pitch that sounds longest within each step, 0 if none does."""
    notes, half = split.notes, 2 * nes.TICKS_PER_SECOND // STEPS  # half ticks, a whole number
    first, last = 2 * notes["start"] // half, (2 * notes["end"] - 1) // half
    which, step = runs(first, last - first + 1)
    begin = np.maximum(2 * notes["start"][which], step * half)
    end = np.minimum(2 * notes["end"][which], (step + 1) * half)
    cell = (step + first_steps(split)[which]) * 4 + notes["voice"][which]
    cells, inverse = np.unique(cell * 128 + notes["pitch"][which], return_inverse=True)
    order = np.argsort(np.bincount(inverse, end - begin, len(cells)), kind="stable")
    roll = np.zeros(steps_of(split).sum() * 4, np.uint8)
    roll[cells[order] // 128] = cells[order] % 128  # the longest is written last
    return roll.reshape(-1, 4)


def duplicates(splits: dict) -> dict:
    """Songs that another song equals, as events and as pitches alone: within each split, and
    between every two."""
    counts = {}
    for kind, printed in (("same_events", event_prints), ("same_pitches", pitch_prints)):
        prints = {name: printed(split) for name, split in splits.items()}
        within = {name: len(each) - len(set(each)) for name, each in prints.items()}
        between = {
            f"{one} also in {other}": sum(mark in set(prints[other]) for mark in prints[one])
            for other, one in (("train", "valid"), ("train", "test"), ("valid", "test"))
        }
        counts[kind] = {"within": within, "between": between}
    return counts


def event_prints(split) -> list[bytes]:
    """What each song is as events."""
    return [song.tobytes() for song in split.framed()]


def pitch_prints(split) -> list[bytes]:
    """The pitches of each song, voice by voice, whatever their times; those of at least 8 notes."""
    prints = []
    for first, last in pairwise(split.offsets):
        notes = split.notes[first:last]
        notes = notes[np.argsort(notes["voice"], kind="stable")]
        if len(notes) >= 8:
            prints.append(notes["voice"].tobytes() + notes["pitch"].tobytes())
    return prints
