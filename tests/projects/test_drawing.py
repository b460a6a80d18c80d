import re
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from projects.drawing import Series, axis_for, bar_svg, estimate_svg, histogram_svg, line_svg, scale_svg, ticks

NAN = float("nan")


@dataclass(frozen=True)
class Bounds:
    low: float
    high: float


def element(drawing, css_class):
    found = [node for node in ElementTree.fromstring(drawing).iter() if css_class in node.get("class", "").split()]
    assert len(found) == 1
    return found[0]


def every_drawing(text="x"):
    return [
        estimate_svg(0.5, 0.4, 0.6, target=0.9, label=text),
        scale_svg((0.0, 1.0), lambda value: text),
        bar_svg(0.62, label=text),
        line_svg([Series(text, [(1, 2.0), (2, 1.0)]), Series("b", [(1, 2.2), (2, 1.5)])], label=text, x_name=text),
        histogram_svg([1, 0, 5], [0.0, 0.1, 0.2, 0.3], label=text, threshold=0.1),
    ]


def test_an_estimate_stands_where_its_numbers_are_on_the_axis():
    drawing = estimate_svg(0.8, 0.75, 0.85, target=0.9, axis=(0.6, 1.0), label="80 %")
    assert element(drawing, "est-dot").get("cx") == "50.00%"
    assert (element(drawing, "est-range").get("x1"), element(drawing, "est-range").get("x2")) == ("37.50%", "62.50%")
    assert element(drawing, "est-target").get("x1") == "75.00%"


def test_dots_stay_round_because_only_places_stretch():
    dot = element(estimate_svg(0.5, 0.4, 0.6, label="x"), "est-dot")
    assert dot.get("r") == "6" and dot.get("cx").endswith("%") and dot.get("cy") == "9"


def test_an_interval_beyond_the_axis_ends_with_the_axis():
    line = element(estimate_svg(0.5, -1.0, 2.0, axis=(0.4, 0.6), label="x"), "est-range")
    assert (line.get("x1"), line.get("x2")) == ("0.00%", "100.00%")


def test_without_a_row_there_is_an_interval_and_no_dot():
    drawing = estimate_svg(NAN, 0.0, 1.0, label="nothing yet")
    assert "est-range" in drawing and "est-dot" not in drawing


def test_an_interval_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"got 0\.6 to 0\.4"):
        estimate_svg(0.5, 0.6, 0.4, label="x")
    with pytest.raises(ValueError, match="nan"):
        estimate_svg(0.5, NAN, 0.6, label="x")
    with pytest.raises(ValueError, match="axis"):
        estimate_svg(0.5, 0.4, 0.6, axis=(1.0, 1.0), label="x")


def test_no_drawing_needs_a_style_or_a_script():
    for drawing in every_drawing():
        assert not re.search(r"style=|<style|<script|\son\w+=", drawing)


def test_every_text_that_comes_in_is_escaped():
    for drawing in every_drawing('<b onclick="x">&'):
        ElementTree.fromstring(drawing)
        assert "<b" not in drawing


def test_a_shared_axis_is_round_and_holds_all_intervals_and_the_target():
    low, high = axis_for([Bounds(0.671, 0.750), Bounds(0.858, 0.913)], target=0.9)
    assert (low, high) == (0.6, 1.0)
    assert axis_for([Bounds(0.77, 0.85)]) == (0.76, 0.86)


def test_the_axis_of_shares_stays_within_zero_and_one():
    assert axis_for([Bounds(0.0, 1.0)]) == (0.0, 1.0)
    low, high = axis_for([Bounds(-0.02, 0.05)])
    assert low < -0.02 and high > 0.05


def test_an_axis_without_estimates_or_without_width_is_still_one():
    assert axis_for([]) == (0.0, 1.0)
    assert axis_for([Bounds(NAN, NAN)]) == (0.0, 1.0)
    low, high = axis_for([Bounds(0.5, 0.5)])
    assert low < 0.5 < high


def test_ticks_are_round_numbers_within_the_axis():
    assert ticks((0.6, 1.0)) == [0.6, 0.7, 0.8, 0.9, 1.0]
    assert ticks((0.0, 2.46)) == [0.0, 1.0, 2.0]
    assert ticks((-0.013, 0.031)) == [0.0, 0.02]


def test_the_target_takes_the_place_of_figures_that_it_would_touch():
    drawing = scale_svg((0.6, 1.0), "{:.2f}".format, target=0.88)
    assert re.findall(r">([\d.]+)<", drawing) == ["0.60", "0.70", "0.88", "1.00"]


def test_a_bar_is_filled_to_its_share_and_never_over_its_end():
    assert element(bar_svg(0.62, label="x"), "bar-done").get("width") == "62.00%"
    assert element(bar_svg(1.7, label="x"), "bar-done").get("width") == "100.00%"
    assert "bar-done" not in bar_svg(0.0, label="x")
    with pytest.raises(ValueError, match="nan"):
        bar_svg(NAN, label="x")


def test_a_line_spans_its_box_and_says_its_last_value():
    drawing = line_svg([Series("training", [(0, 2.0), (10, 1.0)])], label="x", x_name="step")
    points = element(drawing, "chart-line").get("points").split()
    assert points[0].startswith("0.0,") and points[-1].startswith("1000.0,")
    assert element(drawing, "chart-name").text == "training 1.00"


def test_points_that_are_no_numbers_are_left_out_of_a_line():
    drawing = line_svg([Series("a", [(0, 2.0), (1, NAN), (2, 1.0)])], label="x", x_name="step")
    assert len(element(drawing, "chart-line").get("points").split()) == 2
    with pytest.raises(ValueError, match="finite point"):
        line_svg([Series("a", [(0, NAN)])], label="x", x_name="step")


def test_a_long_line_is_thinned_and_keeps_its_last_point():
    drawing = line_svg([Series("a", [(step, 1 / (step + 1)) for step in range(5001)])], label="x", x_name="step")
    points = element(drawing, "chart-line").get("points").split()
    assert len(points) <= 401 and points[-1].startswith("1000.0,")


def test_a_single_point_is_a_chart_too():
    assert "chart-dot" in line_svg([Series("a", [(5, 1.0)])], label="x", x_name="step")


def test_names_at_line_ends_do_not_cover_each_other():
    lines = [Series(name, [(0, 2.0), (1, last)]) for name, last in (("a", 1.0), ("b", 1.001), ("c", 0.999))]
    drawing = ElementTree.fromstring(line_svg(lines, label="x", x_name="step"))
    places = sorted(float(node.get("y")) for node in drawing.iter() if "chart-name" in node.get("class", ""))
    assert all(below - above >= 14 for above, below in pairwise(places))


def test_histogram_bars_are_as_high_as_their_counts_and_low_bins_stand_out():
    drawing = ElementTree.fromstring(histogram_svg([50, 0, 100], [0.0, 0.1, 0.2, 0.3], label="x", threshold=0.1))
    bars = [node for node in drawing.iter() if node.get("class") in ("hist-bar", "hist-low")]
    assert [bar.get("class") for bar in bars] == ["hist-low", "hist-bar", "hist-bar"]
    assert [float(bar.get("height")) for bar in bars] == [55.0, 0.0, 110.0]


def test_one_row_among_thousands_is_still_seen():
    drawing = ElementTree.fromstring(histogram_svg([1, 100_000], [0.0, 0.5, 1.0], label="x"))
    assert float(next(node.get("height") for node in drawing.iter() if node.get("class") == "hist-bar")) >= 1


def test_a_histogram_refuses_counts_and_edges_that_do_not_fit():
    with pytest.raises(ValueError, match="got 2 and 2"):
        histogram_svg([1, 2], [0.0, 1.0], label="x")
    with pytest.raises(ValueError, match="rise"):
        histogram_svg([1, 2], [0.0, 1.0, 1.0], label="x")
