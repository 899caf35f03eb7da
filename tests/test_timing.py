"""The loss of the time grid against decoded songs and against plain loops."""

import numpy as np
import pytest

from lakhnes_lib.data import corpus
from lakhnes_lib.music import events, nes, timing
from lakhnes_lib.music.score import Score
from lakhnes_lib.songbook import tunes


def loss_of(scores):
    """grid_loss of some scores together."""
    split = corpus.pack("test", scores)
    return timing.grid_loss(split.notes, split.offsets, split.songs["length"])


def by_hand(score):
    """The same in loops: waits, written waits, how late each note is, ticks cut."""
    notes = score.notes.tolist()
    times = sorted({0, score.length} | {n[1] for n in notes} | {n[2] for n in notes})
    waits = [b - a for a, b in zip(times, times[1:], strict=False)]
    written = [int(min(events.WAIT_TICKS, key=lambda g, w=w: (abs(int(g) - w), g))) for w in waits]
    at = dict(zip(times, np.cumsum([0, *written]).tolist(), strict=True))
    return waits, written, [at[n[1]] - n[1] for n in notes], sum(max(w - 100_000, 0) for w in waits)


def long_song():
    """Waits at, just over and far over the longest event; a note in the first instant."""
    notes = [
        (nes.P1, 0, 100_000, 60, 9),
        (nes.TR, 100_000, 200_001, 40, 1),
        (nes.NO, 500_000, 500_007, 3, 5),
    ]
    return Score.build(notes, 900_000)


SONGS = [
    tunes.score("twinkle"),
    long_song(),
    Score.build([], 12_345),
    Score.build([], 0),
    tunes.score("cancan"),
]


def test_many_songs_at_once_equal_plain_loops():
    loss = loss_of(SONGS)
    waits, written, late, cut = zip(*map(by_hand, SONGS), strict=True)
    assert loss.waits.tolist() == sum(waits, [])
    assert loss.written.tolist() == sum(written, [])
    assert loss.onset_errors.tolist() == sum(late, [])
    assert loss.cut.tolist() == list(cut) == [0, 1 + 199_999 + 299_993, 0, 0, 0]


@pytest.mark.parametrize("score", [SONGS[0], SONGS[1], SONGS[4]], ids=["twinkle", "long", "cancan"])
def test_decoded_notes_are_late_by_what_it_says(score):
    decoded = events.decode(events.encode(score))
    late = loss_of([score]).onset_errors
    for voice in range(4):
        own = score.notes["voice"] == voice
        assert (decoded.voice(voice)["start"] - score.voice(voice)["start"]).tolist() == late[
            own
        ].tolist()


def test_no_songs_have_no_loss():
    loss = loss_of([])
    assert [len(part) for part in loss] == [0, 0, 0, 0]
    assert timing.spread(loss.onset_errors) == {"median": 0, "p99": 0, "worst": 0}


def test_spread_is_in_milliseconds():
    ticks = np.array([-441, 0, 441, 882, 44_100])
    assert timing.spread(ticks) == pytest.approx(
        {"median": 10, "p99": 1000 * (0.02 + 0.96 * 0.98), "worst": 1000}
    )
