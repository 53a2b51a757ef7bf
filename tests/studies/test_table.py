"""Means and t intervals over seeds; tables people and programs read."""

from __future__ import annotations

import json
import math

import pytest

from seehear.errors import SeehearError
from seehear.studies.grid import Result
from seehear.studies.table import Study, estimate, tabulate


def test_t_interval_by_hand():
    """1, 2, 3: mean 2, s 1, t(0.975, 2) = 4.302653 -> half width 4.302653 / sqrt(3)"""
    found = estimate([1.0, 2.0, 3.0])
    assert (found.mean, found.count) == (2.0, 3)
    assert found.high - 2 == pytest.approx(2.484138, abs=1e-6)
    assert 2 - found.low == pytest.approx(2.484138, abs=1e-6)


def test_one_seed_has_no_interval_and_equal_seeds_have_none_either_side():
    assert math.isnan(estimate([0.5]).low)
    assert estimate([0.5]).shown(100, 1) == "50.0"
    assert (estimate([0.5] * 3).low, estimate([0.5] * 3).high) == (0.5, 0.5)


RESULTS = [
    Result({"pairs": 1000, "seed": 0}, {"R@1": 0.2, "only": 1.0}),
    Result({"pairs": 1000, "seed": 1}, {"R@1": 0.4}),
    Result({"pairs": 20, "seed": 0}, {"R@1": math.nan}),
    Result({"pairs": 20, "seed": 1}, error="too few"),
]


def test_rows_are_what_differs_in_more_than_the_seed():
    table = tabulate(RESULTS, title="Recall", notes=("On test clips.",), percent=True)
    assert [row.settings for row in table.rows] == [{"pairs": 1000}, {"pairs": 20}]
    assert table.rows[0].estimates["R@1"].mean == pytest.approx(0.3)
    assert "R@1" not in table.rows[1].estimates
    assert table.rows[1].failed == 1
    text = table.markdown()
    assert "| pairs | R@1, % | only, % |\n|---|---:|---:|\n| 1,000 | 30.0 [0.0, 100.0] | 100.0 |\n| 20 |  |  |" in text
    assert "could not be measured: 1 cell." in text
    assert "95 % t interval over seeds" in text
    assert table.find(pairs=20) is table.rows[1]


def test_what_is_not_finite_is_null_in_json(tmp_path):
    study = Study(tmp_path, (tabulate(RESULTS),), ("It is so.",), tuple(RESULTS), {"data": "a"})
    study.save()
    found = json.loads((tmp_path / "study.json").read_text(), parse_constant=lambda c: pytest.fail(c))
    assert found["tables"][0]["rows"][0]["estimates"]["only"]["low"] is None
    assert (found["cells"][3]["error"], found["about"], found["said"]) == ("too few", {"data": "a"}, ["It is so."])
    assert "It is so." in (tmp_path / "table.md").read_text()


def test_a_study_of_nothing_is_an_error(tmp_path):
    with pytest.raises(SeehearError, match="too few"):
        Study(tmp_path, (), (), (RESULTS[3],), {}).save()
