"""The learning curve: it foretells sizes that are then measured, and says when it cannot."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from seehear.errors import SeehearError
from seehear.studies.learning import DataStudyOptions, Forecast, fit_curve, learning_curve, nested, outlook
from seehear.studies.table import estimate
from seehear.studies.trained import training_rows
from tests.studies import worlds

SIZES = (60, 120, 250, 500, 1000)


def drawn(curve, *, noise, seed, sizes=SIZES, seeds=3):
    rng = np.random.default_rng(seed)
    values = [[curve(n) + noise * rng.normal() for _ in range(seeds)] for n in sizes]
    return [(n, estimate(v)) for n, v in zip(sizes, values, strict=True)], values


@pytest.mark.parametrize(
    "truth",
    [
        pytest.param(lambda n: 0.8 - 1.5 * n**-0.3, id="power"),
        pytest.param(lambda n: 1 - 2 * n**-0.25, id="certain"),
        pytest.param(lambda n: 1 / (1 + math.exp(5 - 0.7 * math.log(n))), id="logistic"),
        pytest.param(lambda n: 0.5 - 5 * n**-0.8, id="saturated"),
    ],
)
@pytest.mark.slow  # one draw of the first is below
def test_ten_times_is_within_the_interval_nearly_always(truth):
    """Of six draws of one law, five at least."""
    held = []
    for seed in range(6):
        found = fit_curve(*drawn(truth, noise=0.012, seed=seed), seed=seed).at(10_000)
        held.append(found.low - 0.01 <= truth(10_000) <= found.high + 0.01)
        assert 0 <= found.low <= found.value <= found.high <= 1 + 1e-9
    assert sum(held) >= 5


def test_the_interval_holds_what_it_foretells_and_noise_and_distance_widen_it():
    def truth(n):
        return 0.8 - 1.5 * n**-0.3

    quiet, loud = (fit_curve(*drawn(truth, noise=noise, seed=0)) for noise in (0.003, 0.05))
    width = [f.high - f.low for f in (quiet.at(10_000), loud.at(10_000), loud.at(1000))]
    assert width[0] < width[1]
    assert width[2] < width[1]
    assert quiet.at(10_000).low - 0.01 <= truth(10_000) <= quiet.at(10_000).high + 0.01
    gain = quiet.gain(1000, 10_000)
    assert gain.low <= truth(10_000) - truth(1000) <= gain.high + 0.02


def test_three_sizes_are_no_curve():
    with pytest.raises(ValueError, match="4 numbers"):
        fit_curve(*drawn(lambda n: 0.5, noise=0.01, seed=0, sizes=(1, 2, 3)))


def test_subsets_are_nested_and_whole_recordings():
    data = worlds.data(400, clips_of_a_group=4)
    rows = training_rows(data)
    before: set[int] = set()
    for n in (30, 60, 120, 240):
        chosen = nested(data, rows, n, seed=3)
        assert n <= len(chosen) < n + 4
        assert before <= set(chosen.tolist())
        before = set(chosen.tolist())
        groups = data.groups.numpy()
        assert all(np.isin(rows[groups[rows] == g], chosen).all() for g in set(groups[chosen]))
    assert set(nested(data, rows, 60, seed=4).tolist()) != set(nested(data, rows, 60, seed=3).tolist())
    assert len(nested(data, rows, len(rows), seed=0)) == len(rows)


@pytest.mark.slow
def test_small_sizes_foretell_a_large_one_that_is_then_measured(tmp_path):
    """The back-test of the whole study: learned from up to 320 pairs, tried on 1,280; the second call measures only
    the size that is new."""
    data = worlds.data(1680, video=(4.0,), text=(4.0,), held_out=400, clips_of_a_group=1)
    options = DataStudyOptions(sizes=(40, 80, 160, 320), seeds=3, model="closed")
    small = learning_curve(data, tmp_path, options)
    large = learning_curve(data, tmp_path, replace(options, sizes=(*options.sizes, 1280)))
    measured = large.tables[0].find(clips=1280).estimates["R@10"].mean
    points, values = [], []
    for n in (40, 80, 160, 320):
        own = [r.values["R@10"] for r in small.results if r.cell["clips"] == n]
        points.append((float(n), estimate(own)))
        values.append(own)
    told = fit_curve(points, values).at(1280)
    assert told.low - 0.03 <= measured <= told.high + 0.03
    assert told.high - told.low < 0.4
    back = large.details["forecasts"]["back-test"]
    assert (back["fitted up to"], back["factor"], back["was"]) == (320, 4, measured)
    assert ("within the forecast." in str(large)) == back["held"]
    assert "10 times as many (12,800)" in str(large)


def test_ends_in_a_table_and_a_figure_and_says_what_it_cannot(tmp_path):
    data = worlds.data(300, video=(3.0,), text=(3.0,), clips_of_a_group=2)
    study = learning_curve(data, tmp_path, DataStudyOptions(sizes=(20, 40, 80, 150), seeds=2, model="closed"))
    assert (tmp_path / "data.png").stat().st_size > 5000
    assert json.loads((tmp_path / "study.json").read_text())["forecasts"]["times 10"]["pairs"] == 1500
    assert "too few sizes for a back-test" in str(study)
    assert [row.settings["clips"] for row in study.tables[0].rows] == [20, 40, 80, 150]


def test_too_few_clips_are_an_error(tmp_path):
    with pytest.raises(SeehearError, match="needs 4 numbers of clips"):
        learning_curve(worlds.data(180), tmp_path, DataStudyOptions(model="closed"))
    with pytest.raises(SeehearError, match="unknown measure"):
        DataStudyOptions(measure="R@3")


@pytest.mark.parametrize(
    ("then", "gain", "verdict"),
    [
        ((0.3, 0.6), (0.1, 0.3), "too uncertain"),
        ((0.5, 0.6), (-0.01, 0.009), "no gain worth having"),
        ((0.5, 0.6), (0.0, 0.011), "a gain is likely, none at all is possible"),
        ((0.5, 0.6), (0.009, 0.1), "a gain is likely, none at all is possible"),
        ((0.5, 0.6), (0.011, 0.1), "1 to 10 points more"),
    ],
)
def test_the_verdict_follows_the_interval_of_the_gain(then, gain, verdict):
    forecast = [Forecast(pairs=10_000, value=sum(ends) / 2, low=ends[0], high=ends[1]) for ends in (then, gain)]
    assert outlook(10, *forecast).split(": ", 1)[1].startswith(verdict)
