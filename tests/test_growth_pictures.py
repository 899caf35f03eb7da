"""The pictures of docs/scaling.md: one of each thing that was measured at several sizes."""

import growth_section
import numpy as np
import pages
import pytest
import scaling
import table_figures
from growth_section import Curve, Growth, Panel

from lakhnes_lib import profiles


def axes_of(curve: Curve):
    grown = Growth("growth_made", "made", [Panel("events", "seconds", [curve])])
    (axes,) = growth_section.picture(grown, "Made").axes
    return axes


def test_every_curve_has_its_picture_beside_its_text():
    text = pages.pages()[profiles.root() / "docs" / "scaling.md"]
    drawn = {name for name in table_figures.figures() if name.startswith("growth")}
    curves = [
        one
        for growth in growth_section.growths()
        for panel in growth.panels
        for one in panel.curves
    ]
    assert len(curves) == len(growth_section.value("growth.curves"))
    assert len(drawn) == len(growth_section.growths()) == 8
    for growth in growth_section.growths():
        words, picture = text.split(f"**{growth.title.capitalize()}.**")[1].split("\n\n")[:2]
        assert f"(../results/{growth.name}.png)" in picture
        assert all(one.span in words for panel in growth.panels for one in panel.curves)
    assert "growth" not in pages.all_results()


def test_size_0_stands_at_the_edge_and_says_so():
    axes = axes_of(Curve("", np.array([0, 64, 128]), np.array([1.0, 2.0, 4.0]), 1.0))
    line, ring = axes.lines
    assert list(line.get_xdata()) == [64, 128] and list(ring.get_xdata()) == [32]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "64", "128"]


@pytest.mark.parametrize(
    "costs, said",
    [
        ((0.16, 2.4), ["0.2", "0.5", "1", "2"]),
        ((107, 517), ["100", "150", "200", "300", "500", "700"]),
        ((950, 1600), ["1,000", "1,500", "2,000"]),
    ],
)
def test_costs_are_told_by_round_numbers(costs, said):
    axes = axes_of(Curve("", np.array([64, 128]), np.array(costs), 1.0))
    low, high = axes.get_ylim()
    form = axes.yaxis.get_major_formatter()
    assert [form(tick) for tick in axes.get_yticks() if low <= tick <= high] == said


def test_hours_add_what_workers_and_coordinator_do_but_the_coordinator_is_one(monkeypatch):
    speeds = {"files_a_second_and_worker": 10.0, "files_a_second_of_coordinator": 100.0}
    monkeypatch.setattr(scaling, "ALL_FILES", 1000)
    assert scaling.hours(speeds, 1) == (100.0, 10.0, 110.0)
    assert scaling.hours(speeds, 2) == (50.0, 10.0, 55.0)
    assert scaling.hours(speeds, 100) == (1.0, 10.0, 10.0)
    monkeypatch.setattr(growth_section, "value", lambda path: speeds)
    assert growth_section.worked_out(2) == {"clock": 55.0, "processor": 110.0}
    monkeypatch.setattr(growth_section, "value", lambda path: None)
    assert growth_section.worked_out(2) is None
