"""Pictures of diagnostics show the numbers they were given, at the right places."""

import numpy as np
import pytest

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.evaluation.diagnostics import Groups
from lakhnes_lib.listening import diagnostic_plots
from lakhnes_lib.listening.pictures import Picture

VOICES = Groups(
    ("P1", "P2", "TR", "no voice"), np.array([300, 200, 0, 500]), np.array([1.5, 1.7, np.nan, 1.0])
)


def points(ax) -> list[list]:
    """Where the marks of each scattered series stand."""
    return [
        series.get_offsets().tolist() for series in ax.collections if len(series.get_offsets()) > 1
    ]


def test_groups_stand_in_rows_and_an_empty_one_is_left_out():
    picture = diagnostic_plots.groups({"one": VOICES, "other": VOICES}, title="By voice")
    (ax,) = picture.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["P1", "P2", "no voice"]
    marks = points(ax)[-1]
    np.testing.assert_allclose(marks, [[np.exp(1.5), 0], [np.exp(1.7), 1], [np.exp(1.0), 2]])
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first row is on top"
    nats = 300 * 1.5 + 200 * 1.7 + 500
    assert ax.texts[0].get_text() == f"30% of events, {300 * 1.5 / nats:.0%} of nats"
    assert [text.get_text() for text in ax.get_legend().texts] == ["one", "other"]
    assert isinstance(picture, Picture) and picture.png().startswith(b"\x89PNG")


def test_curves_leave_out_what_is_not_finite():
    ax = diagnostic_plots.curves({"model": ([1, 2, 4], [5, np.nan, 3])}, x="events").axes[0]
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[1, 5], [4, 3]])
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    assert ax.get_legend().texts[0].get_text() == "model"
    with pytest.raises(LakhnesError, match="no point to draw over events"):
        diagnostic_plots.curves({"model": ([1], [np.nan])}, x="events")


def test_even_curves_share_their_ticks():
    ax = diagnostic_plots.curves(
        {"a": ([0, 64, 896], [6, 5, 4]), "b": ([0, 128], [7, 6])}, x="m", scale="even"
    ).axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "64", "128", "896"]
    assert ax.lines[0].get_xdata().tolist() == [0, 1, 3] and ax.lines[1].get_xdata().tolist() == [
        0,
        2,
    ]


def test_songs_below_the_diagonal_are_those_the_second_model_does_better():
    targets = np.array([100, 300, 50, 0])
    one, other = np.array([2.0, 1.0, 3.0, np.nan]), np.array([1.0, 1.5, 2.0, np.nan])
    ax = diagnostic_plots.songs("5-gram", (targets, one), "LSTM", (targets, other)).axes[0]
    np.testing.assert_allclose(points(ax)[0], np.exp(np.stack([one[:3], other[:3]], 1)))
    assert ax.texts[0].get_text() == "LSTM: better on 67% of 3 songs,\n33% of their events"


def test_models_stand_beside_the_paper():
    rows = [
        ("random", {"paper": 631.0, "here": 630.0}),
        ("LSTM", {"paper": 14.11}),
        ("ours", {"here": 4.8}),
    ]
    ax = diagnostic_plots.beside(rows).axes[0]
    assert points(ax) == [[[631.0, 0.0], [14.11, 1.0]], [[630.0, 0.0], [4.8, 2.0]]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["random", "LSTM", "ours"]


def test_axes_given_are_drawn_into_and_returned():
    for draw in (
        lambda ax: diagnostic_plots.groups({"model": VOICES}, ax),
        lambda ax: diagnostic_plots.curves({"model": ([1, 2], [3, 4])}, ax, x="events"),
        lambda ax: diagnostic_plots.beside([("random", {"paper": 631.0, "here": 631.0})], ax),
        lambda ax: diagnostic_plots.songs(
            "a", (np.array([9, 9]), np.ones(2)), "b", (None, np.ones(2)), ax
        ),
    ):
        ax = Picture().add_subplot()
        assert draw(ax) is ax and ax.collections or ax.lines
