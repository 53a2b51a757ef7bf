"""Marks stand where their numbers are."""

import math

import numpy as np
import pytest

from seehear.report.page import Mark, PlotLine, curve, histogram, intervals
from tests.report.pages import parse


def test_an_interval_plot_places_value_and_whisker():
    marks = [Mark("run", 0.4, 0.3, 0.55), Mark("closed", 0.35), Mark("frozen", math.nan), Mark("chance", 0.1)]
    tree = parse(intervals([PlotLine("text -> video", marks, "40.0 %")], label="recall"))
    (disc,) = tree.every("circle")
    (whisker,) = [n for n in tree.every("line") if n.attributes["class"] == "whisker"]
    (chance,) = [n for n in tree.every("line") if n.attributes["class"] == "chance"]
    (diamond,) = [n for n in tree.every("svg") if n.attributes.get("overflow")]
    assert disc.attributes["cx"] == "40.00%"
    assert (whisker.attributes["x1"], whisker.attributes["x2"]) == ("30.00%", "55.00%")
    assert chance.attributes["x1"] == "10.00%"
    assert diamond.attributes["x"] == "35.00%"
    assert "40.0 %" in tree.text


def test_an_axis_that_ends_at_another_number():
    tree = parse(intervals([PlotLine("x", [Mark("run", 0.3)])], label="x", most=0.4))
    assert next(tree.every("circle")).attributes["cx"] == "75.00%"
    assert "40%" in tree.text


def test_values_beyond_the_axis_stay_on_it():
    tree = parse(intervals([PlotLine("x", [Mark("run", 1.2, -0.1, 1.4)])], label="x"))
    assert next(tree.every("circle")).attributes["cx"] == "100.00%"
    assert next(n for n in tree.every("line") if n.attributes["class"] == "whisker").attributes["x1"] == "0.00%"


def test_a_histogram_shows_shares_of_each_series():
    true, false = np.array([0.8, 0.8, 0.9, 1.0]), np.array([0.0, 0.1, 0.1, 0.1, 0.2, 0.8])
    tree = parse(histogram([("true", true), ("false", false)], label="cosines", bins=5))
    bars = [n for n in tree.every("rect") if "x" in n.attributes and n.attributes["x"].endswith("%")]
    own = [n for n in bars if n.attributes["class"].endswith("series0")]
    told = [float(n.text.split(": ")[1].split(" %")[0]) for n in own]
    assert told == [100.0]  # the last of five bins, 0.8 to 1.0
    heights = {n.attributes["class"]: float(n.attributes["height"][:-1]) for n in bars}
    assert heights["bar series0"] == 100.0
    means = [float(n.attributes["x1"][:-1]) for n in tree.every("line")]
    assert means == pytest.approx([87.5, 100 * false.mean()], abs=0.01)


def test_a_histogram_of_equal_values():
    tree = parse(histogram([("true", np.ones(3)), ("false", np.ones(4))], label="cosines"))
    assert list(tree.every("rect"))


def test_a_curve_from_least_to_greatest():
    tree = parse(curve([0, 5, 10], [2.0, 1.0, 3.0], label="loss", marked=5))
    (line,) = tree.every("polyline")
    assert line.attributes["points"] == "0.00,50.00 50.00,96.00 100.00,4.00"
    (ring,) = tree.every("circle")
    assert (ring.attributes["cx"], ring.attributes["cy"]) == ("50.00%", "96.00%")
    (drawing,) = [n for n in tree.every("svg") if n.attributes.get("role") == "img"]
    assert drawing.attributes["aria-label"] == "loss: from 2 to 3, least 1, greatest 3"


def test_a_curve_that_does_not_move():
    (line,) = parse(curve([1, 2], [1.0, 1.0], label="loss")).every("polyline")
    assert line.attributes["points"] == "0.00,96.00 100.00,96.00"
