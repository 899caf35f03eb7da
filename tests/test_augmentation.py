"""Augmentation of songs and of events against plain loops over notes and over event text."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_songs import SONGBOOK, arrays, packed
from songs import scores, tune

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.music import augmentation, events, grammar, nes
from lakhnes_lib.music.augmentation import DROPPED
from lakhnes_lib.music.score import Score

changes = st.builds(
    lambda semitones, speed, order, noise, dropped: np.array(
        [
            (
                semitones,
                speed,
                [DROPPED if d else v for v, d in zip([*order, 3], [*dropped, noise], strict=True)],
            )
        ],
        augmentation.CHANGE,
    )[0],
    st.integers(-12, 12),
    st.floats(0.5, 2.0),
    st.permutations(range(3)),
    st.booleans(),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)


def by_hand(score: Score, change) -> Score:
    """One song changed note by note."""
    semitones, speed, voices = change.tolist()
    notes = []
    for voice, start, end, pitch, velocity in score.notes.tolist():
        new = voices[voice]
        if voice != nes.NO:
            pitch += semitones
        start, end = round(start * (1 / speed)), round(end * (1 / speed))
        if (
            new == DROPPED
            or not nes.LOWEST_PITCH[new] <= pitch <= nes.HIGHEST_PITCH[new]
            or start == end
        ):
            continue
        if (new == nes.TR) != (voice == nes.TR):
            velocity = 1 if new == nes.TR else 15
        notes.append((new, start, end, pitch, velocity))
    return Score.build(notes, round(score.length * (1 / speed)))


def by_text(score: Score, change) -> list[str]:
    """What the published steps make of a song's event text: trim, choose voices, exchange,
    transpose, stretch.
    """
    semitones, speed, voices = change.tolist()
    lines = events.to_tx1(score).split()
    if lines and lines[0].startswith("WT"):
        lines = lines[1:]
    if lines and lines[-1].startswith("WT"):
        lines = lines[:-1]
    now, moments = 0, {}
    for line in lines:
        title, *rest = line.split("_")
        if title == "WT":
            now += int(rest[0])
            continue
        voice = nes.VOICES.index(title)
        if voices[voice] == DROPPED:
            continue
        title = nes.VOICES[voices[voice]]
        if rest[0] == "NOTEON" and title != "NO":
            pitch = int(rest[1]) + semitones
            if not nes.LOWEST_PITCH[voices[voice]] <= pitch <= nes.HIGHEST_PITCH[voices[voice]]:
                continue
            rest = ["NOTEON", str(pitch)]
        moments.setdefault(round(now * (1 / speed)), []).append("_".join([title, *rest]))
    out, before = [], 0
    for moment in sorted(moments):
        if moment > before:
            nearest = min(
                events.WAIT_TICKS.tolist(),
                key=lambda ticks: (abs(ticks - (moment - before)), ticks),
            )
            out.append(f"WT_{nearest}")
        out += moments[moment]
        before = moment
    return out


@settings(deadline=None, max_examples=40)
@given(scores(with_controls=True), changes)
def test_a_changed_song_equals_plain_loops(score, change):
    # A Score checks order, ranges and monophony itself.
    changed = augmentation.change_score(score, *change)
    expected = by_hand(score, change)
    assert changed.length == expected.length
    assert np.array_equal(changed.notes, expected.notes)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(scores(), changes), max_size=5))
def test_many_songs_at_once_equal_each_alone(pairs):
    given_changes = np.array([change for _, change in pairs], augmentation.CHANGE)
    split = packed([score for score, _ in pairs])
    notes, offsets, lengths = augmentation.change_songs(*arrays(split), given_changes)
    assert len(offsets) == len(pairs) + 1 and offsets[-1] == len(notes)
    for number, (score, change) in enumerate(pairs):
        song = Score.build(notes[offsets[number] : offsets[number + 1]], lengths[number])
        assert song == dataclasses.replace(
            augmentation.change_score(score, *change), controls=song.controls
        )


def middle(score):
    """The notes that can go an octave up and down."""
    low, high = (
        nes.LOWEST_PITCH[score.notes["voice"]] + 12,
        nes.HIGHEST_PITCH[score.notes["voice"]] - 12,
    )
    noise, pitch = score.notes["voice"] == nes.NO, score.notes["pitch"]
    return dataclasses.replace(score, notes=score.notes[noise | ((pitch >= low) & (pitch <= high))])


@pytest.mark.parametrize("score", SONGBOOK[:6], ids=lambda score: score.name)
def test_there_and_back_is_where_it_was(score):
    score = middle(score)
    for semitones in (-6, 1, 12):
        moved = augmentation.transpose(score, semitones)
        assert moved != score and augmentation.transpose(moved, -semitones) == score
    swapped = augmentation.change_voices(score, (1, 0, 2, 3))
    assert np.array_equal(swapped.voice(nes.P2)["start"], score.voice(nes.P1)["start"])
    assert augmentation.change_voices(swapped, (1, 0, 2, 3)) == score
    assert augmentation.change_speed(score, 1.0) == score
    back = augmentation.change_speed(augmentation.change_speed(score, 1.05), 1 / 1.05)
    assert (
        len(back.notes) == len(score.notes)
        and np.abs(back.notes["start"] - score.notes["start"]).max() <= 1
    )
    assert augmentation.change_score(score, *augmentation.unchanged()[0]) == score
    without = augmentation.change_voices(score, (0, DROPPED, 2, 3))
    assert without == score.only([nes.P1, nes.TR, nes.NO])


def test_a_note_out_of_range_takes_its_note_off_along():
    score = Score.build(
        [(nes.P1, 0, 100, 107, 9), (nes.P1, 100, 200, 60, 9), (nes.NO, 0, 200, 16, 9)]
    )
    ids = events.encode(augmentation.transpose(score, 5))
    named = [events.VOCABULARY[event] for event in ids]
    assert named == ["NO_NOTEON_16", "WT_100", "P1_NOTEON_65", "WT_100", "P1_NOTEOFF", "NO_NOTEOFF"]
    grammar.check(ids)


def test_what_the_nes_cannot_do_is_refused():
    score = tune(1)
    for voices in [(0, 0, 2, 3), (0, 1, 3, 2), (0, 1, 2, 0), (0, 1, 7, 3)]:
        with pytest.raises(LakhnesError, match="go to different ones"):
            augmentation.change_voices(score, voices)
    for speed in (0.0, -1.0, 1e-300, float("inf"), float("nan")):
        with pytest.raises(LakhnesError, match="speed must be between"):
            augmentation.change_speed(score, speed)
    with pytest.raises(LakhnesError, match="'papr' is not known"):
        augmentation.draw("papr", np.ones((1, 4), bool), np.random.default_rng(0))


@settings(deadline=None, max_examples=40)
@given(st.lists(scores(), max_size=3), st.integers(0, 1 << 30))
def test_the_published_variant_equals_its_steps_on_text(songs, seed):
    split = packed(songs)
    drawn = augmentation.draw(
        "published", np.ones((len(songs), 4), bool), np.random.default_rng(seed)
    )
    ids, offsets = augmentation.change_events(*arrays(split), drawn)
    for number, (song, change) in enumerate(zip(songs, drawn, strict=True)):
        named = [events.VOCABULARY[event] for event in ids[offsets[number] : offsets[number + 1]]]
        assert named == by_text(song, change)


def test_the_published_variant_leaves_note_offs_behind():
    score = Score.build([(nes.P1, 0, 100, 107, 9), (nes.NO, 0, 200, 16, 9)])
    change = augmentation.unchanged()
    change["semitones"] = 5
    ids, _ = augmentation.change_events(score.notes, [0, 2], [score.length], change)
    assert [events.VOCABULARY[event] for event in ids] == [
        "NO_NOTEON_16", "WT_100", "P1_NOTEOFF", "WT_100", "NO_NOTEOFF",
    ]  # fmt: skip
